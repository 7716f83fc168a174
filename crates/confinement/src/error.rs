//! Defines the errors of confining a process on a kernel that supports the protection.

use rustix::io::Errno;
use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum ConfinementError {
    #[error("cannot drop capabilities: {errno}")]
    Capabilities {
        #[source]
        errno: Errno,
    },
    /// A path that the process may access cannot be opened.
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
    /// The kernel supports filters for system calls, and refused this one.
    #[error("the kernel refused the system call filter: {0}")]
    FilterRefused(#[source] io::Error),
}
