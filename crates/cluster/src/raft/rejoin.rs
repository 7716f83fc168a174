//! Makes a member that lost its store a voter again.
//!
//! A voter's votes and acknowledgements count in majorities. A voter whose store was lost (see
//! `store/promise.rs`) no longer has the entries that it acknowledged, and does not know for whom
//! it voted. If it continued as a voter with an empty log, it could elect a leader together with a
//! member that is behind, and an acknowledged change would be lost. So the member is on probation:
//!
//! 1. *Closed.* The member grants no vote, never stands for election, and refuses entries and
//!    snapshots. To the others it is a voter that does not respond. It asks the leader to remove it
//!    from the voters.
//!
//! 2. *Open.* The removal is committed. The member accepts entries like a new member, still without
//!    a vote, and asks to be added again.
//!
//! 3. *Over.* The member's state has all entries up to the removal, and the member is a voter in
//!    the newest membership that it knows. From now on it votes and may lead.
//!
//! Proof of safety. Let `C` be the membership with the lost voter `M`, and `n` the number of its
//! voters.
//!
//! - The removal commits in `C` too (joint consensus), and `M` acknowledges nothing while it is
//!   closed. So more than `n/2` *other* members have the removal and its term `T`. They elected or
//!   follow a leader without the vote of `M`. That leader therefore has every entry that was
//!   committed before, also those that only `M` and one other member acknowledged.
//! - Any majority of `C` that includes `M` needs at least `n/2` (rounded down) of the `n - 1` other
//!   voters. It shares a member with the more than `n/2` members above, and that member refuses
//!   everything of a term below `T`. So no leader from before the removal can use a later
//!   acknowledgement of `M`, and no candidate its vote.
//! - Adding `M` after that is adding a new member: it has promised nothing.
//! - `M` must not act on a membership from before the removal while it reads the log again. So it
//!   stays on probation until its state is past the index that the leader of the removal confirmed
//!   afterwards (a linearizable read).
//! - The leader reports the removal only when the membership without `M` is committed, also when
//!   another member requested it first.
//!
//! After a restart during the probation the member starts again from 1: a second removal does no
//! harm. If the others are no majority of `C` without `M` (two voters, or the stores of two of
//! three are lost), nothing is automatic. The cluster stays frozen, and the status names the
//! command that decides. A member cannot know that its whole state directory, store and promise
//! file, was replaced by an older copy. The others can notice that, which also leads to a
//! probation.

use crate::member::{MemberId, MemberKind};
use crate::raft::engine::Engine;
use crate::raft::error::EngineError;
use crate::raft::message::{Failure, MembershipChange, RaftReply, Request};
use crate::raft::network::call;
use crate::raft::store_io::ask;
use openraft::AsyncRuntime;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(200);
/// Time after which the member repeats its request for a change. The request or its
/// reply may be lost, and a repeated request for a change in progress or made is
/// harmless.
const ASK_AGAIN: Duration = Duration::from_secs(3);
/// Largest number of members that are asked in turn: the last known leader, and the one
/// that it names.
const ASKED_MAX: usize = 2;
const CONFIRM_LIMIT: Duration = Duration::from_secs(5);
/// Number of start counts that are skipped, because those of the lost store are not
/// known for certain.
const STARTS_SKIPPED: u64 = 1000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Gate {
    Over,
    /// The member accepts no entries. The value is the last member that sent entries as
    /// the leader.
    Closed(Option<MemberId>),
    /// The named leader has removed the member, whose state must reach the index before it becomes
    /// a voter again.
    Open(u64, MemberId),
}

/// Probation of a member that lost its store.
#[derive(Debug)]
pub(super) struct Probation(Mutex<Gate>);

