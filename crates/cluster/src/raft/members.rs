//! Adds and removes voters, and transfers leadership: the leader executes a change, and every
//! member can request one.

use crate::log::Types;
use crate::member::{MemberId, MemberKind};
use crate::raft::engine::Engine;
use crate::raft::error::EngineError;
use crate::raft::message::{Failure, MembershipChange, RaftReply, Request};
use crate::raft::network::call;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::raft::ClientWriteResponse;
use openraft::{AsyncRuntime, ChangeMembers, EmptyNode, Instant};
use std::collections::BTreeSet;
use std::time::Duration;

/// Timeout of a change: a new member must have the whole log before it votes.
const CHANGE_LIMIT: Duration = Duration::from_secs(60);
const LEADER_LIMIT: Duration = Duration::from_secs(5);
/// Longest wait for the end of another change.
const OTHERS_LIMIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

impl<R: AsyncRuntime> Engine<R> {
    /// Adds a member: first as a learner, then, when it has the whole log, as a voter.
    ///
    /// # Errors
    /// - [`EngineError::NoLeader`]: no leader was found in time.
    /// - [`EngineError::Changing`]: another change did not end in time.
    /// - [`EngineError::NoMajority`]: no majority responded in time; the change may still be made.
    /// - [`EngineError::Unanswered`]: the leader did not respond; the change may have been made.
    /// - [`EngineError::Unfit`]: the member cannot make the change.
    /// - [`EngineError::LeaderStopped`]: the leader cannot write its log; the change may have been
    ///   made.
    /// - [`EngineError::RefusedByLeader`]: the leader does not understand the request.
    /// - [`EngineError::Stopped`], or another reason: consensus has stopped here.
    pub async fn add(&self, member: MemberId) -> Result<(), EngineError> {
        self.change(MembershipChange::Add(member)).await
    }

    /// Removes a member from the voters and learners.
    ///
    /// # Errors
    /// As [`Engine::add`].
    pub async fn drop(&self, member: MemberId) -> Result<(), EngineError> {
        self.change(MembershipChange::Drop(member)).await
    }

    /// Transfers leadership to a member, by default to the best candidate.
    ///
    /// # Errors
    /// As [`Engine::add`]. [`EngineError::Unfit`] means that there is no candidate, or that `to` is
    /// an arbiter or has no vote.
    pub async fn hand_over(&self, to: Option<MemberId>) -> Result<(), EngineError> {
        self.change(MembershipChange::HandOver(to)).await
    }

    async fn change(&self, change: MembershipChange) -> Result<(), EngineError> {
        let begun = R::Instant::now();
        loop {
            let leader = self.leader();
            let reply = match leader {
                Some(leader) if leader == self.inner.me => self.change_here(change).await,
                Some(leader) => {
                    let request = Request::<R>::Change(change);
                    match call(&self.inner.calls, leader, &request, CHANGE_LIMIT).await {
                        Ok(reply) => reply,
                        Err(error) if error.may_have_arrived() => {
                            return Err(EngineError::Unanswered(leader));
                        }
                        Err(_) => RaftReply::NotLeader(None),
                    }
                }
                None => RaftReply::NotLeader(None),
            };
            let waits = |limit| R::Instant::now() < begun + limit;
            match reply {
                RaftReply::Changed => return Ok(()),
                RaftReply::NotLeader(_) if waits(LEADER_LIMIT) => R::sleep(PAUSE).await,
                RaftReply::Failed(Failure::Changing) if waits(OTHERS_LIMIT) => {
                    R::sleep(PAUSE).await
                }
                RaftReply::NotLeader(_) => return Err(EngineError::NoLeader),
                RaftReply::Failed(failure) => return Err(self.change_failure(leader, failure)),
                _ => return Err(self.change_failure(leader, Failure::Malformed)),
            }
        }
    }

    pub(super) fn change_failure(&self, leader: Option<MemberId>, failure: Failure) -> EngineError {
        let stopped_here = || self.inner.shared.halted().unwrap_or(EngineError::Stopped);
        let other = leader.filter(|leader| *leader != self.inner.me);
        match (failure, other) {
            (Failure::Changing, _) => EngineError::Changing,
            (Failure::NoMajority, _) => EngineError::NoMajority,
            (Failure::Unfit(member), _) => EngineError::Unfit(member),
            (Failure::Stopped, Some(leader)) => EngineError::LeaderStopped(leader),
            (Failure::Malformed | Failure::Outdated, Some(leader)) => {
                EngineError::RefusedByLeader(leader)
            }
            (Failure::Stopped | Failure::Malformed | Failure::Outdated, None) => stopped_here(),
        }
    }

