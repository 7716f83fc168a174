//! Defines the options with which configuration files are loaded.

use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LoadOptions {
    /// Allows name lookups and comparisons with the addresses of this host. False to check files
    /// of another machine.
    pub resolve_names: bool,
    /// A server whose name does not resolve starts in maintenance (`-dr`).
    pub ignore_unresolved: bool,
    /// Reports hints in addition to warnings (`-dD`).
    pub diag: bool,
    /// Verifies servers' certificates only if a line requires it (`-dV`).
    pub unverified_servers: bool,
    /// The configuration will run on this machine, so facts about the machine matter.
    pub here: bool,
    /// The host name, which decides on lines `on NODE`. If empty, the host does not matter, and
    /// the files are read for their first node.
    pub host: String,
    /// Name of this node in its cluster, whatever the host name is.
    pub node: Option<String>,
    /// Nodes that exist in addition to those of `node` sections.
    pub nodes: Vec<String>,
    /// Description of the configuration version of a cluster, for messages; empty for other files.
    pub version: String,
}

impl LoadOptions {
    /// Returns whether this is a configuration that the cluster accepted earlier and that must be
    /// served. Any other configuration of a cluster is refused if a name does not resolve.
    pub fn is_accepted(&self) -> bool {
        self.ignore_unresolved && !self.version.is_empty()
    }
}
