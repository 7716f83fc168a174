//! What goes into a replica and what comes out: requests of clients, results of the local
//! disk, messages, the lease, orders; and the actions that the driver takes.

use super::damage::Unrepaired;
use super::durable::Change;
use super::geometry::{BLOCK_BYTES, Blocks};
use super::handshake::Refusal;
use super::message::{Body, Message, Session};
use super::record::{Epoch, Node, Record};
use super::verify::Verify;
use std::fmt;

/// Nanoseconds of a clock that goes on while the machine sleeps (CLOCK_BOOTTIME).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Time(pub u64);

impl Time {
    /// The time so many nanoseconds later.
    pub fn after(self, ns: u64) -> Time {
        Time(self.0.saturating_add(ns))
    }
}

/// A request of a client; the driver chooses the number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RequestId(pub u64);

/// An operation of the local disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OperationId(pub u32);

/// What a client wants.
#[derive(Clone, Debug)]
pub enum Request<P> {
    /// Returns the content.
    Read(Blocks),
    /// Changes the content.
    Write {
        /// The blocks.
        blocks: Blocks,
        /// What they become.
        body: Body<P>,
        /// Done only when it is on stable storage.
        fua: bool,
    },
    /// Done when all that was acknowledged before is on stable storage.
    Flush,
}

/// How a request ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome<P> {
    /// The write or flush is done.
    Done,
    /// The content that was read.
    Data(P),
    /// The disk failed, and no other copy is in sync (EIO).
    Failed,
    /// This node is not the owner; the request was not executed. The client sends it to the
    /// owner.
    NotOwner,
    /// This node is not the owner any longer. The request may have been executed,
    /// but will not be from now on: the client sends it to the owner.
    Moved,
    /// The range lies outside of the volume, or is too long.
    OutOfRange,
    /// More requests than [`super::Bounds::requests`] are under way.
    Busy,
}

/// An operation of the local disk. Operations that overlap are never under way together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation<P> {
    /// Returns the content.
    Read(Blocks),
    /// Changes the content.
    Write {
        /// The blocks.
        blocks: Blocks,
        /// What they become.
        body: Body<P>,
        /// Done only when it is on stable storage.
        fua: bool,
    },
    /// Puts all completed writes on stable storage.
    Flush,
    /// Writes the content that the other copy has, if it matches the checksums that this copy
    /// keeps of the blocks; otherwise nothing is written, and they are damaged as before.
    Repair {
        /// The blocks.
        blocks: Blocks,
        /// What the other copy has.
        data: P,
    },
}

/// How an operation ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DiskResult<P> {
    /// The write or flush is done.
    Done,
    /// The content that was read.
    Data(P),
    /// An error: written blocks may have the old or the new content.
    Failed,
    /// These blocks are not what was written, by their checksums.
    Damaged(Vec<u64>),
}

/// A command of an operator or of the guest's manager.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Freezes requests, makes both copies clean and waits for [`Order::HandOver`] or
    /// [`Order::Thaw`].
    Freeze,
    /// Goes on after [`Order::Freeze`].
    Thaw,
    /// Makes both copies clean and releases the lease.
    HandOver,
    /// Serves although this copy lost power and the other one cannot be asked.
    ServeAlone,
    /// Compares both copies.
    Verify {
        /// The other copy gets what differs.
        repairs: bool,
    },
    /// Ends the verify that runs.
    StopVerify,
    /// Resynchronises the other copy without a wait after attempts that failed.
    Resync {
        /// All of it is compared, also if it is in sync: it has no part in anything until then.
        everything: bool,
    },
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input<P> {
    /// A client sent a request.
    Request(RequestId, Request<P>),
    /// An operation of the local disk ended.
    Disk(OperationId, DiskResult<P>),
    /// The disk was found shorter than the volume: what was behind its end is lost.
    Short,
    /// A change was stored.
    Stored(u64),
    /// A change may not be on disk.
    StoreFailed(u64),
    /// The other node is connected; a former session is lost by that.
    Connected(Session),
    /// A connection ended.
    Lost(Session),
    /// Whether nothing has come of the other node for longer than it takes to say that it lives.
    Silent(bool),
    /// A message came.
    Message(Session, Message<P>),
    /// The lease was granted, and renewed until then; the record is that of the grant.
    Granted {
        /// Its epoch.
        epoch: Epoch,
        /// By the local clock.
        until: Time,
        /// What the cluster knows.
        record: Record,
    },
    /// The lease was renewed.
    Renewed {
        /// Its epoch.
        epoch: Epoch,
        /// By the local clock.
        until: Time,
    },
    /// The lease is not held any longer; the same epoch may come back by a renewal.
    LeaseEnded,
    /// This record is the current one, in the epoch of this node.
    Recorded(Record),
    /// The backing has room for a volume of `to` blocks: what follows the end of the volume,
    /// or its room up to `from` blocks, was made zeros.
    Room {
        /// Room that was there before.
        from: u64,
        /// Room that there is.
        to: u64,
    },
    /// An operator's command.
    Order(Order),
    /// The time of [`super::Replica::deadline`] has come.
    Tick,
}

