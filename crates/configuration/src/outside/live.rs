//! Queries the system for a load: files, host names, accounts, addresses. No other code of a load
//! queries the system.

use super::identity::FileNumbers;
use super::{Account, AccountKind, Entries, Interface, Runs, Secret, Unreadable};
use language::source::Text;
use language::suggest;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;
use nix::unistd::{Group, User};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::net::{IpAddr, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

/// Maximum size of the account file that is searched for a similar name, in bytes.
const ACCOUNTS_BYTES_MAX: u64 = 4 << 20;

const ENTRIES_MAX: usize = 1 << 20;

/// Maximum wait for data from a pipe, so that a load does not wait forever for a writer.
const SILENCE_MAX: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};

/// A pipe or a device, which has bytes only when a writer supplies them.
struct Patient(File);

impl Read for Patient {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        // Polls before each read: as long as no writer has opened the pipe, a read would report the
        // end at once, while poll(2) waits.
        match poll(
            &mut [PollFd::new(&self.0, PollFlags::IN)],
            Some(&SILENCE_MAX),
        )? {
            0 => Err(Errno::TIMEDOUT.into()),
            _ => self.0.read(into),
        }
    }
}

/// Opens a file of at most `bytes_max` bytes, and returns the buffer size. The size of pipes and
/// growing files is unreliable, so one byte more than allowed is read.
fn open(path: &Path, bytes_max: u64) -> Result<(impl Read, usize), Unreadable> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(path)?;
    let found = file.metadata()?;
    if found.len() > bytes_max {
        return Err(Unreadable::TooLarge(bytes_max));
    }
    let file: Box<dyn Read> = if found.is_file() || found.is_dir() {
        Box::new(file)
    } else {
        Box::new(Patient(file))
    };
    let most = bytes_max.saturating_add(1);
    Ok((file.take(most), found.len() as usize + 1))
}

pub(super) fn read(path: &Path, bytes_max: u64) -> Result<Text, Unreadable> {
    let (mut file, room) = open(path, bytes_max)?;
    let mut bytes = Vec::with_capacity(room);
    file.read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        Err(Unreadable::TooLarge(bytes_max))
    } else {
        Ok(Text::new(bytes))
    }
}

/// Reads a file with a secret. No other buffer has contained its bytes.
pub(super) fn read_secret(path: &Path, bytes_max: u64) -> Result<Secret, Unreadable> {
    let (mut file, room) = open(path, bytes_max)?;
    let secret = Secret::read(&mut file, room)?;
    if secret.bytes().len() as u64 > bytes_max {
        Err(Unreadable::TooLarge(bytes_max))
    } else {
        Ok(secret)
    }
}

pub(super) fn entries(path: &Path) -> Result<Entries, Unreadable> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        if names.len() >= ENTRIES_MAX {
            return Err(Unreadable::TooLarge(ENTRIES_MAX as u64));
        }
        names.push(entry?.file_name());
    }
    names.sort_unstable();
    Ok(names.into())
}

pub(super) fn readable_by_all(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o004 != 0)
}

/// Returns whether the mode of a file lets a user execute it. Group membership is not checked: the
/// group bit counts for every user.
pub(super) fn can_execute(path: &Path, uid: Option<u32>) -> Runs {
    let Ok(file) = std::fs::metadata(path) else {
        return Runs::Missing;
    };
    if file.is_dir() {
        return Runs::Directory;
    }
    let bits = match uid {
        Some(uid) if uid == file.uid() => 0o110,
        Some(uid) if uid != 0 => 0o011,
        _ => 0o111,
    };
    if file.is_file() && file.permissions().mode() & bits != 0 {
        Runs::Yes
    } else {
        Runs::NotExecutable
    }
}

/// Returns whether no file has this name. A path that this user may not inspect does not count as
/// missing.
pub(super) fn is_missing(path: &Path) -> bool {
    let found = std::fs::metadata(path);
    found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

pub(super) fn is_empty(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == 0)
}

/// Returns the numbers by which the system identifies a file: device and inode, or the number of a
/// block device. A missing file is identified by its directory and name.
pub(super) fn file_numbers(path: &Path) -> Option<FileNumbers> {
    let Ok(found) = std::fs::metadata(path) else {
        let directory = std::fs::metadata(path.parent()?).ok()?;
        let name = path.file_name()?.to_owned();
        return Some(FileNumbers::Missing(
            (directory.dev(), directory.ino()),
            name,
        ));
    };
    Some(if found.file_type().is_block_device() {
        FileNumbers::Device(found.rdev())
    } else {
        FileNumbers::File(found.dev(), found.ino())
    })
}

/// Returns the addresses of a host, in the resolver's order.
pub(super) fn addresses(name: &str) -> Arc<[IpAddr]> {
    match (name, 0).to_socket_addrs() {
        Ok(found) => found.map(|address| address.ip()).collect(),
        Err(_) => Arc::new([]),
    }
}

pub(super) fn account(kind: AccountKind, name: &str) -> Account {
    let found = match kind {
        AccountKind::User => User::from_name(name).map(|u| u.map(|user| user.uid.as_raw())),
        AccountKind::Group => Group::from_name(name).map(|g| g.map(|group| group.gid.as_raw())),
    };
    match found {
        Ok(Some(number)) => Account::Known(number),
        _ => Account::Unknown(find_similar_account(kind, name)),
    }
}

/// Returns an account with a similar name. Directory services are not searched: for a suggestion,
/// the local file is enough.
fn find_similar_account(kind: AccountKind, name: &str) -> Option<Box<str>> {
    let list = match kind {
        AccountKind::User => "/etc/passwd",
        AccountKind::Group => "/etc/group",
    };
    let accounts = read(Path::new(list), ACCOUNTS_BYTES_MAX).unwrap_or_default();
    let accounts = String::from_utf8_lossy(&accounts);
    let names = accounts.lines().filter_map(|line| line.split(':').next());
    suggest::nearest(name, names).map(Into::into)
}

fn ip(address: SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| v6.ip().into()))
}

pub(super) fn interfaces() -> Vec<Interface> {
    let ones = |mask: IpAddr| match mask {
        IpAddr::V4(mask) => mask.to_bits().leading_ones(),
        IpAddr::V6(mask) => mask.to_bits().leading_ones(),
    };
    let mut all: Vec<Interface> = Vec::new();
    for found in getifaddrs().into_iter().flatten() {
        let at = all
            .iter()
            .position(|i| i.name == found.interface_name)
            .unwrap_or_else(|| {
                all.push(Interface {
                    name: found.interface_name.clone(),
                    addresses: Vec::new(),
                });
                all.len() - 1
            });
        let (address, mask) = (found.address.and_then(ip), found.netmask.and_then(ip));
        if let (Some(address), Some(mask)) = (address, mask) {
            let prefix = u8::try_from(ones(mask)).unwrap_or(0);
            all[at].addresses.push((address, prefix));
        }
    }
    all
}

/// Returns the addresses of this host's interfaces; `None` if they are unknown, or if the system
/// allows to bind any address.
pub(super) fn own_addresses() -> Option<Arc<[IpAddr]>> {
    let allowed = [
        "/proc/sys/net/ipv4/ip_nonlocal_bind",
        "/proc/sys/net/ipv6/ip_nonlocal_bind",
    ]
    .iter()
    .any(|path| std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "1"));
    if allowed {
        return None;
    }
    let interfaces = getifaddrs().ok()?;
    Some(
        interfaces
            .filter_map(|interface| interface.address.and_then(ip))
            .collect(),
    )
}
