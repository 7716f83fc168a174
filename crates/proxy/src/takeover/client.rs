//! Fetches the listening sockets of another process (HAProxy or Evenkeel) over its statistics
//! socket: the requesting side of a takeover.

use super::wire::{self, REQUEST, ReceiverAction, SocketRecord, Taker, WireError};
use language::reason;
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Length to which HAProxy pads a name in the abstract namespace with zeros, bytes.
const ABSTRACT_BYTES: usize = 107;
const READ_BYTES: usize = 64 * 1024;
/// Maximum number of reads for one response, in case the other process sends byte by byte.
const READS_MAX: usize = 100_000;
/// Bytes that HAProxy sends together with the end of a socket pair.
const PAIR_HELLO: &[u8] = &[0, 0];

/// Address of the process whose sockets are requested (`-x`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TakeoverSource {
    Path(PathBuf),
    /// The statistics socket of the process has this name in the abstract namespace, padded to the
    /// full length.
    Abstract(Vec<u8>),
    /// An end of a socket pair; the process accepts connections over the other end.
    Pair(RawFd),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SourceError {
    #[error("the name is empty or too long")]
    BadName,
    #[error("invalid descriptor number")]
    BadNumber,
}

impl std::str::FromStr for TakeoverSource {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        if let Some(number) = text.strip_prefix("sockpair@") {
            let number = number.parse().ok().filter(|n| *n >= 0);
            return number
                .map(TakeoverSource::Pair)
                .ok_or(SourceError::BadNumber);
        }
        if let Some(name) = text.strip_prefix("abns@") {
            let mut name = name.as_bytes().to_vec();
            if name.is_empty() || name.len() > ABSTRACT_BYTES {
                return Err(SourceError::BadName);
            }
            name.resize(ABSTRACT_BYTES, 0);
            return Ok(TakeoverSource::Abstract(name));
        }
        // Takes anything else as a path, as HAProxy does.
        match text.strip_prefix("unix@").unwrap_or(text) {
            "" => Err(SourceError::BadName),
            path => Ok(TakeoverSource::Path(path.into())),
        }
    }
}

#[derive(Debug)]
pub struct TakenSocket {
    pub fd: OwnedFd,
    /// Description of the socket by the other process. [`crate::listener::Inherited`] queries the
    /// kernel instead, which is reliable.
    pub description: SocketRecord,
}

/// Reason why a takeover failed. All sockets received before the failure are closed.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    #[error("{}", reason(&io::Error::from(*.0)))]
    Connect(Errno),
    #[error("the connection failed: {}", reason(&io::Error::from(*.0)))]
    Failed(Errno),
    #[error("timeout waiting for the reply")]
    Timeout,
    /// The other process closed without a response: its socket has no `expose-fd listeners`.
    #[error("it offers no sockets; `expose-fd listeners` may be missing there")]
    Refused,
    /// The connection ended before the response was complete.
    #[error("it ended during its reply")]
    Ended,
    #[error("cannot read the reply: {0}")]
    Wire(#[from] WireError),
    /// The limit of open descriptors of the requesting process was reached.
    #[error("this process may not open that many files (`ulimit -n`)")]
    Descriptors,
    /// The connection is not a Unix socket, so it cannot carry descriptors.
    #[error("it is not a Unix socket")]
    NotUnix,
}

/// Requests the listening sockets of another process, including its statistics sockets.
/// `limit` is the timeout for all of it.
///
/// # Errors
/// Fails as described at [`TakeoverError`], except with [`TakeoverError::NotUnix`].
pub fn fetch(source: &TakeoverSource, limit: Duration) -> Result<Vec<TakenSocket>, TakeoverError> {
    let until = Instant::now() + limit;
    let stream = connect(source, until)?;
    fetch_over(&stream, until)
}

pub(super) fn connect(source: &TakeoverSource, until: Instant) -> Result<OwnedFd, TakeoverError> {
    let address = match source {
        TakeoverSource::Path(path) => SocketAddrUnix::new(path),
        TakeoverSource::Abstract(name) => SocketAddrUnix::new_abstract_name(name),
        TakeoverSource::Pair(number) => {
            // SAFETY: the descriptor is only borrowed for this call; a number that is not open
            // gives EBADF.
            return through_pair(unsafe { BorrowedFd::borrow_raw(*number) });
        }
    };
    let address = address.map_err(TakeoverError::Connect)?;
    let (family, flags) = (AddressFamily::UNIX, SocketFlags::CLOEXEC);
    let stream = rustix::net::socket_with(family, SocketType::STREAM, flags, None)
        .map_err(TakeoverError::Connect)?;
    // Limits the wait for a slot in the other process's queue as well.
    limit_waiting(&stream, until)?;
    rustix::net::connect(&stream, &address).map_err(|errno| match errno {
        Errno::AGAIN => TakeoverError::Timeout,
        errno => TakeoverError::Connect(errno),
    })?;
    Ok(stream)
}

