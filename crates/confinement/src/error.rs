//! Errors of confining a process on a kernel that supports it.

use rustix::io::Errno;
use std::io;
use std::path::PathBuf;

/// Reason why a process could not be confined although the kernel supports it.
#[derive(Debug, thiserror::Error)]
pub enum ConfinementError {
    #[error("cannot drop capabilities: {errno}")]
    Capabilities {
        #[source]
        errno: Errno,
    },
    /// A path that the process is meant to keep.
    #[error("cannot keep access to {}: {error}", .path.display())]
    Path {
        path: PathBuf,
        #[source]
        error: landlock::PathFdError,
    },
    #[error("cannot drop access to files: {0}")]
    Files(#[source] landlock::RulesetError),
    #[error("cannot create the system call filter: {0}")]
    Filter(#[source] seccompiler::BackendError),
    /// The kernel supports such filters, and refused this one.
    #[error("the kernel refused the system call filter: {0}")]
    FilterRefused(#[source] io::Error),
}
