//! The plan of a version, from the loader to the supervisor, so that the supervisor
//! parses nothing that a user wrote.

use super::bounded::{list, path, text, texts};
use super::part_plan::PartPlan;
use super::resource::{RESOURCES_MAX, Resource};
use super::watch::Watch;
use super::{FIXED_MAX, NAMES_MAX, PARTS_MAX, PATH_BYTES_MAX, PROGRAMS_MAX, WORDS_BYTES_MAX};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Sockets that are named by a number.
const NUMBERED_MAX: usize = 1_024;
/// Sockets that can be left out of one version.
const LEFT_OUT_MAX: usize = 1_024;
/// Certificates whose ends are reported.
const CERTIFICATES_MAX: usize = 16;
/// Missing things that are reported.
const MISSING_MAX: usize = 32;
/// Bytes of a text of one of them.
const MISSING_BYTES_MAX: usize = 256;
/// Log targets of one file.
const LOGS_MAX: usize = 4_096;

/// A version, as the supervisor sees it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Plan {
    /// The privileges that the role drops, irrevocably.
    pub rights: Rights,
    /// How the role is to serve.
    pub settings: Settings,
    /// Open files of the role; the supervisor sets the limit.
    pub files_max: u64,
    /// Most memory of the role, bytes.
    pub memory_bytes: Option<u64>,
    /// Into the background.
    pub daemon: bool,
    /// The file of the supervisor's process id.
    #[serde(serialize_with = "path", deserialize_with = "serde_bytes::deserialize")]
    pub pid_file: Option<Vec<u8>>,
    /// `hard-stop-after`.
    pub hard_stop_after_ms: Option<u64>,
    /// `quiet`.
    pub quiet: bool,
    /// The files, by the names of the command line.
    #[serde(serialize_with = "texts::<NAMES_MAX, { PATH_BYTES_MAX / 8 }, _>")]
    pub names: Vec<String>,
    /// Frontends, backends and listens.
    pub proxies: u32,
    /// Listeners: the first descriptors behind the bundle.
    pub listeners: u32,
    /// Statistics sockets: the next ones.
    pub operations: u32,
    /// The listeners that were given by number (`fd@N`): the index among the listeners
    /// and statistics sockets, and the number.
    #[serde(serialize_with = "list::<NUMBERED_MAX, _, _>")]
    pub numbered: Vec<(u32, u32)>,
    /// For each log target whether its socket is there: the last ones.
    #[serde(serialize_with = "list::<LOGS_MAX, _, _>")]
    pub logs: Vec<bool>,
    /// Changes of the new file that need a restart, as messages.
    #[serde(serialize_with = "texts::<FIXED_MAX, { WORDS_BYTES_MAX / 8 }, _>")]
    pub fixed: Vec<String>,
    /// The difference from the previous version, as text.
    #[serde(serialize_with = "text::<WORDS_BYTES_MAX, _>")]
    pub difference: String,
    /// How many descriptors of the version before are used again.
    pub reused: u32,
    /// The files to reload when they change.
    pub watch: Option<Watch>,
    /// The bundle holds no key, so it may be written to a file.
    pub without_secrets: bool,
    /// There is nothing for a proxy to serve: none is started.
    pub without_proxy: bool,
    /// The parts that run beside the proxy.
    #[serde(serialize_with = "list::<PARTS_MAX, _, _>")]
    pub parts: Vec<PartPlan>,
    /// Programs of external checks: the only ones that are run for the role.
    #[serde(serialize_with = "list::<PROGRAMS_MAX, _, _>")]
    pub programs: Vec<CheckProgram>,
    /// User and group of these programs, if they are not those of the role.
    pub programs_account: Option<(u32, u32)>,
    /// What no other instance of the program on this machine may use at the same time.
    #[serde(serialize_with = "list::<RESOURCES_MAX, _, _>")]
    pub resources: Vec<Resource>,
    /// What this machine lacks for the version, which is served without it.
    pub lacks: Lacks,
    /// A number for what the files of the version hold.
    pub content: u64,
    /// The certificates of the version that end first, in the order of their ends.
    #[serde(serialize_with = "list::<CERTIFICATES_MAX, _, _>")]
    pub certificates: Vec<CertificateEnd>,
}

/// What a machine lacks for a version that it serves.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Lacks {
    /// Sockets of the configuration that are not open, by their index among its listeners and
    /// statistics sockets. Only an accepted version of a cluster has some.
    #[serde(serialize_with = "list::<LEFT_OUT_MAX, _, _>")]
    pub left_out: Vec<u32>,
    /// What is missing, also these sockets.
    #[serde(serialize_with = "list::<MISSING_MAX, _, _>")]
    pub missing: Vec<Missing>,
}

