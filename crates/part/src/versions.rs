//! Versions of a cluster's configuration, as the control role shows them to another part, and
//! changes that the part asks for. No secret goes over: texts come with their passwords covered,
//! and an [`Edit`] may leave them covered.
//!
//! A part sends the control role one end of a socket pair ([`envelope`]), then a [`Question`] over
//! the other end. The control role sends one [`Answer`] back and closes the connection. Each is its
//! length (u32, big endian) and the value as [`codec`] encodes it.

use crate::codec;
use crate::role::PartMessage;
use serde::{Deserialize, Serialize};

/// The kind of the message that brings a connection, above all kinds of the parts themselves.
const CONNECT: u16 = 0x120;
/// The largest question, bytes: the texts of an edit.
pub const QUESTION_BYTES_MAX: usize = 4 << 20;
/// The largest answer, bytes.
pub const ANSWER_BYTES_MAX: usize = 16 << 20;
/// What stands in place of a secret.
pub const COVER: &str = language::difference::COVER;

/// A message that brings the control role, which is that part, a connection.
pub fn envelope(part: &str) -> PartMessage {
    PartMessage::new(part, CONNECT, &())
}

/// Whether a message brings a connection.
pub fn is_envelope(message: &PartMessage) -> bool {
    message.kind == CONNECT
}

/// A value behind its length. None: it is longer than `max`.
pub fn framed<T: Serialize>(value: &T, max: usize) -> Option<Vec<u8>> {
    let value = codec::encode(value);
    let length = u32::try_from(value.len()).ok();
    let length = length.filter(|_| value.len() <= max)?;
    Some([&length.to_be_bytes()[..], &value].concat())
}

/// A question.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Question {
    /// The versions, the newest first: [`Answer::Versions`].
    Versions {
        /// Maximum number.
        max: u32,
    },
    /// The files of a version (None: the accepted one): [`Answer::Files`].
    Files {
        /// The version.
        version: Option<u64>,
    },
    /// The differences between two versions: [`Answer::Differences`].
    Differences {
        /// The older one; None: what it would be without files.
        from: Option<u64>,
        /// The newer one.
        to: u64,
    },
    /// Which version brought each line of a file: [`Answer::Blame`].
    Blame {
        /// The version.
        version: u64,
        /// The file.
        path: String,
    },
    /// Whether this node could serve an edit: [`Answer::Findings`].
    Check(Edit),
    /// An edit becomes a version: [`Answer::Done`] as soon as the cluster has it, before it is
    /// decided.
    Apply {
        /// The edit.
        edit: Edit,
        /// Who, why, and how it is judged.
        change: Change,
    },
    /// An older version once more: as [`Question::Apply`].
    RollBack {
        /// The version.
        to: u64,
        /// Who, why, and how it is judged.
        change: Change,
    },
    /// Accepts the version that waits for confirmation: [`Answer::Done`].
    Confirm {
        /// The version.
        version: u64,
        /// The user.
        by: String,
    },
    /// Rolls back the version in progress: [`Answer::Done`].
    Cancel {
        /// The version.
        version: u64,
        /// The user.
        by: String,
    },
}

/// Other texts for files of a version.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Edit {
    /// The version whose files they are.
    pub of: u64,
    /// Path and text of each; a secret that is still covered is as it was.
    pub texts: Vec<(String, String)>,
}

/// Who wants a change, and why.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Change {
    /// The user.
    pub by: String,
    /// The reason.
    pub message: String,
    /// It rolls back by itself unless it is confirmed within this time, seconds. None: as the files
    /// say.
    pub confirm_s: Option<u64>,
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// The versions.
    Versions(Versions),
    /// The files of a version.
    Files(Files),
    /// The files that differ.
    Differences(Vec<Difference>),
    /// The lines of a file.
    Blame(Vec<Line>),
    /// What a check found.
    Findings(Findings),
    /// It was done.
    Done {
        /// What.
        words: String,
        /// The version that it led to.
        version: Option<u64>,
    },
    /// Nothing was changed, and why.
    Refused {
        /// Why.
        words: String,
    },
    /// It is not known whether it was done.
    Unknown {
        /// Why.
        words: String,
    },
}

/// The versions of a cluster, as this machine knows them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Versions {
    /// The version that all nodes are to serve.
    pub accepted: Option<u64>,
    /// The version that this machine serves.
    pub serving: Option<u64>,
    /// Why no change is possible now; empty: one is.
    pub frozen: Vec<String>,
    /// The newest first.
    pub all: Vec<Version>,
    /// What happened in the cluster, the newest first.
    pub events: Vec<Happened>,
}

/// Something that happened in the cluster.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Happened {
    /// When, seconds since 1970 by the clock of the member that reported it.
    pub time_s: i64,
    /// The member that reported it.
    pub from: String,
    /// What.
    pub words: String,
}

