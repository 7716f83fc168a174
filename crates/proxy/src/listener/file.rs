//! Finds the file to which a Unix socket is bound by a query to the kernel. The path alone proves
//! nothing, since another socket may have been created there.

use super::identity::inode;
use nix::libc;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

/// ioctl that opens the file of a Unix socket; requires the capability NET_ADMIN.
const SIOCUNIXFILE: libc::Ioctl = 0x89E0;
/// Type of the netlink message that queries sockets (linux/sock_diag.h).
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const UDIAG_SHOW_VFS: u32 = 2;
const UNIX_DIAG_VFS: u16 = 1;
/// Size of the two headers before the attributes of a response, bytes.
const ANSWER_HEAD_BYTES: usize = 16 + 16;
const ATTRIBUTE_HEAD_BYTES: usize = 4;
/// Size of the response buffer, ten times what a response needs.
const ANSWER_BYTES: usize = 512;

/// Returns whether the file at a path is that of the socket. If the kernel does not report the
/// file, any socket at the path counts, so that a socket in use is never lost.
pub(super) fn is_bound_to(fd: &OwnedFd, path: &Path) -> bool {
    let Ok(there) = rustix::fs::lstat(path) else {
        return false;
    };
    if rustix::fs::FileType::from_raw_mode(there.st_mode) != rustix::fs::FileType::Socket {
        return false;
    }
    if let Ok(own) = open_file(fd).and_then(rustix::fs::fstat) {
        return (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino);
    }
    // Compares the lower half of the inode number, which is all that the kernel reports. No other
    // file can have the same number while the socket exists.
    file_inode(fd).map_or(true, |own| own == there.st_ino as u32)
}

fn open_file(fd: &OwnedFd) -> Result<OwnedFd, Errno> {
    // SAFETY: the request takes no argument and gives a new descriptor.
    let file = unsafe { libc::ioctl(fd.as_raw_fd(), SIOCUNIXFILE, 0) };
    if file < 0 {
        return Err(Errno::from_raw_os_error(nix::errno::Errno::last_raw()));
    }
    // SAFETY: the kernel just gave it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(file) })
}

/// Queries the kernel's socket diagnostics, which needs no privileges.
fn file_inode(fd: &OwnedFd) -> Result<u32, Errno> {
    let flags = SocketFlags::CLOEXEC;
    let (family, kind) = (AddressFamily::NETLINK, SocketType::DGRAM);
    let kernel = rustix::net::socket_with(family, kind, flags, Some(netlink::SOCK_DIAG))?;
    let question = question(inode(fd)? as u32);
    rustix::net::send(&kernel, &question, SendFlags::empty())?;
    let mut answer = [0; ANSWER_BYTES];
    // The response is available as soon as the request was sent.
    let (read, _) = rustix::net::recv(&kernel, &mut answer, RecvFlags::DONTWAIT)?;
    inode_of(answer.get(..read).unwrap_or_default()).ok_or(Errno::NOENT)
}

fn question(socket: u32) -> Vec<u8> {
    const LENGTH: u32 = 40;
    let mut bytes = Vec::with_capacity(LENGTH as usize);
    // Header of the request: length, type, flags, sequence number, port ID.
    bytes.extend(LENGTH.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST.to_ne_bytes());
    bytes.extend([0; 8]);
    // Content of the request: the family, any state, this inode, the file is wanted, any cookie.
    bytes.extend([AddressFamily::UNIX.as_raw() as u8, 0, 0, 0]);
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(socket.to_ne_bytes());
    bytes.extend(UDIAG_SHOW_VFS.to_ne_bytes());
    bytes.extend([u8::MAX; 8]);
    bytes
}

fn inode_of(answer: &[u8]) -> Option<u32> {
    let kind = answer.get(4..6)?;
    if kind != SOCK_DIAG_BY_FAMILY.to_ne_bytes() {
        return None;
    }
    let mut attributes = answer.get(ANSWER_HEAD_BYTES..)?;
    // Each attribute consumes at least its header, so the loop ends.
    while let Some((head, _)) = attributes.split_first_chunk::<ATTRIBUTE_HEAD_BYTES>() {
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let value = attributes.get(ATTRIBUTE_HEAD_BYTES..length)?;
        if u16::from_ne_bytes([head[2], head[3]]) == UNIX_DIAG_VFS {
            return value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn kernel_reports_the_path_of_a_socket_in_both_ways() {
        let folder = std::env::temp_dir().join(format!("evenkeel-file-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (path, other) = (folder.join("a"), folder.join("b"));
        let fd: OwnedFd = UnixListener::bind(&path).unwrap().into();
        let _other = UnixListener::bind(&other).unwrap();
        assert!(is_bound_to(&fd, &path));
        assert!(!is_bound_to(&fd, &other));
        let there = rustix::fs::lstat(&path).unwrap();
        if let Ok(own) = file_inode(&fd) {
            assert_eq!(own, there.st_ino as u32);
        }
        if let Ok(own) = open_file(&fd).and_then(rustix::fs::fstat) {
            assert_eq!(own.st_ino, there.st_ino);
        }
        std::fs::rename(&path, &other).unwrap();
        assert!(
            is_bound_to(&fd, &other),
            "a file that was renamed is the same"
        );
        assert!(!is_bound_to(&fd, &path));
        std::fs::write(&path, "").unwrap();
        assert!(!is_bound_to(&fd, &path));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn truncated_kernel_reply_is_ignored() {
        let mut answer = vec![0; ANSWER_HEAD_BYTES];
        answer[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        answer.extend(12_u16.to_ne_bytes());
        answer.extend(UNIX_DIAG_VFS.to_ne_bytes());
        answer.extend(77_u32.to_ne_bytes());
        answer.extend([0; 4]);
        assert_eq!(inode_of(&answer), Some(77));
        for length in 0..answer.len() {
            assert_eq!(inode_of(&answer[..length]), None, "{length}");
        }
        answer[ANSWER_HEAD_BYTES..][..2].fill(0);
        assert_eq!(inode_of(&answer), None);
    }
}
