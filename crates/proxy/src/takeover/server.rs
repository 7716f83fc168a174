//! Sends the listening sockets of this process to a process that requests them with `_getsocks`
//! on a statistics socket with `expose-fd listeners`.

use super::client::{TakeoverError, send_with};
use super::wire::{self, NUMBER_BYTES, PART_MAX, SocketRecord};
use crate::listener::interface;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, Shutdown, sockopt};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Timeout for passing all sockets, for which the end of this process waits. HAProxy gives up after
/// a second of silence.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(2);

/// Passes sockets to the process at the other end of a connection. Blocks, so it must not be
/// called on a thread that others need.
///
/// # Errors
/// - [`TakeoverError::NotUnix`]: the connection cannot carry descriptors.
/// - [`TakeoverError::Timeout`]: the receiver did not read everything within two seconds.
/// - [`TakeoverError::Ended`]: the receiver closed the connection between two parts.
/// - [`TakeoverError::Failed`]: a system call failed.
pub fn hand_over(to: &OwnedFd, sockets: &[Arc<OwnedFd>]) -> Result<(), TakeoverError> {
    if sockopt::socket_domain(to).map_err(TakeoverError::Failed)? != AddressFamily::UNIX {
        return Err(TakeoverError::NotUnix);
    }
    let until = Instant::now() + HAND_OVER_LIMIT;
    send(to, &wire::number(sockets.len()), &[], until)?;
    for (n, part) in sockets.chunks(PART_MAX).enumerate() {
        if n > 0 {
            receive_number(to, until)?;
        }
        let records: Vec<SocketRecord> = part.iter().map(|fd| record(fd)).collect();
        let descriptors: Vec<BorrowedFd<'_>> = part.iter().map(|fd| fd.as_fd()).collect();
        send(to, &wire::part(&records)?, &descriptors, until)?;
    }
    // Ignores a failure: the receiver may have closed already, after it got everything.
    let _ = rustix::net::shutdown(to, Shutdown::Write);
    Ok(())
}

fn record(fd: &OwnedFd) -> SocketRecord {
    SocketRecord {
        // Leaves the interface empty for Unix sockets, which are not bound to one.
        interface: interface(fd).ok().flatten().unwrap_or_default(),
        ..SocketRecord::default()
    }
}

fn send(
    to: &OwnedFd,
    mut bytes: &[u8],
    mut descriptors: &[BorrowedFd<'_>],
    until: Instant,
) -> Result<(), TakeoverError> {
    while !bytes.is_empty() {
        match send_with(to.as_fd(), bytes, descriptors) {
            Ok(sent) => {
                bytes = bytes.get(sent..).unwrap_or_default();
                descriptors = &[];
            }
            Err(Errno::AGAIN) => wait(to, PollFlags::OUT, until)?,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(TakeoverError::Failed(errno)),
        }
    }
    Ok(())
}

/// Waits until the receiver requests the next part. The number that it sends is not evaluated,
/// because no part can be lost on the connection.
fn receive_number(from: &OwnedFd, until: Instant) -> Result<(), TakeoverError> {
    let mut bytes = [0; NUMBER_BYTES];
    let mut received = 0;
    while received < NUMBER_BYTES {
        match rustix::net::recv(from, &mut bytes[received..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => return Err(TakeoverError::Ended),
            Ok((n, _)) => received += n,
            Err(Errno::AGAIN) => wait(from, PollFlags::IN, until)?,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(TakeoverError::Failed(errno)),
        }
    }
    Ok(())
}

fn wait(fd: &OwnedFd, for_what: PollFlags, until: Instant) -> Result<(), TakeoverError> {
    let left = until.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).map_err(|_| TakeoverError::Timeout)?;
    match poll(&mut [PollFd::new(fd, for_what)], Some(&left)) {
        Ok(0) => Err(TakeoverError::Timeout),
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(TakeoverError::Failed(errno)),
    }
}
