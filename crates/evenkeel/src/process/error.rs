//! Why a process does not begin to serve.

use crate::confinement::ConfinementError;
use language::reason;
use nix::errno::Errno;
use part::daemon::DaemonError;
use part::spawn::StartFailure;
use proxy::takeover::TakeoverError;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a process does not begin to serve.
#[derive(Debug)]
pub enum StartError {
    /// No frontend with a `bind` line.
    NothingListens,
    /// The process before did not hand its listeners over.
    TakeOver {
        /// Its statistics socket, as it was named.
        socket: OsString,
        /// Why; None where that names no socket.
        error: Option<TakeoverError>,
    },
    /// Listeners could not be opened; each was told.
    Listeners,
    /// The system allows fewer open files than are needed.
    FileLimit {
        /// Needed.
        wanted: u64,
        /// Allowed.
        allowed: u64,
    },
    /// `ulimit-n` or `-m` was refused.
    Limit {
        /// The resource.
        resource: &'static str,
        /// The system's reason.
        errno: Errno,
    },
    /// `chroot`.
    Chroot {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        errno: Errno,
    },
    /// `group` or `gid`.
    Group {
        /// The group.
        gid: u32,
        /// The system's reason.
        errno: Errno,
    },
    /// `user` or `uid`.
    User {
        /// The user.
        uid: u32,
        /// The system's reason.
        errno: Errno,
    },
    /// Privileges could not be dropped.
    Confinement(ConfinementError),
    /// Going into the background, or the file of the process id.
    Daemon(DaemonError),
    /// The process that runs the programs of external checks.
    Programs(StartFailure),
    /// Threads, signal descriptors.
    Threads(io::Error),
    /// The data plane ended by itself.
    DataPlane(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::NothingListens => {
                f.write_str("No enabled listener found (check for 'bind' directives) ! Exiting.")
            }
            StartError::TakeOver { socket, error } => {
                write!(
                    f,
                    "Failed to get the sockets from the old process! ({}: ",
                    socket.display()
                )?;
                match error {
                    Some(error) => write!(f, "{error})"),
                    None => f.write_str("it names no socket)"),
                }
            }
            StartError::Listeners => {
                f.write_str("Some protocols failed to start their listeners! Exiting.")
            }
            StartError::FileLimit { wanted, allowed } => {
                write!(f, "Cannot raise FD limit to {wanted}, limit is {allowed}.")
            }
            StartError::Limit { resource, errno } => {
                write!(f, "Cannot set the limit of {resource} ({}).", errno.desc())
            }
            StartError::Chroot { path, errno } => {
                write!(f, "Cannot chroot({}) ({}).", path.display(), errno.desc())
            }
            StartError::Group { gid, errno } => {
                write!(f, "Cannot set gid {gid} ({}).", errno.desc())
            }
            StartError::User { uid, errno } => {
                write!(f, "Cannot set uid {uid} ({}).", errno.desc())
            }
            StartError::Confinement(error) => write!(f, "Cannot give up rights: {error}."),
            StartError::Daemon(error) => error.fmt(f),
            StartError::Programs(error) => error.fmt(f),
            StartError::Threads(error) => write!(f, "Cannot start threads ({})", reason(error)),
            StartError::DataPlane(error) => write!(f, "The data plane ended: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<DaemonError> for StartError {
    fn from(error: DaemonError) -> Self {
        StartError::Daemon(error)
    }
}
