//! Forwards bytes between a network connection and a stream of this machine, whose other end
//! interprets them. The relay inspects none of them.

use crate::silence::is_silent;
use crate::{NodeConnection, NonblockingStream};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{
    set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl,
    set_tcp_user_timeout,
};
use rustix::net::{Shutdown, shutdown};
use rustix::time::Timespec;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const BUFFER_BYTES: usize = 256 << 10;
/// Interval between probes of an idle connection.
const PROBE: Duration = Duration::from_secs(5);
const PROBES_MAX: u32 = 127;
/// Time after which a client is closed when its machine acknowledges nothing. A client that
/// acknowledges data but accepts nothing has [`RelayPeer::close_timeout`].
const VANISHED: Duration = Duration::from_secs(30);
/// Maximum time for the other side to close the connection after this side has.
const LEAVE_MAX: Duration = Duration::from_secs(5);

/// The buffer of one direction.
#[derive(Debug)]
struct RelayBuffer {
    bytes: Vec<u8>,
    begin: usize,
    end: usize,
    is_over: bool,
    /// The error if the source ended with a reset.
    reset: Option<Errno>,
}

impl RelayBuffer {
    fn new() -> RelayBuffer {
        RelayBuffer {
            bytes: vec![0; BUFFER_BYTES],
            begin: 0,
            end: 0,
            is_over: false,
            reset: None,
        }
    }

    fn is_empty(&self) -> bool {
        self.begin == self.end
    }

    fn wants(&self) -> bool {
        self.is_empty() && !self.is_over
    }

    fn clear(&mut self) {
        self.begin = self.end;
    }

    /// Reads bytes; returns whether bytes or the end were read.
    fn fill(&mut self, from: &mut impl NonblockingStream) -> Result<bool, Errno> {
        if !self.wants() {
            return Ok(false);
        }
        match from.read(&mut [IoSliceMut::new(&mut self.bytes)]) {
            Ok(0) => self.is_over = true,
            Err(errno @ (Errno::CONNRESET | Errno::PIPE | Errno::TIMEDOUT)) => {
                self.is_over = true;
                self.reset = Some(errno);
            }
            Ok(count) => (self.begin, self.end) = (0, count),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
            Err(errno) => return Err(errno),
        }
        Ok(true)
    }

    fn drain(&mut self, to: &mut impl NonblockingStream) -> Result<usize, Errno> {
        if self.is_empty() {
            return Ok(0);
        }
        match to.write(&[IoSlice::new(&self.bytes[self.begin..self.end])]) {
            Ok(count) => {
                self.begin += count;
                Ok(count)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(errno) => Err(errno),
        }
    }
}

/// The peer of a relay's network connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RelayPeer {
    /// Another node. Its last bytes are delivered however long that takes: they may contain the
    /// reason why it ended the connection.
    Node,
    /// A client of a volume. When it disconnects, its connection ends like that of a local client:
    /// it receives no reply to pending requests.
    Client,
}

impl RelayPeer {
    /// Time after which the connection is closed when the network has accepted or acknowledged
    /// nothing. A client may be slow, or its machine may pause.
    fn close_timeout(self) -> Duration {
        match self {
            RelayPeer::Node => Duration::from_secs(15),
            RelayPeer::Client => Duration::from_secs(120),
        }
    }
}

/// A network connection and a local stream, and the bytes between them.
#[derive(Debug)]
pub struct Relay {
    wire: NodeConnection,
    stream: UnixStream,
    peer: RelayPeer,
    /// From this machine to the network.
    out: RelayBuffer,
    back: RelayBuffer,
    sent: Arc<AtomicU64>,
    /// The network accepts nothing any longer.
    is_deaf: bool,
    /// The local stream accepts nothing any longer; it may still send data.
    is_refused: bool,
    /// The end of the data was announced to the network.
    has_ended: bool,
    /// The local stream has ended: until this instant the other side may close the connection.
    /// Closing with unread data, such as the end of a late handshake, would lose the data already
    /// sent.
    leaves: Option<Instant>,
    /// A client has ended its data, and the volume has not accepted all of it yet: until this
    /// instant it may.
    lingers: Option<Instant>,
}

