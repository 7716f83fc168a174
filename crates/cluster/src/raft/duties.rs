//! Runs the engine's duties beside openraft: starts an election when the leader is lost, lets an
//! arbiter stand and hand over, takes a snapshot when the log is large or none is signed, and has
//! the leader require signatures once all members support them.

use crate::member::{MemberId, MemberKind};
use crate::raft::election::ASK_AGAIN;
use crate::raft::engine::Engine;
use crate::raft::message::{Lost, RaftReply, Request};
use crate::raft::network::call;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{AsyncRuntime, Instant};
use std::collections::BTreeSet;
use std::time::Duration;

/// Largest pause between two attempts to hand over, as a multiple of `Settings::election_max`.
const HAND_OVER_PAUSE_MAX: u32 = 8;
/// Interval at which a node runs its duties.
const LOOK: Duration = Duration::from_millis(500);
/// Interval between two attempts to get a snapshot that a node signed.
const SEAL_AGAIN: Duration = Duration::from_secs(10);

impl<R: AsyncRuntime> Engine<R> {
    /// Handles the death of a member's connection: if that member was the leader, the
    /// election need not wait for its timeout.
    pub fn lost(&self, member: MemberId) {
        let waits = self.inner.probation.is_on() || self.is_silent();
        if waits || member == self.inner.me || self.leader() != Some(member) {
            return;
        }
        self.inner.election.lose(member);
        let _detached = R::spawn(self.clone().replace(member));
    }

    /// Asks the others whether they too have lost the leader, and stands for election
    /// once enough have. Otherwise the timeouts of openraft decide.
    async fn replace(self, leader: MemberId) {
        R::sleep(self.inner.election.stand_after(self.rank(leader))).await;
        let deadline = R::Instant::now() + self.inner.settings.election_max;
        while !self.over() && R::Instant::now() < deadline {
            if self.inner.election.lost_leader() != Some(leader) || self.leader() != Some(leader) {
                return;
            }
            if self.enough_lost(leader).await {
                // Checks again, because the leader may have been heard while the others responded.
                if self.inner.election.lost_leader() == Some(leader)
                    && self.leader() == Some(leader)
                {
                    let _ = self.inner.raft.trigger().elect(false).await;
                }
                return;
            }
            R::sleep(ASK_AGAIN).await;
        }
    }

    /// Returns how many voting nodes with lower numbers, other than the lost leader, stand for
    /// election before this member, at most 8.
    fn rank(&self, leader: MemberId) -> u32 {
        let before = self
            .raft_status()
            .voters
            .iter()
            .filter(|voter| {
                **voter != leader && **voter < self.inner.me && !self.is_arbiter(**voter)
            })
            .count();
        u32::try_from(before).unwrap_or(u32::MAX).min(8)
    }

    async fn enough_lost(&self, leader: MemberId) -> bool {
        let lost = Lost {
            leader,
            term: self.raft_status().term,
            last: self.inner.store.ends().1,
        };
        let configs = {
            let receiver = self.inner.raft.metrics();
            let metrics = receiver.borrow_watched();
            metrics
                .membership_config
                .membership()
                .get_joint_config()
                .clone()
        };
        let voters: BTreeSet<MemberId> = configs.iter().flatten().copied().collect();
        if !voters.contains(&self.inner.me) {
            return false;
        }
        let mut yes = BTreeSet::from([self.inner.me]);
        let request = Request::<R>::Lost(lost);
        let limit = self.inner.settings.heartbeat;
        let mut asked: FuturesUnordered<_> = voters
            .iter()
            .filter(|voter| **voter != leader && **voter != self.inner.me)
            .map(|voter| async {
                let reply = call(&self.inner.calls, *voter, &request, limit).await;
                matches!(reply, Ok(RaftReply::Lost(true))).then_some(*voter)
            })
            .collect();
        loop {
            let enough = configs.iter().all(|config| {
                config.iter().filter(|voter| yes.contains(*voter)).count() > config.len() / 2
            });
            if enough {
                return true;
            }
            match asked.next().await {
                Some(Some(voter)) => yes.insert(voter),
                Some(None) => continue,
                None => return false,
            };
        }
    }

    pub(super) async fn duties(self) {
        let pause = match self.inner.kind {
            MemberKind::Node => LOOK,
            MemberKind::Arbiter => self.inner.settings.heartbeat / 2,
        };
        let mut timeout = self.random_timeout();
        let mut attempts = 1;
        let mut stands = true;
        let mut sealed_at: Option<R::Instant> = None;
        while !self.over() {
            R::sleep(pause).await;
            self.inner.store.try_again();
            self.stand_as_the_disk_allows(&mut stands);
            if self.is_silent() {
                continue;
            }
            self.look_for_the_future().await;
            if self.inner.store.grown() >= self.inner.settings.snapshot_bytes {
                // Requests a snapshot at each turn while the log is large: openraft ignores
                // superfluous requests.
                let _ = self.inner.raft.trigger().snapshot().await;
            }
            if self.inner.shared.is_unsealed()
                && self.state().requires_signatures()
                && sealed_at.is_none_or(|at| at.elapsed() >= SEAL_AGAIN)
            {
                sealed_at = Some(R::Instant::now());
                let _ = self.inner.raft.trigger().snapshot().await;
            }
            if self.inner.kind == MemberKind::Node {
                if self.raft_status().is_settled {
                    self.require_signatures().await;
                }
                continue;
            }
            let standing = self.raft_status();
            if !standing.leading {
                attempts = 1;
            }
            if standing.leading {
                self.bring_up_and_hand_over(&mut attempts).await;
            } else if standing.voters.contains(&self.inner.me)
                && !self.inner.probation.is_on()
                && self.inner.election.arbiter_stands(timeout)
            {
                timeout = self.random_timeout();
                let _ = self.inner.raft.trigger().elect(true).await;
            }
        }
    }

    fn random_timeout(&self) -> Duration {
        Duration::from_millis(self.inner.config.new_rand_election_timeout::<R>())
    }

    /// Makes the node with most of the log the leader in place of this arbiter, once that node has
    /// the whole log. Each request makes the node stand again, so the interval must leave time for
    /// the votes on a slow machine.
    async fn bring_up_and_hand_over(&self, attempts: &mut u32) {
        let Some(node) = self.best_other() else {
            return;
        };
        let standing = self.raft_status();
        let matched = standing.matched.get(&node).copied().flatten();
        if standing.leading && matched.is_some() && matched >= standing.log.last {
            let _ = self.inner.raft.trigger().transfer_leader(node).await;
            let pause = self.inner.settings.election_max * *attempts;
            *attempts = (*attempts * 2).min(HAND_OVER_PAUSE_MAX);
            let deadline = R::Instant::now() + pause;
            while self.raft_status().leading && !self.over() && R::Instant::now() < deadline {
                R::sleep(self.inner.settings.heartbeat).await;
            }
        }
    }
}
