//! Decides whether the newest revision of a followed branch is proposed, refused, or accepted
//! already, and words the refusal for the operator. No I/O: the caller has read the branch and
//! verified the signatures.

use super::{FollowedVersion, ProposalResult, Revision};
use crate::keyword::Followed;
use serde::{Deserialize, Serialize};

/// The history of a repository in the versions of the state, the oldest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Past {
    pub versions: Vec<FollowedVersion>,
}

impl Past {
    /// Returns the revision that was accepted last: a new one must descend from it.
    pub fn last(&self) -> Option<&str> {
        let accepted = |v: &&FollowedVersion| v.fate == ProposalResult::Accepted;
        let last = self.versions.iter().rev().find(accepted);
        last.map(|version| version.revision.as_str())
    }

    /// Returns why a revision was refused or rolled back, if it was.
    pub fn bad(&self, revision: &str) -> Option<&str> {
        let mut same = self
            .versions
            .iter()
            .rev()
            .filter(|v| v.revision == revision);
        same.find_map(|version| match &version.fate {
            ProposalResult::Bad { words } => Some(words.as_str()),
            ProposalResult::Accepted => None,
        })
    }
}

/// The observed state of the branch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Branch {
    Gone,
    At(Box<BranchHead>),
}

/// Newest revision of a branch, with the results of its checks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BranchHead {
    pub revision: Revision,
    /// True if the revision descends from the last accepted one, or if there was none.
    pub follows_last: bool,
    /// Signatures of the revision and of all commits since the last accepted one; None if
    /// none are required.
    pub signature: Option<Signature>,
}

/// The result of verifying signatures.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Signature {
    /// All signatures are valid, and by one of the keys.
    Good,
    Missing {
        /// Hash of the oldest commit without a signature.
        commit: String,
    },
    /// A commit has no valid signature, in the words of the program that checked it.
    Bad {
        commit: String,
        words: String,
    },
    TooMany {
        commits_max: usize,
    },
}

/// Why nothing can be proposed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Trouble {
    Unreachable {
        words: String,
    },
    Slow {
        limit_s: u64,
    },
    TooLarge {
        bytes_max: u64,
    },
    SaysTooMuch {
        program: String,
        bytes_max: usize,
    },
    BranchGone,
    /// The branch was rewritten: its newest revision does not descend from this one.
    Rewritten {
        last: String,
    },
    Unsigned {
        commit: String,
    },
    WronglySigned {
        commit: String,
        words: String,
    },
    /// There are more new commits than the number whose signatures are checked.
    TooManyUnseen {
        commits_max: usize,
    },
    NoKeys {
        words: String,
    },
    /// The repository has no file with which a configuration could begin.
    NoFile {
        name: String,
    },
    /// The revision was proposed before, and a node could not serve it or it was rolled
    /// back.
    Bad {
        words: String,
    },
}

/// Action that follows from the state of the branch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    Nothing,
    /// Read the files of the revision and propose it.
    Take(Revision),
    /// Report the trouble; with the revision, if one was determined.
    Refuse(Option<String>, Trouble),
}

pub fn decide(past: &Past, branch: Branch) -> Decision {
    let head = match branch {
        Branch::Gone => return Decision::Refuse(None, Trouble::BranchGone),
        Branch::At(head) => *head,
    };
    let id = head.revision.id.clone();
    let refuse = |trouble| Decision::Refuse(Some(id.clone()), trouble);
    if past.last() == Some(&id) {
        return Decision::Nothing;
    }
    if let Some(last) = past.last().filter(|_| !head.follows_last) {
        let last = last.to_owned();
        return refuse(Trouble::Rewritten { last });
    }
    match head.signature {
        Some(Signature::Missing { commit }) => return refuse(Trouble::Unsigned { commit }),
        Some(Signature::Bad { commit, words }) => {
            return refuse(Trouble::WronglySigned { commit, words });
        }
        Some(Signature::TooMany { commits_max }) => {
            return refuse(Trouble::TooManyUnseen { commits_max });
        }
        Some(Signature::Good) | None => {}
    }
    match past.bad(&id) {
        Some(words) => refuse(Trouble::Bad {
            words: words.to_owned(),
        }),
        None => Decision::Take(head.revision),
    }
}

const SHORT: usize = 12;

pub fn short(revision: &str) -> &str {
    revision.get(..SHORT).unwrap_or(revision)
}

impl Trouble {
    /// Returns the message for the operator: what happens, why, and what to do.
    pub fn operator_message(&self, followed: &Followed, revision: Option<&str>) -> String {
        let repository = format!("{} {}", followed.system, followed.shown_url());
        let branch = match &followed.branch {
            Some(branch) => format!("branch '{branch}'"),
            None => "the default branch".to_owned(),
        };
        let revision = revision.map_or("its newest revision", short);
        let stays = "the served version stays";
        match self {
            Trouble::Unreachable { words } => {
                let words = followed.without_credentials(words);
                format!("cannot read {repository}: {words}; {stays}, and the cluster tries again")
            }
            Trouble::Slow { limit_s } => format!(
                "{repository} took longer than {limit_s} seconds; {stays}, and the cluster tries again"
            ),
            Trouble::TooLarge { bytes_max } => format!(
                "{repository} is larger than the limit of {bytes_max} bytes; {stays}. Keep configurations in a \
                 separate repository"
            ),
            Trouble::SaysTooMuch { program, bytes_max } => format!(
                "{program} printed more than {bytes_max} bytes about {repository}; {stays}. Keep configurations in a \
                 separate repository with few other files"
            ),
            Trouble::BranchGone => format!(
                "{branch} of {repository} no longer exists; {stays}. Restore the branch, or change the `follow` line"
            ),
            Trouble::Rewritten { last } => format!(
                "{branch} of {repository} was rewritten: {revision} is not a descendant of {}, the last accepted \
                 revision; {stays}. Push a descendant (a merge or a revert), or follow a branch with another name",
                short(last)
            ),
            Trouble::Unsigned { commit } => format!(
                "{} of {repository} is not signed, but `signed-by` requires it; {stays}. Sign it and all later \
                 commits (git rebase --exec 'git commit --amend --no-edit -S' {}^) and push, or remove it from the \
                 branch",
                short(commit),
                short(commit)
            ),
            Trouble::WronglySigned { commit, words } => format!(
                "{} of {repository} has no signature of an accepted key: {words}; {stays}",
                short(commit)
            ),
            Trouble::TooManyUnseen { commits_max } => format!(
                "more than {commits_max} new commits in {repository}, and each signature must be verified; {stays}. \
                 Push them in several steps"
            ),
            Trouble::NoKeys { words } => format!(
                "cannot use the keys of `signed-by`: {words}; nothing of {repository} is accepted, {stays}"
            ),
            Trouble::NoFile { name } => format!(
                "{revision} of {repository} has no file '{name}'; {stays}. Name the configuration files in the \
                 `follow` line: `file <name>`"
            ),
            Trouble::Bad { words } => format!(
                "{revision} of {repository} was refused and is not tried again: {}; {stays}. The next revision of \
                 {branch} is; `evenkeel config log` shows the details",
                words.lines().next().unwrap_or_default()
            ),
        }
    }
}
