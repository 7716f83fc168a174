//! Errors that prevent a process from serving.

use crate::confinement::ConfinementError;
use language::reason;
use nix::errno::Errno;
use part::daemon::DaemonError;
use part::spawn::StartFailure;
use proxy::takeover::TakeoverError;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

/// Error that prevents a process from serving.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No frontend has a `bind` line.
    #[error("No enabled listener found (check for 'bind' directives) ! Exiting.")]
    NothingListens,
    /// The previous process did not hand over its listeners.
    #[error("Failed to get the sockets from the old process! ({}: {})", .socket.display(), .error.as_ref().map_or("it names no .socket".to_owned(), ToString::to_string))]
    TakeOver {
        /// Statistics socket, as it was named.
        socket: OsString,
        /// The error; None if the name is not that of a socket.
        error: Option<TakeoverError>,
    },
    /// Listeners could not be opened; each was reported.
    #[error("Some protocols failed to start their listeners! Exiting.")]
    Listeners,
    /// The limit of open files is too low.
    #[error(
        "maxconn and listeners need {wanted} file descriptors, the limit is {allowed}: raise LimitNOFILE or lower maxconn"
    )]
    FileLimit { wanted: u64, allowed: u64 },
    /// `ulimit-n` or `-m` was refused.
    #[error("Cannot set the limit of {resource} ({}).", .errno.desc())]
    Limit {
        resource: &'static str,
        errno: Errno,
    },
    #[error("Cannot chroot({}) ({}).", .path.display(), .errno.desc())]
    Chroot { path: PathBuf, errno: Errno },
    #[error("Cannot set gid {gid} ({}).", .errno.desc())]
    Group { gid: u32, errno: Errno },
    #[error("Cannot set uid {uid} ({}).", .errno.desc())]
    User { uid: u32, errno: Errno },
    /// Privileges could not be dropped.
    #[error("Cannot give up rights: {0}.")]
    Confinement(ConfinementError),
    /// Going into the background, or writing the PID file, failed.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The process for external checks could not be started.
    #[error(transparent)]
    Programs(#[from] StartFailure),
    /// Threads or signal descriptors could not be created.
    #[error("Cannot start threads ({})", reason(.0))]
    Threads(io::Error),
    /// The data plane ended by itself.
    #[error("The data plane ended: {0}")]
    DataPlane(io::Error),
}
