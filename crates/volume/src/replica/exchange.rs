//! Defines the inputs and actions of a replica. Inputs: client requests, disk results, messages,
//! lease events and orders. Actions: what the driver has to do.

use super::damage::RepairFailure;
use super::durable::DurableChange;
use super::geometry::{BLOCK_BYTES, Blocks};
use super::handshake::JoinRefusal;
use super::message::{ReplicaMessage, Session, WriteContent};
use super::record::{Epoch, NodeId, Record};
use super::verify::Verify;
use std::fmt;

/// Time in nanoseconds of a clock that includes suspend (CLOCK_BOOTTIME).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Time(pub u64);

impl Time {
    pub fn after(self, ns: u64) -> Time {
        Time(self.0.saturating_add(ns))
    }
}

/// Identifier of a client request, chosen by the driver.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RequestId(pub u64);

/// Identifier of a local disk operation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OperationId(pub u32);

#[derive(Clone, Debug)]
pub enum Request<P> {
    Read(Blocks),
    Write {
        blocks: Blocks,
        body: WriteContent<P>,
        /// The request completes only when the data is on stable storage.
        fua: bool,
    },
    /// Makes all acknowledged writes durable.
    Flush,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RequestOutcome<P> {
    Done,
    Data(P),
    /// The disk failed, and no other copy is in sync (EIO).
    Failed,
    /// This node is not the owner, and has not executed the request. The client has to send it to
    /// the owner.
    NotOwner,
    /// This node is no longer the owner. The request may have been executed, but will not be
    /// from now on. The client has to send it to the owner.
    Moved,
    OutOfRange,
    /// More than `ReplicaLimits::requests` requests are in progress.
    Busy,
}

/// Local disk operation. A write never runs concurrently with another operation on the same blocks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation<P> {
    Read(Blocks),
    Write {
        blocks: Blocks,
        body: WriteContent<P>,
        fua: bool,
    },
    Flush,
    /// Writes the content of the other copy if it matches the local checksums. Otherwise writes
    /// nothing, and the blocks stay damaged.
    Repair {
        blocks: Blocks,
        data: P,
    },
}

/// Result of a disk operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DiskResult<P> {
    Done,
    Data(P),
    /// The disk reported an error. Blocks of a failed write have the old or the new content.
    Failed,
    /// Blocks that do not match their checksums.
    Damaged(Vec<u64>),
}

/// Order of an operator, or of the role that manages the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplicaOrder {
    /// Freezes requests, stores both copies as clean, and waits for [`ReplicaOrder::HandOver`] or
    /// [`ReplicaOrder::Thaw`].
    Freeze,
    Thaw,
    /// Stores both copies as clean and releases the lease.
    HandOver,
    /// Serves although this copy lost power with unflushed writes and the other one is not
    /// reachable.
    ServeAlone,
    Verify {
        repairs: bool,
    },
    StopVerify,
    /// Starts a resync of the other copy at once, despite earlier failures.
    Resync {
        /// Compares all blocks, even if the other copy is in sync. The other copy does not count as
        /// in sync until the comparison has ended.
        everything: bool,
    },
}

#[derive(Clone, Debug)]
pub enum Input<P> {
    Request(RequestId, Request<P>),
    Disk(OperationId, DiskResult<P>),
    /// The disk is shorter than the volume; the data after the end of the disk is lost.
    Short,
    Stored(u64),
    StoreFailed(u64),
    /// The other node has connected. This ends a previous session.
    Connected(Session),
    Lost(Session),
    /// True if the other node has sent nothing for longer than its heartbeat interval.
    Silent(bool),
    Message(Session, ReplicaMessage<P>),
    /// The lease was granted and is valid until this time. The record came with the grant.
    Granted {
        epoch: Epoch,
        until: Time,
        record: Record,
    },
    Renewed {
        epoch: Epoch,
        until: Time,
    },
    /// The lease is no longer held. A renewal may restore the same epoch.
    LeaseEnded,
    /// The cluster's current record, written in the epoch of this node's lease.
    Recorded(Record),
    /// The backing store has space for a volume of `to` blocks: the space from `from`, or from the
    /// end of the volume, was zeroed.
    Room {
        from: u64,
        to: u64,
    },
    Order(ReplicaOrder),
    /// The time of [`super::Replica::deadline`] has come.
    Tick,
}

/// Action for the driver. Actions are executed in order.
#[derive(Clone, Debug)]
pub enum ReplicaAction<P> {
    Reply(RequestId, RequestOutcome<P>),
    Disk(OperationId, Operation<P>),
    /// Stores a change, then reports [`Input::Stored`].
    Store(u64, DurableChange),
    Send(Session, ReplicaMessage<P>),
    Disconnect(Session),
    /// Proposes a record. The cluster accepts it if the epoch is current and the generation is the
    /// next one. Repeated until [`Input::Recorded`].
    Propose(Epoch, Record),
    Release(Epoch),
    /// The volume has this many blocks for clients that connect from now on.
    Resized(u64),
    Say(Notice),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    Serves {
        epoch: Epoch,
        mirrored: bool,
    },
    /// The other copy is unreachable or too slow.
    OtherLost,
    OtherFailed,
    Refused(JoinRefusal),
    InSync,
    Resync {
        blocks: u64,
    },
    /// The local disk failed, and the other copy becomes the owner.
    LocalFailed,
    /// This copy is older than the cluster's record, which lists it: its disk was reset to an
    /// earlier state.
    Older,
    /// The disk of this copy was shorter than the volume for some time: data beyond its end is
    /// lost, so this copy does not serve.
    Cut,
    /// This copy is not in sync, so this node does not serve.
    NotInSync,
    /// This copy lost power and the other one did not, so the other node becomes the owner.
    GivesWay,
    /// This copy lost power, and the other one is not reachable.
    WaitsForOther(NodeId),
    ResyncOrdered,
    Frozen,
    /// A hand-over was refused or cancelled, because the other copy is not in sync.
    NotHandedOver,
    Verified(Box<Verify>),
    /// A block on this copy's disk is damaged, and the other copy cannot repair it.
    NotRepaired {
        block: u64,
        why: RepairFailure,
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
                "this copy is older than what the cluster recorded of it, such as a restored backup: it may \
                 lack acknowledged writes, and does not serve. The other copy serves if it is complete. To \
                 serve this copy as it is: `evenkeel volume serve-alone NAME --yes`"
            ),
            Notice::Cut => f.write_str(
                "the disk of this copy was temporarily shorter than the volume: data beyond its end is \
                 lost, and it does not serve. The other copy serves if it is complete. To serve this copy \
                 as it is: `evenkeel volume serve-alone NAME --yes`"
            ),
            Notice::NotInSync => f.write_str("this copy is not in sync and does not serve"),
            Notice::GivesWay => f.write_str(
                "this copy lost power and may lack acknowledged writes; the other copy takes over",
            ),
            Notice::WaitsForOther(node) => write!(
                f,
                "this copy lost power and may lack acknowledged writes that {node} has; waiting for it. If \
                 it is permanently lost: `evenkeel volume serve-alone NAME --yes`"
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
