//! One place that lines go to, open. Nothing here waits.

use crate::config::LogTargetAddress;
use crate::log::ring::{self, Ring};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;

/// The highest number of a standard stream. Those are what the process has
/// under these numbers now; others are its own only if it was given them.
const STANDARD_STREAM_MAX: i32 = 2;

#[derive(Debug)]
pub(super) enum Target {
    Udp(UdpSocket),
    Unix(UnixDatagram),
    /// A standard stream.
    Stream(i32),
    /// `fd@N`: our own descriptor of what it was at the start.
    Descriptor(OwnedFd),
    /// In memory.
    Ring(Arc<Ring>),
}

impl Target {
    /// Opens with the rights and in the root of the start.
    pub fn open(address: &LogTargetAddress) -> io::Result<Target> {
        match address {
            // Our own later numbers are sockets of clients.
            LogTargetAddress::Fd(number) if *number > STANDARD_STREAM_MAX => {
                // SAFETY: borrowed for this call only; a closed number gives EBADF.
                let fd = unsafe { BorrowedFd::borrow_raw(*number) };
                Ok(Target::Descriptor(fd.try_clone_to_owned()?))
            }
            _ => Target::reopen(address, None),
        }
    }

    /// Opens while lines are delivered, with what rights there still are; in
    /// `root`, if the process has left the root of the start for it.
    pub fn reopen(address: &LogTargetAddress, root: Option<&Path>) -> io::Result<Target> {
        match address {
            LogTargetAddress::Udp(to) => {
                let any: SocketAddr = match to {
                    SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
                    SocketAddr::V6(_) => ([0u16; 8], 0).into(),
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(to)?;
                socket.set_nonblocking(true)?;
                Ok(Target::Udp(socket))
            }
            LogTargetAddress::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path).or_else(|error| {
                    let inside = root.and_then(|root| path.strip_prefix(root).ok());
                    let inside = inside.ok_or(error)?;
                    socket.connect(Path::new("/").join(inside))
                })?;
                socket.set_nonblocking(true)?;
                Ok(Target::Unix(socket))
            }
            LogTargetAddress::Fd(number @ ..=STANDARD_STREAM_MAX) => Ok(Target::Stream(*number)),
            LogTargetAddress::Fd(_) => Err(io::ErrorKind::NotFound.into()),
            LogTargetAddress::Ring(settings) => Ok(Target::Ring(ring::open(settings))),
            // One of its servers stands for it before a line comes here.
            LogTargetAddress::Backend(_) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// What another process opened for an address.
    pub fn given(address: &LogTargetAddress, fd: OwnedFd) -> Target {
        match address {
            LogTargetAddress::Udp(_) => Target::Udp(fd.into()),
            LogTargetAddress::Unix(_) => Target::Unix(fd.into()),
            LogTargetAddress::Fd(_) | LogTargetAddress::Backend(_) => Target::Descriptor(fd),
            LogTargetAddress::Ring(settings) => Target::Ring(ring::open(settings)),
        }
    }

    /// What can be given to another process. It has standard streams of its own.
    pub fn into_descriptor(self) -> Option<OwnedFd> {
        match self {
            Target::Udp(socket) => Some(socket.into()),
            Target::Unix(socket) => Some(socket.into()),
            Target::Stream(_) | Target::Ring(_) => None,
            Target::Descriptor(fd) => Some(fd),
        }
    }

    /// Whether another that was opened later is better. A Unix socket holds on to
    /// the daemon that it was connected to, which may have been restarted since;
    /// nothing is lost by leaving it.
    pub fn ages(&self) -> bool {
        matches!(self, Target::Unix(_))
    }

    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Target::Udp(socket) => socket.send(bytes),
            Target::Unix(socket) => socket.send(bytes),
            Target::Stream(number) => {
                // SAFETY: borrowed for this call only; a closed number gives EBADF.
                write_shared(unsafe { BorrowedFd::borrow_raw(*number) }, bytes)
            }
            Target::Ring(ring) => Ok(ring.push(bytes)),
            Target::Descriptor(fd) => write_shared(std::os::fd::AsFd::as_fd(fd), bytes),
        }
    }
}

/// Writes to a descriptor that others share, so it cannot be made nonblocking:
/// it is asked first whether it has room.
fn write_shared(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let mut ready = [PollFd::new(&fd, PollFlags::OUT)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    if poll(&mut ready, Some(&now))? == 0 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(rustix::io::write(fd, bytes)?)
}
