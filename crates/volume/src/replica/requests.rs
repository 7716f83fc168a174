//! Executes the requests in progress of a replica: those of clients, of the resync and of the
//! activity log. Each waits for the lock of its block range, the activity log, the local disk and
//! the other copy.

use super::activity::Admission;
use super::damage::RepairFailure;
use super::defect::ReplicaDefect;
use super::exchange::{
    DiskResult, Notice, Operation, ReplicaAction, Request, RequestId, RequestOutcome, Time,
};
use super::geometry::Blocks;
use super::interval::IntervalLock;
use super::message::{FollowerCommand, ReplicaMessage, WriteContent};
use super::operations::OperationPurpose;
use super::tenure::LeaseRole;
use super::verify::BlockFault;
use super::{Payload, Replica};
use std::collections::VecDeque;

mod without_majority;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestInitiator {
    Client(RequestId),
    Log,
    Resync,
    HandOver,
    /// Flush before a record with this copy alone is proposed.
    Alone,
    Verify,
    Repair,
}

#[derive(Clone, Debug)]
pub enum RequestOperation<P> {
    Read,
    Write {
        body: WriteContent<P>,
        fua: bool,
    },
    Flush,
    /// Resync copy: reads locally, and writes the blocks to the other copy if they differ there.
    Copy {
        compare: bool,
    },
    /// Verify: reads locally, and compares on the other copy.
    Verify {
        /// True if the request compares a single block of a differing range.
        narrow: bool,
    },
    Repair,
}

impl<P> RequestOperation<P> {
    /// Returns whether the request is internal: resync, verify or repair.
    fn is_copy(&self) -> bool {
        matches!(
            self,
            RequestOperation::Copy { .. }
                | RequestOperation::Verify { .. }
                | RequestOperation::Repair
        )
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum RequestStage {
    Free,
    Queued,
    Locking,
    /// Waits for space in the activity log.
    Cold,
    Storing(u64),
    Running,
    /// Waits until its earlier disk operations have ended; then it starts again or fails.
    Abandoned,
}

/// State of a request on one of the copies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestPartState {
    Not,
    Waiting,
    Done,
    /// The outcome is unknown, because the session was lost.
    Lost,
    /// Completed, but in a session that was lost since.
    Past,
    Failed,
}

#[derive(Clone, Debug)]
pub struct ReplicaRequest<P> {
    pub(super) origin: RequestInitiator,
    pub(super) work: RequestOperation<P>,
    pub(super) blocks: Blocks,
    stage: RequestStage,
    pub(super) local: RequestPartState,
    pub(super) remote: RequestPartState,
    needs_other: bool,
    /// The client has received its reply, or the internal request is cancelled.
    pub(super) replied: bool,
    /// The client received an error. A write that has begun is still completed on both copies.
    failed: bool,
    pub(super) data: Option<P>,
    pub(super) sent_at: Time,
    arrived: u64,
    /// For a flush: completion number of the last write that it covers, and whether it covers both
    /// copies.
    covers: (u64, bool),
    /// Number of times that the blocks of this read were damaged and repaired.
    pub(super) rounds: u8,
}

#[derive(Debug)]
pub struct Requests<P> {
    slots: Vec<ReplicaRequest<P>>,
    free: Vec<u32>,
    queue: VecDeque<u32>,
    lock: IntervalLock,
    cold: VecDeque<u32>,
    storing: Vec<u32>,
    granted: Vec<u32>,
    arrivals: u64,
    flushing: bool,
    pub clients: usize,
    /// Number of client requests in progress that do not need the other copy.
    pub loose: usize,
    pub abandoned: bool,
    pub checked_at: Time,
}

impl<P> Default for Requests<P> {
    fn default() -> Requests<P> {
        Requests {
            slots: Vec::new(),
            free: Vec::new(),
            queue: VecDeque::new(),
            lock: IntervalLock::default(),
            cold: VecDeque::new(),
            storing: Vec::new(),
            granted: Vec::new(),
            arrivals: 0,
            flushing: false,
            clients: 0,
            loose: 0,
            abandoned: false,
            checked_at: Time(0),
        }
    }
}

impl<P> Requests<P> {
    pub fn open(
        &mut self,
        origin: RequestInitiator,
        work: RequestOperation<P>,
        blocks: Blocks,
    ) -> u32 {
        self.arrivals += 1;
        let slot = ReplicaRequest {
            origin,
            work,
            blocks,
            stage: RequestStage::Queued,
            local: RequestPartState::Not,
            remote: RequestPartState::Not,
            needs_other: false,
            replied: false,
            failed: false,
            data: None,
            sent_at: Time(0),
            arrived: self.arrivals,
            covers: (0, false),
            rounds: 0,
        };
        match self.free.pop() {
            Some(place) => {
                self.slots[place as usize] = slot;
                place
            }
            None => {
                self.slots.push(slot);
                self.slots.len() as u32 - 1
            }
        }
    }

