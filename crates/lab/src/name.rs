//! What the names of namespaces and directories consist of.

/// Where named namespaces are.
pub(crate) const NAMESPACES: &str = "/run/netns";

/// With what all names begin; the id of the process follows.
pub(crate) const PREFIX: &str = "evenkeel-lab-";

/// The longest name of a laboratory or a host.
pub(crate) const MAX_NAME_BYTES: usize = 64;
