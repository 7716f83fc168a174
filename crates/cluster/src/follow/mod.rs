//! Follows repositories: proposes the newest revision of a branch as a configuration version, or
//! refuses it. The leading node polls ([`Follower::poll_repository`]); its proposals are treated
//! like every other change.
//!
//! [`decide`] maps knowledge of the branch and of the past to an action, without I/O. [`git`] and
//! [`mercurial`] run the system's programs in a mirror below the state directory, limited in time
//! and size, without a shell, without hooks, and with none of the role's environment. Nothing of a
//! repository is ever run.

pub mod decide;

mod files;
mod git;
mod mercurial;
mod program;
mod service;
#[cfg(test)]
mod tests;

use crate::command::{VersionId, VersionOrigin};
use crate::file_set::FileSet;
use crate::keyword::{Followed, System};
use crate::state::{ClusterState, RolloutStage};
use decide::{Branch, Decision};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use decide::{Past, Trouble};
pub(crate) use program::be_ordinary;
pub use service::{Cluster, Proposed, Wake, run};

/// Maximum number of revisions whose outcome the poller remembers.
const REMEMBERED_MAX: usize = 64;
const MESSAGE_BYTES_MAX: usize = 4096;
const KEYS_BYTES_MAX: u64 = 1 << 20;

/// A revision of a repository.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Revision {
    /// Full hash of the revision.
    pub id: String,
    pub author: String,
    pub message: String,
    /// Time of the commit, seconds since 1970 by the author's clock.
    pub time_s: i64,
}

/// The result of a poll.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PollResult {
    Nothing,
    Propose(Box<ProposedRevision>),
    /// Nothing can be proposed. The caller reports the reason unless it was reported before.
    Refused(RevisionRefusal),
}

/// A revision to propose, with its files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProposedRevision {
    pub revision: Revision,
    pub origin: VersionOrigin,
    /// Files of the whole version: those of the repository, and accepted files from
    /// elsewhere.
    pub set: FileSet,
}

/// Reason why a poll led to no proposal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RevisionRefusal {
    pub revision: Option<String>,
    pub trouble: Trouble,
    /// True if the same cause was reported before.
    pub again: bool,
}

/// The result of proposing a followed revision.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ProposalResult {
    Accepted,
    /// A node could not serve it, or it was rolled back; the reason.
    Bad {
        words: String,
    },
}

/// Status of a followed repository, for `config status`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FollowStatus {
    /// The `follow` line as text: `git https://…, branch main`.
    pub followed: String,
    pub accepted: Option<String>,
    pub seen: Option<String>,
    pub trouble: Option<String>,
    /// Number of polls since this follower was created.
    pub looks: u64,
}

/// Follower of one repository, on the leading node. [`Follower::poll_repository`] fetches the
/// branch and returns the revision to propose, if there is one. The caller proposes it and reports
/// the result to [`Follower::judged`]. Nothing of the repository is ever run.
#[derive(Debug)]
pub struct Follower {
    settings: Followed,
    mirror: PathBuf,
    /// Results that [`Follower::judged`] received, the oldest first, at most [`REMEMBERED_MAX`].
    /// The replicated state may not contain them yet.
    fates: VecDeque<(String, ProposalResult)>,
    standing: FollowStatus,
    /// Cause that was reported last, and its revision.
    told: Option<(Option<String>, Trouble)>,
}

impl Follower {
    /// Creates a follower that has not polled yet. Its mirror is created below this
    /// directory.
    pub fn new(settings: Followed, directory: &Path) -> Follower {
        let mirror = directory.join(mirror_name(&settings));
        let standing = FollowStatus {
            followed: settings.to_string(),
            ..FollowStatus::default()
        };
        Follower {
            settings,
            mirror,
            fates: VecDeque::new(),
            standing,
            told: None,
        }
    }

    pub fn settings(&self) -> &Followed {
        &self.settings
    }

    pub fn follow_status(&self) -> &FollowStatus {
        &self.standing
    }

