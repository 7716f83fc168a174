//! Implements the owner: a node with the lease drains its disk, promises its epoch, greets the
//! other copy, has the record changed, serves, and yields when its disk fails.

use super::defect::ReplicaDefect;
use super::durable::CopyState;
use super::exchange::{Notice, ReplicaAction, ReplicaOrder, Time};
use super::geometry::Blocks;
use super::handshake::{Introduction, belongs, is_clean, is_cut, is_older, joined, may_own};
use super::message::{FollowerCommand, ReplicaMessage};
use super::other::PeerPhase;
use super::record::{CopyId, Epoch, Generation, InSync, Record, RecordedCopy};
use super::requests::{RequestInitiator, RequestOperation};
use super::tenure::{LeaseRole, Proposal, Tenure};
use super::{Payload, Replica};

/// Tag of the flush on the other copy before a record with that copy alone is proposed.
pub(super) const YIELD_TAG: u32 = u32::MAX;

impl<P: Payload> Replica<P> {
    /// Returns the lease rank of this node: 0 if it must not get the lease; a higher rank is
    /// preferred. `record` is the last known record.
    pub fn rank(&self, now: Time, record: &Record) -> u32 {
        let head = &self.copy.head;
        if self.is_foreign() || !record.can_mean(self.settings.me, head.identity.copy) {
            return 0;
        }
        let is_cut = is_cut(head) && record.in_sync.contains(self.settings.me);
        let may = joined(head).0 > 0 || is_cut;
        if !may || now < self.tenure.rests_until {
            return 0;
        }
        if self.copy.lacks || self.copy.faulty || is_cut {
            1
        } else {
            2
        }
    }

    /// Lets a node that released the lease request it again before its rest is over, if it follows
    /// another owner now.
    pub fn end_rest(&mut self) {
        if self.following.is_active() {
            self.tenure.rests_until = Time(0);
        }
    }

    pub(super) fn granted(&mut self, epoch: Epoch, until: Time, record: Record) {
        if epoch <= self.copy.head.promised {
            return;
        }
        let was_mine = self.tenure.waits && epoch.0 == self.tenure.epoch.0.saturating_add(1);
        if !was_mine && !self.broken.is(ReplicaDefect::ExecutesStale) {
            self.disown();
        }
        self.tenure.role = LeaseRole::Idle;
        self.tenure.until = Time(0);
        self.requests.abandon();
        self.lose_other();
        self.following.end();
        self.tenure = Tenure {
            role: LeaseRole::Draining,
            epoch,
            until,
            record,
            waits: true,
            granted_at: self.now,
            alone: self.tenure.alone,
            ..Tenure::default()
        };
        let record = &self.tenure.record;
        let me = self.settings.me;
        let listed = record.in_sync.contains(me) && may_own(&self.copy.head, record, me);
        let older = listed && is_older(&self.copy.head, record);
        if !listed && !self.broken.is(ReplicaDefect::ServesOutOfRecord) {
            self.release(Notice::NotInSync);
            return;
        }
        if older {
            self.copy.lacks = true;
            if !self.tenure.alone {
                let is_cut = is_cut(&self.copy.head);
                self.release(if is_cut { Notice::Cut } else { Notice::Older });
                return;
            }
            // Marks all blocks as dirty, because the other copy may differ in any of them.
            self.copy.fill(true);
        }
        if self.is_drained() {
            self.drained();
        }
    }

    pub(super) fn renewed(&mut self, epoch: Epoch, until: Time) {
        if epoch == self.tenure.epoch && self.tenure.role != LeaseRole::Idle {
            let was_frozen = !self.is_valid();
            self.tenure.until = self.tenure.until.max(until);
            if was_frozen {
                self.settle_all();
            }
        }
    }

    pub(super) fn end_lease(&mut self) {
        self.tenure.until = self.tenure.until.min(self.now);
    }

    pub(super) fn is_valid(&self) -> bool {
        self.now < self.tenure.until || self.broken.is(ReplicaDefect::IgnoresLeaseEnd)
    }

    pub(super) fn is_foreign(&self) -> bool {
        self.copy.head.identity.is_foreign(self.settings.me)
    }

    pub(super) fn promise(&mut self) {
        // Restores the identity of the copy from the record, because an earlier release may have
        // lost it.
        let recorded = self.tenure.record.copy_of(self.settings.me);
        self.identify(recorded.unwrap_or(self.settings.copy));
        self.copy.head.promised = self.tenure.epoch;
        self.tenure.role = LeaseRole::Promising(self.copy.store());
    }

