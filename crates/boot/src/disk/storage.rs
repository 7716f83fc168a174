//! Storage of a disk, as the role gets it from the configuration.

use super::device::Disk;
use super::file::FileDisk;
use super::volume::NbdDisk;
use std::path::PathBuf;
use std::sync::Arc;

/// Storage of a disk on this node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Storage {
    /// A volume of this node.
    Volume {
        /// Unix socket of the volume's NBD server.
        socket: PathBuf,
        /// Name of the NBD export.
        export: String,
    },
    /// A file or a block device.
    File {
        /// Path of the file or device.
        path: PathBuf,
        /// True if the file is opened for reading only.
        is_read_only: bool,
        /// Name of the disk in the configuration, the user of the file.
        user: String,
    },
}

impl Storage {
    /// Creates the disk, which is unreachable at first.
    pub fn disk(&self) -> Arc<dyn Disk> {
        match self {
            Storage::Volume { socket, export } => {
                Arc::new(NbdDisk::new(socket.clone(), export.clone()))
            }
            Storage::File {
                path,
                is_read_only,
                user,
            } => Arc::new(FileDisk::new(path.clone(), *is_read_only, user.clone())),
        }
    }

    /// Returns whether only an unconfined thread can open the storage, because it is a file that
    /// may be written.
    pub fn is_file(&self) -> bool {
        matches!(self, Storage::File { .. })
    }
}
