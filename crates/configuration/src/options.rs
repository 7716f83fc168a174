//! Defines the options with which configuration files are loaded.

use serde::{Deserialize, Serialize};

/// The options of a load.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LoadOptions {
    /// Allows name lookups and comparisons with the addresses of this host (false for a check of
    /// files from elsewhere).
    pub resolve_names: bool,
    /// A server whose name does not resolve starts in maintenance (`-dr`).
    pub ignore_unresolved: bool,
    /// Reports hints, too (`-dD`).
    pub diag: bool,
    /// Verifies servers' certificates only if a line requires it (`-dV`).
    pub unverified_servers: bool,
    /// True if the configuration will run on this machine, so that facts about the machine matter.
    pub here: bool,
    /// The name of this host, for lines `on NODE`. If empty, the host does not matter, and the file
    /// is read for its first node.
    pub host: String,
    /// The node that this machine is, whatever its host name.
    pub node: Option<String>,
    /// Nodes that exist in addition to those of `node` sections.
    pub nodes: Vec<String>,
    /// Description of the cluster version, for messages; empty for other files.
    pub version: String,
}

impl LoadOptions {
    /// Returns whether this is a version of the cluster that was accepted earlier and has to be
    /// served. Any other version of a cluster is refused for a name that does not resolve.
    pub fn is_accepted(&self) -> bool {
        self.ignore_unresolved && !self.version.is_empty()
    }
}
