//! Defines the objects whose failure lowers the priority of an instance or is a fault: scripts,
//! files, processes, interfaces, BFD sessions and proxy backends.

use super::Account;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// `weight N [reverse]`; 0: a failure is a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Weight {
    pub value: i32,
    pub reverse: bool,
}

/// Tracked objects of an instance or a group, by name; without a weight, that of the
/// object applies.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Tracked {
    pub interfaces: Vec<(String, Weight)>,
    pub scripts: Vec<(String, Option<Weight>)>,
    pub files: Vec<(String, Option<Weight>)>,
    pub processes: Vec<(String, Option<Weight>)>,
    pub bfd: Vec<(String, Option<Weight>)>,
    /// Our language, `track backend`: proxy backends that the instance requires; without one of
    /// them its health is in the worst band.
    #[serde(default)]
    pub backends: Vec<String>,
}

/// Program that checks a condition at intervals (`vrrp_script`).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Script {
    pub name: String,
    /// Program and its arguments; never run through a shell.
    pub words: Vec<String>,
    pub interval: Duration,
    /// Timeout of a run of the program; None: the interval is the timeout.
    pub timeout: Option<Duration>,
    pub weight: Weight,
    pub rise: u32,
    pub fall: u32,
    pub account: Option<Account>,
    /// True if the script counts as failed until its first result (`init_fail`).
    pub init_fail: bool,
}

/// File whose number changes priorities (`track_file`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TrackFile {
    pub name: String,
    pub path: PathBuf,
    pub weight: Weight,
    /// `init_file`: the initial value, and whether it replaces an existing one.
    pub init: Option<(i64, bool)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum ParameterMatch {
    #[default]
    Exact,
    /// `partial`: the first parameters are equal.
    Partial,
    /// `initial`: the last parameter only has to begin with the configured one.
    Initial,
}

/// Program that must run on the machine (`vrrp_track_process`).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TrackProcess {
    pub name: String,
    pub words: Vec<String>,
    /// Comparison of parameters; None: parameters are ignored.
    pub parameters: Option<ParameterMatch>,
    pub full_command: bool,
    pub weight: Weight,
    /// `quorum`: minimum number of processes.
    pub quorum: u32,
    /// `quorum_max`: maximum number of processes; 0: none may run.
    pub quorum_max: Option<u32>,
    pub fork_delay: Duration,
    pub terminate_delay: Duration,
}

/// BFD session with one neighbour (`bfd_instance`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BfdSession {
    pub name: String,
    pub neighbour: IpAddr,
    pub source: Option<IpAddr>,
    pub min_rx: Duration,
    pub min_tx: Duration,
    pub idle_tx: Duration,
    pub multiplier: u8,
    pub passive: bool,
    pub ttl: u8,
    pub max_hops: u8,
    pub weight: Weight,
}
