//! Defines the parts of the names of namespaces and directories.

pub(crate) const NAMESPACES: &str = "/run/netns";

/// Prefix of the names of all namespaces and directories. The process ID follows.
pub(crate) const PREFIX: &str = "evenkeel-lab-";

pub(crate) const MAX_NAME_BYTES: usize = 64;
