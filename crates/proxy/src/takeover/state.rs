//! Passes counters and server states from one Evenkeel process to the next, over the statistics
//! socket that also passes the listening sockets. If the other process is HAProxy, its reply is
//! that the command is unknown, and no state is passed.
//!
//! The response is [`MARK`], the number of bytes, and the bytes ([`crate::carry`] defines their
//! meaning). The connection stays open. When the last client connection of the old process has
//! ended, the old process sends the counts made since then in the same form, without the mark.

use super::client::{self, TakeoverError, TakeoverSource};
use crate::carry::{self, Mark};
use crate::runtime::Runtime;
use model::config::Config;
use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{RecvFlags, SendFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub const REQUEST: &[u8] = b"_getstate\n";
const MARK: &[u8] = b"evenkeel";
const LENGTH_BYTES: usize = 8;
const BYTES_MAX: usize = 1 << 28;
/// Maximum number of processes that get the later counts; of more processes, only the last ones to
/// request the state.
const HEIRS_MAX: usize = 4;
/// Timeout for sending the later counts to one process.
const REST_LIMIT: Duration = Duration::from_millis(500);
const READ_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub struct TakenState {
    pub bytes: Vec<u8>,
    /// Connection over which the later counts will arrive.
    pub rest: OwnedFd,
}

/// Requests the counters and server states of a process; None if the process is not Evenkeel or
/// does not permit it. `limit` is the timeout of the whole exchange.
///
/// # Errors
/// - [`TakeoverError::Connect`]: no connection is possible.
/// - [`TakeoverError::Timeout`]: `limit` expired.
/// - [`TakeoverError::Ended`]: the state is truncated, or larger than this program accepts.
/// - [`TakeoverError::Failed`]: a system call failed.
pub fn fetch(
    source: &TakeoverSource,
    limit: Duration,
) -> Result<Option<TakenState>, TakeoverError> {
    let until = Instant::now() + limit;
    let stream = client::connect(source, until)?;
    client::limit_waiting(&stream, until)?;
    match rustix::net::send(&stream, REQUEST, SendFlags::NOSIGNAL) {
        Ok(_) | Err(Errno::PIPE) => {}
        Err(errno) => return Err(TakeoverError::Failed(errno)),
    }
    let mut mark = [0; MARK.len()];
    match read_whole(stream.as_fd(), &mut mark, Some(until)) {
        Ok(()) if mark == *MARK => {}
        Ok(()) | Err(TakeoverError::Ended) => return Ok(None),
        Err(error) => return Err(error),
    }
    let bytes = read_part(stream.as_fd(), Some(until))?;
    sockopt::set_socket_timeout(&stream, Timeout::Recv, None).map_err(TakeoverError::Failed)?;
    Ok(Some(TakenState {
        bytes,
        rest: stream,
    }))
}

/// Waits until the previous process ends, however long that takes, and returns what it has counted
/// since its first response.
///
/// # Errors
/// Fails with [`TakeoverError::Ended`] if the predecessor ends without sending it, or announces
/// more than this program accepts, and with [`TakeoverError::Failed`] if a system call fails.
pub fn fetch_rest(from: &OwnedFd) -> Result<Vec<u8>, TakeoverError> {
    rustix::io::ioctl_fionbio(from, false).map_err(TakeoverError::Failed)?;
    read_part(from.as_fd(), None)
}

fn read_part(from: BorrowedFd<'_>, until: Option<Instant>) -> Result<Vec<u8>, TakeoverError> {
    let mut length = [0; LENGTH_BYTES];
    read_whole(from, &mut length, until)?;
    let length = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > BYTES_MAX {
        return Err(TakeoverError::Ended);
    }
    let mut bytes = Vec::new();
    while bytes.len() < length {
        // Allocates memory only for bytes that have arrived, whatever length was announced.
        let at = bytes.len();
        bytes.resize(length.min(at + READ_BYTES), 0);
        read_whole(from, &mut bytes[at..], until)?;
    }
    Ok(bytes)
}

fn read_whole(
    from: BorrowedFd<'_>,
    mut bytes: &mut [u8],
    until: Option<Instant>,
) -> Result<(), TakeoverError> {
    while !bytes.is_empty() {
        if let Some(until) = until {
            client::limit_waiting(from, until)?;
        }
        match rustix::net::recv(from, &mut *bytes, RecvFlags::empty()) {
            Ok((0, _)) | Err(Errno::CONNRESET) => return Err(TakeoverError::Ended),
            Ok((read, _)) => bytes = &mut bytes[read..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(client::failed(errno)),
        }
    }
    Ok(())
}

/// The processes that requested the state and get the later counts.
#[derive(Debug, Default)]
pub struct Heirs {
    all: Mutex<Vec<(OwnedFd, Mark)>>,
}

impl Heirs {
    /// Returns the response for a process that requests the state; the caller sends it. The
    /// connection is kept for the later counts.
    pub fn answer(&self, to: OwnedFd, config: &Config, runtime: &Runtime) -> Vec<u8> {
        let exported = carry::export(config, Some(runtime));
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == HEIRS_MAX {
            all.remove(0);
        }
        all.push((to, exported.mark));
        let mut answer = MARK.to_vec();
        answer.extend(part(&exported.bytes));
        answer
    }

    /// At the end of this process, sends the later counts to all processes that requested the
    /// state. A process that does not read delays this by at most [`REST_LIMIT`].
    pub fn tell_rest(&self, runtime: &Runtime) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        for (to, mark) in std::mem::take(&mut *all) {
            let told = part(&mark.rest(Some(runtime)));
            // Ignores a failure: if the successor has ended, no process continues the counters.
            let _ = send(&to, &told, Instant::now() + REST_LIMIT);
        }
    }
}

fn part(bytes: &[u8]) -> Vec<u8> {
    let mut part = (bytes.len() as u64).to_le_bytes().to_vec();
    part.extend_from_slice(bytes);
    part
}

fn send(to: &OwnedFd, mut bytes: &[u8], until: Instant) -> Result<(), TakeoverError> {
    rustix::io::ioctl_fionbio(to, false).map_err(TakeoverError::Failed)?;
    while !bytes.is_empty() {
        client::limit_waiting(to.as_fd(), until)?;
        match rustix::net::send(to, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(client::failed(errno)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (OwnedFd, OwnedFd) {
        let (family, flags) = (AddressFamily::UNIX, SocketFlags::CLOEXEC);
        socketpair(family, SocketType::STREAM, flags, None).unwrap()
    }

    #[test]
    fn parts_are_received_as_sent() {
        let (ours, theirs) = pair();
        let bytes: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
        let sent = part(&bytes);
        let sender = std::thread::spawn(move || {
            send(&theirs, &sent, Instant::now() + Duration::from_secs(5)).unwrap();
        });
        assert_eq!(fetch_rest(&ours).unwrap(), bytes);
        sender.join().unwrap();
    }

    #[test]
    fn a_process_that_dies_without_a_word_has_no_rest() {
        let (ours, theirs) = pair();
        drop(theirs);
        assert!(matches!(fetch_rest(&ours), Err(TakeoverError::Ended)));
    }

    #[test]
    fn invalid_length_allocates_no_memory() {
        let (ours, theirs) = pair();
        rustix::io::write(&theirs, &u64::MAX.to_le_bytes()).unwrap();
        assert!(fetch_rest(&ours).is_err());
    }

    #[test]
    fn unresponsive_successor_delays_nobody() {
        let (_ours, theirs) = pair();
        let at = Instant::now();
        let until = at + Duration::from_millis(50);
        assert!(send(&theirs, &vec![0; 8 << 20], until).is_err());
        assert!(at.elapsed() < Duration::from_secs(2));
    }
}
