//! Runs the resync: copies dirty blocks to the other copy until none is left, then both copies
//! join. Client requests take priority. The resync is guaranteed to end: blocks that failed are
//! retried, and from the join on, writes need both copies.

use super::exchange::{DiskResult, Notice, Time};
use super::geometry::Blocks;
use super::message::{FollowerCommand, ReplicaMessage};
use super::other::PeerPhase;
use super::requests::{RequestInitiator, RequestOperation, RequestPartState};
use super::tenure::LeaseRole;
use super::{Payload, Replica};

impl<P: Payload> Replica<P> {
    /// Executes an operator's order for a resync, which starts at once despite earlier failures.
    /// For a full comparison, the other copy first leaves the record, as after a loss: a copy that
    /// may differ never serves.
    pub(super) fn order_resync(&mut self, everything: bool) {
        if everything && self.tenure.role == LeaseRole::Serving {
            self.drop_other(Notice::ResyncOrdered);
            self.copy.fill(true);
            self.copy.store();
        }
        self.other.attempts = 0;
        self.other.retry_at = Time(0);
    }

    pub(super) fn advance_resync(&mut self) {
        if self.other.phase == PeerPhase::Joining {
            return self.finish();
        }
        let bounds = self.settings.bounds;
        loop {
            let window = if self.requests.clients > 0 {
                1
            } else {
                bounds.resync_window
            };
            if self.other.copies >= window || self.now < self.other.copy_at {
                return;
            }
            let Some(blocks) = self.next_dirty() else {
                break;
            };
            self.other.cursor = blocks.end();
            let rate = bounds.resync_block_ns * u64::from(blocks.count);
            self.other.copy_at = self.other.copy_at.max(self.now).after(rate);
            let extent = self.settings.geometry.extents_of(blocks).next();
            let compare = extent.is_some_and(|extent| self.copy.dirty.is_suspect(extent));
            let slot = self.requests.open(
                RequestInitiator::Resync,
                RequestOperation::Copy { compare },
                blocks,
            );
            self.other.copies += 1;
            self.begin_slot(slot);
        }
        if self.copy.dirty.count() == 0 && self.other.copies == 0 {
            self.other.phase = PeerPhase::Joining;
            self.finish();
        }
    }

    /// Sets the minimum time per block of a resync or verify, nanoseconds. Waits according to the
    /// old rate end at once.
    pub fn set_resync_rate(&mut self, block_ns: u64) {
        if self.settings.bounds.resync_block_ns == block_ns {
            return;
        }
        self.settings.bounds.resync_block_ns = block_ns;
        self.other.copy_at = self.other.copy_at.min(self.now);
        self.verifying.next_at = self.verifying.next_at.min(self.now);
    }

    /// Returns the next blocks to copy. Copies of blocks before the cursor may be in progress; the
    /// search starts again at the first block when none is.
    fn next_dirty(&mut self) -> Option<Blocks> {
        let most = self.settings.bounds.resync_blocks;
        if let Some(blocks) = self.next_undamaged(self.other.cursor, most) {
            return Some(blocks);
        }
        if self.other.copies > 0 {
            return None;
        }
        self.other.cursor = 0;
        self.next_undamaged(0, most)
    }

    fn next_undamaged(&self, from: u64, most: u32) -> Option<Blocks> {
        let skips = &self.other.skips;
        let mut at = from;
        loop {
            let blocks = self.copy.dirty.next(at, most)?;
            match skips.range(blocks.first..blocks.end()).next() {
                None => return Some(blocks),
                Some(damaged) if *damaged == blocks.first => at = damaged + 1,
                Some(damaged) => {
                    return Some(Blocks {
                        count: (damaged - blocks.first) as u32,
                        ..blocks
                    });
                }
            }
        }
    }

    /// Ends the resync, unless a request is in progress that does not need the other copy. The
    /// follower's last flush covers all other requests.
    fn finish(&mut self) {
        if self.requests.loose > 0 {
            return;
        }
        self.other.phase = PeerPhase::Finishing;
        self.other.since = self.now;
        self.send(ReplicaMessage::Finish {
            epoch: self.tenure.epoch,
            generation: self.tenure.record.generation.next(),
        });
    }