    pub fn slot(&self, place: u32) -> &ReplicaRequest<P> {
        &self.slots[place as usize]
    }

    pub fn slot_mut(&mut self, place: u32) -> &mut ReplicaRequest<P> {
        &mut self.slots[place as usize]
    }

    pub fn is_idle(&self) -> bool {
        self.slots.len() - self.free.len() == self.queue.len()
    }

    pub fn open_clients(&self) -> usize {
        let is_open = |slot: &&ReplicaRequest<P>| {
            slot.stage != RequestStage::Free
                && !slot.replied
                && matches!(slot.origin, RequestInitiator::Client(_))
        };
        self.slots.iter().filter(is_open).count()
    }

    /// Abandons all requests that have begun. They then wait until their disk operations have
    /// ended.
    pub fn abandon(&mut self) {
        for slot in &mut self.slots {
            if !matches!(slot.stage, RequestStage::Free | RequestStage::Queued) {
                slot.stage = RequestStage::Abandoned;
            }
        }
        self.abandoned = true;
    }

    pub fn cancel(&mut self, origin: RequestInitiator) {
        for slot in &mut self.slots {
            slot.replied |= slot.origin == origin && slot.stage != RequestStage::Free;
        }
    }

    fn close(&mut self, place: u32) {
        let slot = self.slot_mut(place);
        slot.stage = RequestStage::Free;
        slot.work = RequestOperation::Flush;
        slot.data = None;
        self.free.push(place);
    }

    pub(super) fn is_running(&self, place: u32) -> bool {
        let slot = self.slots.get(place as usize);
        slot.is_some_and(|slot| slot.stage == RequestStage::Running)
    }
}

impl<P: Payload> Replica<P> {
    pub(super) fn request(&mut self, id: RequestId, request: Request<P>) {
        let (work, blocks) = match request {
            Request::Read(blocks) => (RequestOperation::Read, blocks),
            Request::Write { blocks, body, fua } => (RequestOperation::Write { body, fua }, blocks),
            Request::Flush => (RequestOperation::Flush, Blocks { first: 0, count: 1 }),
        };
        let bounds = &self.settings.bounds;
        let fits = blocks.count > 0 && blocks.count <= bounds.request_blocks;
        let refusal = if !self.tenure.waits {
            Some(RequestOutcome::NotOwner)
        } else if !fits {
            Some(RequestOutcome::OutOfRange)
        } else if self.requests.queue.len() + self.requests.clients >= bounds.requests {
            Some(RequestOutcome::Busy)
        } else {
            None
        };
        if let Some(outcome) = refusal {
            return self.out.push(ReplicaAction::Reply(id, outcome));
        }
        let place = self
            .requests
            .open(RequestInitiator::Client(id), work, blocks);
        self.requests.queue.push_back(place);
    }

    pub(super) fn admit(&mut self) {
        while self.tenure.role == LeaseRole::Serving
            && self.tenure.hand_over.is_none()
            && !self.requests.queue.is_empty()
            && self.is_valid()
        {
            if let Some(place) = self.requests.queue.pop_front() {
                self.begin_request(place);
            }
        }
    }

    /// Starts a client request if its range is within the volume, otherwise replies `OutOfRange`.
    /// Only an owner with a valid lease knows the size of the volume.
    fn begin_request(&mut self, place: u32) {
        let slot = self.requests.slot(place);
        if self.settings.geometry.contains(slot.blocks) {
            return self.begin_slot(place);
        }
        if let RequestInitiator::Client(id) = slot.origin {
            self.out
                .push(ReplicaAction::Reply(id, RequestOutcome::OutOfRange));
        }
        self.requests.close(place);
    }