    pub(super) fn tenure_stored(&mut self) {
        let LeaseRole::Promising(number) = self.tenure.role else {
            return;
        };
        if !self.copy.has_stored(number) {
            return;
        }
        if self.has_another() {
            let until = self.now.after(self.settings.bounds.greet_ns);
            self.tenure.role = LeaseRole::Greeting(until);
            self.greet();
        } else {
            self.serve();
        }
    }

    pub(super) fn introduced(&mut self, theirs: &Introduction) {
        let is_quiet = self.copy.log.is_empty() && self.copy.dirty.count() == 0;
        let record = &self.tenure.record;
        let other = self.settings.other;
        let is_named = record.in_sync.contains(other) && record.can_mean(other, theirs.copy);
        if is_named && is_clean(&self.copy.head, is_quiet, record, theirs) {
            self.other.phase = PeerPhase::Mirrored;
            self.serve();
            return;
        }
        let joined = matches!(theirs.state, CopyState::Joined(_));
        if is_named && self.copy.lacks && !theirs.lacks && joined {
            self.release(Notice::GivesWay);
            return;
        }
        self.other.phase = PeerPhase::Away;
        self.tenure.role = LeaseRole::Recording;
        self.secure();
    }

    fn not_introduced(&mut self) {
        self.other.phase = PeerPhase::Away;
        if self.copy.lacks && !self.tenure.alone {
            self.release(Notice::WaitsForOther(self.settings.other));
        } else {
            self.tenure.role = LeaseRole::Recording;
            self.secure();
        }
    }

    /// Marks the copy whose identity an earlier release lost as the one that the record lists.
    pub fn expect_copy(&mut self, record: &Record) {
        let me = self.settings.me;
        if belongs(&self.copy.head, record, me)
            && let Some(copy) = record.copy_of(me)
        {
            self.settings.copy = copy;
        }
    }

    /// Gives an identity to a copy that an earlier release created. The caller stores it.
    pub(super) fn identify(&mut self, copy: CopyId) {
        let identity = &mut self.copy.head.identity;
        identity.node.get_or_insert(self.settings.me);
        identity.copy.get_or_insert(copy);
    }

    fn serve(&mut self) {
        self.tenure.role = LeaseRole::Serving;
        self.copy.lacks = false;
        if is_cut(&self.copy.head) {
            // Marks the copy as complete, because an operator has declared it so.
            self.copy.head.state = CopyState::Joined(self.tenure.record.generation);
            self.copy.store();
        }
        let mirrored = self.other.phase == PeerPhase::Mirrored;
        if !mirrored && !self.broken.is(ReplicaDefect::IgnoresOwnLog) {
            for extent in self.copy.log.extents() {
                self.copy.dirty.set_extent(extent);
            }
        }
        let epoch = self.tenure.epoch;
        self.say(Notice::Serves { epoch, mirrored });
        // Reports the size, which may be larger than the one that the clients of the previous owner
        // knew.
        self.out
            .push(ReplicaAction::Resized(self.settings.geometry.blocks));
    }

    /// Returns whether the record lists a copy besides this one. That copy may belong to a node
    /// that is no longer configured: it could serve if it were configured again.
    pub(super) fn has_another(&self) -> bool {
        let in_sync = self.tenure.record.in_sync;
        if self.broken.is(ReplicaDefect::ForgetsStranger) {
            in_sync.contains(self.settings.other)
        } else {
            in_sync.is_both()
        }
    }

    /// Returns whether the record lists a copy besides this one, or may list one because the
    /// outcome of a proposal is unknown.
    pub(super) fn may_have_another(&self) -> bool {
        let proposed = self.tenure.proposal.as_ref();
        let proposed = proposed.filter(|_| !self.broken.is(ReplicaDefect::ForgetsProposal));
        self.has_another() || proposed.is_some_and(|proposal| proposal.record.in_sync.is_both())
    }

    pub(super) fn requires_other(&self) -> bool {
        let gone = self.broken.is(ReplicaDefect::AcksBeforeRecord) && !self.other.receives();
        (self.may_have_another() && !gone) || self.other.is_joining()
    }

    pub(super) fn propose(&mut self, in_sync: InSync) {
        let mut copies = Vec::new();
        for (node, copy) in [
            (self.settings.me, self.copy.head.identity.copy),
            (self.settings.other, self.other.copy),
        ] {
            let copy = copy.filter(|_| in_sync.contains(node));
            copies.extend(copy.map(|copy| RecordedCopy { node, copy }));
        }
        let tenure = &self.tenure;
        let record = tenure.record.with(tenure.epoch, in_sync, copies);
        let action = ReplicaAction::Propose(self.tenure.epoch, record.clone());
        self.out.push(action);
        self.tenure.proposal = Some(Proposal {
            record,
            at: self.now,
        });
    }

