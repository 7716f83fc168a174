//! Defines the messages by which the control role shows a cluster's configuration versions to
//! another role, and by which that role requests changes. No secret is transmitted: texts have
//! their passwords covered, and an [`Edit`] may leave them covered.
//!
//! A part sends the control role one end of a socket pair ([`envelope`]), then a [`VersionsRequest`] over
//! the other end. The control role sends one [`VersionsResponse`] back and closes the connection. Each frame
//! is a length (u32, big endian) and the value as [`codec`] encodes it.

use crate::codec;
use crate::role::PartMessage;
use crate::role::bounded::long_words;
use serde::{Deserialize, Serialize};

/// Kind of the message that carries a connection, above all kinds of the parts themselves.
const CONNECT: u16 = 0x120;
pub const QUESTION_BYTES_MAX: usize = 4 << 20;
pub const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Placeholder for a secret in a text.
pub const COVER: &str = language::difference::COVER;

/// Creates a message that carries a connection to the control role, whose part is `part`.
pub fn envelope(part: &str) -> PartMessage {
    PartMessage::new(part, CONNECT, &())
}

pub fn is_envelope(message: &PartMessage) -> bool {
    message.kind == CONNECT
}

/// Encodes a value after its length. None if the value is longer than `max`.
pub fn framed<T: Serialize>(value: &T, max: usize) -> Option<Vec<u8>> {
    let value = codec::encode(value);
    let length = u32::try_from(value.len()).ok();
    let length = length.filter(|_| value.len() <= max)?;
    Some([&length.to_be_bytes()[..], &value].concat())
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum VersionsRequest {
    /// Requests the versions, the newest first: [`VersionsResponse::Versions`].
    Versions { max: u32 },
    /// Requests the files of a version: [`VersionsResponse::Files`].
    Files {
        /// Version number; None for the accepted version.
        version: Option<u64>,
    },
    /// Requests the differences between two versions: [`VersionsResponse::Differences`].
    Differences {
        /// The older version; None compares with no files.
        from: Option<u64>,
        to: u64,
    },
    /// Requests the version that last changed each line of a file: [`VersionsResponse::Blame`].
    Blame { version: u64, path: String },
    /// Requests a check whether this node could serve an edit: [`VersionsResponse::Findings`].
    Check(Edit),
    /// Proposes an edit as a new version: [`VersionsResponse::Done`] as soon as the cluster has the version,
    /// before it is decided.
    Apply {
        edit: Edit,
        change: ChangeDescription,
    },
    /// Proposes the files of an older version as a new one; the response is that of
    /// [`VersionsRequest::Apply`].
    RollBack { to: u64, change: ChangeDescription },
    /// Accepts the version that waits for confirmation: [`VersionsResponse::Done`].
    Confirm { version: u64, by: String },
    /// Rolls back the version in progress: [`VersionsResponse::Done`].
    Cancel { version: u64, by: String },
}

/// New texts for files of a version.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Edit {
    pub of: u64,
    /// Path and new text of each file; a covered secret keeps its value.
    pub texts: Vec<(String, String)>,
}

/// Author and reason of a change.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ChangeDescription {
    pub by: String,
    pub message: String,
    /// Confirmation timeout in seconds: without a confirmation the version is rolled back. None: as
    /// configured in the files.
    pub confirm_s: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum VersionsResponse {
    Versions(Versions),
    Files(VersionFiles),
    Differences(Vec<Difference>),
    Blame(Vec<BlameLine>),
    Findings(Findings),
    Done {
        #[serde(with = "long_words")]
        words: String,
        version: Option<u64>,
    },
    Refused {
        #[serde(with = "long_words")]
        words: String,
    },
    Unknown {
        #[serde(with = "long_words")]
        words: String,
    },
}

