//! Polls all followed repositories while this member is a node and the leader, and proposes new
//! revisions to the cluster.

use super::{FollowStatus, Follower, Past, PollResult, ProposalResult, ProposedRevision};
use crate::command::VersionId;
use crate::file_set::FileSet;
use crate::keyword::{ConfigSection, Followed};
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Interval at which the loop checks whether this member leads, whether the `follow` lines have
/// changed, and which polls are due.
const TURN: Duration = Duration::from_secs(1);

/// The interface of the polling loop to the role.
pub trait Cluster: Send + Sync {
    /// Returns the `config` section of the accepted version. None if this member must not
    /// poll: it is not the leader, has no majority, or is an arbiter.
    fn section(&self) -> Option<ConfigSection>;
    fn accepted(&self) -> impl Future<Output = Option<Arc<FileSet>>> + Send;
    /// Returns the history of a repository in the state: [`Past::of`].
    fn past(&self, followed: &Followed) -> Past;
    /// Proposes a revision and waits until it is accepted or abandoned.
    fn propose(
        &self,
        wanted: ProposedRevision,
        judge: Duration,
    ) -> impl Future<Output = Proposed> + Send;
    fn record_event(&self, words: String) -> impl Future<Output = ()> + Send;
    fn publish_status(&self, standing: Vec<FollowStatus>);
}

/// The result of a proposal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Proposed {
    Decided(VersionId, ProposalResult),
    /// Not accepted now: another version is in progress, another change was first, or the
    /// leader changed. The proposal is retried.
    Later,
}

/// Notifier that makes the loop poll now.
#[derive(Debug, Default)]
pub struct Wake(Notify);

impl Wake {
    pub fn now(&self) {
        self.0.notify_one();
    }
}

struct Watched {
    follower: Follower,
    due: Instant,
}

/// Follows the repositories until the future is dropped. Mirrors are created below the
/// directory.
pub async fn run<C: Cluster>(cluster: &C, directory: PathBuf, wake: &Wake) {
    let mut watched: Vec<Watched> = Vec::new();
    loop {
        let woken = tokio::time::timeout(TURN, wake.0.notified()).await.is_ok();
        let Some(section) = cluster.section() else {
            // Drops all followers: this member must not poll, and the next leader creates its own.
            watched.clear();
            continue;
        };
        adopt(&mut watched, &section, &directory);
        let now = Instant::now();
        for one in &mut watched {
            if woken || one.due <= now {
                let every = one.follower.settings().every;
                poll_and_propose(cluster, &mut one.follower, section.judge).await;
                one.due = Instant::now() + every;
            }
        }
        let standing = watched
            .iter()
            .map(|one| one.follower.follow_status().clone());
        cluster.publish_status(standing.collect());
    }
}

/// Keeps the followers whose settings are unchanged, and creates those of new
/// repositories.
fn adopt(watched: &mut Vec<Watched>, section: &ConfigSection, directory: &std::path::Path) {
    watched.retain(|one| section.follow.contains(one.follower.settings()));
    for settings in &section.follow {
        if !watched
            .iter()
            .any(|one| one.follower.settings() == settings)
        {
            watched.push(Watched {
                follower: Follower::new(settings.clone(), directory),
                due: Instant::now(),
            });
        }
    }
}

async fn poll_and_propose<C: Cluster>(cluster: &C, follower: &mut Follower, judge: Duration) {
    let past = cluster.past(follower.settings());
    let accepted = cluster.accepted().await;
    match follower.poll_repository(&past, accepted).await {
        PollResult::Nothing => {}
        PollResult::Refused(refused) => {
            if !refused.again {
                let words = refused
                    .trouble
                    .operator_message(follower.settings(), refused.revision.as_deref());
                cluster.record_event(words).await;
            }
        }
        PollResult::Propose(wanted) => {
            let revision = wanted.revision.id.clone();
            if let Proposed::Decided(_, fate) = cluster.propose(*wanted, judge).await {
                follower.judged(&revision, fate);
            }
        }
    }
}
