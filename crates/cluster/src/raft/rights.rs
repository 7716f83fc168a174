//! Decides which requests this member accepts from which kind of member. An arbiter leads only
//! until a node can, so its requests as a leader are restricted to what that takes.
//!
//! A thief of an arbiter's keys can send any message in its name. These checks and
//! `ClusterState::check_author` limit an arbiter to this:
//!
//! - As a leader it is followed only by members that voted for it or that hear no other leader, and
//!   for a limited time ([`crate::raft::election`]).
//! - It commits what nodes signed. Its memberships keep the follower and all other voters, except
//!   for members that a node removed, and contain no strangers.
//! - Its snapshots are installed only if a node signed them.
//! - It cannot change the voters, transfer leadership, or propose in another member's name.
//!
//! A member that is not known here (it joined while this one was away) counts as an arbiter.

use crate::log::{Entry, LogId, Types, Vote};
use crate::member::{MemberId, MemberKind};
use crate::raft::engine::Engine;
use crate::raft::message::{Failure, MembershipChange, RaftReply, Request, SnapshotPart};
use crate::raft::replica::{SnapshotSeal, Unfounded};
use crate::raft::store_io::ask;
use crate::state::ClusterState;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::raft::AppendEntriesRequest;
use openraft::{AsyncRuntime, EmptyNode, EntryPayload, Membership};
use std::collections::BTreeSet;

/// Bytes of entries that are searched for admissions which are not applied yet.
const SEARCHED_BYTES_MAX: usize = 1 << 20;

impl<R: AsyncRuntime> Engine<R> {
    pub(super) fn is_node(&self, member: MemberId) -> bool {
        match self.inner.shared.kind_of(member) {
            Ok(kind) => kind == Some(MemberKind::Node),
            // Before this member has a log, the list from the member that admitted it counts.
            Err(Unfounded) => self.inner.settings.nodes.contains(&member),
        }
    }

    pub(super) async fn refuse_without_right(
        &self,
        from: MemberId,
        request: &Request<R>,
    ) -> Option<RaftReply<R>> {
        let refused = match request {
            Request::Append(append) => {
                !self.is_plausible(&append.vote)
                    || !self.may_lead(from, &append.vote)
                    || !self.may_append(from, append).await
            }
            Request::Vote { request, .. } | Request::PreVote(request) => {
                !self.is_plausible(&request.vote)
                    || !(self.is_node(from) || self.inner.election.may_elect_arbiter())
            }
            Request::Transfer(request) => {
                let vote = request.from_leader();
                !self.is_plausible(vote) || !self.may_lead(from, vote)
            }
            Request::Snapshot(SnapshotPart::Begin { vote, .. }) => {
                !self.is_plausible(vote) || !self.may_lead(from, vote)
            }
            Request::Propose(proposed) => {
                proposed.ticket.member != from
                    || proposed.command.from != from
                    // Refuses a wrong signature here. An unsigned proposal is left to the state,
                    // which refuses it if signatures are required, and the proposer then signs.
                    || (proposed.is_signed() && self.state().check_author(proposed).is_err())
            }
            Request::Change(change) => !self.is_node(from) && !is_of_itself(from, *change),
            Request::Lost(_) | Request::Confirm | Request::Snapshot(_) | Request::Fetch { .. } => {
                false
            }
        };
        refused.then_some(RaftReply::Failed(Failure::Unfit(from)))
    }

    fn is_plausible(&self, vote: &Vote) -> bool {
        self.inner.calls.is_plausible(vote)
    }

    /// Returns whether a member is followed as the leader of its term. A node is. An
    /// arbiter may claim to be elected, and nobody can verify the votes of others. So
    /// only members that voted for the arbiter or that hear no other leader follow it.
    fn may_lead(&self, from: MemberId, vote: &Vote) -> bool {
        if self.is_node(from) {
            return true;
        }
        if self.inner.shared.kind_of(from).is_err() {
            return false;
        }
        let own = self.inner.store.vote();
        // Lets Raft respond with the newer vote of this member; nothing is appended.
        if own.is_some_and(|own| own > *vote) {
            return true;
        }
        let is_elected = own.is_some_and(|own| own.leader_id == vote.leader_id);
        (is_elected || self.hears_no_leader())
            && self.inner.election.follows_arbiter(vote.leader_id.term)
    }

    fn hears_no_leader(&self) -> bool {
        let lease = self.inner.settings.election_max;
        let standing = self.raft_status();
        let leads = standing.leading && standing.quorum_acked_ago.is_some_and(|ago| ago < lease);
        !leads && self.inner.election.silent_for() >= lease
    }