impl Relay {
    pub fn new(wire: NodeConnection, stream: UnixStream, peer: RelayPeer) -> Relay {
        Relay {
            wire,
            stream,
            peer,
            out: RelayBuffer::new(),
            back: RelayBuffer::new(),
            sent: Arc::default(),
            is_deaf: false,
            is_refused: false,
            has_ended: false,
            leaves: None,
            lingers: None,
        }
    }

    #[must_use]
    pub fn with_sent_counter(mut self, sent: &Arc<AtomicU64>) -> Relay {
        self.sent = Arc::clone(sent);
        self
    }

    /// Adds bytes already received from the network, to be forwarded to this machine.
    #[must_use]
    pub fn with_received_bytes(mut self, came: Vec<u8>) -> Relay {
        if !came.is_empty() {
            (self.back.begin, self.back.end) = (0, came.len());
            self.back.bytes = came;
        }
        self
    }

    /// Forwards bytes in both directions, until one side has closed its end and the other has
    /// received everything sent before. Closes the connection once the network has accepted or
    /// acknowledged nothing for too long. This function blocks.
    ///
    /// # Errors
    /// A system error, or a reset by the network, after all data received before it was delivered.
    /// The connection is closed then, too.
    pub fn run(mut self) -> Result<(), Errno> {
        self.stream
            .set_nonblocking(true)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        enable_keepalive(&self.wire, self.peer.close_timeout());
        loop {
            let mut moved = self.forward_to_network();
            moved |= self.forward_from_network()?;
            if self.back.is_over && self.back.is_empty() || self.wire.is_revoked() {
                let _ = shutdown(&self.stream, Shutdown::Both);
                if self.wire.is_revoked() {
                    return Err(Errno::KEYREVOKED);
                }
                return self.back.reset.map_or(Ok(()), Err);
            }
            moved |= self.announce_end();
            let is_late = |at: Instant| Instant::now() >= at;
            if self.leaves.is_some_and(is_late) {
                return Ok(());
            }
            if moved {
                self.lingers = None;
            } else if self.is_abandoned() || self.lingers.is_some_and(is_late) {
                return Ok(());
            } else {
                self.wait_until_ready();
            }
        }
    }

    /// Forwards bytes to the network. Returns whether bytes or the end were read, or bytes were
    /// sent.
    fn forward_to_network(&mut self) -> bool {
        if self.is_deaf {
            return false;
        }
        let carried = self.out.fill(&mut self.stream.as_fd()).and_then(|moved| {
            let sent = self.out.drain(&mut self.wire)?;
            self.sent.fetch_add(sent as u64, Ordering::Relaxed);
            if self.wire.has_output() {
                // Sends the data that TLS has encrypted.
                match self.wire.write(&[]) {
                    Ok(_) | Err(Errno::AGAIN) => {}
                    Err(errno) => return Err(errno),
                }
            }
            Ok(moved || sent > 0)
        });
        // Continues in the other direction, because data that the other side sent before may still
        // arrive.
        self.is_deaf = carried.is_err();
        carried.unwrap_or_default()
    }

    /// Forwards bytes from the network. Returns whether bytes or the end were read, or bytes were
    /// sent.
    fn forward_from_network(&mut self) -> Result<bool, Errno> {
        let moved = self.back.fill(&mut self.wire)?;
        let drained = if self.is_refused {
            Ok(0)
        } else {
            self.back.drain(&mut self.stream.as_fd())
        };
        // Reads and discards the network's data, because unread data would drop at the close what
        // the local stream sent earlier.
        self.is_refused |= drained.is_err();
        if self.is_refused {
            self.back.clear();
        }
        Ok(moved || drained.is_ok_and(|count| count > 0))
    }

    /// Announces the end of the data to the network after this machine has sent everything. Returns
    /// whether it did.
    fn announce_end(&mut self) -> bool {
        if !self.out.is_over || !self.out.is_empty() || self.is_deaf {
            return false;
        }
        if !self.has_ended {
            self.wire.end();
            self.has_ended = true;
            return true;
        }
        if self.wire.has_output() || self.leaves.is_some() {
            return false;
        }
        let _ = shutdown(self.wire.as_fd(), Shutdown::Write);
        self.leaves = Instant::now().checked_add(LEAVE_MAX);
        true
    }