    pub(super) async fn change_here(&self, change: MembershipChange) -> RaftReply<R> {
        // Refuses to change the voters on an arbiter: followers accept no such change from it. A
        // node will lead soon, and the requester tries again.
        if self.inner.kind == MemberKind::Arbiter
            && !matches!(change, MembershipChange::HandOver(_))
        {
            return RaftReply::NotLeader(None);
        }
        let work = async {
            match change {
                MembershipChange::Add(member) => self.add_here(member).await,
                MembershipChange::Drop(member) => self.drop_here(member).await,
                MembershipChange::HandOver(to) => self.hand_over_here(to).await,
            }
        };
        match R::timeout(CHANGE_LIMIT, work).await {
            Ok(reply) => reply,
            Err(_) => RaftReply::Failed(Failure::NoMajority),
        }
    }

    async fn add_here(&self, member: MemberId) -> RaftReply<R> {
        let raft = &self.inner.raft;
        if raft.voter_ids().any(|voter| voter == member) {
            return RaftReply::Changed;
        }
        let listens = raft.add_learner(member, EmptyNode::default(), true).await;
        if let Err(reply) = outcome(listens) {
            return reply;
        }
        let votes = ChangeMembers::AddVoterIds(BTreeSet::from([member]));
        match outcome(raft.change_membership(votes, false).await) {
            Ok(()) => RaftReply::Changed,
            Err(reply) => reply,
        }
    }

    async fn drop_here(&self, member: MemberId) -> RaftReply<R> {
        let raft = &self.inner.raft;
        if raft.voter_ids().any(|voter| voter == member) {
            let without = ChangeMembers::RemoveVoters(BTreeSet::from([member]));
            if let Err(reply) = outcome(raft.change_membership(without, false).await) {
                return reply;
            }
        }
        if raft.learner_ids().any(|learner| learner == member) {
            let without = ChangeMembers::RemoveNodes(BTreeSet::from([member]));
            if let Err(reply) = outcome(raft.change_membership(without, false).await) {
                return reply;
            }
        }
        self.membership_is_committed().await
    }

    /// Waits until the membership is committed: if another member requested the change,
    /// it may not be committed yet.
    async fn membership_is_committed(&self) -> RaftReply<R> {
        loop {
            let (committed, leading) = {
                let receiver = self.inner.raft.metrics();
                let metrics = receiver.borrow_watched();
                let at = *metrics.membership_config.log_id();
                (at <= metrics.local_committed, metrics.state.is_leader())
            };
            match (leading, committed) {
                // Names the leader, because the requester may have no other way to learn it.
                (false, _) => return RaftReply::NotLeader(self.leader()),
                (true, true) => return RaftReply::Changed,
                (true, false) => R::sleep(PAUSE).await,
            }
        }
    }

    async fn hand_over_here(&self, to: Option<MemberId>) -> RaftReply<R> {
        let Some(to) = to.or_else(|| self.best_other()) else {
            return RaftReply::Failed(Failure::Unfit(self.inner.me));
        };
        if to == self.inner.me {
            return RaftReply::Changed;
        }
        if !self.inner.raft.voter_ids().any(|voter| voter == to) || self.is_arbiter(to) {
            return RaftReply::Failed(Failure::Unfit(to));
        }
        let deadline = R::Instant::now() + LEADER_LIMIT;
        while R::Instant::now() < deadline {
            if self.leader() == Some(to) {
                return RaftReply::Changed;
            }
            if self.leader() == Some(self.inner.me)
                && self.inner.raft.trigger().transfer_leader(to).await.is_err()
            {
                return RaftReply::Failed(Failure::Stopped);
            }
            // The other member needs time to receive the request, stand, and collect votes. A
            // repeated request would make it stand again.
            let again = R::Instant::now() + self.inner.settings.election_max * 2;
            while self.leader() != Some(to) && R::Instant::now() < again {
                R::sleep(PAUSE).await;
            }
        }
        RaftReply::Failed(Failure::NoMajority)
    }

    /// Returns the voting node, other than this one, that has most of the log.
    pub(super) fn best_other(&self) -> Option<MemberId> {
        let standing = self.raft_status();
        standing
            .voters
            .iter()
            .copied()
            .filter(|member| *member != self.inner.me && !self.is_arbiter(*member))
            .max_by_key(|member| standing.matched.get(member).copied().flatten())
    }

    pub(super) fn is_arbiter(&self, member: MemberId) -> bool {
        self.state()
            .members
            .get(&member)
            .is_some_and(|member| member.kind == MemberKind::Arbiter)
    }
}

type ClientWriteResult<R> =
    Result<ClientWriteResponse<Types<R>>, RaftError<Types<R>, ClientWriteError<Types<R>>>>;

fn outcome<R: AsyncRuntime>(written: ClientWriteResult<R>) -> Result<(), RaftReply<R>> {
    match written {
        Ok(_) => Ok(()),
        Err(RaftError::Fatal(_)) => Err(RaftReply::Failed(Failure::Stopped)),
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => {
            Err(RaftReply::NotLeader(to.leader_id))
        }
        Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
            ChangeMembershipError::LearnerNotFound(missing),
        ))) => Err(RaftReply::Failed(Failure::Unfit(missing.node_id))),
        Err(RaftError::APIError(_)) => Err(RaftReply::Failed(Failure::Changing)),
    }
}
