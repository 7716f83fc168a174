//! Creates the Unix socket of a volume in the runtime directory. The serving thread holds a lock
//! file, which the kernel releases when the process ends. The lock's owner may replace the socket
//! of a killed process, and never replaces one in use.
//!
//! The socket is in its own permanent directory, which only root reaches through the runtime
//! directory. A program that received the directory's descriptor connects through it, as any user,
//! also after a restart of this role. `volume-NAME.sock` is a link to the socket.

use part::role::{VOLUME_SOCKET, volume_directory};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat, unlink};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Mode of the socket: any user that reaches it may connect.
const MODE: u32 = 0o666;
const MODE_OF_DIRECTORY: u32 = 0o711;

/// Lock on a volume's socket: the right to create and remove it.
#[derive(Debug)]
pub(super) struct SocketClaim {
    link: PathBuf,
    directory: PathBuf,
    _lock: OwnedFd,
}

pub fn path(runtime: &Path, name: &str) -> PathBuf {
    runtime.join(format!("volume-{name}.sock"))
}

impl SocketClaim {
    /// Acquires the lock. Returns `WOULDBLOCK` if another thread or process holds it.
    pub(super) fn take(runtime: &Path, name: &str) -> Result<SocketClaim, Errno> {
        let path = runtime.join(format!("volume-{name}.lock"));
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock = openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(SocketClaim {
            link: self::path(runtime, name),
            directory: volume_directory(runtime, name),
            _lock: lock,
        })
    }

    /// Creates the socket and listens. Waiting clients may connect once the socket's mode is set.
    pub(super) fn listen(&self) -> io::Result<UnixListener> {
        self.remove();
        let mut builder = std::fs::DirBuilder::new();
        match builder.mode(MODE_OF_DIRECTORY).create(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        };
        mode(&self.directory, MODE_OF_DIRECTORY)?;
        let socket = self.directory.join(VOLUME_SOCKET);
        let listener = UnixListener::bind(&socket)?;
        mode(&socket, MODE)?;
        // Creates a relative link, which also works where the runtime directory is mounted
        // elsewhere.
        let own = self.directory.file_name().unwrap_or_default();
        symlink(Path::new(own).join(VOLUME_SOCKET), &self.link)?;
        Ok(listener)
    }

    /// Removes the socket and its link. Clients can no longer connect.
    pub(super) fn remove(&self) {
        // Ignores failures: usually there is no link of a previous process.
        let _ = unlink(&self.link);
        let _ = unlink(self.directory.join(VOLUME_SOCKET));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::ScratchDirectory;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_descriptor_of_the_directory_reaches_new_sockets() {
        let scratch = ScratchDirectory::new().unwrap();
        let claim = SocketClaim::take(scratch.path(), "mail").unwrap();
        let first = claim.listen().unwrap();
        let path = volume_directory(scratch.path(), "mail");
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let directory = openat(CWD, &path, flags, Mode::empty()).unwrap();
        let by = format!("/proc/self/fd/{}/{VOLUME_SOCKET}", directory.as_raw_fd());
        for path in [Path::new(&by), &super::path(scratch.path(), "mail")] {
            UnixStream::connect(path).unwrap();
        }
        // After a kill the socket remains, but nothing listens on it.
        drop((first, claim));
        assert!(UnixStream::connect(&by).is_err());
        let claim = SocketClaim::take(scratch.path(), "mail").unwrap();
        let _second = claim.listen().unwrap();
        UnixStream::connect(&by).unwrap();
        UnixStream::connect(super::path(scratch.path(), "mail")).unwrap();
        claim.remove();
        assert!(UnixStream::connect(&by).is_err());
        assert!(!super::path(scratch.path(), "mail").exists());
        assert!(path.is_dir(), "who has its descriptor goes on by it");
    }

    #[test]
    fn sockets_of_an_earlier_version_are_replaced() {
        let scratch = ScratchDirectory::new().unwrap();
        let old = super::path(scratch.path(), "mail");
        drop(UnixListener::bind(&old).unwrap());
        let claim = SocketClaim::take(scratch.path(), "mail").unwrap();
        let _listener = claim.listen().unwrap();
        UnixStream::connect(&old).unwrap();
    }
}
