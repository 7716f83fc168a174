//! Tracked objects: scripts, files, processes, interfaces, BFD sessions.

use super::Account;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// `weight N [reverse]`; 0: a failure is a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Weight {
    /// Value that is added to the priority.
    pub value: i32,
    /// `reverse`
    pub reverse: bool,
}

/// Tracked objects of an instance or a group, by name; without a weight, that of the
/// object applies.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Tracked {
    /// `track_interface`
    pub interfaces: Vec<(String, Weight)>,
    /// `track_script`
    pub scripts: Vec<(String, Option<Weight>)>,
    /// `track_file`
    pub files: Vec<(String, Option<Weight>)>,
    /// `track_process`
    pub processes: Vec<(String, Option<Weight>)>,
    /// `track_bfd`
    pub bfd: Vec<(String, Option<Weight>)>,
    /// Our language, `track backend`: proxy backends that the instance requires; without one of
    /// them its health is in the worst band.
    #[serde(default)]
    pub backends: Vec<String>,
}

/// `vrrp_script`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Script {
    pub name: String,
    /// Program and its arguments; never run through a shell.
    pub words: Vec<String>,
    /// `interval`
    pub interval: Duration,
    /// `timeout`; None: the interval.
    pub timeout: Option<Duration>,
    /// `weight`
    pub weight: Weight,
    /// `rise`
    pub rise: u32,
    /// `fall`
    pub fall: u32,
    /// `user`
    pub account: Option<Account>,
    /// `init_fail`
    pub init_fail: bool,
}

/// `track_file`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TrackFile {
    /// Name of the tracked file.
    pub name: String,
    /// `file`
    pub path: PathBuf,
    /// `weight`; default: 1.
    pub weight: Weight,
    /// `init_file`: the initial value, and whether it replaces an existing one.
    pub init: Option<(i64, bool)>,
}

/// Comparison of parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum ParameterMatch {
    #[default]
    Exact,
    /// `partial`: the first parameters are equal.
    Partial,
    /// `initial`: the last parameter only has to begin with the configured one.
    Initial,
}

/// `vrrp_track_process`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TrackProcess {
    /// Name of the tracked process.
    pub name: String,
    pub words: Vec<String>,
    /// Comparison of parameters; None: parameters are ignored.
    pub parameters: Option<ParameterMatch>,
    /// `full_command`
    pub full_command: bool,
    /// `weight`; default: 1.
    pub weight: Weight,
    /// `quorum`
    pub quorum: u32,
    /// `quorum_max`
    pub quorum_max: Option<u32>,
    /// `fork_delay`
    pub fork_delay: Duration,
    /// `terminate_delay`
    pub terminate_delay: Duration,
}

/// `bfd_instance`
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BfdSession {
    pub name: String,
    /// `neighbor_ip`
    pub neighbour: IpAddr,
    /// `source_ip`
    pub source: Option<IpAddr>,
    /// `min_rx`
    pub min_rx: Duration,
    /// `min_tx`
    pub min_tx: Duration,
    /// `idle_tx`
    pub idle_tx: Duration,
    /// `multiplier`
    pub multiplier: u8,
    /// `passive`
    pub passive: bool,
    /// `ttl`, `hoplimit`
    pub ttl: u8,
    /// `max_hops`
    pub max_hops: u8,
    /// `weight`
    pub weight: Weight,
}