    pub fn judged(&mut self, revision: &str, fate: ProposalResult) {
        self.standing.trouble = match &fate {
            ProposalResult::Accepted => {
                self.standing.accepted = Some(revision.to_owned());
                None
            }
            ProposalResult::Bad { words } => Some(
                Trouble::Bad {
                    words: words.clone(),
                }
                .operator_message(&self.settings, Some(revision)),
            ),
        };
        if let ProposalResult::Bad { words } = &fate {
            // Marks the reason as reported, because the rollout has reported the refused version.
            let words = words.clone();
            self.told = Some((Some(revision.to_owned()), Trouble::Bad { words }));
        }
        self.fates.retain(|(other, _)| other != revision);
        if self.fates.len() == REMEMBERED_MAX {
            self.fates.pop_front();
        }
        self.fates.push_back((revision.to_owned(), fate));
    }

    /// Polls the repository: fetches, decides, and reads the files of the revision to
    /// propose. `past` has the outcomes of the versions in the state, `accepted` the
    /// files that all nodes serve, if there are any.
    pub async fn poll_repository(
        &mut self,
        past: &Past,
        accepted: Option<Arc<FileSet>>,
    ) -> PollResult {
        self.standing.looks += 1;
        self.standing.accepted = past.last().map(str::to_owned);
        let task = RepositoryPoll {
            settings: self.settings.clone(),
            mirror: self.mirror.clone(),
            past: self.past(past),
            accepted,
        };
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let thread = std::thread::Builder::new().name("follow".to_owned());
        let begun = thread.spawn(move || {
            program::be_ordinary();
            // Ignores an error: the receiver has gone when the role ends.
            let _ = sender.send(task.run());
        });
        let early = |words: String| Err((None, Trouble::Unreachable { words }));
        let found = match begun {
            Ok(_) => receiver
                .await
                .unwrap_or_else(|_| early("the poll ended early".to_owned())),
            Err(error) => early(format!("cannot start the poll: {error}")),
        };
        match found {
            Ok(None) => {
                self.standing.seen.clone_from(&self.standing.accepted);
                (self.standing.trouble, self.told) = (None, None);
                PollResult::Nothing
            }
            Ok(Some(wanted)) => {
                self.standing.seen = Some(wanted.revision.id.clone());
                (self.standing.trouble, self.told) = (None, None);
                PollResult::Propose(Box::new(wanted))
            }
            Err((revision, trouble)) => self.refused(revision, trouble),
        }
    }

    fn refused(&mut self, revision: Option<String>, trouble: Trouble) -> PollResult {
        let words = trouble.operator_message(&self.settings, revision.as_deref());
        self.standing.trouble = Some(words);
        if revision.is_some() {
            self.standing.seen.clone_from(&revision);
        }
        let cause = (revision.clone(), trouble.clone());
        let same = |told: &(Option<String>, Trouble)| {
            let kind = std::mem::discriminant(&told.1) == std::mem::discriminant(&trouble);
            kind && told.0 == cause.0
        };
        let again = self.told.as_ref().is_some_and(same);
        self.told = Some(cause);
        PollResult::Refused(RevisionRefusal {
            revision,
            trouble,
            again,
        })
    }

    /// Returns the history of the state, extended by results that the state does not
    /// contain yet.
    fn past(&self, past: &Past) -> Past {
        let mut all = past.clone();
        for (revision, fate) in &self.fates {
            if !all.versions.iter().any(|v| v.revision == *revision) {
                all.versions.push(FollowedVersion {
                    version: VersionId::default(),
                    revision: revision.clone(),
                    fate: fate.clone(),
                });
            }
        }
        all
    }
}

/// Job of a single poll, on a thread that may block.
struct RepositoryPoll {
    settings: Followed,
    mirror: PathBuf,
    past: Past,
    accepted: Option<Arc<FileSet>>,
}

