//! Defines the errors that prevent a process from serving, with their messages.

use confinement::ConfinementError;
use language::reason;
use nix::errno::Errno;
use part::daemon::DaemonError;
use part::spawn::StartFailure;
use proxy::takeover::TakeoverError;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("No enabled listener found (check for 'bind' directives) ! Exiting.")]
    NothingListens,
    #[error("Failed to get the sockets from the old process! ({}: {})", .socket.display(), .error.as_ref().map_or("it names no .socket".to_owned(), ToString::to_string))]
    TakeOver {
        socket: OsString,
        error: Option<TakeoverError>,
    },
    #[error("Some protocols failed to start their listeners! Exiting.")]
    Listeners,
    #[error(
        "maxconn and listeners need {wanted} file descriptors, the limit is {allowed}: raise LimitNOFILE or lower maxconn"
    )]
    FileLimit { wanted: u64, allowed: u64 },
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
    #[error("Cannot give up rights: {0}.")]
    Confinement(ConfinementError),
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    #[error(transparent)]
    Programs(#[from] StartFailure),
    #[error("Cannot start threads ({})", reason(.0))]
    Threads(io::Error),
    #[error("The data plane ended: {0}")]
    DataPlane(io::Error),
}
