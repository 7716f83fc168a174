//! Describes a configuration version to the supervisor, as the loader has compiled it, so that the
//! supervisor parses no text of a user.

use super::bounded::{Levels, list, path, text, texts};
use super::part_plan::PartPlan;
use super::resource::{RESOURCES_MAX, Resource};
use super::watch::Watch;
use super::{FIXED_MAX, NAMES_MAX, PARTS_MAX, PATH_BYTES_MAX, PROGRAMS_MAX, WORDS_BYTES_MAX};
use serde::{Deserialize, Serialize};
use std::fmt;

const NUMBERED_MAX: usize = 1_024;
const LEFT_OUT_MAX: usize = 1_024;
const CERTIFICATES_MAX: usize = 16;
const MISSING_MAX: usize = 32;
const MISSING_BYTES_MAX: usize = 256;
const LOGS_MAX: usize = 4_096;

/// Configuration version as the supervisor knows it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct VersionPlan {
    /// User, groups and root directory to which the role switches irrevocably.
    pub rights: Rights,
    pub settings: Settings,
    /// Limit of open files for the role; the supervisor sets it.
    pub files_max: u64,
    pub memory_bytes: Option<u64>,
    pub daemon: bool,
    #[serde(serialize_with = "path", deserialize_with = "serde_bytes::deserialize")]
    pub pid_file: Option<Vec<u8>>,
    pub hard_stop_after_ms: Option<u64>,
    pub quiet: bool,
    /// `log-level`, as text; empty for the default levels.
    #[serde(with = "Levels")]
    pub log_levels: String,
    #[serde(serialize_with = "texts::<NAMES_MAX, { PATH_BYTES_MAX / 8 }, _>")]
    pub names: Vec<String>,
    pub proxies: u32,
    /// Number of listeners; their descriptors follow the bundle.
    pub listeners: u32,
    /// Number of statistics sockets; their descriptors follow the listeners.
    pub operations: u32,
    /// Listeners that were given by number (`fd@N`): the index among the listeners and statistics
    /// sockets, and the descriptor number.
    #[serde(serialize_with = "list::<NUMBERED_MAX, _, _>")]
    pub numbered: Vec<(u32, u32)>,
    /// For each log target, whether its socket is open; these are the last descriptors.
    #[serde(serialize_with = "list::<LOGS_MAX, _, _>")]
    pub logs: Vec<bool>,
    #[serde(serialize_with = "texts::<FIXED_MAX, { WORDS_BYTES_MAX / 8 }, _>")]
    pub fixed: Vec<String>,
    #[serde(serialize_with = "text::<WORDS_BYTES_MAX, _>")]
    pub difference: String,
    pub reused: u32,
    pub watch: Option<Watch>,
    /// True if the bundle contains no key, so that the role keeps it in memory and can return it to
    /// the next supervisor.
    pub without_secrets: bool,
    /// True if the configuration version has nothing for a proxy to serve, so that no proxy starts.
    pub without_proxy: bool,
    #[serde(serialize_with = "list::<PARTS_MAX, _, _>")]
    pub parts: Vec<PartPlan>,
    /// Programs of external checks; the role can run no others.
    #[serde(serialize_with = "list::<PROGRAMS_MAX, _, _>")]
    pub programs: Vec<CheckProgram>,
    /// User and group of these programs, if they are not those of the role.
    pub programs_account: Option<(u32, u32)>,
    #[serde(serialize_with = "list::<RESOURCES_MAX, _, _>")]
    pub resources: Vec<Resource>,
    pub lacks: Lacks,
    pub content: u64,
    /// The certificates of the version that expire first, in the order of their expiry.
    #[serde(serialize_with = "list::<CERTIFICATES_MAX, _, _>")]
    pub certificates: Vec<CertificateEnd>,
}

/// Resources that a machine lacks for a version that it serves.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Lacks {
    /// Sockets of the configuration that are not open, as indexes among the listeners and
    /// statistics sockets. Only an accepted version of a cluster may lack sockets.
    #[serde(serialize_with = "list::<LEFT_OUT_MAX, _, _>")]
    pub left_out: Vec<u32>,
    #[serde(serialize_with = "list::<MISSING_MAX, _, _>")]
    pub missing: Vec<Missing>,
}

/// A certificate of a version, and its validity period in seconds since 1970.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct CertificateEnd {
    #[serde(serialize_with = "text::<MISSING_BYTES_MAX, _>")]
    pub file: String,
    pub from_s: i64,
    pub until_s: i64,
}

const DAY_S: i64 = 86_400;
/// Time before the expiry from which a certificate is reported, in seconds. The limit is the last
/// third of the validity if that is shorter, so that certificates which are renewed every few days
/// are not reported all the time.
const REPORTED_BEFORE_END_S: i64 = 14 * DAY_S;

