//! Decides when a member stands for election and whom it may follow, as far as openraft leaves that
//! open.
//!
//! In openraft, a follower that heard from a leader waits until the leader's lease has expired, and
//! refuses its vote to others for as long. That is right while it is unknown whether the leader has
//! died or the network is slow. If the leader's process is killed, the kernel closes its
//! connections, and all members see that at once. Members that agree that the leader is lost then
//! vote without waiting. Each member decides by its own observation: it refuses if its connection
//! is alive, or if it heard from the leader since. Terms alone keep votes safe. The lease only
//! keeps elections rare, and no reads depend on it.
//!
//! Before an election a candidate requests pre-votes, and openraft drops late responses. On an
//! overloaded machine every response is a little too late, and no election would ever begin.
//! Therefore a late pre-vote is kept, and answers the next identical request. A pre-vote is not
//! binding; the votes themselves are always requested.
//!
//! A vote is binding, so it is on disk before it is granted, and openraft drops it after
//! [`Settings::election_min`]. With slower syncs no member would ever be elected. Therefore a
//! member whose last vote was slow writes its vote when it grants a pre-vote, and sends the
//! pre-vote once the vote is on disk. Granting the vote then needs no sync. Openraft does not know
//! of a prepared vote; after a restart it counts as granted. A candidate is not notified of votes
//! that it may not have requested.
//!
//! An arbiter starts an election only after twice the timeout, and only if no node did. It leads
//! only until a node can. A node follows it in a term for at most [`Settings::arbiter_leads_max`],
//! and votes for it again only after requesting votes itself: a hostile arbiter must not stay the
//! leader of nodes that reach each other.

use crate::log::Types;
use crate::member::{MemberId, MemberKind};
use crate::raft::settings::Settings;
use openraft::raft::{VoteRequest, VoteResponse};
use openraft::{AsyncRuntime, Instant};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Interval between two requests to the other voters whether they have lost the leader, too.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(10);

struct LeaderContact<I> {
    /// Time at which a leader was heard, a vote was granted, or the arbiter became a
    /// candidate.
    at: I,
    lost: Option<(MemberId, I)>,
}

/// A pre-vote: a member would vote for this one.
struct WouldVote<R: AsyncRuntime> {
    asked: VoteRequest<Types<R>>,
    said: VoteResponse<Types<R>>,
    at: R::Instant,
}

/// Knowledge of the leader that openraft does not keep.
pub(super) struct Election<R: AsyncRuntime> {
    kind: MemberKind,
    settings: Arc<Settings>,
    heard: Mutex<LeaderContact<R::Instant>>,
    /// Late pre-votes by sender, at most one for each member.
    late: Mutex<BTreeMap<MemberId, WouldVote<R>>>,
    saves_slowly: AtomicBool,
    arbiter: Mutex<Option<ArbiterLeadership<R::Instant>>>,
}

/// The last term in which this member followed an arbiter, and since when it has followed one. The
/// time begins again after this member asked for votes or followed a node.
struct ArbiterLeadership<I> {
    term: u64,
    since: I,
}

impl<R: AsyncRuntime> Election<R> {
    pub(super) fn new(kind: MemberKind, settings: Arc<Settings>) -> Election<R> {
        Election {
            kind,
            settings,
            heard: Mutex::new(LeaderContact {
                at: R::Instant::now(),
                lost: None,
            }),
            late: Mutex::new(BTreeMap::new()),
            saves_slowly: AtomicBool::new(false),
            arbiter: Mutex::new(None),
        }
    }

    pub(super) fn follows_arbiter(&self, term: u64) -> bool {
        let mut led = self.arbiter.lock().unwrap_or_else(PoisonError::into_inner);
        let led = led.get_or_insert_with(|| {
            let since = R::Instant::now();
            ArbiterLeadership { term, since }
        });
        // A newer term does not extend the time.
        led.term = led.term.max(term);
        led.term == term && led.since.elapsed() < self.settings.arbiter_leads_max
    }

    pub(super) fn may_elect_arbiter(&self) -> bool {
        let led = self.arbiter.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = self.settings.arbiter_leads_max;
        led.as_ref().is_none_or(|one| one.since.elapsed() < limit)
    }

    #[cfg(test)]
    pub(super) fn expire_arbiters_time(&self) {
        let mut led = self.arbiter.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(led) = led.as_mut() {
            led.since -= self.settings.arbiter_leads_max;
        }
    }

    /// Records that this member asks for votes, or follows a node.
    pub(super) fn end_arbiters_time(&self) {
        *self.arbiter.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn saved_within(&self, time: Duration) {
        let slow = time >= self.settings.election_min / 2;
        self.saves_slowly.store(slow, Ordering::Relaxed);
    }

    pub(super) fn saves_slowly(&self) -> bool {
        self.saves_slowly.load(Ordering::Relaxed)
    }

    fn late(&self) -> MutexGuard<'_, BTreeMap<MemberId, WouldVote<R>>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn would_vote(
        &self,
        member: MemberId,
        asked: VoteRequest<Types<R>>,
        said: VoteResponse<Types<R>>,
    ) {
        let at = R::Instant::now();
        self.late().insert(member, WouldVote { asked, said, at });
    }

