//! Opens log targets and writes lines to them: standard streams, descriptors, Unix and UDP sockets,
//! and rings in memory. Sockets are nonblocking. A descriptor that is a pipe can block the write of
//! a line that is longer than `PIPE_BUF`.

use crate::config::LogTargetAddress;
use crate::log::ring::{self, Ring};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;

/// Highest number of a standard stream. Numbers up to this one mean the current streams of the
/// process. Higher numbers belong to the log only if the process was started with them.
const STANDARD_STREAM_MAX: i32 = 2;

#[derive(Debug)]
pub(super) enum LogOutput {
    Udp(UdpSocket),
    Unix(UnixDatagram),
    /// Standard stream, by its number.
    Stream(i32),
    /// `fd@N`: duplicate of the descriptor that the process was started with.
    Descriptor(OwnedFd),
    Ring(Arc<Ring>),
}

impl LogOutput {
    /// Opens a target with the privileges and the root directory of the start.
    ///
    /// # Errors
    /// The descriptor or socket cannot be opened or connected. The target is a backend.
    pub fn open(address: &LogTargetAddress) -> io::Result<LogOutput> {
        match address {
            // Duplicates the descriptor that the process was started with: later, its number could
            // belong to a client socket.
            LogTargetAddress::Fd(number) if *number > STANDARD_STREAM_MAX => {
                // SAFETY: borrowed for this call only; a closed number gives EBADF.
                let fd = unsafe { BorrowedFd::borrow_raw(*number) };
                Ok(LogOutput::Descriptor(fd.try_clone_to_owned()?))
            }
            _ => LogOutput::reopen(address, None),
        }
    }

    /// Reopens a target during delivery, with the remaining privileges. `root` is the new root
    /// directory, if the process has changed it since the start.
    ///
    /// # Errors
    /// The socket cannot be opened or connected. The target is a backend, or a descriptor other
    /// than a standard stream, whose number may have another meaning by now.
    pub fn reopen(address: &LogTargetAddress, root: Option<&Path>) -> io::Result<LogOutput> {
        match address {
            LogTargetAddress::Udp(to) => {
                let any: SocketAddr = match to {
                    SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
                    SocketAddr::V6(_) => ([0u16; 8], 0).into(),
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(to)?;
                socket.set_nonblocking(true)?;
                Ok(LogOutput::Udp(socket))
            }
            LogTargetAddress::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path).or_else(|error| {
                    let inside = root.and_then(|root| path.strip_prefix(root).ok());
                    let inside = inside.ok_or(error)?;
                    socket.connect(Path::new("/").join(inside))
                })?;
                socket.set_nonblocking(true)?;
                Ok(LogOutput::Unix(socket))
            }
            LogTargetAddress::Fd(number @ ..=STANDARD_STREAM_MAX) => Ok(LogOutput::Stream(*number)),
            LogTargetAddress::Fd(_) => Err(io::ErrorKind::NotFound.into()),
            LogTargetAddress::Ring(settings) => Ok(LogOutput::Ring(ring::open(settings))),
            // Refuses a backend: its lines are assigned to one of its servers before they reach a
            // target.
            LogTargetAddress::Backend(_) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Creates the target from a descriptor that another process opened for the address.
    pub fn given(address: &LogTargetAddress, fd: OwnedFd) -> LogOutput {
        match address {
            LogTargetAddress::Udp(_) => LogOutput::Udp(fd.into()),
            LogTargetAddress::Unix(_) => LogOutput::Unix(fd.into()),
            LogTargetAddress::Fd(_) | LogTargetAddress::Backend(_) => LogOutput::Descriptor(fd),
            LogTargetAddress::Ring(settings) => LogOutput::Ring(ring::open(settings)),
        }
    }

    /// Returns the descriptor to pass to another process, which has standard streams of its own.
    pub fn into_descriptor(self) -> Option<OwnedFd> {
        match self {
            LogOutput::Udp(socket) => Some(socket.into()),
            LogOutput::Unix(socket) => Some(socket.into()),
            LogOutput::Stream(_) | LogOutput::Ring(_) => None,
            LogOutput::Descriptor(fd) => Some(fd),
        }
    }

    /// Returns whether a newly opened target should replace this one although its address is the
    /// same. A Unix socket stays connected to one daemon, which may have restarted since; closing
    /// the socket loses nothing.
    pub fn ages(&self) -> bool {
        matches!(self, LogOutput::Unix(_))
    }

    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            LogOutput::Udp(socket) => socket.send(bytes),
            LogOutput::Unix(socket) => socket.send(bytes),
            LogOutput::Stream(number) => {
                // SAFETY: borrowed for this call only; a closed number gives EBADF.
                write_shared(unsafe { BorrowedFd::borrow_raw(*number) }, bytes)
            }
            LogOutput::Ring(ring) => Ok(ring.push(bytes)),
            LogOutput::Descriptor(fd) => write_shared(std::os::fd::AsFd::as_fd(fd), bytes),
        }
    }
}

/// Writes to a descriptor that other processes may share, and that is therefore not set to
/// nonblocking mode. Polls for room first, and fails with `WouldBlock` if there is none.
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