    pub(super) fn begin_slot(&mut self, place: u32) {
        let slot = self.requests.slot_mut(place);
        slot.stage = RequestStage::Locking;
        let (blocks, is_client) = (
            slot.blocks,
            matches!(slot.origin, RequestInitiator::Client(_)),
        );
        let exclusive = match slot.work {
            RequestOperation::Flush => None,
            RequestOperation::Repair if self.broken.is(ReplicaDefect::RepairPassesWrites) => None,
            RequestOperation::Write { .. } | RequestOperation::Repair => Some(true),
            RequestOperation::Read if self.broken.is(ReplicaDefect::ReadsPassWrites) => None,
            RequestOperation::Verify { .. }
                if self.broken.is(ReplicaDefect::VerifyPassesWrites) =>
            {
                None
            }
            RequestOperation::Read
            | RequestOperation::Copy { .. }
            | RequestOperation::Verify { .. } => Some(false),
        };
        self.requests.clients += usize::from(is_client);
        let exclusive = exclusive.filter(|_| !self.broken.is(ReplicaDefect::NoIntervalLock));
        match exclusive {
            Some(exclusive) if !self.requests.lock.enter(place, blocks, exclusive) => {}
            _ => self.locked(place),
        }
    }

    fn locked(&mut self, place: u32) {
        let slot = self.requests.slot(place);
        let blocks = slot.blocks;
        if matches!(
            slot.work,
            RequestOperation::Read
                | RequestOperation::Flush
                | RequestOperation::Verify { .. }
                | RequestOperation::Repair
        ) {
            return self.run(place);
        }
        if !self.requests.cold.is_empty() {
            // Waits until requests that came earlier have space in the log, unless all of its own
            // extents are hot already.
            let extents = self.settings.geometry.extents_of(blocks);
            if self.copy.log.pin_hot(extents) {
                return self.run(place);
            }
            self.requests.slot_mut(place).stage = RequestStage::Cold;
            return self.requests.cold.push_back(place);
        }
        if !self.heat(place) {
            self.requests.slot_mut(place).stage = RequestStage::Cold;
            self.requests.cold.push_back(place);
            self.advance_log();
        }
    }

    fn heat(&mut self, place: u32) -> bool {
        match self.pin(self.requests.slot(place).blocks) {
            Admission::Hot => self.run(place),
            Admission::After(number) => {
                self.requests.slot_mut(place).stage = RequestStage::Storing(number);
                self.requests.storing.push(place);
            }
            Admission::Full => return false,
        }
        true
    }

    pub(super) fn advance_log(&mut self) {
        while let Some(place) = self.requests.cold.pop_front() {
            if !self.heat(place) {
                self.requests.cold.push_front(place);
                break;
            }
        }
        // While the other copy is lost but still in the record, no flush covers both copies.
        let recorded = self.may_have_another();
        let helps = self.other.receives() || !recorded;
        if !self.requests.cold.is_empty() && self.leave_log() && helps && !self.requests.flushing {
            self.requests.flushing = true;
            let nothing = Blocks { first: 0, count: 1 };
            let place = self
                .requests
                .open(RequestInitiator::Log, RequestOperation::Flush, nothing);
            self.begin_slot(place);
        }
    }

    pub(super) fn requests_stored(&mut self) {
        let mut place = 0;
        while place < self.requests.storing.len() {
            let slot = self.requests.storing[place];
            match self.requests.slot(slot).stage {
                RequestStage::Storing(number) if !self.copy.has_stored(number) => place += 1,
                RequestStage::Storing(_) => {
                    self.requests.storing.swap_remove(place);
                    self.run(slot);
                }
                _ => _ = self.requests.storing.swap_remove(place),
            }
        }
        self.advance_log();
    }