    async fn may_append(&self, from: MemberId, request: &AppendEntriesRequest<Types<R>>) -> bool {
        if self.is_node(from) {
            return true;
        }
        // Refuses to replace a committed entry.
        let committed = {
            let receiver = self.inner.raft.metrics();
            let metrics = receiver.borrow_watched();
            metrics.local_committed
        };
        let ids = request.entries.iter().map(|entry| Some(entry.log_id));
        let replaces = ids
            .chain([request.prev_log_id])
            .any(|id| id.map(|id| id.index) <= committed.map(|id| id.index) && id > committed);
        if replaces {
            return false;
        }
        for (place, entry) in request.entries.iter().enumerate() {
            let EntryPayload::Membership(membership) = &entry.payload else {
                continue;
            };
            // Skips an entry that this member already has.
            if Some(entry.log_id.index) <= committed.map(|id| id.index)
                || self.has_membership(entry.log_id, membership).await
            {
                continue;
            }
            let before = request.entries.get(..place).unwrap_or_default();
            if !self.are_safe_voters(membership, before).await {
                return false;
            }
        }
        true
    }

    /// Returns whether this member already has this membership. It was accepted from its author
    /// then; a new leader sends entries again whose commitment this member did not hear of.
    async fn has_membership(&self, id: LogId, wanted: &Membership<MemberId, EmptyNode>) -> bool {
        let store = &self.inner.store;
        let range = id.index..id.index + 1;
        let read = ask::<R, _>(|done| store.entries(range, SEARCHED_BYTES_MAX, done)).await;
        let own = read.ok().and_then(|found| found.into_iter().next());
        own.is_some_and(|own| {
            let is_wanted = matches!(&own.payload, EntryPayload::Membership(own) if own == wanted);
            own.log_id == id && is_wanted
        })
    }

    /// Returns whether a membership from an arbiter keeps this member and all voters, and has no
    /// strangers. Without one of the voters, the arbiter could make a majority with each node, and
    /// the two nodes could follow different logs. A voter is only missing if it was removed from
    /// the cluster by a command. `before`: entries that precede the membership and are not stored.
    async fn are_safe_voters(
        &self,
        membership: &Membership<MemberId, EmptyNode>,
        before: &[Entry],
    ) -> bool {
        let configs = membership.get_joint_config();
        let is_kept = |voter: &MemberId| configs.iter().all(|config| config.contains(voter));
        if !is_kept(&self.inner.me) {
            return false;
        }
        let mut missing: BTreeSet<MemberId> = {
            let receiver = self.inner.raft.metrics();
            let metrics = receiver.borrow_watched();
            metrics.membership_config.membership().voter_ids().collect()
        };
        missing.retain(|voter| !is_kept(voter));
        let state = self.state();
        let mut unknown: BTreeSet<MemberId> = membership.nodes().map(|(id, _)| *id).collect();
        unknown.retain(|id| !state.members.contains_key(id));
        missing.retain(|id| state.members.contains_key(id));
        if unknown.is_empty() && missing.is_empty() {
            return true;
        }
        let later = self.state_after(before).await;
        unknown.iter().all(|id| later.members.contains_key(id))
            && !missing.iter().any(|id| later.members.contains_key(id))
    }

    async fn state_after(&self, before: &[Entry]) -> ClusterState {
        let applied = self.raft_status().log.applied.map_or(0, |index| index + 1);
        let begin = before.first().map_or(u64::MAX, |entry| entry.log_id.index);
        let store = &self.inner.store;
        let read =
            ask::<R, _>(|done| store.entries(applied..begin, SEARCHED_BYTES_MAX, done)).await;
        let unapplied = read.unwrap_or_default();
        let mut later = (*self.state()).clone();
        for entry in unapplied.iter().chain(before) {
            let EntryPayload::Normal(proposed) = &entry.payload else {
                continue;
            };
            if entry.log_id.index >= applied
                && !later.must_stop(&proposed.command)
                && later.check_author(proposed).is_ok()
            {
                later.apply(&proposed.command);
            }
        }
        later
    }

    /// Returns whether a snapshot from this member may be installed: the member is a
    /// node, or a node signed the snapshot.
    pub(super) fn may_install(&self, from: MemberId, seal: Option<&SnapshotSeal>) -> bool {
        if self.is_node(from) {
            return true;
        }
        let state = self.state();
        // Accepts any snapshot until signatures are required: nodes sign none before.
        if state.founded() && !state.requires_signatures() {
            return true;
        }
        seal.is_some_and(|seal| {
            self.is_node(seal.by) && state.is_signature_of(seal.by, &seal.signature, &seal.message)
        })
    }
}

/// Returns whether a member requests a change of itself: a member that lost its store
/// asks to be removed from the voters, and to be added again.
fn is_of_itself(from: MemberId, change: MembershipChange) -> bool {
    match change {
        MembershipChange::Add(member) | MembershipChange::Drop(member) => member == from,
        MembershipChange::HandOver(_) => false,
    }
}
