//! Why a process does not begin to serve.

use crate::confinement::ConfinementError;
use language::reason;
use nix::errno::Errno;
use part::daemon::DaemonError;
use part::spawn::StartFailure;
use proxy::takeover::TakeoverError;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

/// Why a process does not begin to serve.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No frontend with a `bind` line.
    #[error("No enabled listener found (check for 'bind' directives) ! Exiting.")]
    NothingListens,
    /// The process before did not hand its listeners over.
    #[error("Failed to get the sockets from the old process! ({}: {})", .socket.display(), .error.as_ref().map_or("it names no .socket".to_owned(), ToString::to_string))]
    TakeOver {
        /// Its statistics socket, as it was named.
        socket: OsString,
        /// Why; None where that names no socket.
        error: Option<TakeoverError>,
    },
    /// Listeners could not be opened; each was told.
    #[error("Some protocols failed to start their listeners! Exiting.")]
    Listeners,
    /// The system allows fewer open files than are needed.
    #[error(
        "maxconn and listeners need {wanted} file descriptors, the limit is {allowed}: raise LimitNOFILE or lower maxconn"
    )]
    FileLimit {
        /// Needed.
        wanted: u64,
        /// Allowed.
        allowed: u64,
    },
    /// `ulimit-n` or `-m` was refused.
    #[error("Cannot set the limit of {resource} ({}).", .errno.desc())]
    Limit {
        /// The resource.
        resource: &'static str,
        /// The system's reason.
        errno: Errno,
    },
    /// `chroot`.
    #[error("Cannot chroot({}) ({}).", .path.display(), .errno.desc())]
    Chroot {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        errno: Errno,
    },
    /// `group` or `gid`.
    #[error("Cannot set gid {gid} ({}).", .errno.desc())]
    Group {
        /// The group.
        gid: u32,
        /// The system's reason.
        errno: Errno,
    },
    /// `user` or `uid`.
    #[error("Cannot set uid {uid} ({}).", .errno.desc())]
    User {
        /// The user.
        uid: u32,
        /// The system's reason.
        errno: Errno,
    },
    /// Privileges could not be dropped.
    #[error("Cannot give up rights: {0}.")]
    Confinement(ConfinementError),
    /// Going into the background, or the file of the process id.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The process that runs the programs of external checks.
    #[error(transparent)]
    Programs(#[from] StartFailure),
    /// Threads, signal descriptors.
    #[error("Cannot start threads ({})", reason(.0))]
    Threads(io::Error),
    /// The data plane ended by itself.
    #[error("The data plane ended: {0}")]
    DataPlane(io::Error),
}
