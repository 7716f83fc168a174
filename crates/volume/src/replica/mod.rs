//! Implements the replication state machine of one copy of a volume. Inputs are requests, disk
//! results, messages, lease events and the time; outputs are actions. No I/O, no clock, no
//! randomness.
//!
//! Invariants:
//! - A write or flush is acknowledged when both copies have it, or when this copy has it and the
//!   record excludes the other one. The lease must be valid at that time. A reply that a driver
//!   delivers late was valid when it was created.
//! - Before a write reaches a disk, its extents are in the activity log on the owner's disk. They
//!   leave the log when both disks have flushed the writes, or with their dirty bits.
//! - Overlapping requests run one after the other ([`interval`]), including resync copies.
//! - Data that does not match its checksum is never returned or copied ([`damage`]).
//! - Each copy in the record has at least the size that clients know ([`growth`]).
//! - A follower executes only commands of the epoch that it has promised on disk.
//! - Before a node switches between owner and follower, all its earlier disk operations have
//!   ended.
//! - The record is about copies, not only about their nodes: a copy of another node, or another
//!   copy than the recorded one, never serves. A copy of the other node is never written.
//! - A copy that is not in the record never serves. A copy that lost power with acknowledged but
//!   unflushed writes serves only in three cases: the other copy also lost power, the record
//!   excludes the other copy, or an operator permits it.
//! - At most one proposal of a record is pending, and is repeated until its outcome is known.
//!   Until then acknowledgements need both copies.

pub mod activity;
pub mod bitmap;
mod copy;
#[cfg(test)]
mod cost;
mod damage;
mod defect;
mod durable;
mod exchange;
mod follower;
mod geometry;
mod growth;
mod hand_over;
mod handshake;
pub mod interval;
mod message;
mod operations;
mod other;
mod owner;
mod record;
mod report;
mod requests;
mod resync;
mod settings;
#[cfg(test)]
mod simulation;
mod tenure;
mod verify;

pub use damage::RepairFailure;
pub use durable::{Boot, CopyHeader, CopyIdentity, CopyState, Durable, DurableChange, VolumeId};
pub use exchange::{
    DiskResult, Input, Notice, Operation, OperationId, ReplicaAction, ReplicaOrder, Request,
    RequestId, RequestOutcome, Time,
};
pub use geometry::{BLOCK_BYTES, Blocks, EXTENT_BLOCKS, Extent, Geometry, LOG_EXTENTS};
pub use handshake::{Introduction, JoinRefusal, Resume, belongs, decide, refusal};
pub use message::{FollowerCommand, Payload, ReplicaMessage, Session, WriteContent};
pub use record::{
    CopyId, Epoch, FORKS_MAX, Generation, HistoryFork, InSync, Incarnation, NodeId, Record,
    RecordedCopy,
};
pub use report::{OtherState, ReplicaReport};
pub use settings::{ReplicaLimits, Settings};
pub use verify::{BlockFault, FOUND_MAX, Verify, VerifyInterruption};

use copy::LocalCopy;
use damage::DamagedBlocks;
use defect::InjectedDefect;
use follower::FollowerState;
use operations::{OperationPurpose, Operations};
use other::PeerCopy;
use requests::Requests;
use tenure::{LeaseRole, Tenure};
use verify::VerifyState;

/// State machine of one copy of a volume. The driver passes each event to [`Replica::handle`],
/// executes the returned actions in order, and reports their results as further inputs.
/// [`Input::Tick`] is due at [`Replica::deadline`].
#[derive(Debug)]
pub struct Replica<P> {
    settings: Settings,
    now: Time,
    out: Vec<ReplicaAction<P>>,
    broken: InjectedDefect,
    copy: LocalCopy,
    operations: Operations,
    requests: Requests<P>,
    tenure: Tenure,
    link: Option<Session>,
    other: PeerCopy,
    following: FollowerState<P>,
    verifying: VerifyState,
    damage: DamagedBlocks,
}

impl<P: Payload> Replica<P> {
    /// Creates the state machine from the durable state of a copy. No disk operation of an earlier
    /// process may be in progress.
    pub fn new(settings: Settings, durable: &Durable, now: Time) -> Replica<P> {
        let mut settings = settings;
        settings.geometry.blocks = durable.head.blocks;
        Replica {
            copy: LocalCopy::new(&settings, durable),
            settings,
            now,
            out: Vec::new(),
            broken: InjectedDefect::default(),
            operations: Operations::default(),
            requests: Requests::default(),
            tenure: Tenure::default(),
            link: None,
            other: PeerCopy::default(),
            following: FollowerState::default(),
            verifying: VerifyState::default(),
            damage: DamagedBlocks::default(),
        }
    }

