//! Defines the messages between the two copies of a volume. Within a session they arrive in order
//! and exactly once; otherwise the session is lost.

use super::durable::VolumeId;
use super::geometry::Blocks;
use super::handshake::Introduction;
use super::record::{Epoch, Generation, Incarnation};

/// Data of a request, as the driver keeps it; cloning copies a reference.
pub trait Payload: Clone {
    /// Returns the checksum of the data, for comparing copies without sending them.
    fn checksum(&self) -> u64;
}

/// Number of a connection of both nodes. The driver numbers connections in ascending order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Session(pub u64);

/// New content of blocks. Trimmed blocks read as zeroes on both copies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WriteContent<P> {
    Data(P),
    Zero,
    /// Zeroes; the space on the disk is freed.
    Trim,
}

/// Command of the owner to the follower.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FollowerCommand<P> {
    Write {
        blocks: Blocks,
        body: WriteContent<P>,
        fua: bool,
    },
    /// Makes all writes durable that were reported as done.
    Flush,
    /// Compares blocks with this checksum; the result is `Done` if they are equal.
    Compare { blocks: Blocks, checksum: u64 },
    /// Compares like `Compare`, for a verify: a read error does not count as a failure of the disk.
    Verify { blocks: Blocks, checksum: u64 },
    /// Reads blocks that are damaged at the owner.
    Read { blocks: Blocks },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReplicaMessage<P> {
    /// Greeting: the owner of this epoch calls the other copy.
    Hello {
        epoch: Epoch,
        /// Number of the greeting, which the response repeats.
        number: u64,
    },
    /// Response to `Hello`: the copy has promised the epoch, and all its earlier operations have
    /// ended.
    Welcome {
        number: u64,
        introduction: Introduction,
    },
    Refused {
        number: u64,
        promised: Epoch,
    },
    Begin {
        epoch: Epoch,
        volume: VolumeId,
        incarnation: Incarnation,
        /// Generation from which the owner's dirty bits count on.
        base: Generation,
        /// Size of the volume, blocks; the copy adopts it.
        blocks: u64,
    },
    Begun,
    /// Command with a result of its own.
    Command {
        epoch: Epoch,
        /// Identifier that the result repeats.
        tag: u32,
        command: FollowerCommand<P>,
    },
    Done {
        tag: u32,
    },
    Differs {
        tag: u32,
    },
    Unreadable {
        tag: u32,
    },
    Damaged {
        tag: u32,
    },
    Content {
        tag: u32,
        data: P,
    },
    Failed {
        tag: u32,
    },
    /// Both copies are equal: the follower has to flush and to join the volume.
    Finish {
        epoch: Epoch,
        generation: Generation,
    },
    Finished,
    /// All data is flushed and no write follows: the follower has to store that its copy is clean.
    Settle {
        epoch: Epoch,
    },
    Settled,
    Room {
        blocks: u64,
    },
    /// The volume grows: the follower has to store the new size. No request addresses the added
    /// blocks yet.
    Grow {
        epoch: Epoch,
        blocks: u64,
    },
    Grown,
    Resized {
        epoch: Epoch,
        blocks: u64,
    },
}