/// Something to do, in this order.
#[derive(Clone, Debug)]
pub enum Action<P> {
    /// Replies to a client.
    Reply(RequestId, Outcome<P>),
    /// Starts an operation of the local disk.
    Disk(OperationId, Operation<P>),
    /// Stores a change, then reports [`Input::Stored`].
    Store(u64, Change),
    /// Sends a message.
    Send(Session, Message<P>),
    /// Closes a connection, and opens another one.
    Disconnect(Session),
    /// Proposes a record: it takes effect if the epoch is the current one and the generation
    /// follows the current one. Repeated until [`Input::Recorded`].
    Propose(Epoch, Record),
    /// Releases the lease.
    Release(Epoch),
    /// The volume has so many blocks, for clients that connect from now on.
    Resized(u64),
    /// Reports something to operators.
    Say(Notice),
}

/// Something that operators want to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// The volume is served here.
    Serves {
        /// The epoch.
        epoch: Epoch,
        /// With the other copy.
        mirrored: bool,
    },
    /// The other copy is not reachable, or too slow.
    OtherLost,
    /// The other copy's disk failed.
    OtherFailed,
    /// The other copy has been refused.
    Refused(Refusal),
    /// Both copies are in sync again.
    InSync,
    /// A resync begins.
    Resync {
        /// Blocks that are compared or copied.
        blocks: u64,
    },
    /// The local disk failed; the other copy takes over.
    LocalFailed,
    /// The disk of this copy is older than the record that has it.
    Older,
    /// The disk of this copy was shorter than the volume.
    Cut,
    /// This copy is not in sync, so it does not serve.
    NotInSync,
    /// This copy lost power and the other one did not: it takes over.
    GivesWay,
    /// This copy lost power, and the other one cannot be asked.
    WaitsForOther(Node),
    /// An operator has the other copy compared as a whole.
    ResyncOrdered,
    /// Requests are frozen and both copies are clean.
    Frozen,
    /// A hand-over is not possible or was given up: the other copy is not in sync.
    NotHandedOver,
    /// A verify has ended.
    Verified(Box<Verify>),
    /// A block is damaged on the disk of this copy, and the other one cannot repair it.
    NotRepaired {
        /// The block.
        block: u64,
        /// Why not.
        why: Unrepaired,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Serves { epoch, mirrored } => {
                let with = if *mirrored { "both copies" } else { "one copy" };
                write!(f, "serving in epoch {} with {with}", epoch.0)
            }
            Notice::OtherLost => f.write_str("the other copy does not respond"),
            Notice::OtherFailed => f.write_str("the disk of the other copy failed"),
            Notice::Refused(refusal) => refusal.fmt(f),
            Notice::InSync => f.write_str("both copies are in sync"),
            Notice::Resync { blocks } => {
                write!(f, "resync: {} KiB to compare or copy", blocks * 4)
            }
            Notice::LocalFailed => {
                f.write_str("the local disk failed or stalls; the other copy takes over")
            }
            Notice::Older => f.write_str(
                "this copy is older than what the cluster recorded of it, as a restored backup is: it may lack \
                 writes that were acknowledged, and does not serve. The other copy serves if it is complete. To \
                 serve this one as it is: `evenkeel volume serve-alone NAME --yes`"
            ),
            Notice::Cut => f.write_str(
                "the disk of this copy was shorter than the volume for a while: what was behind its end is lost, \
                 and it does not serve. The other copy serves if it is complete. To serve this one as it is: \
                 `evenkeel volume serve-alone NAME --yes`"
            ),
            Notice::NotInSync => f.write_str("this copy is not in sync and does not serve"),
            Notice::GivesWay => f.write_str(
                "this copy lost power and may lack acknowledged writes; the other copy takes over",
            ),
            Notice::WaitsForOther(node) => write!(
                f,
                "this copy lost power and may lack acknowledged writes that {node} has; waiting \
                 for it. If it is lost for good: `evenkeel volume serve-alone NAME --yes`"
            ),
            Notice::ResyncOrdered => {
                f.write_str("a resync was requested: the other copy is compared as a whole")
            }
            Notice::Frozen => f.write_str("requests are frozen, both copies are clean"),
            Notice::NotHandedOver => {
                f.write_str("not handed over: the other copy is not connected, or not in sync")
            }
            Notice::Verified(verify) => write!(f, "verify: {verify}"),
            Notice::NotRepaired { block, why } => {
                let first = block * BLOCK_BYTES;
                let last = first + BLOCK_BYTES - 1;
                write!(f, "bytes {first}-{last} are damaged here and not repaired: {why}")
            }
        }
    }
}