    pub(super) fn copy_read(&mut self, place: u32, result: DiskResult<P>) {
        if let DiskResult::Damaged(wrong) = result {
            return self.copy_damaged(place, &wrong);
        }
        let DiskResult::Data(data) = result else {
            // Ends the session with the other copy, which cannot become complete without these
            // blocks; the resync is repeated later.
            let slot = self.requests.slot(place);
            if !slot.replied && slot.origin != RequestInitiator::Verify {
                self.drop_other(Notice::LocalFailed);
            }
            return self.end_slot(place);
        };
        let slot = self.requests.slot_mut(place);
        if slot.replied {
            return self.end_slot(place);
        }
        slot.local = RequestPartState::Done;
        slot.remote = RequestPartState::Waiting;
        slot.sent_at = self.now;
        let blocks = slot.blocks;
        let command = match slot.work {
            RequestOperation::Copy { compare: true } => {
                let checksum = data.checksum();
                slot.data = Some(data);
                FollowerCommand::Compare { blocks, checksum }
            }
            _ => FollowerCommand::Write {
                blocks,
                body: super::WriteContent::Data(data),
                fua: false,
            },
        };
        self.command(place, command);
    }

    pub(super) fn copy_ended(&mut self, place: u32, differs: bool) {
        let now = self.now;
        let slot = self.requests.slot_mut(place);
        let blocks = slot.blocks;
        match slot.data.take() {
            Some(data) if differs => {
                slot.sent_at = now;
                let body = super::WriteContent::Data(data);
                let fua = false;
                self.command(place, FollowerCommand::Write { blocks, body, fua });
            }
            _ => {
                slot.remote = RequestPartState::Done;
                self.end_slot(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::replica::*;

    const GEOMETRY: Geometry = Geometry {
        blocks: 512,
        extent_blocks: 8,
        log_extents: 64,
    };

    #[derive(Clone, Debug)]
    struct Handle;

    impl Payload for Handle {
        fn checksum(&self) -> u64 {
            0
        }
    }

    /// Processes an input, and completes each store at once.
    fn handle(
        replica: &mut Replica<Handle>,
        now: Time,
        input: Input<Handle>,
    ) -> Vec<ReplicaAction<Handle>> {
        let (mut next, mut others) = (Some(input), Vec::new());
        let mut stores = std::collections::VecDeque::new();
        while let Some(input) = next {
            let mut actions = Vec::new();
            replica.handle(now, input, &mut actions);
            for action in actions {
                match action {
                    ReplicaAction::Store(number, _) => stores.push_back(number),
                    action => others.push(action),
                }
            }
            next = stores.pop_front().map(Input::Stored);
        }
        others
    }

    /// Returns an owner whose other copy lacks everything, and its actions.
    fn resyncing() -> (Replica<Handle>, Vec<ReplicaAction<Handle>>) {
        let settings = Settings {
            me: NodeId(0),
            other: NodeId(1),
            boot: Boot(1),
            copy: CopyId(9),
            geometry: GEOMETRY,
            bounds: ReplicaLimits {
                resync_block_ns: 0,
                ..ReplicaLimits::default()
            },
        };
        let durable = Durable::created(GEOMETRY, VolumeId([1; 16]));
        let blank = Durable::blank(GEOMETRY).head;
        let mut replica = Replica::new(settings, &durable, Time(1));
        let record = Record {
            incarnation: Incarnation(1),
            generation: Generation(1),
            epoch: Epoch(0),
            in_sync: InSync::One(NodeId(0)),
            copies: Vec::new(),
            forks: Vec::new(),
        };
        let introduction = Introduction {
            volume: None,
            blocks: GEOMETRY.blocks,
            room: GEOMETRY.blocks,
            incarnation: blank.incarnation,
            state: blank.state,
            hot: Vec::new(),
            lacks: false,
            unclean: false,
            copy: None,
            is_foreign: false,
        };
        let (epoch, until, number) = (Epoch(1), Time(u64::MAX), 1);
        let granted = Input::Granted {
            epoch,
            until,
            record,
        };
        let welcome = ReplicaMessage::Welcome {
            number,
            introduction,
        };
        let mut actions = Vec::new();
        for input in [
            Input::Connected(Session(1)),
            granted,
            Input::Message(Session(1), welcome),
            Input::Message(Session(1), ReplicaMessage::Begun),
        ] {
            actions = handle(&mut replica, Time(1), input);
        }
        (replica, actions)
    }

    /// Completes the copies whose reads are in `actions`, and their successors, at one time.
    /// Returns their number.
    fn copy_all(
        replica: &mut Replica<Handle>,
        actions: &[ReplicaAction<Handle>],
        now: Time,
    ) -> usize {
        let read_of = |action: &ReplicaAction<Handle>| match action {
            ReplicaAction::Disk(id, Operation::Read(_)) => Some(*id),
            _ => None,
        };
        let mut reads: Vec<OperationId> = actions.iter().filter_map(read_of).collect();
        let mut copies = 0;
        while let Some(id) = reads.pop() {
            let actions = handle(replica, now, Input::Disk(id, DiskResult::Data(Handle)));
            let tags = actions.iter().filter_map(|action| match action {
                ReplicaAction::Send(_, ReplicaMessage::Command { tag, .. }) => Some(*tag),
                _ => None,
            });
            for tag in tags.collect::<Vec<_>>() {
                let done = Input::Message(Session(1), ReplicaMessage::Done { tag });
                reads.extend(handle(replica, now, done).iter().filter_map(read_of));
            }
            copies += 1;
        }
        copies
    }

    #[test]
    fn a_changed_resync_rate_applies_at_once() {
        const SLOW: u64 = 3_600_000_000_000;
        let (mut replica, actions) = resyncing();
        replica.set_resync_rate(SLOW);
        let window = ReplicaLimits::default().resync_window as usize;
        // The copies in progress and one more; the next ones wait for an hour or longer at this
        // rate.
        assert_eq!(copy_all(&mut replica, &actions, Time(2)), window + 1);
        let tick = |replica: &mut Replica<Handle>, now| handle(replica, now, Input::Tick);
        assert!(tick(&mut replica, Time(SLOW / 2)).is_empty());
        replica.set_resync_rate(0);
        let actions = tick(&mut replica, Time(SLOW / 2));
        copy_all(&mut replica, &actions, Time(SLOW - 1));
        assert_eq!(replica.report(Time(SLOW - 1)).dirty_blocks, 0);
    }

    /// Tests that a resync has at most one copy in progress while a client request is. A client
    /// request starts at once, whatever the resync has started.
    #[test]
    fn a_resync_yields_to_clients() {
        let (mut replica, mut actions) = resyncing();
        let mut reads: std::collections::VecDeque<OperationId> = std::collections::VecDeque::new();
        let (mut copies, mut served) = (0, 0);
        for round in 0..2000_u64 {
            let begun = actions.iter().filter_map(|action| match action {
                ReplicaAction::Disk(id, Operation::Read(_)) => Some(*id),
                _ => None,
            });
            reads.extend(begun);
            let window = ReplicaLimits::default().resync_window as usize;
            assert!(reads.len() <= window, "{}", reads.len());
            // A client reads blocks one after the other.
            let blocks = Blocks {
                first: round * 7 % GEOMETRY.blocks,
                count: 1,
            };
            let request = Input::Request(RequestId(round), Request::Read(blocks));
            actions = handle(&mut replica, Time(2), request);
            let [ReplicaAction::Disk(own, _)] = actions[..] else {
                panic!("round {round}: the client waits: {actions:?}");
            };
            // While the client waits, the resync starts at most one copy.
            let before = reads.len();
            if let Some(copy) = reads.pop_front() {
                let read = Input::Disk(copy, DiskResult::Data(Handle));
                actions = handle(&mut replica, Time(2), read);
                let tag = actions.iter().find_map(|action| match action {
                    ReplicaAction::Send(_, ReplicaMessage::Command { tag, .. }) => Some(*tag),
                    _ => None,
                });
                let Some(tag) = tag else {
                    panic!("round {round}: nothing is compared: {actions:?}");
                };
                let done = ReplicaMessage::Done { tag };
                let done = Input::Message(Session(1), done);
                actions = handle(&mut replica, Time(2), done);
                copies += 1;
                let begun = actions.iter().filter_map(|action| match action {
                    ReplicaAction::Disk(id, _) => Some(*id),
                    _ => None,
                });
                reads.extend(begun);
                assert!(
                    reads.len() <= (before - 1).max(1),
                    "{before} {}",
                    reads.len()
                );
            }
            let read = Input::Disk(own, DiskResult::Data(Handle));
            actions = handle(&mut replica, Time(3), read);
            served += 1;
            let is_served =
                matches!(actions[0], ReplicaAction::Reply(RequestId(id), _) if id == round);
            assert!(is_served, "{actions:?}");
            if replica.report(Time(3)).other != OtherState::Syncing {
                break;
            }
        }
        // The resync finishes nevertheless.
        assert_eq!(replica.report(Time(3)).dirty_blocks, 0);
        assert!(copies > 0 && served >= copies, "{copies} {served}");
    }
}
