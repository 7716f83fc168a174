//! The socket of a volume in the runtime directory. A lock file beside it belongs to the
//! thread that serves the volume, and ends with its process: so the thread that has the lock may
//! replace the socket that a killed process left, and never one that is in use.
//!
//! The socket itself is in a directory of its own, which stays. Root alone gets there through the
//! runtime directory; a program that was given the directory's descriptor connects by it, whatever
//! user it is, and again after a restart of this role. `volume-NAME.sock` is a link to it.

use part::role::{VOLUME_SOCKET, volume_directory};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat, unlink};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// The socket's mode: for all who get there.
const MODE: u32 = 0o666;
/// The mode of its directory.
const MODE_OF_DIRECTORY: u32 = 0o711;

/// The right to the socket of a volume.
#[derive(Debug)]
pub(super) struct Claim {
    link: PathBuf,
    directory: PathBuf,
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
            link: self::path(runtime, name),
            directory: volume_directory(runtime, name),
            _lock: lock,
        })
    }

    /// Listens there. Clients that wait for the socket may connect once its mode is set.
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
        // By its name alone: as good where the runtime directory is seen under another path.
        let own = self.directory.file_name().unwrap_or_default();
        symlink(Path::new(own).join(VOLUME_SOCKET), &self.link)?;
        Ok(listener)
    }

    /// Removes the socket, which nobody can use any more, and its link.
    pub(super) fn remove(&self) {
        // Most often there is none.
        let _ = unlink(&self.link);
        let _ = unlink(self.directory.join(VOLUME_SOCKET));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::Scratch;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_descriptor_of_the_directory_leads_to_each_socket_that_comes() {
        let scratch = Scratch::new().unwrap();
        let claim = Claim::take(scratch.path(), "mail").unwrap();
        let first = claim.listen().unwrap();
        let path = volume_directory(scratch.path(), "mail");
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let directory = openat(CWD, &path, flags, Mode::empty()).unwrap();
        let by = format!("/proc/self/fd/{}/{VOLUME_SOCKET}", directory.as_raw_fd());
        for path in [Path::new(&by), &super::path(scratch.path(), "mail")] {
            UnixStream::connect(path).unwrap();
        }
        // Killed: its socket stays, and nobody listens.
        drop((first, claim));
        assert!(UnixStream::connect(&by).is_err());
        let claim = Claim::take(scratch.path(), "mail").unwrap();
        let _second = claim.listen().unwrap();
        UnixStream::connect(&by).unwrap();
        UnixStream::connect(super::path(scratch.path(), "mail")).unwrap();
        claim.remove();
        assert!(UnixStream::connect(&by).is_err());
        assert!(!super::path(scratch.path(), "mail").exists());
        assert!(path.is_dir(), "who has its descriptor goes on by it");
    }

    #[test]
    fn what_an_earlier_version_left_is_replaced() {
        let scratch = Scratch::new().unwrap();
        let old = super::path(scratch.path(), "mail");
        drop(UnixListener::bind(&old).unwrap());
        let claim = Claim::take(scratch.path(), "mail").unwrap();
        let _listener = claim.listen().unwrap();
        UnixStream::connect(&old).unwrap();
    }
}