/// A certificate of a version, and its validity.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct CertificateEnd {
    /// Its file.
    #[serde(serialize_with = "text::<MISSING_BYTES_MAX, _>")]
    pub file: String,
    /// Valid from, seconds since 1970.
    pub from_s: i64,
    /// Valid until, seconds since 1970.
    pub until_s: i64,
}

/// A day, seconds.
const DAY_S: i64 = 86_400;
/// A certificate is reported so long before its end, seconds, or for the last third of its
/// validity, whichever is shorter: those that are renewed every few days are no exception.
const REPORTED_BEFORE_END_S: i64 = 14 * DAY_S;

impl CertificateEnd {
    /// Whether it ends soon, or has ended.
    pub fn is_due(&self, now_s: i64) -> bool {
        let third = self.until_s.saturating_sub(self.from_s) / 3;
        self.until_s.saturating_sub(now_s) < third.min(REPORTED_BEFORE_END_S)
    }

    /// Whether it has ended.
    pub fn has_ended(&self, now_s: i64) -> bool {
        self.until_s < now_s
    }

    /// The end, as text: `ends in 5 days`.
    pub fn words(&self, now_s: i64) -> String {
        let left_s = self.until_s.saturating_sub(now_s);
        let (number, unit) = match left_s.unsigned_abs() {
            seconds if seconds >= DAY_S.unsigned_abs() => (seconds / DAY_S.unsigned_abs(), "day"),
            seconds => (seconds / 3600, "hour"),
        };
        let plural = if number == 1 { "" } else { "s" };
        match self.has_ended(now_s) {
            true => format!("ended {number} {unit}{plural} ago"),
            false => format!("ends in {number} {unit}{plural}"),
        }
    }
}

/// The kind of a thing that a version needs and this machine lacks.
#[derive(
    Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default,
)]
#[serde(rename_all = "kebab-case")]
pub enum MissingKind {
    /// A socket that cannot be opened.
    #[default]
    Listener,
    /// A host name that does not resolve.
    Name,
    /// A user or group.
    Account,
    /// A file or directory.
    File,
    /// A program that is there, but must not or cannot be run.
    Program,
}

impl MissingKind {
    /// The word for reports.
    pub fn word(self) -> &'static str {
        match self {
            MissingKind::Listener => "listener",
            MissingKind::Name => "host name",
            MissingKind::Account => "account",
            MissingKind::File => "file",
            MissingKind::Program => "program",
        }
    }

    /// The state of such a thing in reports.
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

/// A thing that a version needs and this machine lacks: the version is served without it, and
/// loaded again until it is there. An accepted version of a cluster may lack anything, one of
/// other files only names.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[serde(default)]
pub struct Missing {
    /// Its kind.
    pub kind: MissingKind,
    /// Its name or address, as the files have it.
    #[serde(serialize_with = "text::<MISSING_BYTES_MAX, _>")]
    pub what: String,
    /// The reason, and what applies meanwhile.
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
    /// `external-check path`: its PATH.
    #[serde(with = "serde_bytes")]
    pub path: Vec<u8>,
}

/// User, groups and root directory.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Rights {
    /// `user`, `uid`.
    pub uid: Option<u32>,
    /// `group`, `gid`.
    pub gid: Option<u32>,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// `chroot`.
    #[serde(with = "serde_bytes")]
    pub chroot: Option<Vec<u8>>,
    /// Capabilities that it keeps, as the kernel counts them.
    pub capabilities: u64,
}

/// Settings of the command line and of the system, which override the file.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Settings {
    /// `maxconn` of the process, from the command line.
    pub connections: Option<u32>,
    /// `maxconn` of frontends that have none, from the command line.
    pub proxy_connections: Option<u32>,
    /// Most connections at one time, as the limits of the system allow.
    pub connections_max: u32,
    /// Threads of the data plane.
    pub threads: u32,
}

impl Plan {
    /// Descriptors of the version, without the bundle.
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
        // Numbers of a hostile certificate.
        let strange = CertificateEnd {
            from_s: i64::MIN,
            until_s: i64::MAX,
            ..CertificateEnd::default()
        };
        assert!(!strange.is_due(i64::MIN) && !strange.is_due(0));
        assert!(!strange.words(i64::MIN).is_empty());
    }
}