impl CertificateEnd {
    /// Returns whether the certificate expires soon or has expired.
    pub fn is_due(&self, now_s: i64) -> bool {
        let third = self.until_s.saturating_sub(self.from_s) / 3;
        self.until_s.saturating_sub(now_s) < third.min(REPORTED_BEFORE_END_S)
    }

    pub fn has_ended(&self, now_s: i64) -> bool {
        self.until_s < now_s
    }

    /// Returns the time to the expiry as text: `ends in 5 days`.
    pub fn words(&self, now_s: i64) -> String {
        let left_s = self.until_s.saturating_sub(now_s);
        let (number, unit) = match left_s.unsigned_abs() {
            seconds if seconds >= DAY_S.unsigned_abs() => (seconds / DAY_S.unsigned_abs(), "day"),
            seconds => (seconds / 3600, "hour"),
        };
        let plural = if number == 1 { "" } else { "s" };
        if self.has_ended(now_s) {
            format!("ended {number} {unit}{plural} ago")
        } else {
            format!("ends in {number} {unit}{plural}")
        }
    }
}

/// The kind of a resource that a version needs and this machine lacks.
#[derive(
    Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default,
)]
#[serde(rename_all = "kebab-case")]
pub enum MissingKind {
    #[default]
    Listener,
    Name,
    Account,
    File,
    Program,
}

impl MissingKind {
    pub fn word(self) -> &'static str {
        match self {
            MissingKind::Listener => "listener",
            MissingKind::Name => "host name",
            MissingKind::Account => "account",
            MissingKind::File => "file",
            MissingKind::Program => "program",
        }
    }

    pub fn state(self) -> &'static str {
        match self {
            MissingKind::Listener => "listener not open",
            MissingKind::Name => "host name unresolved",
            MissingKind::Account => "account missing",
            MissingKind::File => "file missing",
            MissingKind::Program => "program not run",
        }
    }
}

/// A resource that a version needs and this machine lacks. The version is served without it, and
/// loaded again until the resource exists. An accepted version of a cluster may lack any resource,
/// other files only host names.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[serde(default)]
pub struct Missing {
    pub kind: MissingKind,
    /// Name or address, as written in the files.
    #[serde(serialize_with = "text::<MISSING_BYTES_MAX, _>")]
    pub what: String,
    #[serde(serialize_with = "text::<MISSING_BYTES_MAX, _>")]
    pub why: String,
}

/// A program that external checks run.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Hash, Debug, Default)]
#[serde(default)]
pub struct CheckProgram {
    /// `external-check command`
    #[serde(with = "serde_bytes")]
    pub command: Vec<u8>,
    /// `external-check path`: the PATH of the program.
    #[serde(with = "serde_bytes")]
    pub path: Vec<u8>,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Rights {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub groups: Vec<u32>,
    #[serde(with = "serde_bytes")]
    pub chroot: Option<Vec<u8>>,
    /// Capabilities that the role keeps, as the kernel's bit mask.
    pub capabilities: u64,
}

/// Settings of the command line and of the system, which override the files.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Settings {
    /// `maxconn` of the process, from the command line.
    pub connections: Option<u32>,
    /// `maxconn` of frontends that have none, from the command line.
    pub proxy_connections: Option<u32>,
    pub connections_max: u32,
    pub threads: u32,
}

impl VersionPlan {
    /// Returns the number of descriptors of the version, without the bundle.
    pub fn descriptors(&self) -> usize {
        let logs = self.logs.iter().filter(|open| **open).count();
        self.listeners as usize + self.operations as usize + logs
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Missing { kind, what, why } = self;
        write!(f, "serving without {} {what}: {why}", kind.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_reported_before_their_end() {
        let of_days = |days: i64| CertificateEnd {
            file: "a.pem".to_owned(),
            from_s: 0,
            until_s: days * DAY_S,
        };
        let (year, week) = (of_days(365), of_days(6));
        assert!(!year.is_due(350 * DAY_S) && year.is_due(352 * DAY_S));
        assert!(!week.is_due(3 * DAY_S) && week.is_due(5 * DAY_S));
        assert_eq!(year.words(360 * DAY_S), "ends in 5 days");
        assert_eq!(year.words(365 * DAY_S - 7200), "ends in 2 hours");
        assert_eq!(year.words(366 * DAY_S + 1), "ended 1 day ago");
        assert!(year.has_ended(366 * DAY_S) && !year.has_ended(364 * DAY_S));
        // A hostile certificate may contain extreme numbers.
        let strange = CertificateEnd {
            from_s: i64::MIN,
            until_s: i64::MAX,
            ..CertificateEnd::default()
        };
        assert!(!strange.is_due(i64::MIN) && !strange.is_due(0));
        assert!(!strange.words(i64::MIN).is_empty());
    }
}
