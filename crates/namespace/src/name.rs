//! Parts of the names of namespaces and directories.

pub(crate) const NAMESPACES: &str = "/run/netns";

/// Prefix of all names; the id of the process follows.
pub(crate) const PREFIX: &str = "evenkeel-lab-";

/// Maximum length of the name of a laboratory or a host, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 64;
