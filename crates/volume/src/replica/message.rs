//! The messages of the two copies. They arrive in order and once within a session, or the
//! session is lost.

use super::durable::VolumeId;
use super::geometry::Blocks;
use super::handshake::Introduction;
use super::record::{Epoch, Generation, Incarnation};

/// The bytes of a request, as a handle.
pub trait Payload: Clone {
    /// A checksum of the bytes, to compare copies without sending them.
    fn checksum(&self) -> u64;
}

/// One connection of both nodes, numbered by the driver in ascending order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Session(pub u64);

/// What blocks become. Blocks that are trimmed read as zeros, on both copies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body<P> {
    /// These bytes.
    Data(P),
    /// Zeros.
    Zero,
    /// Zeros, without space on the disk.
    Trim,
}

/// From the owner to the follower.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command<P> {
    /// Write blocks: of a client, or of the resync.
    Write {
        /// The blocks.
        blocks: Blocks,
        /// What they become.
        body: Body<P>,
        /// Done only when it is on stable storage.
        fua: bool,
    },
    /// Flush everything that was reported as done.
    Flush,
    /// Compare blocks with this checksum: done when it is the same.
    Compare {
        /// The blocks.
        blocks: Blocks,
        /// Of the owner's blocks.
        checksum: u64,
    },
    /// As `Compare`, for a verify: a disk that cannot read the blocks has not failed.
    Verify {
        /// The blocks.
        blocks: Blocks,
        /// Of the owner's blocks.
        checksum: u64,
    },
    /// Return the content of blocks that are damaged at the owner.
    Read {
        /// The blocks.
        blocks: Blocks,
    },
}

/// A message of either side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message<P> {
    /// The owner of this epoch asks for the other copy.
    Hello {
        /// Its epoch.
        epoch: Epoch,
        /// Counts the owner's greetings; the response repeats it.
        number: u64,
    },
    /// The copy has promised the epoch, and all its former operations have ended.
    Welcome {
        /// Of the greeting.
        number: u64,
        /// What it is.
        introduction: Introduction,
    },
    /// It has promised a later epoch.
    Refused {
        /// Of the greeting.
        number: u64,
        /// The later epoch.
        promised: Epoch,
    },
    /// A resync is to begin.
    Begin {
        /// The owner's epoch.
        epoch: Epoch,
        /// The volume that the copy becomes part of.
        volume: VolumeId,
        /// The history that its content will belong to.
        incarnation: Incarnation,
        /// From which generation the owner's bits count.
        base: Generation,
        /// The size of the volume, blocks: the copy has it from then on.
        blocks: u64,
    },
    /// The copy has stored that it is incomplete.
    Begun,
    /// Something with a result of its own.
    Command {
        /// The owner's epoch.
        epoch: Epoch,
        /// Returned with the result.
        tag: u32,
        /// What to do.
        command: Command<P>,
    },
    /// A command is done.
    Done {
        /// Of the command.
        tag: u32,
    },
    /// The compared blocks differ.
    Differs {
        /// Of the command.
        tag: u32,
    },
    /// The blocks of a verify, or of a read, cannot be read.
    Unreadable {
        /// Of the command.
        tag: u32,
    },
    /// They are damaged: they do not match their checksums.
    Damaged {
        /// Of the command.
        tag: u32,
    },
    /// The content of blocks that were read.
    Content {
        /// Of the command.
        tag: u32,
        /// The bytes.
        data: P,
    },
    /// The disk failed.
    Failed {
        /// Of the command.
        tag: u32,
    },
    /// Both copies are equal: the copy flushes, and joins.
    Finish {
        /// The owner's epoch.
        epoch: Epoch,
        /// At this generation.
        generation: Generation,
    },
    /// It has joined.
    Finished,
    /// Everything is flushed, and no write follows: the copy stores that it is clean.
    Settle {
        /// The owner's epoch.
        epoch: Epoch,
    },
    /// It has stored that.
    Settled,
    /// The backing of this copy has room for a volume of so many blocks.
    Room {
        /// Blocks.
        blocks: u64,
    },
    /// The volume becomes larger: the copy stores its new size. No request is for the new
    /// part yet.
    Grow {
        /// The owner's epoch.
        epoch: Epoch,
        /// The new size, blocks.
        blocks: u64,
    },
    /// It has stored that.
    Grown,
    /// Both copies have this size.
    Resized {
        /// The owner's epoch.
        epoch: Epoch,
        /// The size, blocks.
        blocks: u64,
    },
}
