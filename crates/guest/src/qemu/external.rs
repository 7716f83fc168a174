//! Describes disks on external storage for QEMU's command line. QEMU opens them with its own
//! drivers (package qemu-block-extra) as raw images and bypasses the page cache, since another node
//! reads the image after a migration.

use super::home::GuestDirectory;
use crate::config::Disk;
use configuration::{External, Login, Storage};
use serde_json::{Value, json};
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskError {
    #[error("QEMU has no driver for {0} on this node (package qemu-block-extra)")]
    NoDriver(&'static str),
    #[error("{0} cannot be read on this node: {1}")]
    Password(String, io::Error),
    #[error("cannot prepare {0}: {1}")]
    Home(String, io::Error),
}

/// Paths of the drivers on systems that package them separately from QEMU.
const DRIVERS: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu/qemu",
    "/usr/lib64/qemu-kvm",
    "/usr/lib64/qemu",
    "/usr/lib/qemu",
];
const CEPH: &str = "/etc/ceph";
const PASSWORD_BYTES_MAX: u64 = 1024;

/// Returns the options of QEMU for a disk. All values are JSON.
pub(super) fn options(
    at: usize,
    external: &External,
    read_only: bool,
    home: &GuestDirectory,
) -> Vec<(&'static str, Value)> {
    let mut all = Vec::new();
    let secret = format!("password{at}");
    let mut storage = match &external.storage {
        Storage::Nfs { server, path } => json!({
            "driver": "nfs",
            "server": {"type": "inet", "host": server.to_string()},
            "path": path,
        }),
        Storage::Iscsi {
            portal,
            target,
            lun,
            login,
        } => {
            let mut of = json!({
                "driver": "iscsi",
                "transport": "tcp",
                "portal": portal.to_string(),
                "target": target,
                "lun": lun,
            });
            if let Some(login) = login {
                of["user"] = login.user.clone().into();
                of["password-secret"] = secret.clone().into();
                let file = home.password(at);
                let object = json!({"qom-type": "secret", "id": secret, "file": file});
                all.push(("-object", object));
            }
            of
        }
        Storage::Rbd {
            pool,
            image,
            conf,
            user,
        } => {
            let mut of = json!({"driver": "rbd", "pool": pool, "image": image});
            if let Some(conf) = conf {
                of["conf"] = json!(conf);
            }
            if let Some(user) = user {
                of["user"] = user.clone().into();
            }
            of
        }
    };
    storage["cache"] = json!({"direct": true});
    storage["read-only"] = read_only.into();
    storage["discard"] = "unmap".into();
    let mut raw = json!({
        "driver": "raw",
        "node-name": format!("disk{at}"),
        "cache": {"direct": true},
        "read-only": read_only,
        "discard": "unmap",
        "file": storage,
    });
    if let Some(bytes) = external.size_bytes {
        raw["size"] = bytes.into();
    }
    all.push(("-blockdev", raw));
    all
}

/// Returns the directory that QEMU reads to open a disk on external storage: for Ceph that of its
/// configuration file, if it exists.
pub(crate) fn files(external: &External) -> Option<PathBuf> {
    let Storage::Rbd { conf, .. } = &external.storage else {
        return None;
    };
    let directory = conf.as_deref().and_then(Path::parent);
    let directory = directory.unwrap_or(Path::new(CEPH));
    directory.exists().then(|| directory.to_owned())
}

/// Prepares a disk for the start of QEMU: checks that the driver is installed, and copies the
/// password without its line break, which QEMU would take as a part of it.
pub(crate) fn prepare(at: usize, disk: &Disk, home: &GuestDirectory) -> Result<(), DiskError> {
    let Some(external) = &disk.external else {
        return Ok(());
    };
    let driver = match &external.storage {
        Storage::Nfs { .. } => "nfs",
        Storage::Iscsi { .. } => "iscsi",
        Storage::Rbd { .. } => "rbd",
    };
    let module = format!("block-{driver}.so");
    let mut known = DRIVERS.iter().map(Path::new).filter(|path| path.exists());
    // If drivers are not modules on this system, they are built into QEMU, or QEMU reports that
    // they are missing.
    let is_missing = known
        .clone()
        .any(|path| path.join("accel-tcg-x86_64.so").exists())
        && !known.any(|path| path.join(&module).exists());
    if is_missing {
        return Err(DiskError::NoDriver(driver));
    }
    let Storage::Iscsi {
        login: Some(login), ..
    } = &external.storage
    else {
        return Ok(());
    };
    let file = login.password_file.display().to_string();
    let password = read(login).map_err(|error| DiskError::Password(file, error))?;
    let path = home.password(at);
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&path)
        .and_then(|mut file| file.write_all(password.as_bytes()));
    written.map_err(|error| DiskError::Home(path.display().to_string(), error))
}

fn read(login: &Login) -> io::Result<String> {
    let mut text = String::new();
    let file = fs::File::open(&login.password_file)?;
    file.take(PASSWORD_BYTES_MAX).read_to_string(&mut text)?;
    match text.lines().next().filter(|line| !line.is_empty()) {
        Some(line) => Ok(line.to_owned()),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "there is no password in it",
        )),
    }
}