/// The versions of a cluster, as known on this machine.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Versions {
    pub accepted: Option<u64>,
    pub serving: Option<u64>,
    /// Reasons why no change is possible now; empty if changes are possible.
    pub frozen: Vec<String>,
    /// All requested versions, the newest first.
    pub all: Vec<ConfigurationVersion>,
    /// Events of the cluster, the newest first.
    pub events: Vec<Happened>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Happened {
    /// Time of the event: seconds since 1970 by the clock of the member that reported it.
    pub time_s: i64,
    pub from: String,
    #[serde(with = "long_words")]
    pub words: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigurationVersion {
    pub id: u64,
    pub parent: Option<u64>,
    pub author: String,
    pub message: String,
    /// Source of the files, if an operator did not write them.
    pub origin: String,
    pub time_s: i64,
    pub stage: VersionStage,
    #[serde(with = "long_words")]
    pub stage_words: String,
    #[serde(with = "long_words")]
    pub why: String,
    /// Report of each node about the version: node name and text.
    pub reports: Vec<(String, String)>,
}

/// The progress of a version.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum VersionStage {
    #[default]
    Checking,
    Canary,
    Rollout,
    AwaitsConfirmation,
    Accepted,
    Refused,
    RolledBack,
}

impl VersionStage {
    pub fn is_in_progress(self) -> bool {
        match self {
            VersionStage::Checking
            | VersionStage::Canary
            | VersionStage::Rollout
            | VersionStage::AwaitsConfirmation => true,
            VersionStage::Accepted | VersionStage::Refused | VersionStage::RolledBack => false,
        }
    }
}

/// Files of a configuration version, as they are shown to an operator.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct VersionFiles {
    pub version: u64,
    /// The files; those of the command line first.
    pub files: Vec<File>,
}

/// File of a configuration version, as it is shown to an operator.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct File {
    pub path: String,
    pub main: bool,
    /// Text with covered secrets. None: the file is binary, or secret as a whole.
    pub text: Option<String>,
    pub description: String,
}

/// A file that differs between two versions.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Difference {
    pub path: String,
    /// Difference in the format of `patch`; empty if only `words` describes it.
    pub lines: String,
    /// Description of a change that has no line difference.
    #[serde(with = "long_words")]
    pub words: String,
}

/// A line of a file, with the version that last changed it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BlameLine {
    pub version: u64,
    /// True if the line may be from an older version that is no longer stored.
    pub or_older: bool,
    pub author: String,
    /// Time at which that version was proposed, seconds since 1970.
    pub time_s: i64,
}

/// Result of a check whether a node could serve an edit.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Findings {
    pub good: bool,
    pub all: Vec<Finding>,
    pub changes: Vec<String>,
    pub differences: Vec<Difference>,
}

impl Findings {
    /// Parses the output of a loader for programs: one [`Finding`] in JSON per line. `difference`
    /// is the difference as text. Other lines are skipped.
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

    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A diagnostic, as `evenkeel check --format json` prints it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Finding {
    /// Diagnostic code, such as `E0303`; empty if there is none.
    pub code: String,
    /// `error`, `warning` or another severity.
    pub severity: String,
    pub message: String,
    /// Path of the file; None if the diagnostic has no location.
    pub file: Option<String>,
    pub line: Option<u64>,
    /// First column in bytes, from 1.
    pub column: Option<u64>,
    /// Last column in bytes, on the line `end_line`.
    pub end_column: Option<u64>,
    pub end_line: Option<u64>,
    pub label: String,
    pub notes: Vec<String>,
    pub help: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_a_length_prefix_and_a_limit() {
        let question = VersionsRequest::Check(Edit {
            of: 3,
            texts: vec![("/a.cfg".to_owned(), "global\n".to_owned())],
        });
        let bytes = framed(&question, QUESTION_BYTES_MAX).unwrap();
        let (length, value) = bytes.split_at(4);
        assert_eq!(length, u32::try_from(value.len()).unwrap().to_be_bytes());
        let decoded: VersionsRequest = codec::decode(value).unwrap();
        assert_eq!(decoded, question);
        assert_eq!(framed(&question, value.len() - 1), None);
        assert!(is_envelope(&envelope("cluster")));
    }

    #[test]
    fn finding_equals_the_json_of_a_check() {
        let printed = r#"{"code":"E0303","severity":"error","message":"unknown keyword","file":"/a.cfg","line":2,
            "column":5,"end_line":2,"end_column":9,"label":"","secondary":[],"notes":["n"],"help":null,"fix":null}"#;
        let finding: Finding = serde_json::from_str(printed).unwrap();
        assert_eq!((finding.line, finding.column), (Some(2), Some(5)));
        assert_eq!(finding.notes, ["n"]);
    }
}
