//! Reads the `config` section of the accepted version on the leader: has [`crate::follow`] poll the
//! repositories and propose their revisions, sets the number of kept versions, and publishes the
//! status in gossip.

use crate::background::Background;
use crate::command::{CommandBody, Judging, Limits, VersionId};
use crate::file_set::FileSet;
use crate::follow::{Cluster, Proposed, Wake};
use crate::follow::{FollowStatus, Past, ProposalResult, ProposedRevision};
use crate::keyword::{ConfigSection, Followed, Grammar};
use crate::machine::ServingMachine;
use crate::request::Apply;
use crate::role::apply::VersionOutcome;
use crate::role::shared::{RoleState, millis};
use crate::wire::ConnectionFactory;
use part::codec;
use part::lock;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The gossip topic in which the leader publishes the status of its repositories.
pub(super) const TOPIC: &str = "following";
const MIRRORS: &str = "follow";
const LOOK: Duration = Duration::from_millis(500);

struct Read {
    version: VersionId,
    section: ConfigSection,
    set: Arc<FileSet>,
}

struct Following<M: ServingMachine, N: ConnectionFactory> {
    shared: Arc<RoleState<M, N>>,
    grammar: fn(&FileSet) -> Grammar,
    background: Background,
    read: Mutex<Option<Read>>,
}

pub(super) async fn run<M: ServingMachine, N: ConnectionFactory>(
    shared: Arc<RoleState<M, N>>,
    grammar: fn(&FileSet) -> Grammar,
) {
    let directory = shared.directory.file(MIRRORS);
    let following = Following {
        shared: shared.clone(),
        grammar,
        background: Background::default(),
        read: Mutex::default(),
    };
    let wake: &Wake = &shared.follow;
    tokio::join!(
        crate::follow::run(&following, directory, wake),
        following.keep_up()
    );
}

impl<M: ServingMachine, N: ConnectionFactory> Following<M, N> {
    fn is_polling(&self) -> bool {
        self.shared.raft_status().leading && self.shared.has_majority()
    }

    /// Reads each newly accepted version while this member leads.
    async fn keep_up(&self) {
        loop {
            let accepted = self.shared.engine.state().accepted;
            let known = lock(&self.read).as_ref().map(|read| read.version);
            if !self.is_polling() {
                *lock(&self.read) = None;
                self.tell_standing(&[]);
            } else if let Some(version) = accepted.filter(|version| Some(*version) != known)
                && let Ok(set) = self.shared.files_of(Some(version)).await
            {
                let set = Arc::new(set);
                let (read, grammar) = (Arc::clone(&set), self.grammar);
                let read = move || ConfigSection::read(&read, &grammar(&read));
                let Ok(section) = self.background.run(read).await else {
                    tokio::time::sleep(LOOK).await;
                    continue;
                };
                self.keep(section.keep).await;
                *lock(&self.read) = Some(Read {
                    version,
                    section,
                    set,
                });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn keep(&self, versions: u32) {
        let limits = self.shared.engine.state().limits;
        if limits.versions != versions {
            self.shared
                .try_to(CommandBody::Keep(Limits { versions, ..limits }))
                .await;
        }
    }

    fn tell_standing(&self, standing: &[FollowStatus]) {
        let bytes = (!standing.is_empty()).then(|| codec::encode(standing));
        let put = self.shared.gossip().put(TOPIC, bytes);
        if let Err(error) = put {
            self.shared.note(format!(
                "cannot publish the status of the followed repositories: {error}"
            ));
        }
    }
}

impl<M: ServingMachine, N: ConnectionFactory> Cluster for Following<M, N> {
    fn section(&self) -> Option<ConfigSection> {
        let read = lock(&self.read);
        let section = read.as_ref().map(|read| read.section.clone());
        section.filter(|_| self.is_polling())
    }

    async fn accepted(&self) -> Option<Arc<FileSet>> {
        lock(&self.read).as_ref().map(|read| read.set.clone())
    }

    fn past(&self, followed: &Followed) -> Past {
        Past::of(&self.shared.engine.state(), followed)
    }

    async fn propose(&self, wanted: ProposedRevision, judge: Duration) -> Proposed {
        let revision = wanted.revision;
        let apply = Apply {
            parent: self.shared.engine.state().accepted,
            author: revision.author,
            message: revision.message,
            time_s: revision.time_s,
            origin: wanted.origin,
            set: wanted.set,
            judging: Judging {
                judge_ms: millis(judge),
                confirm_within_ms: None,
            },
        };
        let Ok(version) = self.shared.propose_files(&apply, |_| {}).await else {
            return Proposed::Later;
        };
        match self.shared.watch(version, |_| {}).await {
            VersionOutcome::Accepted => Proposed::Decided(version, ProposalResult::Accepted),
            VersionOutcome::Refused(words) | VersionOutcome::TakenBack(words) => {
                Proposed::Decided(version, ProposalResult::Bad { words })
            }
            VersionOutcome::Waits(_) | VersionOutcome::Frozen => Proposed::Later,
        }
    }

    async fn record_event(&self, words: String) {
        self.shared.try_to(CommandBody::Event { words }).await;
    }

    fn publish_status(&self, standing: Vec<FollowStatus>) {
        self.tell_standing(&standing);
    }
}