    fn run(&mut self, place: u32) {
        let required = self.requires_other();
        let receives = self.other.receives();
        let recorded = self.may_have_another();
        let covers = self.copy.log.completed();
        let slot = self.requests.slot_mut(place);
        slot.stage = RequestStage::Running;
        if slot.failed && !self.broken.is(ReplicaDefect::ExecutesFailed) {
            // Marks the request as one that needs the other copy, because it was not counted in
            // `loose`, which counts those that do not.
            slot.needs_other = true;
            return self.end_slot(place);
        }
        slot.local = RequestPartState::Waiting;
        slot.sent_at = self.now;
        let blocks = slot.blocks;
        let (operation, command) = match &slot.work {
            RequestOperation::Read => (Operation::Read(blocks), None),
            work if work.is_copy() && slot.replied => return self.end_slot(place),
            RequestOperation::Copy { .. }
            | RequestOperation::Verify { .. }
            | RequestOperation::Repair => (Operation::Read(blocks), None),
            RequestOperation::Write { body, fua } => {
                let (body, fua) = (body.clone(), *fua);
                let command = receives.then(|| FollowerCommand::Write {
                    blocks,
                    body: body.clone(),
                    fua,
                });
                (Operation::Write { blocks, body, fua }, command)
            }
            RequestOperation::Flush => {
                (Operation::Flush, receives.then_some(FollowerCommand::Flush))
            }
        };
        let is_read = matches!(operation, Operation::Read(_));
        let is_flush = matches!(operation, Operation::Flush);
        slot.covers = (covers, receives || recorded);
        if !is_read && matches!(slot.origin, RequestInitiator::Client(_)) {
            slot.needs_other = required
                && !self.broken.is(ReplicaDefect::AcksWithoutOther)
                && !(is_flush && self.broken.is(ReplicaDefect::FlushesLocalOnly));
            self.requests.loose += usize::from(!self.requests.slot(place).needs_other);
        }
        self.start(OperationPurpose::Local(place), operation);
        match command {
            Some(command) => {
                self.requests.slot_mut(place).remote = RequestPartState::Waiting;
                self.command(place, command);
            }
            None if !is_read && !is_flush => self.copy.dirty.set(blocks),
            None => {}
        }
    }

    pub(super) fn command(&mut self, place: u32, command: FollowerCommand<P>) {
        self.send(ReplicaMessage::Command {
            epoch: self.tenure.epoch,
            tag: place,
            command,
        });
    }

    pub(super) fn local_ended(&mut self, place: u32, result: DiskResult<P>) {
        if !self.requests.is_running(place) {
            return;
        }
        let slot = self.requests.slot_mut(place);
        match (&slot.work, result) {
            (RequestOperation::Copy { .. }, result) => return self.copy_read(place, result),
            (RequestOperation::Verify { .. }, result) => return self.verify_read(place, result),
            (RequestOperation::Repair, result) => return self.repair_went_on(place, result),
            (RequestOperation::Read, DiskResult::Damaged(wrong)) => {
                return self.read_damaged(place, &wrong);
            }
            (_, DiskResult::Failed | DiskResult::Damaged(_)) => {
                slot.local = RequestPartState::Failed;
                self.local_failed();
                if !self.requests.is_running(place) {
                    return;
                }
            }
            (_, DiskResult::Data(data)) => {
                slot.local = RequestPartState::Done;
                slot.data = Some(data);
            }
            (work, DiskResult::Done) => {
                slot.local = RequestPartState::Done;
                // Marks the disk as working again, because it has completed a write while this node
                // is the serving owner.
                if matches!(work, RequestOperation::Write { .. })
                    && self.tenure.role == LeaseRole::Serving
                {
                    self.copy.faulty = false;
                }
            }
        }
        self.settle(place);
    }

    pub(super) fn remote_ended(&mut self, place: u32, differs: bool) {
        if !self.requests.is_running(place) {
            return;
        }
        let slot = self.requests.slot_mut(place);
        if slot.remote != RequestPartState::Waiting {
            return;
        }
        if matches!(slot.work, RequestOperation::Copy { .. }) {
            return self.copy_ended(place, differs);
        }
        if matches!(slot.work, RequestOperation::Verify { .. }) {
            return self.verify_compared(place, differs.then_some(BlockFault::Differs));
        }
        if matches!(slot.work, RequestOperation::Repair) {
            return self.not_repaired(place, RepairFailure::Unreadable);
        }
        slot.remote = RequestPartState::Done;
        self.settle(place);
    }

