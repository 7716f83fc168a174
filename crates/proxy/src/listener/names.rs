//! Creates the files of listening Unix sockets. A socket is bound under a temporary name and then
//! renamed, so that clients always find a socket with the right owner. The previous file is kept
//! until all listeners are set up.

use super::file::is_bound_to;
use super::identity::ListenAddress;
use super::open::OpenStep;
use super::options::{create, create_for_datagrams};
use model::config::BindOwner;
use rustix::fs::{Gid, Mode, Uid};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Mode of a new socket's file before the umask of the process applies.
const MODE_OF_NEW: u32 = 0o777;
const MODE_BITS: u32 = 0o7777;

/// Counter that makes the temporary names of this process unique.
static BESIDE: AtomicU32 = AtomicU32::new(0);

/// A socket's file that still has its temporary name. Dropping it removes the file.
#[derive(Debug)]
pub(super) struct TemporarySocketFile {
    path: PathBuf,
    beside: PathBuf,
    placed: bool,
}

/// A file that was renamed, so that the rename can be reverted.
#[derive(Debug)]
pub(super) struct Placed {
    path: PathBuf,
    before: Option<PathBuf>,
}

/// Binds a socket under a temporary name and listens. Without a backlog it is a datagram
/// socket, which receives once it is bound.
pub(super) fn bind_beside(
    path: &Path,
    owner: BindOwner,
    backlog: Option<i32>,
) -> Result<(OwnedFd, TemporarySocketFile), (OpenStep, Errno)> {
    let at = |step: OpenStep| move |errno: Errno| (step, errno);
    let number = BESIDE.fetch_add(1, Ordering::Relaxed);
    let beside = with_suffix(path, &format!(".{}{number}.tmp", std::process::id()));
    let address = SocketAddrUnix::new(&beside).map_err(at(OpenStep::Bind))?;
    let created = match backlog {
        Some(_) => create(AddressFamily::UNIX),
        None => create_for_datagrams(AddressFamily::UNIX),
    };
    let fd = created.map_err(at(OpenStep::Create))?;
    let _ = rustix::fs::unlink(&beside);
    rustix::net::bind(&fd, &address).map_err(at(OpenStep::Bind))?;
    let name = TemporarySocketFile {
        path: path.to_owned(),
        beside,
        placed: false,
    };
    own(&name.beside, owner).map_err(at(OpenStep::Own))?;
    if let Some(backlog) = backlog {
        rustix::net::listen(&fd, backlog).map_err(at(OpenStep::Listen))?;
    }
    Ok((fd, name))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut whole = path.as_os_str().to_owned();
    whole.push(suffix);
    whole.into()
}

fn own(path: &Path, owner: BindOwner) -> Result<(), Errno> {
    if owner.uid.is_some() || owner.gid.is_some() {
        let (uid, gid) = (owner.uid.map(Uid::from_raw), owner.gid.map(Gid::from_raw));
        rustix::fs::chown(path, uid, gid)?;
    }
    match owner.mode {
        Some(mode) => rustix::fs::chmod(path, Mode::from_raw_mode(mode)),
        None => Ok(()),
    }
}

/// Gives the file of a reused socket the owner and mode that a new socket's file would have.
pub(super) fn own_again(path: &Path, owner: BindOwner) -> Result<(), Errno> {
    let file = rustix::fs::lstat(path)?;
    let folder = path
        .parent()
        .and_then(|folder| rustix::fs::stat(folder).ok());
    let of_folder = folder.filter(|f| Mode::from_raw_mode(f.st_mode).contains(Mode::SGID));
    let uid = owner
        .uid
        .unwrap_or_else(|| rustix::process::geteuid().as_raw());
    let gid = owner.gid.unwrap_or_else(|| {
        let own = || rustix::process::getegid().as_raw();
        of_folder.map_or_else(own, |folder| folder.st_gid)
    });
    let changed = |wanted: u32, is: u32| (wanted != is).then_some(wanted);
    // Changes only what differs, because the process may lack the privilege to change the owner.
    let mode = owner.mode.or_else(|| Some(MODE_OF_NEW & !umask()?));
    own(
        path,
        BindOwner {
            uid: changed(uid, file.st_uid),
            gid: changed(gid, file.st_gid),
            mode: mode.filter(|mode| *mode != file.st_mode & MODE_BITS),
        },
    )
}

/// Returns the umask of the process from `/proc`: the system call umask(2) would change it for a
/// moment.
fn umask() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(mask.trim(), 8).ok()
}

pub(super) fn is_in_place(fd: &OwnedFd, place: &ListenAddress) -> bool {
    match place {
        ListenAddress::Inet(_) | ListenAddress::Abstract(_) => true,
        ListenAddress::Unix(path) => is_bound_to(fd, path),
    }
}

impl TemporarySocketFile {
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn place(mut self) -> Result<Placed, Errno> {
        let before = with_suffix(&self.beside, ".bak");
        let _ = rustix::fs::unlink(&before);
        // Keeps the previous file for `undo`. If there is none, or it cannot be kept, `undo`
        // removes the new file.
        let kept = rustix::fs::link(&self.path, &before).is_ok();
        if let Err(errno) = rustix::fs::rename(&self.beside, &self.path) {
            if kept {
                let _ = rustix::fs::unlink(&before);
            }
            return Err(errno);
        }
        self.placed = true;
        Ok(Placed {
            path: self.path.clone(),
            before: kept.then_some(before),
        })
    }
}

impl Drop for TemporarySocketFile {
    fn drop(&mut self) {
        if !self.placed {
            let _ = rustix::fs::unlink(&self.beside);
        }
    }
}

impl Placed {
    pub fn keep(self) {
        if let Some(before) = &self.before {
            let _ = rustix::fs::unlink(before);
        }
    }

    pub fn undo(self) {
        let _ = match &self.before {
            Some(before) => rustix::fs::rename(before, &self.path),
            None => rustix::fs::unlink(&self.path),
        };
    }
}