    /// Removes the late pre-vote of a member; returns it if it responds to the same request and is
    /// younger than [`Settings::election_max`].
    pub(super) fn said_late(
        &self,
        member: MemberId,
        asked: &VoteRequest<Types<R>>,
    ) -> Option<VoteResponse<Types<R>>> {
        let had = self.late().remove(&member)?;
        let same = had.asked == *asked && had.at.elapsed() < self.settings.election_max;
        same.then_some(had.said)
    }

    fn lock(&self) -> MutexGuard<'_, LeaderContact<R::Instant>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn record_leader_message(&self, leader: MemberId) {
        let mut heard = self.lock();
        heard.at = R::Instant::now();
        if heard.lost.is_some_and(|(lost, _)| lost == leader) {
            heard.lost = None;
        }
    }

    /// Returns the time since the last message from a leader or the last granted vote.
    pub(super) fn silent_for(&self) -> Duration {
        self.lock().at.elapsed()
    }

    pub(super) fn voted(&self) {
        self.lock().at = R::Instant::now();
    }

    pub(super) fn lose(&self, leader: MemberId) {
        self.lock().lost = Some((leader, R::Instant::now()));
    }

    /// Returns the leader whose connection died and that was not heard since. A loss older than
    /// four times [`Settings::election_max`] is ignored.
    pub(super) fn lost_leader(&self) -> Option<MemberId> {
        let (leader, at) = self.lock().lost?;
        (at.elapsed() < self.settings.election_max * 4).then_some(leader)
    }

    /// Returns the delay after a loss before this member requests votes: for a node as the
    /// `rank`-th candidate a quarter of a heartbeat for each rank, for an arbiter
    /// [`Settings::election_max`].
    pub(super) fn stand_after(&self, rank: u32) -> Duration {
        match self.kind {
            MemberKind::Node => self.settings.heartbeat / 4 * rank,
            MemberKind::Arbiter => self.settings.election_max,
        }
    }

    /// Returns whether an arbiter has heard of no leader for so long that it stands for
    /// election; `timeout` is a random election timeout. The next check is due after two
    /// more of them.
    pub(super) fn arbiter_stands(&self, timeout: Duration) -> bool {
        let lease = self.settings.election_max;
        let mut heard = self.lock();
        if heard.at.elapsed() < lease + timeout * 2 {
            return false;
        }
        heard.at = R::Instant::now() - lease;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{LeaderId, Vote};
    use openraft_rt_tokio::TokioRuntime;

    fn question(term: u64) -> VoteRequest<Types<TokioRuntime>> {
        let leader_id = LeaderId {
            term,
            voted_for: MemberId(1),
        };
        let vote = Vote {
            leader_id,
            committed: false,
        };
        VoteRequest::new(vote, None)
    }

    #[tokio::test]
    async fn what_came_too_late_answers_the_same_question_of_the_same_member_once() {
        let settings = Settings {
            election_max: Duration::from_secs(600),
            ..Settings::default()
        };
        let election = Election::<TokioRuntime>::new(MemberKind::Node, Arc::new(settings));
        let (b, c) = (MemberId(2), MemberId(3));
        let keep = || {
            let said = VoteResponse::new(question(4).vote, None, true);
            election.would_vote(b, question(5), said);
        };
        keep();
        assert!(election.said_late(c, &question(5)).is_none());
        assert!(election.said_late(b, &question(5)).is_some());
        assert!(election.said_late(b, &question(5)).is_none());
        keep();
        assert!(election.said_late(b, &question(6)).is_none());
    }

    #[tokio::test]
    async fn what_was_said_long_ago_counts_for_nothing() {
        let settings = Settings {
            election_max: Duration::ZERO,
            ..Settings::default()
        };
        let election = Election::<TokioRuntime>::new(MemberKind::Node, Arc::new(settings));
        let said = VoteResponse::new(question(4).vote, None, true);
        election.would_vote(MemberId(2), question(5), said);
        assert!(election.said_late(MemberId(2), &question(5)).is_none());
    }

    #[tokio::test]
    async fn arbiter_leads_again_only_after_this_member_stood() {
        let settings = Settings {
            arbiter_leads_max: Duration::ZERO,
            ..Settings::default()
        };
        let over = Election::<TokioRuntime>::new(MemberKind::Node, Arc::new(settings));
        assert!(over.may_elect_arbiter());
        assert!(!over.follows_arbiter(4), "its time is over at once");
        assert!(!over.may_elect_arbiter());
        over.end_arbiters_time();
        assert!(over.may_elect_arbiter());
        let open = Election::<TokioRuntime>::new(MemberKind::Node, Arc::default());
        assert!(open.follows_arbiter(4) && open.follows_arbiter(4));
        assert!(open.may_elect_arbiter());
        assert!(open.follows_arbiter(5));
        assert!(!open.follows_arbiter(4), "the term is over");
    }
}