    /// Replies to the client and ends the request, as far as possible.
    pub(super) fn settle(&mut self, place: u32) {
        let can_reply = self.tenure.role == LeaseRole::Serving && self.is_valid();
        let required = self.requires_other();
        let slot = self.requests.slot_mut(place);
        if slot.local == RequestPartState::Waiting {
            return;
        }
        let is_open = !slot.replied || slot.failed;
        if let RequestInitiator::Client(id) = slot.origin
            && is_open
            && !(slot.failed && self.broken.is(ReplicaDefect::FailedLeavesRange))
        {
            let has_other = slot.remote == RequestPartState::Done;
            let outcome = match (slot.local, &slot.work) {
                (RequestPartState::Failed, _) if required => return,
                (RequestPartState::Failed, _) => RequestOutcome::Failed,
                (_, RequestOperation::Read) => match slot.data.clone() {
                    Some(data) => RequestOutcome::Data(data),
                    None => RequestOutcome::Failed,
                },
                _ if slot.needs_other && !has_other => return,
                _ => RequestOutcome::Done,
            };
            if !can_reply {
                return;
            }
            slot.replied = true;
            if !std::mem::take(&mut slot.failed) {
                self.out.push(ReplicaAction::Reply(id, outcome));
            }
        }
        if self.requests.slot(place).remote != RequestPartState::Waiting {
            self.end_slot(place);
        }
    }

    pub(super) fn settle_all(&mut self) {
        for place in 0..self.requests.slots.len() as u32 {
            let is_copy = self.requests.slot(place).work.is_copy();
            if self.requests.is_running(place) && !is_copy {
                self.settle(place);
            }
        }
    }

    pub(super) fn end_slot(&mut self, place: u32) {
        let slot = self.requests.slot(place);
        let (blocks, origin, cancelled) = (slot.blocks, slot.origin, slot.replied);
        let (local, remote, covers) = (slot.local, slot.remote, slot.covers);
        let is_loose = !slot.needs_other;
        let (is_read, is_flush) = match slot.work {
            RequestOperation::Read | RequestOperation::Verify { .. } | RequestOperation::Repair => {
                (true, false)
            }
            RequestOperation::Flush => (false, true),
            RequestOperation::Write { .. } | RequestOperation::Copy { .. } => (false, false),
        };
        let is_client = matches!(origin, RequestInitiator::Client(_));
        self.requests.clients -= usize::from(is_client);
        if is_client && !is_read {
            self.requests.loose -= usize::from(is_loose);
        }
        if is_flush {
            self.requests.close(place);
            return self.flush_ended(origin, local, remote, covers);
        }
        if !is_read {
            self.copy
                .log
                .complete(self.settings.geometry.extents_of(blocks));
            match (local, remote) {
                (RequestPartState::Done, RequestPartState::Done) => self.copy.dirty.clear(blocks),
                (RequestPartState::Failed, _) => self.copy.dirty.set(blocks),
                _ => {}
            }
            if local == RequestPartState::Done {
                self.forget_damage(blocks);
            }
        }
        if origin == RequestInitiator::Resync && !cancelled {
            self.other.copies -= 1;
        }
        if origin == RequestInitiator::Verify && !cancelled {
            let repaired = (local, remote) == (RequestPartState::Done, RequestPartState::Done);
            self.verify_slot_ended(blocks, repaired);
        }
        if origin == RequestInitiator::Repair {
            self.repair_ended(blocks);
        }
        self.requests.close(place);
        self.leave_lock(place);
        if !self.requests.cold.is_empty() {
            self.advance_log();
        }
    }

    fn leave_lock(&mut self, place: u32) {
        let mut granted = std::mem::take(&mut self.requests.granted);
        self.requests.lock.leave(place, &mut granted);
        for next in granted.drain(..) {
            self.locked(next);
        }
        self.requests.granted = granted;
    }

    pub(super) fn read_again(&mut self, place: u32) {
        let slot = self.requests.slot_mut(place);
        (slot.stage, slot.local) = (RequestStage::Locking, RequestPartState::Not);
        let blocks = slot.blocks;
        self.leave_lock(place);
        if self.requests.lock.enter(place, blocks, false) {
            self.locked(place);
        }
    }

    fn flush_ended(
        &mut self,
        origin: RequestInitiator,
        local: RequestPartState,
        remote: RequestPartState,
        covers: (u64, bool),
    ) {
        let (completed, joint) = covers;
        let has_other = matches!(remote, RequestPartState::Done | RequestPartState::Past);
        let is_stable = local == RequestPartState::Done && (!joint || has_other);
        let is_flushed = local == RequestPartState::Done;
        if is_stable {
            self.copy.log.flushed(completed);
        }
        match origin {
            RequestInitiator::HandOver if is_stable && has_other => self.hand_over_flushed(),
            RequestInitiator::HandOver => {
                self.tenure.hand_over = None;
                self.say(Notice::NotHandedOver);
            }
            RequestInitiator::Log => self.requests.flushing = false,
            RequestInitiator::Alone if is_flushed => self.propose_alone(),
            // Releases the lease, because without that flush the record must not be changed to this
            // copy alone.
            RequestInitiator::Alone => self.release(Notice::LocalFailed),
            RequestInitiator::Client(_)
            | RequestInitiator::Resync
            | RequestInitiator::Verify
            | RequestInitiator::Repair => {}
        }
        if !self.requests.cold.is_empty() {
            self.advance_log();
        }
    }

