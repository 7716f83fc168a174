//! Fails requests (`without-majority error`) when the lease has been over for longer than
//! `ReplicaLimits::fail_ns`, instead of letting them wait for the next lease.
//!
//! Guarantee: a failed request takes no effect afterwards. A write that had begun keeps its range
//! locked until both copies agree on it, as if its client still waited. Its blocks therefore have
//! the old or the new content, and later reads stay consistent. A request with a local disk
//! operation in progress fails when that has ended.

use super::super::defect::ReplicaDefect;
use super::super::exchange::{ReplicaAction, RequestOutcome, Time};
use super::super::{Payload, Replica, WriteContent};
use super::{RequestInitiator, RequestOperation, RequestPartState, RequestStage};

impl<P: Payload> Replica<P> {
    /// Sets the time from the end of the lease until requests fail; None: they wait.
    pub fn set_fail_ns(&mut self, fail_ns: Option<u64>) {
        self.settings.bounds.fail_ns = fail_ns;
    }

    pub fn fails_requests(&self, now: Time) -> bool {
        self.fails_at().is_some_and(|at| now >= at)
    }

    fn fails_at(&self) -> Option<Time> {
        let fail_ns = self.settings.bounds.fail_ns?;
        let waits = self.tenure.waits;
        waits.then(|| self.tenure.until.after(fail_ns))
    }

    pub(in super::super) fn failing_deadline(&self) -> Option<Time> {
        self.fails_at().filter(|at| self.now < *at)
    }

