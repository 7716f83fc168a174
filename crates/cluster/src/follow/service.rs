//! The loop of the role: looks at all that is followed, as long as this member leads
//! and is a node, and lets the cluster decide about what is new.

use super::{FollowStatus, Follower, Past, PollResult, ProposalResult, Wanted};
use crate::command::VersionId;
use crate::file_set::FileSet;
use crate::keyword::{ConfigSection, Followed};
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Interval at which the role checks whether this member leads, and whether the files
/// follow something else.
const TURN: Duration = Duration::from_secs(1);

/// The interface of the polling loop to the role.
pub trait Cluster: Send + Sync {
    /// Returns the `config` section of the accepted version. None if this member must not
    /// poll: it is not the leader, has no majority, or is an arbiter.
    fn section(&self) -> Option<ConfigSection>;
    /// The files of the accepted version in plain.
    fn accepted(&self) -> impl Future<Output = Option<Arc<FileSet>>> + Send;
    /// Returns the history of a repository in the state: [`Past::of`].
    fn past(&self, followed: &Followed) -> Past;
    /// Proposes a revision and waits until it is accepted or given up.
    fn propose(&self, wanted: Wanted, judge: Duration) -> impl Future<Output = Proposed> + Send;
    /// Something that operators are to find in the log.
    fn tell(&self, words: String) -> impl Future<Output = ()> + Send;
    /// Publishes the status of all followed repositories.
    fn standing(&self, standing: Vec<FollowStatus>);
}

/// The result of a proposal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Proposed {
    /// It was decided.
    Decided(VersionId, ProposalResult),
    /// Not accepted now: another version is in progress, another change was first, or the
    /// leader changed. The proposal is retried.
    Later,
}

/// Makes the loop look now.
#[derive(Debug, Default)]
pub struct Wake(Notify);

impl Wake {
    /// Looks now.
    pub fn now(&self) {
        self.0.notify_one();
    }
}

/// A repository with the time at which it is looked at next.
struct Watched {
    follower: Follower,
    due: Instant,
}

/// Follows, until the future is dropped. Mirrors are made below the directory.
pub async fn run<C: Cluster>(cluster: &C, directory: PathBuf, wake: &Wake) {
    let mut watched: Vec<Watched> = Vec::new();
    loop {
        let woken = tokio::time::timeout(TURN, wake.0.notified()).await.is_ok();
        let Some(section) = cluster.section() else {
            // The next leader polls itself.
            watched.clear();
            continue;
        };
        adopt(&mut watched, &section, &directory);
        let now = Instant::now();
        for one in &mut watched {
            if woken || one.due <= now {
                let every = one.follower.settings().every;
                turn(cluster, &mut one.follower, section.judge).await;
                one.due = Instant::now() + every;
            }
        }
        let standing = watched.iter().map(|one| one.follower.standing().clone());
        cluster.standing(standing.collect());
    }
}

/// Keeps those that are followed as before, and begins with those that are new.
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

/// Polls one repository.
async fn turn<C: Cluster>(cluster: &C, follower: &mut Follower, judge: Duration) {
    let past = cluster.past(follower.settings());
    let accepted = cluster.accepted().await;
    match follower.look(&past, accepted).await {
        PollResult::Nothing => {}
        PollResult::Refused(refused) => {
            if !refused.again {
                let words = refused
                    .trouble
                    .told(follower.settings(), refused.revision.as_deref());
                cluster.tell(words).await;
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