impl RepositoryPoll {
    fn run(self) -> Result<Option<ProposedRevision>, (Option<String>, Trouble)> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => runtime.block_on(self.found()),
            Err(error) => {
                let words = error.to_string();
                Err((None, Trouble::Unreachable { words }))
            }
        }
    }

    async fn found(self) -> Result<Option<ProposedRevision>, (Option<String>, Trouble)> {
        let keys = self.keys().map_err(|trouble| (None, trouble))?;
        let (settings, mirror) = (&self.settings, self.mirror.as_path());
        let last = self.past.last();
        let branch: Result<Branch, Trouble> = match settings.system {
            System::Git => {
                let git = git::Git { settings, mirror };
                git.fetch_branch(last, keys.as_deref()).await
            }
            System::Hg => {
                mercurial::Mercurial { settings, mirror }
                    .pull_branch(last)
                    .await
            }
        };
        let branch = branch.map_err(|trouble| (None, trouble))?;
        let revision = match decide::decide(&self.past, branch) {
            Decision::Nothing => return Ok(None),
            Decision::Refuse(revision, trouble) => return Err((revision, trouble)),
            Decision::Take(revision) => revision,
        };
        let files = match settings.system {
            System::Git => git::Git { settings, mirror }.files(&revision.id).await,
            System::Hg => {
                let hg = mercurial::Mercurial { settings, mirror };
                hg.files(&revision.id).await
            }
        };
        let set = files.and_then(|files| files::set(settings, files, self.accepted.as_deref()));
        match set {
            Ok(set) => Ok(Some(ProposedRevision {
                origin: origin(settings, &revision.id),
                revision,
                set,
            })),
            Err(trouble) => Err((Some(revision.id), trouble)),
        }
    }

    /// Returns the keys of `signed-by`: from the accepted version, or else from this node's disk.
    /// None if no signatures are required.
    fn keys(&self) -> Result<Option<Vec<u8>>, Trouble> {
        let Some(path) = &self.settings.signed_by else {
            return Ok(None);
        };
        let accepted = self.accepted.iter().flat_map(|set| &set.files);
        if let Some(file) = accepted.into_iter().find(|file| file.path == *path) {
            return Ok(Some(file.bytes.clone()));
        }
        let read = || -> std::io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            let file = std::fs::File::open(path)?;
            file.take(KEYS_BYTES_MAX).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let no_keys = |error| Trouble::NoKeys {
            words: format!("'{path}': {error}"),
        };
        read().map(Some).map_err(no_keys)
    }
}

/// Returns whether the text is the full hash of a revision, and not an abbreviation or
/// another expression.
fn is_hash(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

impl Past {
    pub fn of(state: &ClusterState, settings: &Followed) -> Past {
        let fate = |version: &crate::state::VersionRecord| match &version.stage {
            RolloutStage::Accepted => Some(ProposalResult::Accepted),
            RolloutStage::Refused | RolloutStage::TakenBack => Some(ProposalResult::Bad {
                words: version.words.clone(),
            }),
            _ => None,
        };
        let versions = state.versions.values().filter_map(|version| {
            let VersionOrigin::Followed {
                repository,
                revision,
            } = &version.proposal.origin
            else {
                return None;
            };
            if !settings.is_origin(repository) {
                return None;
            }
            Some(FollowedVersion {
                version: version.id,
                revision: revision.clone(),
                fate: fate(version)?,
            })
        });
        Past {
            versions: versions.collect(),
        }
    }
}

pub fn origin(settings: &Followed, revision: &str) -> VersionOrigin {
    VersionOrigin::Followed {
        repository: settings.name(),
        revision: revision.to_owned(),
    }
}

/// A past version that came from a repository, with its outcome.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FollowedVersion {
    pub version: VersionId,
    pub revision: String,
    pub fate: ProposalResult,
}

fn mirror_name(settings: &Followed) -> String {
    let of = format!("{} {}", settings.system, settings.url);
    let digest = crate::history::sha256(of.as_bytes()).to_string();
    format!(
        "{}-{}",
        settings.system,
        digest.get(..16).unwrap_or_default()
    )
}
