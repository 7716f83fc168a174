//! How a configuration is loaded.

use serde::{Deserialize, Serialize};

/// The options of a load.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LoadOptions {
    /// Names may be looked up and addresses be compared with those of this
    /// host (a check of files from elsewhere says no).
    pub resolve_names: bool,
    /// A server whose name does not resolve starts in maintenance (`-dr`).
    pub ignore_unresolved: bool,
    /// Also tell what is only worth a hint (`-dD`).
    pub diag: bool,
    /// Servers' certificates are verified only where a line says so (`-dV`).
    pub unverified_servers: bool,
    /// Whether the configuration will run on this machine, so that facts about the
    /// machine matter.
    pub here: bool,
    /// The name of this host, for lines `on NODE`; empty: it does not matter which host
    /// this is, and the file is read as its first node does.
    pub host: String,
    /// The node that this machine is, whatever its name says.
    pub node: Option<String>,
    /// Nodes that exist, besides those of `node` sections.
    pub nodes: Vec<String>,
    /// Description of the cluster version, for messages; empty if it is not one.
    pub version: String,
}

impl LoadOptions {
    /// Whether this is a version of the cluster that was accepted earlier, which has to be served:
    /// any other version of a cluster is refused for a name that does not resolve.
    pub fn is_accepted(&self) -> bool {
        self.ignore_unresolved && !self.version.is_empty()
    }
}