    pub(super) fn recorded(&mut self, record: Record) {
        let tenure = &mut self.tenure;
        if tenure.role == LeaseRole::Idle || record.generation <= tenure.record.generation {
            return;
        }
        let generation = record.generation;
        tenure.proposal = (tenure.proposal.take()).filter(|p| p.record.generation > generation);
        tenure.record = record;
        match tenure.role {
            LeaseRole::Recording if tenure.record.in_sync == InSync::One(self.settings.me) => {
                self.serve();
            }
            LeaseRole::Yielding if tenure.record.in_sync == InSync::One(self.settings.other) => {
                self.release(Notice::LocalFailed);
                return;
            }
            _ => {}
        }
        if self.other.phase == PeerPhase::Proposing && self.tenure.record.in_sync.is_both() {
            self.other.phase = PeerPhase::Mirrored;
            self.other.attempts = 0;
            self.say(Notice::InSync);
        }
        self.release_other();
        self.advance_log();
    }

    fn can_give_way(&self) -> bool {
        let serves = matches!(
            self.tenure.role,
            LeaseRole::Idle | LeaseRole::Serving | LeaseRole::Yielding
        );
        !serves && self.tenure.record.in_sync.is_both() && self.tenure.proposal.is_none()
    }

    /// Returns the deadline of a disk that does not become ready. After that it counts as failed.
    fn gives_up_at(&self) -> Time {
        let bounds = &self.settings.bounds;
        (self.tenure.granted_at).after(bounds.local_stall_ns + bounds.greet_ns)
    }

    /// Handles a failure of the local disk. If the other copy is in sync, its node becomes the
    /// owner.
    pub(super) fn local_failed(&mut self) {
        if self.tenure.role != LeaseRole::Serving || self.other.phase != PeerPhase::Mirrored {
            if self.can_give_way() {
                self.release(Notice::LocalFailed);
            }
            return;
        }
        self.copy.faulty = true;
        self.tenure.role = LeaseRole::Yielding;
        self.tenure.hand_over = None;
        self.say(Notice::LocalFailed);
        // Flushes the other copy first: acknowledged data must not depend on the other machine's
        // power supply alone.
        self.other.since = self.now;
        self.send(ReplicaMessage::Command {
            epoch: self.tenure.epoch,
            tag: YIELD_TAG,
            command: FollowerCommand::Flush,
        });
    }

    /// Handles a disk that is shorter than the volume. If no other copy has the data, this one
    /// continues to return the rest of it; otherwise it is resynchronised completely from the other
    /// copy.
    pub(super) fn shortened(&mut self) {
        if self.tenure.role == LeaseRole::Serving && self.other.phase != PeerPhase::Mirrored {
            return;
        }
        let base = Generation(0);
        self.copy.head.state = match self.copy.head.state {
            CopyState::Joined(_) => CopyState::Joined(base),
            CopyState::Syncing { .. } => CopyState::Syncing { base },
        };
        self.copy.store();
        if self.tenure.role == LeaseRole::Idle {
            // Ends the session, so that the owner reconnects and receives the information about the
            // loss.
            self.following.end();
        }
    }

    pub(super) fn yield_flushed(&mut self) {
        let can = self.tenure.role == LeaseRole::Yielding && self.tenure.proposal.is_none();
        if can && self.other.phase == PeerPhase::Mirrored {
            self.propose(InSync::One(self.settings.other));
        }
    }

    /// Releases the lease. Pending requests end with the result `Moved`.
    pub(super) fn release(&mut self, why: Notice) {
        self.say(why);
        self.out.push(ReplicaAction::Release(self.tenure.epoch));
        self.step_down();
        self.tenure.rests_until = self.now.after(self.settings.bounds.rest_ns);
    }

    /// Stops being the owner. Another node may be the owner now.
    pub(super) fn step_down(&mut self) {
        self.tenure.role = LeaseRole::Idle;
        self.tenure.until = Time(0);
        if !self.broken.is(ReplicaDefect::ExecutesStale) {
            self.disown();
            self.tenure.waits = false;
        }
        self.requests.abandon();
        self.lose_other();
        self.tenure.proposal = None;
        self.tenure.secures = false;
        self.tenure.hand_over = None;
        self.tenure.growth = None;
        if self.is_drained() {
            self.drained();
        }
    }

    pub(super) fn advance_tenure(&mut self) {
        // Stops waiting if the other node is silent, unless this copy lacks acknowledged writes and
        // so cannot serve alone.
        let is_hopeless = self.other.is_silent && !self.copy.lacks;
        if let LeaseRole::Greeting(until) = self.tenure.role
            && (self.now >= until || is_hopeless)
        {
            self.not_introduced();
        }
        if self.now >= self.gives_up_at() && self.can_give_way() {
            return self.release(Notice::LocalFailed);
        }
        let again = self.settings.bounds.propose_ns;
        if let Some(proposal) = &mut self.tenure.proposal
            && self.now >= proposal.at.after(again)
        {
            proposal.at = self.now;
            let action = ReplicaAction::Propose(self.tenure.epoch, proposal.record.clone());
            self.out.push(action);
        }
        if self.tenure.role == LeaseRole::Serving && self.must_be_alone() {
            self.secure();
        }
    }