/// Connects as HAProxy's `sockpair@` does: sends one end of a new pair over the existing
/// pair.
fn through_pair(pair: BorrowedFd<'_>) -> Result<OwnedFd, TakeoverError> {
    let (theirs, ours) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(TakeoverError::Connect)?;
    send_with(pair, PAIR_HELLO, &[theirs.as_fd()]).map_err(TakeoverError::Connect)?;
    Ok(ours)
}

/// Sends bytes, with at most [`wire::PART_MAX`] descriptors attached to the first of them.
pub(super) fn send_with(
    to: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<usize, Errno> {
    let mut space = vec![MaybeUninit::uninit(); ancillary_bytes()];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::INVAL);
    }
    let flags = SendFlags::NOSIGNAL;
    rustix::net::sendmsg(to, &[IoSlice::new(bytes)], &mut control, flags)
}

fn ancillary_bytes() -> usize {
    rustix::cmsg_space!(ScmRights(wire::PART_MAX + 1))
}

/// Sets the remaining time as the timeout of the next socket call.
pub(super) fn limit_waiting(stream: impl AsFd, until: Instant) -> Result<(), TakeoverError> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(TakeoverError::Timeout);
    }
    // Uses at least a millisecond, because a timeout below the resolution of the kernel's clock
    // would mean no timeout.
    let left = left.max(Duration::from_millis(1));
    for which in [Timeout::Recv, Timeout::Send] {
        sockopt::set_socket_timeout(&stream, which, Some(left)).map_err(TakeoverError::Failed)?;
    }
    Ok(())
}

pub(super) fn failed(errno: Errno) -> TakeoverError {
    match errno {
        Errno::AGAIN => TakeoverError::Timeout,
        errno => TakeoverError::Failed(errno),
    }
}

/// Requests the sockets over an existing connection, which must be in blocking mode.
pub(super) fn fetch_over(
    stream: &OwnedFd,
    until: Instant,
) -> Result<Vec<TakenSocket>, TakeoverError> {
    limit_waiting(stream, until)?;
    match send_with(stream.as_fd(), REQUEST, &[]) {
        // Continues if the peer has already closed, because what the peer sent before is still
        // read.
        Ok(_) | Err(Errno::PIPE) => {}
        Err(errno) => return Err(failed(errno)),
    }
    let mut taker = Taker::default();
    let mut descriptors = Vec::new();
    let mut bytes = vec![0; READ_BYTES];
    for reads in 0..READS_MAX {
        limit_waiting(stream, until)?;
        let before = descriptors.len();
        let read = match receive(stream, &mut bytes, &mut descriptors) {
            Err(TakeoverError::Failed(Errno::INTR)) => continue,
            // Treats a reset like an end: a process that refuses may close before it has read the
            // request.
            Err(TakeoverError::Failed(Errno::CONNRESET)) => 0,
            other => other?,
        };
        if read == 0 {
            let nothing = reads == 0;
            return Err(if nothing {
                TakeoverError::Refused
            } else {
                TakeoverError::Ended
            });
        }
        match taker.handle(&bytes[..read], descriptors.len() - before)? {
            ReceiverAction::Wait => {}
            ReceiverAction::Say(number) => match send_with(stream.as_fd(), &number, &[]) {
                Ok(_) | Err(Errno::PIPE) => {}
                Err(errno) => return Err(failed(errno)),
            },
            ReceiverAction::Done => {
                let both = descriptors.into_iter().zip(taker.records());
                return Ok(both
                    .map(|(fd, said)| TakenSocket {
                        fd,
                        description: said,
                    })
                    .collect());
            }
        }
    }
    Err(TakeoverError::Ended)
}

/// Reads once. The kernel closes descriptors for which there is no space, and reports that.
fn receive(
    stream: &OwnedFd,
    bytes: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> Result<usize, TakeoverError> {
    let mut space = vec![MaybeUninit::uninit(); ancillary_bytes()];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let message = rustix::net::recvmsg(stream, &mut [IoSliceMut::new(bytes)], &mut control, flags)
        .map_err(failed)?;
    for one in control.drain() {
        if let RecvAncillaryMessage::ScmRights(came) = one {
            descriptors.extend(came);
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(TakeoverError::Descriptors);
    }
    Ok(message.bytes)
}