    /// Injects a defect, to check that the tests find it.
    #[cfg(test)]
    pub(crate) fn break_it(&mut self, broken: InjectedDefect) {
        self.broken = broken;
        if broken.is(defect::ReplicaDefect::IgnoresPowerLoss) {
            self.copy.lacks = false;
        }
        if broken.is(defect::ReplicaDefect::IgnoresIdentity) {
            self.copy.head.identity = CopyIdentity::default();
        }
    }

    /// Processes an input, and appends actions to `actions`. The driver executes them in order.
    pub fn handle(&mut self, now: Time, input: Input<P>, actions: &mut Vec<ReplicaAction<P>>) {
        self.now = self.now.max(now);
        std::mem::swap(&mut self.out, actions);
        match input {
            Input::Request(id, request) => self.request(id, request),
            Input::Disk(operation, result) => self.disk(operation, result),
            Input::Short => self.shortened(),
            Input::Stored(number) => self.stored(number),
            Input::StoreFailed(number) => self.store_failed(number),
            Input::Connected(session) => self.connected(session),
            Input::Lost(session) => self.lost(session),
            Input::Silent(is_silent) => self.other.is_silent = is_silent,
            Input::Message(session, message) if self.link == Some(session) => {
                self.message(session, message);
            }
            Input::Message(..) => {}
            Input::Granted {
                epoch,
                until,
                record,
            } => self.granted(epoch, until, record),
            Input::Renewed { epoch, until } => self.renewed(epoch, until),
            Input::LeaseEnded => self.end_lease(),
            Input::Recorded(record) => self.recorded(record),
            Input::Room { from, to } => self.has_room(from, to),
            Input::Order(order) => self.order(order),
            Input::Tick => {}
        }
        self.advance();
        std::mem::swap(&mut self.out, actions);
    }

    /// Returns the time at which [`Input::Tick`] is due, without another input.
    pub fn deadline(&self) -> Option<Time> {
        let stalls = (!self.requests.is_idle()).then_some(self.requests.checked_at);
        let stalls = stalls.map(|at| at.after(self.settings.bounds.stall_check_ns()));
        [
            stalls,
            self.copy.store_again_at,
            self.tenure_deadline(),
            self.other_deadline(),
            self.failing_deadline(),
            self.verify_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn advance(&mut self) {
        if self.now
            >= self
                .requests
                .checked_at
                .after(self.settings.bounds.stall_check_ns())
        {
            self.check_stalls();
        }
        if self.tenure.role != LeaseRole::Idle {
            self.advance_tenure();
            self.advance_other();
            self.admit();
            self.advance_hand_over();
            self.advance_growth();
            self.advance_verify();
        }
        self.advance_failing();
        self.advance_store();
    }

    fn disk(&mut self, operation: OperationId, result: DiskResult<P>) {
        let Some(purpose) = self.operations.end(operation) else {
            return;
        };
        match purpose {
            OperationPurpose::Local(slot) => self.local_ended(slot, result),
            OperationPurpose::Serve { serial, tag } => self.served(serial, tag, result),
            OperationPurpose::Compare {
                serial,
                tag,
                checksum,
            } => self.compared(serial, tag, checksum, result),
            OperationPurpose::Verify {
                serial,
                tag,
                checksum,
            } => self.verified(serial, tag, checksum, result),
            OperationPurpose::Fetch { serial, tag } => self.fetched(serial, tag, result),
            OperationPurpose::Finish { serial } => self.finish_flushed(serial, result),
        }
        if self.is_drained() {
            self.drained();
        }
    }

    fn is_drained(&self) -> bool {
        self.operations.count() == 0 || self.broken.is(defect::ReplicaDefect::NeverDrains)
    }

    fn drained(&mut self) {
        if self.requests.abandoned {
            self.requeue();
        }
        if self.tenure.role == LeaseRole::Draining {
            self.promise();
        }
        self.follower_drained();
    }

    fn stored(&mut self, number: u64) {
        if !self.copy.stored(number) {
            return;
        }
        self.resized();
        self.requests_stored();
        self.tenure_stored();
        self.other_stored();
        self.hand_over_stored();
        self.growth_stored();
        self.follower_stored();
    }

    fn start(&mut self, purpose: OperationPurpose, operation: Operation<P>) {
        let id = self.operations.begin(purpose);
        self.out.push(ReplicaAction::Disk(id, operation));
    }

    fn send(&mut self, message: ReplicaMessage<P>) {
        if let Some(session) = self.link {
            self.out.push(ReplicaAction::Send(session, message));
        }
    }

    fn say(&mut self, notice: Notice) {
        self.out.push(ReplicaAction::Say(notice));
    }
}
