//! Why a process is not confined, where the kernel could.

use rustix::io::Errno;
use std::io;
use std::path::PathBuf;

/// Why a process is not confined, where the kernel could.
#[derive(Debug, thiserror::Error)]
pub enum ConfinementError {
    /// Capabilities could not be read or given up.
    #[error("cannot drop capabilities: {errno}")]
    Capabilities {
        /// Error of the system.
        #[source]
        errno: Errno,
    },
    /// A file or directory that it is to keep.
    #[error("cannot keep access to {}: {error}", .path.display())]
    Path {
        /// Its path.
        path: PathBuf,
        /// Why it cannot be opened.
        #[source]
        error: landlock::PathFdError,
    },
    /// Landlock refused rules.
    #[error("cannot drop access to files: {0}")]
    Files(#[source] landlock::RulesetError),
    /// The filter of system calls could not be made.
    #[error("cannot create the system call filter: {0}")]
    Filter(#[source] seccompiler::BackendError),
    /// The kernel, which has such filters, refused this one.
    #[error("the kernel refused the system call filter: {0}")]
    FilterRefused(#[source] io::Error),
}
