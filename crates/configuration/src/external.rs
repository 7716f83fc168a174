//! A volume whose copies are the matter of a storage system elsewhere: what one part reads of it, and
//! another one opens.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// An image that QEMU opens by a driver of its own.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct External {
    /// Where it is.
    pub storage: Storage,
    /// Bytes of it that are used; None: all that the storage has.
    pub size_bytes: Option<u64>,
}

/// Where an image is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Storage {
    /// A file of an NFS server.
    Nfs {
        /// The server.
        server: IpAddr,
        /// The export, and the file in it.
        path: String,
    },
    /// A logical unit of an iSCSI target.
    Iscsi {
        /// Where the target listens.
        portal: SocketAddr,
        /// Its name.
        target: String,
        /// The number of the unit.
        lun: u32,
        /// How this side proves who it is (CHAP).
        login: Option<Login>,
    },
    /// An image of Ceph.
    Rbd {
        /// The pool.
        pool: String,
        /// The image in it.
        image: String,
        /// The configuration of Ceph's client; None: its default.
        conf: Option<PathBuf>,
        /// The user of Ceph, without `client.`.
        user: Option<String>,
    },
}

/// A user and the file with its password, which each node has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The file.
    pub password_file: PathBuf,
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Storage::Nfs {
                server: IpAddr::V6(server),
                path,
            } => write!(f, "nfs [{server}]:{path}"),
            Storage::Nfs { server, path } => write!(f, "nfs {server}:{path}"),
            Storage::Iscsi {
                portal,
                target,
                lun,
                ..
            } => write!(f, "iscsi {portal} {target} {lun}"),
            Storage::Rbd { pool, image, .. } => write!(f, "rbd {pool}/{image}"),
        }
    }
}
