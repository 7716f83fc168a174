//! The plan of a version, from the loader to the supervisor, so that the supervisor
//! parses nothing that a user wrote.

use super::bounded::{list, path, text, texts};
use super::part_plan::PartPlan;
use super::resource::{RESOURCES_MAX, Resource};
use super::watch::Watch;
use super::{FIXED_MAX, NAMES_MAX, PARTS_MAX, PATH_BYTES_MAX, PROGRAMS_MAX, WORDS_BYTES_MAX};
use serde::{Deserialize, Serialize};

/// Sockets that are named by a number.
const NUMBERED_MAX: usize = 1_024;
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
