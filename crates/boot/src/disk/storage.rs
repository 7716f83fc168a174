//! What stores a disk, as the role is given it.

use super::device::Disk;
use super::file::FileDisk;
use super::volume::NbdDisk;
use std::path::PathBuf;
use std::sync::Arc;

/// What stores a disk, on this node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Storage {
    /// A volume of this node.
    Volume {
        /// Its socket.
        socket: PathBuf,
        /// The name of its export.
        export: String,
    },
    /// A file or a block device.
    File {
        /// Its path.
        path: PathBuf,
        /// It is only read.
        is_read_only: bool,
        /// The disk of the configuration.
        user: String,
    },
}

impl Storage {
    /// Makes the disk, which is out of reach at first.
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

    /// Whether only an unconfined thread can bring it within reach: it opens a file to write.
    pub fn is_file(&self) -> bool {
        matches!(self, Storage::File { .. })
    }
}
