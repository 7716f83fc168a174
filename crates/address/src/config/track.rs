//! Tracked objects: scripts, files, processes, interfaces, BFD sessions.

use super::Account;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// `weight N [reverse]`; 0 means a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Weight {
    /// Added to the priority.
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
    /// Our language, `track backend`: backends of the proxy without which the instance
    /// is in the worst band of its health.
    #[serde(default)]
    pub backends: Vec<String>,
}

/// `vrrp_script`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Script {
    /// Its name.
    pub name: String,
    /// The program and its arguments; never through a shell.
    pub words: Vec<String>,
    /// `interval`
    pub interval: Duration,
    /// `timeout`; none is the interval.
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
    /// Its name.
    pub name: String,
    /// `file`
    pub path: PathBuf,
    /// `weight`, 1 without.
    pub weight: Weight,
    /// `init_file`: the value, and whether it is written over another.
    pub init: Option<(i64, bool)>,
}

/// How parameters are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum ParameterMatch {
    /// They are equal.
    #[default]
    Exact,
    /// `partial`: the first ones are equal.
    Partial,
    /// `initial`: the arguments end with the initial state.
    Initial,
}

/// `vrrp_track_process`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TrackProcess {
    /// Its name.
    pub name: String,
    /// Program and parameters.
    pub words: Vec<String>,
    /// How parameters are compared; none: parameters are not looked at.
    pub parameters: Option<ParameterMatch>,
    /// `full_command`
    pub full_command: bool,
    /// `weight`, 1 without.
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
    /// Its name.
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