impl Probation {
    pub(super) fn new(lost: bool) -> Probation {
        Probation(Mutex::new(if lost {
            Gate::Closed(None)
        } else {
            Gate::Over
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Gate> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the member is on probation: it does not vote and proposes nothing.
    pub(super) fn is_on(&self) -> bool {
        *self.lock() != Gate::Over
    }

    /// Returns the reply to a request that is refused on probation; None if the request may be
    /// processed. While the gate is closed, remembers the sender of entries as the last known
    /// leader.
    pub(super) fn refuses<R: AsyncRuntime>(
        &self,
        from: MemberId,
        request: &Request<R>,
    ) -> Option<RaftReply<R>> {
        let mut gate = self.lock();
        match (*gate, request) {
            (Gate::Over, _) => None,
            (Gate::Closed(_), Request::Append(_) | Request::Snapshot(_)) => {
                *gate = Gate::Closed(Some(from));
                Some(RaftReply::Failed(Failure::Stopped))
            }
            (_, Request::Lost(_)) => Some(RaftReply::Lost(false)),
            (_, Request::Vote { .. } | Request::PreVote(_) | Request::Transfer(_)) => {
                Some(RaftReply::Failed(Failure::Stopped))
            }
            _ => None,
        }
    }
}

impl<R: AsyncRuntime> Engine<R> {
    pub(super) async fn rejoin(self) {
        while !self.over() {
            let gate = *self.inner.probation.lock();
            match gate {
                Gate::Over => return,
                Gate::Closed(None) => {}
                Gate::Closed(Some(known)) => {
                    if let Some((index, leader)) = self.be_removed(known).await {
                        *self.inner.probation.lock() = Gate::Open(index, leader);
                        continue;
                    }
                }
                Gate::Open(index, led) => {
                    if self.is_voter_after(index) {
                        self.end_probation().await;
                        continue;
                    }
                    let asked = self.others().chain([led]).collect::<BTreeSet<_>>();
                    match self.leader() {
                        Some(leader) => self.ask_to_be_added(leader).await,
                        // Asks every member: a removed member receives no entries, so no leader
                        // makes itself known.
                        None => {
                            for other in asked {
                                self.ask_to_be_added(other).await;
                            }
                        }
                    }
                }
            }
            R::sleep(PAUSE).await;
        }
    }

    /// Checks whether the state has a proposal of this member, with the current start number
    /// or a later one, that this process did not make. Then store and promise file were
    /// replaced by older ones together, and from the next start on the store counts as lost.
    pub(super) async fn look_for_the_future(&self) {
        if self.inner.probation.is_on() {
            return;
        }
        let known = self.inner.shared.start_of(self.inner.me);
        let own = self.inner.start.load(Ordering::Relaxed);
        if known < own || (known == own && !self.inner.tickets.are_new()) {
            return;
        }
        let store = &self.inner.store;
        let why = match ask::<R, _>(|done| store.condemn(done)).await {
            Ok(()) => EngineError::Past,
            Err(error) => error.into(),
        };
        self.inner.shared.halt(why);
        let _ = self.inner.raft.shutdown().await;
    }

    /// Asks the leader to remove this member, by way of the last known one. Returns an index at or
    /// behind the removal, and the leader.
    async fn be_removed(&self, known: MemberId) -> Option<(u64, MemberId)> {
        let leader = self
            .ask_for(MembershipChange::Drop(self.inner.me), known)
            .await?;
        let (calls, request) = (&self.inner.calls, Request::<R>::Confirm);
        // Asks the member that reported the removal: a confirmed read proves that it led then.
        match call(calls, leader, &request, CONFIRM_LIMIT).await {
            Ok(RaftReply::Confirmed(index)) => Some((index, leader)),
            _ => None,
        }
    }

    /// Requests a change from the last known leader, and if that is no longer the leader,
    /// from the one that it names. A removed member receives no entries, so a new leader
    /// does not make itself known to it. Returns the leader that made the change.
    async fn ask_for(&self, change: MembershipChange, known: MemberId) -> Option<MemberId> {
        let (calls, me) = (&self.inner.calls, self.inner.me);
        let request = Request::<R>::Change(change);
        let mut leader = known;
        for _ in 0..ASKED_MAX {
            match call(calls, leader, &request, ASK_AGAIN).await {
                Ok(RaftReply::Changed) => return Some(leader),
                Ok(RaftReply::NotLeader(Some(next))) if next != me => leader = next,
                _ => return None,
            }
        }
        None
    }

    async fn ask_to_be_added(&self, leader: MemberId) {
        let asking = self.ask_for(MembershipChange::Add(self.inner.me), leader);
        // Stops waiting for the reply as soon as the entries that make this member a voter have
        // arrived.
        let added = async {
            while !self.over() {
                R::sleep(PAUSE).await;
                if let Gate::Open(index, _) = *self.inner.probation.lock()
                    && self.is_voter_after(index)
                {
                    return;
                }
            }
        };
        R::select2(asking, added).await;
    }

    fn others(&self) -> impl Iterator<Item = MemberId> {
        let members: Vec<MemberId> = self.state().members.keys().copied().collect();
        let me = self.inner.me;
        members.into_iter().filter(move |member| *member != me)
    }

    fn is_voter_after(&self, index: u64) -> bool {
        let standing = self.raft_status();
        standing.log.applied.is_some_and(|applied| applied >= index)
            && standing.voters.contains(&self.inner.me)
    }

    async fn end_probation(&self) {
        let known = self.inner.shared.start_of(self.inner.me);
        let starts = known
            .max(self.inner.store.starts())
            .saturating_add(STARTS_SKIPPED);
        let store = &self.inner.store;
        let kept = ask::<R, _>(|done| store.found_again(starts, done)).await;
        if let Err(error) = kept {
            self.inner.shared.halt(error.into());
            R::sleep(PAUSE).await;
            return;
        }
        self.inner.start.store(starts, Ordering::Relaxed);
        *self.inner.probation.lock() = Gate::Over;
        if self.inner.kind == MemberKind::Node {
            self.inner.raft.runtime_config().elect(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openraft_rt_tokio::TokioRuntime;

    #[test]
    fn on_probation_nothing_is_granted_and_while_closed_nothing_is_taken() {
        let asked = || {
            Request::<TokioRuntime>::Lost(crate::raft::message::Lost {
                leader: MemberId(1),
                term: 3,
                last: None,
            })
        };
        let part = || {
            Request::<TokioRuntime>::Snapshot(crate::raft::message::SnapshotPart::End {
                of: crate::member::Digest([0; 32]),
            })
        };
        let probation = Probation::new(true);
        let from = MemberId(2);
        let refused = |request| probation.refuses(from, &request);
        assert!(matches!(refused(asked()), Some(RaftReply::Lost(false))));
        assert!(matches!(refused(part()), Some(RaftReply::Failed(_))));
        assert_eq!(*probation.lock(), Gate::Closed(Some(from)));
        *probation.lock() = Gate::Open(7, from);
        assert!(matches!(refused(asked()), Some(RaftReply::Lost(false))));
        assert!(refused(part()).is_none());
        *probation.lock() = Gate::Over;
        assert!(refused(asked()).is_none() && !probation.is_on());
    }
}