    /// Returns whether the peer is a client to which nothing can be sent any longer. The relay then
    /// need not wait for the volume, which may itself wait until the client accepts its replies.
    fn is_abandoned(&self) -> bool {
        self.peer == RelayPeer::Client && self.is_deaf
    }

    /// Waits until bytes can be forwarded, the network ends, or a timeout has passed.
    fn wait_until_ready(&mut self) {
        let mut network = PollFlags::empty();
        let mut local = PollFlags::empty();
        let is_left = self.leaves.is_some();
        network.set(PollFlags::IN, self.back.wants());
        let has_output = !self.out.is_empty() || self.wire.has_output();
        network.set(PollFlags::OUT, has_output && !self.is_deaf);
        // Watches for the close by a client, which has then disconnected even while none of its
        // data is accepted.
        let is_client = self.peer == RelayPeer::Client;
        network.set(PollFlags::RDHUP, is_client && self.lingers.is_none());
        local.set(PollFlags::IN, self.out.wants() && !is_left && !self.is_deaf);
        local.set(PollFlags::OUT, !self.back.is_empty());
        let until = [self.leaves, self.lingers].into_iter().flatten().min();
        let left = until.map_or(PROBE, |at| at.saturating_duration_since(Instant::now()));
        let left = Timespec::try_from(left).ok();
        // Leaves out a side without wanted events, which would cause immediate wake-ups once it has
        // ended.
        let mut watched = Vec::with_capacity(2);
        if !local.is_empty() {
            watched.push(PollFd::new(&self.stream, local));
        }
        if is_client || !network.is_empty() {
            watched.push(PollFd::from_borrowed_fd(self.wire.as_fd(), network));
        }
        // Checks everything again, whether poll was interrupted or not.
        let count = poll(&mut watched, left.as_ref());
        let seen = watched.last().map_or(PollFlags::empty(), PollFd::revents);
        let is_gone = match count {
            Ok(0) => is_silent(self.wire.as_fd(), VANISHED),
            _ => seen.intersects(PollFlags::HUP | PollFlags::ERR),
        };
        if is_client && is_gone {
            self.is_deaf = true;
        } else if is_client && seen.contains(PollFlags::RDHUP) {
            self.lingers = Instant::now().checked_add(LEAVE_MAX);
        }
    }
}