/// A version.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Version {
    /// Its number.
    pub id: u64,
    /// The version before it.
    pub parent: Option<u64>,
    /// The author.
    pub author: String,
    /// Why.
    pub message: String,
    /// Where the files came from, if not from an operator.
    pub origin: String,
    /// When it was proposed, seconds since 1970.
    pub time_s: i64,
    /// How far it is.
    pub stage: Stage,
    /// The stage in a few words.
    pub stage_words: String,
    /// Why it was refused or rolled back.
    pub why: String,
    /// What each node says of it: name and words.
    pub reports: Vec<(String, String)>,
}

/// How far a version is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Stage {
    /// Every node that is there checks it.
    #[default]
    Checking,
    /// One node tries it.
    Canary,
    /// All nodes try it.
    Rollout,
    /// All nodes serve it, and somebody is to confirm it.
    AwaitsConfirmation,
    /// Accepted, now or in the past.
    Accepted,
    /// No node could serve it.
    Refused,
    /// It was tried, and is served no more.
    RolledBack,
}

impl Stage {
    /// Whether it is neither accepted nor refused nor rolled back.
    pub fn is_in_progress(self) -> bool {
        match self {
            Stage::Checking | Stage::Canary | Stage::Rollout | Stage::AwaitsConfirmation => true,
            Stage::Accepted | Stage::Refused | Stage::RolledBack => false,
        }
    }
}

/// The files of a version.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Files {
    /// The version.
    pub version: u64,
    /// Those of the command line first.
    pub files: Vec<File>,
}

/// A file.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct File {
    /// Its path.
    pub path: String,
    /// It was named on the command line.
    pub main: bool,
    /// Its text with secrets covered. None: it is no text, or secret as a whole.
    pub text: Option<String>,
    /// What it is instead.
    pub description: String,
}

/// A file that differs.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Difference {
    /// Its path.
    pub path: String,
    /// The difference in the form that `patch` takes; empty where only words say it.
    pub lines: String,
    /// What changed, where lines do not say it.
    pub words: String,
}

/// A line of a file, and where it comes from.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Line {
    /// The version that brought it.
    pub version: u64,
    /// It may be older: older versions are no longer kept.
    pub or_older: bool,
    /// Its author.
    pub author: String,
    /// When that version was proposed, seconds since 1970.
    pub time_s: i64,
}

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Findings {
    /// This node could serve it.
    pub good: bool,
    /// Mistakes, warnings, and what else there is to report.
    pub all: Vec<Finding>,
    /// What would change, a line each.
    pub changes: Vec<String>,
    /// What differs in the files.
    pub differences: Vec<Difference>,
}

impl Findings {
    /// Of what a loader printed for a program, a [`Finding`] in JSON on each line, and of the
    /// difference in words. Lines that are none are left out.
    pub fn of(found: &str, difference: &str) -> Findings {
        let all = found
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let changes = difference.lines().filter(|line| !line.trim().is_empty());
        Findings {
            good: false,
            all: all.collect(),
            changes: changes.map(str::to_owned).collect(),
            differences: Vec::new(),
        }
    }

    /// As JSON.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Something that was found: as `evenkeel check --format json` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Finding {
    /// Its number, such as `E0303`; empty without one.
    pub code: String,
    /// `error`, `warning` or another word.
    pub severity: String,
    /// What is wrong.
    pub message: String,
    /// The file; None: it is about no place in particular.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<u64>,
    /// The column in bytes, from 1, and that of the end.
    pub column: Option<u64>,
    /// Where it ends, on the line `end_line`.
    pub end_column: Option<u64>,
    /// The line of the end.
    pub end_line: Option<u64>,
    /// What stands at the place.
    pub label: String,
    /// What else there is to know.
    pub notes: Vec<String>,
    /// What to do.
    pub help: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stands_behind_its_length_and_none_is_too_long() {
        let question = Question::Check(Edit {
            of: 3,
            texts: vec![("/a.cfg".to_owned(), "global\n".to_owned())],
        });
        let bytes = framed(&question, QUESTION_BYTES_MAX).unwrap();
        let (length, value) = bytes.split_at(4);
        assert_eq!(length, u32::try_from(value.len()).unwrap().to_be_bytes());
        let decoded: Question = codec::decode(value).unwrap();
        assert_eq!(decoded, question);
        assert_eq!(framed(&question, value.len() - 1), None);
        assert!(is_envelope(&envelope("cluster")));
    }

    #[test]
    fn a_finding_is_what_a_check_prints_for_programs() {
        let printed = r#"{"code":"E0303","severity":"error","message":"unknown keyword","file":"/a.cfg","line":2,
            "column":5,"end_line":2,"end_column":9,"label":"","secondary":[],"notes":["n"],"help":null,"fix":null}"#;
        let finding: Finding = serde_json::from_str(printed).unwrap();
        assert_eq!((finding.line, finding.column), (Some(2), Some(5)));
        assert_eq!(finding.notes, ["n"]);
    }
}