    /// Handles the loss of the other copy: marks the blocks that it may lack as dirty, and cancels
    /// copies to it.
    pub(super) fn lose_remote_parts(&mut self) {
        self.other.copies = 0;
        for place in 0..self.requests.slots.len() as u32 {
            let running = self.requests.is_running(place);
            let slot = self.requests.slot_mut(place);
            if slot.work.is_copy() && slot.stage != RequestStage::Free {
                slot.replied = true;
                slot.remote = if slot.remote == RequestPartState::Waiting {
                    RequestPartState::Lost
                } else {
                    slot.remote
                };
                if running && slot.local != RequestPartState::Waiting {
                    self.end_slot(place);
                }
                continue;
            }
            match slot.remote {
                RequestPartState::Waiting if running => {
                    slot.remote = RequestPartState::Lost;
                    if matches!(slot.work, RequestOperation::Write { .. }) {
                        self.copy.dirty.set(slot.blocks);
                    }
                }
                RequestPartState::Done => slot.remote = RequestPartState::Past,
                _ => {}
            }
        }
        self.settle_all();
        self.advance_log();
    }

    pub(super) fn release_other(&mut self) {
        if self.requires_other() {
            return;
        }
        for slot in &mut self.requests.slots {
            if slot.stage == RequestStage::Running && slot.needs_other {
                slot.needs_other = false;
                self.requests.loose += 1;
            }
        }
        self.settle_all();
    }

    pub(super) fn disown(&mut self) {
        for slot in &mut self.requests.slots {
            if let (RequestInitiator::Client(id), false) = (slot.origin, slot.replied)
                && slot.stage != RequestStage::Free
            {
                slot.replied = true;
                self.out
                    .push(ReplicaAction::Reply(id, RequestOutcome::Moved));
            }
        }
        while let Some(place) = self.requests.queue.pop_front() {
            self.requests.close(place);
        }
    }

    /// Requeues the abandoned client requests in order, after their operations have ended.
    pub(super) fn requeue(&mut self) {
        let requests = &mut self.requests;
        requests.abandoned = false;
        for place in 0..requests.slots.len() as u32 {
            let slot = requests.slot_mut(place);
            if slot.stage != RequestStage::Abandoned {
                continue;
            }
            if matches!(slot.origin, RequestInitiator::Client(_)) && !slot.replied {
                slot.stage = RequestStage::Queued;
                slot.local = RequestPartState::Not;
                slot.remote = RequestPartState::Not;
                slot.needs_other = false;
                slot.data = None;
                slot.rounds = 0;
                requests.queue.push_back(place);
            } else {
                requests.close(place);
            }
        }
        let slots = &requests.slots;
        let queue = requests.queue.make_contiguous();
        queue.sort_by_key(|place| slots[*place as usize].arrived);
        requests.lock.clear();
        requests.cold.clear();
        requests.storing.clear();
        requests.clients = 0;
        requests.loose = 0;
        requests.flushing = false;
        self.other.copies = 0;
        self.abandon_repairs();
        self.copy.log.complete_all();
    }

    pub(super) fn check_stalls(&mut self) {
        self.requests.checked_at = self.now;
        let bounds = self.settings.bounds;
        let stalled = |part: RequestPartState, since: Time, ns: u64, now: Time| {
            part == RequestPartState::Waiting && now >= since.after(ns)
        };
        let (mut local, mut other) = (false, false);
        for slot in &self.requests.slots {
            if slot.stage == RequestStage::Running {
                let since = slot.sent_at;
                local |= stalled(slot.local, since, bounds.local_stall_ns, self.now);
                other |= stalled(slot.remote, since, bounds.other_stall_ns, self.now);
            }
        }
        if other {
            self.drop_other(Notice::OtherLost);
        } else if local {
            self.local_failed();
        }
    }
}