/// Enables keepalive probes, so that the kernel detects an unreachable machine.
fn enable_keepalive(wire: &NodeConnection, gone: Duration) {
    let socket = wire.as_fd();
    let probes = gone.as_secs().div_ceil(PROBE.as_secs()) as u32;
    let gone_ms = u32::try_from(gone.as_millis()).unwrap_or(u32::MAX);
    // Ignores failures: without these options a broken connection is noticed later, by its silence.
    let _ = set_socket_keepalive(socket, true)
        .and_then(|()| set_tcp_keepidle(socket, PROBE))
        .and_then(|()| set_tcp_keepintvl(socket, PROBE))
        .and_then(|()| set_tcp_keepcnt(socket, probes.min(PROBES_MAX)))
        .and_then(|()| set_tcp_user_timeout(socket, gone_ms));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::sync::mpsc::{Receiver, channel};

    fn relayed(peer: RelayPeer) -> (TcpStream, UnixStream, Receiver<Result<(), Errno>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // Buffer for all the data that a test sends beyond what the relay accepts, because the end
        // follows that data.
        rustix::net::sockopt::set_socket_recv_buffer_size(&listener, 1 << 20).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = listener.accept().unwrap().0;
        socket.set_nonblocking(true).unwrap();
        let (volume, inner) = UnixStream::pair().unwrap();
        let (ends, ended) = channel();
        std::thread::spawn(move || {
            let wire = NodeConnection::from(OwnedFd::from(socket));
            ends.send(Relay::new(wire, inner, peer).run())
        });
        (client, volume, ended)
    }

    /// Sends until the other side has accepted nothing for a moment.
    fn fill(stream: &mut (impl Write + AsFd)) {
        rustix::io::ioctl_fionbio(&*stream, true).unwrap();
        let moment = Timespec::try_from(Duration::from_millis(200)).unwrap();
        loop {
            while stream.write(&[1; 64 << 10]).is_ok() {}
            let mut watched = [PollFd::new(stream, PollFlags::OUT)];
            if poll(&mut watched, Some(&moment)).unwrap() == 0 {
                return;
            }
        }
    }

    /// Much longer than the relay needs, and much shorter than its network timeout.
    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn a_client_that_closes_leaves_though_the_volume_takes_and_it_took_nothing() {
        let (mut client, mut volume, ended) = relayed(RelayPeer::Client);
        // Replies that the client does not read, and requests that the volume does not accept.
        fill(&mut volume);
        fill(&mut client);
        drop(client);
        assert_eq!(ended.recv_timeout(SOON), Ok(Ok(())));
        // The volume sees the end of the connection.
        rustix::io::ioctl_fionbio(&volume, false).unwrap();
        let _ = volume.read_to_end(&mut Vec::new());
    }

    #[test]
    fn a_client_that_closes_leaves_though_the_volume_waits() {
        let (mut client, volume, ended) = relayed(RelayPeer::Client);
        // Slightly more data than the buffers of the relay and the volume's socket can hold. All of
        // it arrives, followed by the end.
        client
            .write_all(&vec![1; BUFFER_BYTES + (240 << 10)])
            .unwrap();
        drop(client);
        assert_eq!(ended.recv_timeout(SOON), Ok(Ok(())));
        drop(volume);
    }

    #[test]
    fn what_a_client_sent_before_it_closed_reaches_the_volume() {
        let (mut client, mut volume, ended) = relayed(RelayPeer::Client);
        client.write_all(&[7; 100 << 10]).unwrap();
        drop(client);
        let mut taken = Vec::new();
        volume.read_to_end(&mut taken).unwrap();
        assert_eq!(taken, [7; 100 << 10]);
        assert_eq!(ended.recv_timeout(SOON), Ok(Ok(())));
    }

    #[test]
    fn a_node_that_has_said_all_has_it_delivered_though_it_takes_nothing() {
        let (mut node, mut volume, ended) = relayed(RelayPeer::Node);
        let last = vec![7; BUFFER_BYTES + (240 << 10)];
        node.write_all(&last).unwrap();
        node.shutdown(std::net::Shutdown::Write).unwrap();
        fill(&mut volume);
        rustix::io::ioctl_fionbio(&volume, false).unwrap();
        let mut taken = Vec::new();
        // The data that the volume sent stayed unread, which causes an error at the end.
        let _ = volume.read_to_end(&mut taken);
        assert!(taken == last, "{} bytes", taken.len());
        assert_eq!(ended.recv_timeout(SOON), Ok(Ok(())));
    }

    #[test]
    fn a_stream_that_takes_nothing_more_still_has_its_last_words_delivered() {
        let (mut node, mut volume, ended) = relayed(RelayPeer::Node);
        volume.shutdown(std::net::Shutdown::Read).unwrap();
        // More data than the buffers can hold, so the relay has met the closed side.
        node.write_all(&vec![1; 8 << 20]).unwrap();
        volume.write_all(b"that is all").unwrap();
        drop(volume);
        let mut said = Vec::new();
        node.read_to_end(&mut said).unwrap();
        assert_eq!(said, b"that is all");
        drop(node);
        assert_eq!(ended.recv_timeout(SOON), Ok(Ok(())));
    }

    #[test]
    fn what_came_before_a_reset_is_delivered_before_the_relay_says_so() {
        let (mut node, mut volume, ended) = relayed(RelayPeer::Node);
        node.write_all(&[7; 100 << 10]).unwrap();
        // The node never reads this data, so its close resets the connection.
        volume.write_all(&[1; 100]).unwrap();
        let mut watched = [PollFd::new(&node, PollFlags::IN)];
        poll(&mut watched, None).unwrap();
        drop(node);
        let mut taken = Vec::new();
        volume.read_to_end(&mut taken).unwrap();
        assert!(taken == [7; 100 << 10], "{} bytes", taken.len());
        assert_eq!(ended.recv_timeout(SOON), Ok(Err(Errno::CONNRESET)));
    }
}
