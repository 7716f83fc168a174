//! Describes disks for QEMU that the volume role serves. QEMU connects to the socket of a volume
//! through the descriptor of the socket's directory, because its user cannot enter the runtime
//! directory. After a restart of the volume role QEMU reconnects in the same way.

use crate::config::Guest;
use part::role::{VOLUME_SOCKET, volume_directory};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
#[error("volume '{volume}' is not served on this node: {error}")]
pub struct SocketError {
    volume: String,
    error: io::Error,
}

/// Directories with the sockets of a guest's volumes, one for each disk that is on a volume.
#[derive(Debug, Default)]
pub struct Sockets(Vec<Option<OwnedFd>>);

impl Sockets {
    /// Opens the directories of the volumes of a guest.
    ///
    /// # Errors
    /// A directory does not exist: its volume has not been served since this node started.
    pub fn open(guest: &Guest, runtime: &Path) -> Result<Sockets, SocketError> {
        let mut all = Vec::new();
        for disk in &guest.disks {
            if disk.external.is_some() {
                all.push(None);
                continue;
            }
            let path = volume_directory(runtime, &disk.volume);
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = openat(CWD, &path, flags, Mode::empty());
            all.push(Some(opened.map_err(|errno| SocketError {
                volume: disk.volume.clone(),
                error: errno.into(),
            })?));
        }
        Ok(Sockets(all))
    }

    pub(super) fn path(&self, disk: usize) -> PathBuf {
        let directory = self.0.get(disk).and_then(Option::as_ref);
        let number = directory.map_or(-1, AsRawFd::as_raw_fd);
        format!("/proc/self/fd/{number}/{VOLUME_SOCKET}").into()
    }

    pub fn into_descriptors(self) -> impl Iterator<Item = OwnedFd> {
        self.0.into_iter().flatten()
    }
}
