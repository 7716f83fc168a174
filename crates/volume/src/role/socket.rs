//! The socket of a volume in the runtime directory. A lock file beside it belongs to the
//! thread that serves the volume, and ends with its process: so the thread that has the lock may
//! replace the socket that a killed process left, and never one that is in use.

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat, unlink};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// The socket's mode: for the owner and its group.
const MODE: u32 = 0o660;

/// The right to the socket of a volume.
#[derive(Debug)]
pub(super) struct Claim {
    path: PathBuf,
    _lock: OwnedFd,
}

/// Returns where clients of a volume connect.
pub fn path(runtime: &Path, name: &str) -> PathBuf {
    runtime.join(format!("volume-{name}.sock"))
}

impl Claim {
    /// Takes it; `WOULDBLOCK` if somebody has it.
    pub(super) fn take(runtime: &Path, name: &str) -> Result<Claim, Errno> {
        let path = runtime.join(format!("volume-{name}.lock"));
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock = openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Claim {
            path: self::path(runtime, name),
            _lock: lock,
        })
    }

    /// Listens there. Clients that wait for the socket may connect once its mode is set.
    pub(super) fn listen(&self) -> io::Result<UnixListener> {
        self.remove();
        let listener = UnixListener::bind(&self.path)?;
        std::fs::set_permissions(&self.path, std::fs::Permissions::from_mode(MODE))?;
        Ok(listener)
    }

    /// Removes the socket, which nobody can use any more.
    pub(super) fn remove(&self) {
        // Most often there is none.
        let _ = unlink(&self.path);
    }
}