    /// Returns whether the record has to be changed to this copy alone. Only possible when the
    /// outcome of an earlier proposal is known.
    fn must_be_alone(&self) -> bool {
        let recorded = self.has_another();
        let lost = self.other.phase != PeerPhase::Mirrored;
        recorded && lost && self.tenure.proposal.is_none()
    }

    /// Flushes the local disk, then proposes the record with this copy alone: acknowledged data
    /// must not exist only in this machine's volatile cache.
    fn secure(&mut self) {
        if self.tenure.secures {
            return;
        }
        self.tenure.secures = true;
        if self.broken.is(ReplicaDefect::ProposesUnflushed) {
            return self.propose_alone();
        }
        let nothing = Blocks { first: 0, count: 1 };
        let slot = self
            .requests
            .open(RequestInitiator::Alone, RequestOperation::Flush, nothing);
        self.begin_slot(slot);
    }

    pub(super) fn propose_alone(&mut self) {
        self.tenure.secures = false;
        let can = matches!(self.tenure.role, LeaseRole::Serving | LeaseRole::Recording);
        if can && self.must_be_alone() {
            self.propose(InSync::One(self.settings.me));
        }
    }

    pub(super) fn tenure_deadline(&self) -> Option<Time> {
        let again = self.settings.bounds.propose_ns;
        let proposal = self.tenure.proposal.as_ref();
        let proposal = proposal.map(|proposal| proposal.at.after(again));
        let own = match self.tenure.role {
            LeaseRole::Greeting(until) => Some(until),
            LeaseRole::Idle | LeaseRole::Serving | LeaseRole::Yielding => None,
            // Returns the deadline only if it has an effect: one in the past without an effect
            // would fire again and again.
            _ => self.can_give_way().then(|| self.gives_up_at()),
        };
        proposal.into_iter().chain(own).min()
    }

    pub(super) fn order(&mut self, order: ReplicaOrder) {
        match order {
            ReplicaOrder::ServeAlone => {
                self.tenure.alone = true;
                self.tenure.rests_until = Time(0);
            }
            ReplicaOrder::Freeze | ReplicaOrder::HandOver => {
                self.hand_over(order == ReplicaOrder::HandOver)
            }
            ReplicaOrder::Thaw => self.tenure.hand_over = None,
            ReplicaOrder::Verify { repairs } => self.verify(repairs),
            ReplicaOrder::StopVerify => self.stop_verify(),
            ReplicaOrder::Resync { everything } => self.order_resync(everything),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::cost::{Handle, granted};
    use crate::replica::*;

    /// Returns a replica that gets the lease of a volume with both copies in sync, and its actions.
    fn owner(before: Vec<Input<Handle>>) -> (Replica<Handle>, Vec<ReplicaAction<Handle>>) {
        let (mut replica, inputs) = granted();
        let mut actions = Vec::new();
        for input in before.into_iter().chain(inputs) {
            replica.handle(Time(1), input, &mut actions);
        }
        (replica, actions)
    }

    /// Returns whether the node is about to serve alone: it flushes its disk before it proposes the
    /// record.
    fn alone(actions: &[ReplicaAction<Handle>]) -> bool {
        actions
            .iter()
            .any(|one| matches!(one, ReplicaAction::Disk(..)))
    }

    #[test]
    fn a_new_owner_waits_unless_the_other_copy_is_silent() {
        let session = Session(1);
        let (mut replica, mut actions) = owner(vec![Input::Connected(session)]);
        assert!(!alone(&actions));
        assert_eq!(
            replica.deadline(),
            Some(Time(1).after(ReplicaLimits::default().greet_ns))
        );
        // The other node falls silent during the wait.
        replica.handle(Time(2), Input::Silent(true), &mut actions);
        assert!(alone(&actions));
        let lost = || vec![Input::Connected(session), Input::Lost(session)];
        assert!(!alone(&owner(lost()).1), "it may come back at once");
        let silent = [lost(), vec![Input::Silent(true)]].concat();
        assert!(alone(&owner(silent).1));
        let back = [
            lost(),
            vec![
                Input::Silent(true),
                Input::Silent(false),
                Input::Connected(Session(2)),
            ],
        ];
        assert!(!alone(&owner(back.concat()).1));
    }
}