    pub(in super::super) fn advance_failing(&mut self) {
        if !self.fails_requests(self.now) {
            return;
        }
        let mut queue = std::mem::take(&mut self.requests.queue);
        for place in queue.drain(..) {
            let slot = self.requests.slot_mut(place);
            if let (RequestInitiator::Client(id), false) = (slot.origin, slot.replied) {
                self.out
                    .push(ReplicaAction::Reply(id, RequestOutcome::Failed));
            }
            if self.broken.is(ReplicaDefect::ExecutesFailed) {
                (slot.replied, slot.failed) = (true, true);
                self.requests.queue.push_back(place);
            } else {
                self.requests.close(place);
            }
        }
        for slot in &mut self.requests.slots {
            let RequestInitiator::Client(id) = slot.origin else {
                continue;
            };
            let can_fail = match slot.stage {
                RequestStage::Locking | RequestStage::Cold | RequestStage::Storing(_) => true,
                RequestStage::Running => slot.local != RequestPartState::Waiting,
                RequestStage::Free | RequestStage::Queued | RequestStage::Abandoned => false,
            };
            if slot.replied || !can_fail {
                continue;
            }
            slot.replied = true;
            slot.failed = true;
            // Drops the references to the client's memory, which the client may reuse from now on.
            slot.data = None;
            if let RequestOperation::Write { body, .. } = &mut slot.work {
                *body = WriteContent::Trim;
            }
            self.out
                .push(ReplicaAction::Reply(id, RequestOutcome::Failed));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::replica::*;

    const GEOMETRY: Geometry = Geometry {
        blocks: 64,
        extent_blocks: 8,
        log_extents: 3,
    };
    const FAIL_NS: u64 = 10;

    #[derive(Clone, Debug)]
    struct Handle;

    impl Payload for Handle {
        fn checksum(&self) -> u64 {
            0
        }
    }

    /// Node with the lease until time 100.
    struct LeaseOwner {
        replica: Replica<Handle>,
        record: Record,
    }

    impl LeaseOwner {
        fn new(in_sync: InSync, fail_ns: Option<u64>) -> LeaseOwner {
            let settings = Settings {
                me: NodeId(0),
                other: NodeId(1),
                boot: Boot(1),
                copy: CopyId(9),
                geometry: GEOMETRY,
                bounds: ReplicaLimits {
                    fail_ns,
                    ..ReplicaLimits::default()
                },
            };
            let durable = Durable::created(GEOMETRY, VolumeId([1; 16]));
            let record = Record {
                incarnation: Incarnation(1),
                generation: Generation(1),
                epoch: Epoch(0),
                in_sync,
                copies: Vec::new(),
                forks: Vec::new(),
            };
            let mut owner = LeaseOwner {
                replica: Replica::new(settings, &durable, Time(1)),
                record: record.clone(),
            };
            owner.at(1, Input::Connected(Session(1)));
            let (epoch, until) = (Epoch(1), Time(100));
            let granted = Input::Granted {
                epoch,
                until,
                record,
            };
            owner.at(1, granted);
            owner.at(1, Input::Stored(1));
            let head = durable.head;
            let introduction = Introduction {
                volume: head.volume,
                blocks: GEOMETRY.blocks,
                room: GEOMETRY.blocks,
                incarnation: head.incarnation,
                state: head.state,
                hot: Vec::new(),
                lacks: false,
                unclean: false,
                copy: None,
                is_foreign: false,
            };
            let number = 1;
            let welcome = ReplicaMessage::Welcome {
                number,
                introduction,
            };
            owner.at(1, Input::Message(Session(1), welcome));
            assert!(owner.replica.serves().is_some());
            owner
        }

        /// Processes an input. Stores complete at once.
        fn at(&mut self, now: u64, input: Input<Handle>) -> Vec<ReplicaAction<Handle>> {
            let mut actions = Vec::new();
            self.replica.handle(Time(now), input, &mut actions);
            let stores =
                actions.extract_if(.., |action| matches!(action, ReplicaAction::Store(..)));
            let stores: Vec<_> = stores.collect();
            for store in stores {
                if let ReplicaAction::Store(number, _) = store
                    && number > 1
                {
                    actions.extend(self.at(now, Input::Stored(number)));
                }
            }
            actions
        }

        /// Sends a client request that reads or writes a block.
        fn asks(&mut self, now: u64, id: u64, is_write: bool) -> Vec<ReplicaAction<Handle>> {
            let blocks = Blocks { first: 9, count: 1 };
            let (body, fua) = (WriteContent::Data(Handle), false);
            let request = if is_write {
                Request::Write { blocks, body, fua }
            } else {
                Request::Read(blocks)
            };
            self.at(now, Input::Request(RequestId(id), request))
        }

        fn renewed(&mut self, now: u64) -> Vec<ReplicaAction<Handle>> {
            let (epoch, until) = (Epoch(1), Time(now + 100));
            self.at(now, Input::Renewed { epoch, until })
        }
    }

    fn disk(actions: &[ReplicaAction<Handle>]) -> Option<OperationId> {
        actions.iter().find_map(|action| match action {
            ReplicaAction::Disk(id, _) => Some(*id),
            _ => None,
        })
    }

    /// Identifiers of the failed requests.
    fn failed(actions: &[ReplicaAction<Handle>]) -> Vec<u64> {
        let failed = |action: &ReplicaAction<Handle>| match action {
            ReplicaAction::Reply(RequestId(id), RequestOutcome::Failed) => Some(*id),
            ReplicaAction::Reply(id, outcome) => panic!("{id:?}: {outcome:?}"),
            _ => None,
        };
        actions.iter().filter_map(failed).collect()
    }

    #[test]
    fn requests_fail_after_the_bound_and_resume_with_a_lease() {
        let mut owner = LeaseOwner::new(InSync::One(NodeId(0)), Some(FAIL_NS));
        let begun = owner.asks(50, 1, true);
        let done = disk(&begun).unwrap();
        let under_way = disk(&owner.asks(50, 2, false));
        assert_eq!(under_way, None, "it waits for the write");
        let done = owner.at(101, Input::Disk(done, DiskResult::Done));
        assert_eq!(
            failed(&done),
            [0; 0],
            "the lease is over, and the bound is not"
        );
        assert_eq!(failed(&owner.asks(105, 3, true)), [0; 0]);
        assert_eq!(owner.replica.deadline(), Some(Time(110)));
        assert_eq!(failed(&owner.at(109, Input::Tick)), [0; 0]);
        assert_eq!(failed(&owner.at(110, Input::Tick)), [3, 1, 2]);
        assert_eq!(failed(&owner.asks(111, 4, false)), [4], "at once");
        assert_eq!(owner.replica.report(Time(111)).requests, 0);
        // A failed request is not executed or answered again.
        assert!(owner.renewed(120).is_empty());
        let read = disk(&owner.asks(121, 5, false)).unwrap();
        let read = owner.at(122, Input::Disk(read, DiskResult::Data(Handle)));
        assert!(matches!(
            read[..],
            [ReplicaAction::Reply(RequestId(5), RequestOutcome::Data(_))]
        ));
    }

    #[test]
    fn a_pending_disk_operation_fails_when_it_ends() {
        let mut owner = LeaseOwner::new(InSync::One(NodeId(0)), Some(FAIL_NS));
        let write = disk(&owner.asks(50, 1, true)).unwrap();
        assert_eq!(failed(&owner.at(120, Input::Tick)), [0; 0]);
        let ended = owner.at(130, Input::Disk(write, DiskResult::Done));
        assert_eq!(failed(&ended), [1]);
    }

    #[test]
    fn requests_wait_without_end_unless_the_file_says_that_they_fail() {
        let mut owner = LeaseOwner::new(InSync::One(NodeId(0)), None);
        assert_eq!(failed(&owner.asks(101, 1, true)), [0; 0]);
        assert_eq!(failed(&owner.at(u64::MAX / 2, Input::Tick)), [0; 0]);
        // Requests fail from now on.
        owner.replica.set_fail_ns(Some(FAIL_NS));
        assert_eq!(failed(&owner.at(u64::MAX / 2, Input::Tick)), [1]);
    }

    #[test]
    fn a_failed_write_is_not_read_until_one_copy_decides() {
        let both = InSync::Both(NodeId(0), NodeId(1));
        let mut owner = LeaseOwner::new(both, Some(FAIL_NS));
        let write = disk(&owner.asks(50, 1, true)).unwrap();
        // The outcome on the other copy is unknown.
        owner.at(60, Input::Lost(Session(1)));
        owner.at(61, Input::Disk(write, DiskResult::Done));
        assert_eq!(failed(&owner.at(110, Input::Tick)), [1]);
        owner.renewed(120);
        let read = owner.asks(121, 2, false);
        assert_eq!(
            disk(&read),
            None,
            "the other copy could serve another content"
        );
        let alone = owner
            .record
            .with(Epoch(0), InSync::One(NodeId(0)), Vec::new());
        let recorded = owner.at(122, Input::Recorded(alone));
        assert!(disk(&recorded).is_some(), "{recorded:?}");
    }
}
