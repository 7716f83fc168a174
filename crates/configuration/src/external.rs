//! Describes a volume whose copies an external storage system manages (NFS, iSCSI, Ceph): the
//! part of the platform for volumes reads it, and the part for virtual machines opens it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// An image that QEMU opens with its own driver.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct External {
    pub storage: Storage,
    /// Number of bytes in use; `None` for the whole size of the storage.
    pub size_bytes: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Storage {
    Nfs {
        server: IpAddr,
        /// Path of the NFS export and of the file in it.
        path: String,
    },
    Iscsi {
        portal: SocketAddr,
        target: String,
        lun: u32,
        /// CHAP credentials by which this machine logs in.
        login: Option<Login>,
    },
    Rbd {
        pool: String,
        image: String,
        /// The configuration of the Ceph client; `None` for its default.
        conf: Option<PathBuf>,
        /// The Ceph user, without `client.`.
        user: Option<String>,
    },
}

/// A user and its password file, which must exist on each node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Login {
    pub user: String,
    pub password_file: PathBuf,
}

impl Storage {
    /// Returns whether both are the same image. An iSCSI target is the same at each of its portals,
    /// and its name is not case-sensitive (RFC 7143, section 4.2.7.1); an IPv4 address equals its
    /// IPv6-mapped form.
    pub fn is_same_image(&self, other: &Storage) -> bool {
        match (self, other) {
            (
                Storage::Nfs { server, path },
                Storage::Nfs {
                    server: other_server,
                    path: other_path,
                },
            ) => server.to_canonical() == other_server.to_canonical() && path == other_path,
            (
                Storage::Iscsi { target, lun, .. },
                Storage::Iscsi {
                    target: other_target,
                    lun: other_lun,
                    ..
                },
            ) => target.eq_ignore_ascii_case(other_target) && lun == other_lun,
            (
                Storage::Rbd { pool, image, .. },
                Storage::Rbd {
                    pool: other_pool,
                    image: other_image,
                    ..
                },
            ) => pool == other_pool && image == other_image,
            _ => false,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn iscsi(portal: &str, target: &str, lun: u32) -> Storage {
        Storage::Iscsi {
            portal: portal.parse().unwrap(),
            target: target.to_owned(),
            lun,
            login: None,
        }
    }

    #[test]
    fn image_is_the_same_under_each_of_its_names() {
        let one = iscsi("10.0.0.9:3260", "iqn.2001-04.com.example:mail", 1);
        let by_another_portal = iscsi("[2001:db8::9]:3261", "iqn.2001-04.com.Example:Mail", 1);
        assert!(one.is_same_image(&by_another_portal));
        assert!(!one.is_same_image(&iscsi("10.0.0.9:3260", "iqn.2001-04.com.example:mail", 2)));
        let nfs = |server: &str| Storage::Nfs {
            server: server.parse().unwrap(),
            path: "/srv/mail.img".to_owned(),
        };
        assert!(nfs("10.0.0.9").is_same_image(&nfs("::ffff:10.0.0.9")));
        assert!(!nfs("10.0.0.9").is_same_image(&nfs("10.0.0.8")));
        let rbd = |user: Option<&str>| Storage::Rbd {
            pool: "vms".to_owned(),
            image: "mail".to_owned(),
            conf: None,
            user: user.map(str::to_owned),
        };
        assert!(rbd(None).is_same_image(&rbd(Some("evenkeel"))));
        assert!(!one.is_same_image(&rbd(None)));
    }
}
