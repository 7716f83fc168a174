//! Files of Unix sockets. A socket is bound beside its name and renamed onto
//! it, so that there is no moment at which a client finds none, or one with the
//! wrong owner; and the file that was there is kept until all is in place.

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

/// The mode of a new socket's file before the mask of the process.
const MODE_OF_NEW: u32 = 0o777;
/// What of a file's mode are permissions.
const MODE_BITS: u32 = 0o7777;

/// Sockets that this process has bound beside their names.
static BESIDE: AtomicU32 = AtomicU32::new(0);

/// A socket's file that does not have its name yet. Dropped, it is removed.
#[derive(Debug)]
pub(super) struct Name {
    path: PathBuf,
    beside: PathBuf,
    placed: bool,
}

/// What was done, as long as it can be undone.
#[derive(Debug)]
pub(super) struct Placed {
    path: PathBuf,
    /// The file that was there before.
    before: Option<PathBuf>,
}

/// Binds a socket beside its name and listens; without a backlog it is one for
/// datagrams, which are there when it is bound.
pub(super) fn bind_beside(
    path: &Path,
    owner: BindOwner,
    backlog: Option<i32>,
) -> Result<(OwnedFd, Name), (OpenStep, Errno)> {
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
    let name = Name {
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

/// Gives the file of a socket that stays the owner and mode that a new one of
/// its line would have.
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
    // Only what differs: who may not change an owner need not.
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

/// The mask of the process; asking the system call would change it for a moment.
fn umask() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(mask.trim(), 8).ok()
}

/// Whether a socket still is the one that clients find at its place.
pub(super) fn is_in_place(fd: &OwnedFd, place: &ListenAddress) -> bool {
    match place {
        ListenAddress::Inet(_) | ListenAddress::Abstract(_) => true,
        ListenAddress::Unix(path) => is_bound_to(fd, path),
    }
}

impl Name {
    /// The name that it will have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name.
    pub fn place(mut self) -> Result<Placed, Errno> {
        let before = with_suffix(&self.beside, ".bak");
        let _ = rustix::fs::unlink(&before);
        // Where there was none, or it cannot be kept, there is nothing to go back to.
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

impl Drop for Name {
    fn drop(&mut self) {
        if !self.placed {
            let _ = rustix::fs::unlink(&self.beside);
        }
    }
}

impl Placed {
    /// It stays.
    pub fn keep(self) {
        if let Some(before) = &self.before {
            let _ = rustix::fs::unlink(before);
        }
    }

    /// The file that was there before is back.
    pub fn undo(self) {
        let _ = match &self.before {
            Some(before) => rustix::fs::rename(before, &self.path),
            None => rustix::fs::unlink(&self.path),
        };
    }
}
