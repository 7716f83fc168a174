//! Carries bytes between a connection of the network and a stream of this machine, where those
//! are who know what they mean. It looks at none of them.

use crate::silence::is_silent;
use crate::{Bytes, Wire};
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

/// Bytes that wait in one direction.
const BUFFER_BYTES: usize = 256 << 10;
/// How often an idle connection is probed.
const PROBE: Duration = Duration::from_secs(5);
/// How many probes the kernel sends at most.
const PROBES_MAX: u32 = 127;
/// After how long a client is given up whose machine confirms nothing of what it was sent. One
/// that confirms, and takes nothing, has until `gone`.
const VANISHED: Duration = Duration::from_secs(30);
/// How long the other side may take to close the connection after this side has.
const LEAVE_MAX: Duration = Duration::from_secs(5);

/// Bytes in one direction.
#[derive(Debug)]
struct Lane {
    bytes: Vec<u8>,
    begin: usize,
    end: usize,
    /// Nothing more comes.
    is_over: bool,
    /// It ended by a reset.
    reset: Option<Errno>,
}

impl Lane {
    fn new() -> Lane {
        Lane {
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

    /// Drops what waits.
    fn clear(&mut self) {
        self.begin = self.end;
    }

    /// Takes bytes in; returns whether there were any, or their end.
    fn fill(&mut self, from: &mut impl Bytes) -> Result<bool, Errno> {
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

    /// Gives bytes away; returns how many.
    fn drain(&mut self, to: &mut impl Bytes) -> Result<usize, Errno> {
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
pub enum Peer {
    /// Another node. Its last bytes are delivered however long that takes: they may say why it
    /// ended the connection.
    Node,
    /// A client of a volume. When it is gone, its connection ends, as that of a client of this
    /// machine does: it has no reply to what is still on the way.
    Client,
}

impl Peer {
    /// After how long the network is given up if it has taken or confirmed nothing. A client may
    /// be slow, or its machine may pause.
    fn gone(self) -> Duration {
        match self {
            Peer::Node => Duration::from_secs(15),
            Peer::Client => Duration::from_secs(120),
        }
    }
}

/// A connection with its two ends.
#[derive(Debug)]
pub struct Relay {
    wire: Wire,
    stream: UnixStream,
    peer: Peer,
    /// From this machine to the network, and back.
    out: Lane,
    back: Lane,
    /// Counts what the network has taken, bytes.
    sent: Arc<AtomicU64>,
    /// The network takes nothing any more.
    is_deaf: bool,
    /// This machine takes nothing any more; it may still have something to say.
    is_refused: bool,
    /// The network was told that nothing more comes.
    has_ended: bool,
    /// This machine has said all: until then the other side may close the connection. If it were
    /// closed with something unread, such as the end of a late handshake, what was sent would be lost.
    leaves: Option<Instant>,
    /// A client sends nothing more, and the volume has not taken all of it: until then it may.
    lingers: Option<Instant>,
}

impl Relay {
    /// Between a connection and a stream of this machine.
    pub fn new(wire: Wire, stream: UnixStream, peer: Peer) -> Relay {
        Relay {
            wire,
            stream,
            peer,
            out: Lane::new(),
            back: Lane::new(),
            sent: Arc::default(),
            is_deaf: false,
            is_refused: false,
            has_ended: false,
            leaves: None,
            lingers: None,
        }
    }

    /// Counts there what the network takes, bytes.
    #[must_use]
    pub fn counting(mut self, sent: &Arc<AtomicU64>) -> Relay {
        self.sent = Arc::clone(sent);
        self
    }

    /// What has already come from the network, and is for this machine.
    #[must_use]
    pub fn after(mut self, came: Vec<u8>) -> Relay {
        if !came.is_empty() {
            (self.back.begin, self.back.end) = (0, came.len());
            self.back.bytes = came;
        }
        self
    }

    /// Carries bytes in both directions, until one side has closed its end and the other one has
    /// what was sent before. The network is given up once it has taken or confirmed nothing for
    /// too long. It blocks.
    ///
    /// # Errors
    /// The system's, or that the network has reset the connection, where all that came before was
    /// delivered. The connection is gone then, too.
    pub fn run(mut self) -> Result<(), Errno> {
        self.stream
            .set_nonblocking(true)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        notice(&self.wire, self.peer.gone());
        loop {
            let mut moved = self.carry_out();
            moved |= self.carry_back()?;
            if self.back.is_over && self.back.is_empty() || self.wire.is_revoked() {
                let _ = shutdown(&self.stream, Shutdown::Both);
                if self.wire.is_revoked() {
                    return Err(Errno::KEYREVOKED);
                }
                return self.back.reset.map_or(Ok(()), Err);
            }
            moved |= self.says_end();
            let is_late = |at: Instant| Instant::now() >= at;
            if self.leaves.is_some_and(is_late) {
                return Ok(());
            }
            if moved {
                self.lingers = None;
            } else if self.is_abandoned() || self.lingers.is_some_and(is_late) {
                return Ok(());
            } else {
                self.waits();
            }
        }
    }

    /// Carries bytes to the network. Returns whether there were any.
    fn carry_out(&mut self) -> bool {
        if self.is_deaf {
            return false;
        }
        let carried = self.out.fill(&mut self.stream.as_fd()).and_then(|moved| {
            let sent = self.out.drain(&mut self.wire)?;
            self.sent.fetch_add(sent as u64, Ordering::Relaxed);
            if self.wire.has_output() {
                // What TLS has encrypted.
                match self.wire.write(&[]) {
                    Ok(_) | Err(Errno::AGAIN) => {}
                    Err(errno) => return Err(errno),
                }
            }
            Ok(moved || sent > 0)
        });
        // What the other side said before is still to come.
        self.is_deaf = carried.is_err();
        carried.unwrap_or_default()
    }

    /// Carries bytes from the network. Returns whether there were any.
    fn carry_back(&mut self) -> Result<bool, Errno> {
        let moved = self.back.fill(&mut self.wire)?;
        let drained = match self.is_refused {
            true => Ok(0),
            false => self.back.drain(&mut self.stream.as_fd()),
        };
        // What it has said before may not have been read yet. Unread, what the network says now
        // would make it drop that.
        self.is_refused |= drained.is_err();
        if self.is_refused {
            self.back.clear();
        }
        Ok(moved || drained.is_ok_and(|count| count > 0))
    }

    /// Tells the network when nothing more comes from this machine. Returns whether it has.
    fn says_end(&mut self) -> bool {
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

    /// Whether a client is gone, while the volume takes nothing of it: the volume may itself wait
    /// until the client takes its replies.
    fn is_abandoned(&self) -> bool {
        self.peer == Peer::Client && self.is_deaf
    }

    /// Waits until something can be carried, or the network ends.
    fn waits(&mut self) {
        let mut network = PollFlags::empty();
        let mut local = PollFlags::empty();
        let is_left = self.leaves.is_some();
        network.set(PollFlags::IN, self.back.wants());
        let has_output = !self.out.is_empty() || self.wire.has_output();
        network.set(PollFlags::OUT, has_output && !self.is_deaf);
        // A client that closes its connection is gone, also where nothing is taken of it now.
        let is_client = self.peer == Peer::Client;
        network.set(PollFlags::RDHUP, is_client && self.lingers.is_none());
        local.set(PollFlags::IN, self.out.wants() && !is_left && !self.is_deaf);
        local.set(PollFlags::OUT, !self.back.is_empty());
        let until = [self.leaves, self.lingers].into_iter().flatten().min();
        let left = until.map_or(PROBE, |at| at.saturating_duration_since(Instant::now()));
        let left = Timespec::try_from(left).ok();
        // A side that has ended would wake this at once, unless that is looked at here.
        let mut watched = Vec::with_capacity(2);
        if !local.is_empty() {
            watched.push(PollFd::new(&self.stream, local));
        }
        if is_client || !network.is_empty() {
            watched.push(PollFd::from_borrowed_fd(self.wire.as_fd(), network));
        }
        // Interrupted or not: everything is looked at again.
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

/// Lets the kernel notice that the other machine is gone.
fn notice(wire: &Wire, gone: Duration) {
    let socket = wire.as_fd();
    let probes = gone.as_secs().div_ceil(PROBE.as_secs()) as u32;
    let gone_ms = u32::try_from(gone.as_millis()).unwrap_or(u32::MAX);
    // Without it a break is noticed later, by silence.
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

    /// A relay on a thread of its own: the client, the end of the volume, and when it is over.
    fn relayed(peer: Peer) -> (TcpStream, UnixStream, Receiver<Result<(), Errno>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // Room for all that a test sends behind what the relay takes: the end comes behind it.
        rustix::net::sockopt::set_socket_recv_buffer_size(&listener, 1 << 20).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = listener.accept().unwrap().0;
        socket.set_nonblocking(true).unwrap();
        let (volume, inner) = UnixStream::pair().unwrap();
        let (ends, ended) = channel();
        std::thread::spawn(move || {
            let wire = Wire::from(OwnedFd::from(socket));
            ends.send(Relay::new(wire, inner, peer).run())
        });
        (client, volume, ended)
    }

    /// Sends until the other side has taken nothing for a moment.
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

    /// Far more than it takes, and far less than until the network is given up.
    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn a_client_that_closes_leaves_though_the_volume_takes_and_it_took_nothing() {
        let (mut client, mut volume, ended) = relayed(Peer::Client);
        // Replies that it does not read, and requests that the volume does not take.
        fill(&mut volume);
        fill(&mut client);
        drop(client);
        assert_eq!(ended.recv_timeout(SOON), Ok(Ok(())));
        // The volume sees it.
        rustix::io::ioctl_fionbio(&volume, false).unwrap();
        let _ = volume.read_to_end(&mut Vec::new());
    }

    #[test]
    fn a_client_that_closes_leaves_though_the_volume_waits() {
        let (mut client, volume, ended) = relayed(Peer::Client);
        // A little more than the relay and the socket of the volume have room for: all of it
        // arrives, and the end behind it.
        client
            .write_all(&vec![1; BUFFER_BYTES + (240 << 10)])
            .unwrap();
        drop(client);
        assert_eq!(ended.recv_timeout(SOON), Ok(Ok(())));
        drop(volume);
    }

    #[test]
    fn what_a_client_sent_before_it_closed_reaches_the_volume() {
        let (mut client, mut volume, ended) = relayed(Peer::Client);
        client.write_all(&[7; 100 << 10]).unwrap();
        drop(client);
        let mut taken = Vec::new();
        volume.read_to_end(&mut taken).unwrap();
        assert_eq!(taken, [7; 100 << 10]);
        assert_eq!(ended.recv_timeout(SOON), Ok(Ok(())));
    }

    #[test]
    fn a_node_that_has_said_all_has_it_delivered_though_it_takes_nothing() {
        let (mut node, mut volume, ended) = relayed(Peer::Node);
        let last = vec![7; BUFFER_BYTES + (240 << 10)];
        node.write_all(&last).unwrap();
        node.shutdown(std::net::Shutdown::Write).unwrap();
        fill(&mut volume);
        rustix::io::ioctl_fionbio(&volume, false).unwrap();
        let mut taken = Vec::new();
        // What it sent itself nobody read, which is an error at the end.
        let _ = volume.read_to_end(&mut taken);
        assert!(taken == last, "{} bytes", taken.len());
        assert_eq!(ended.recv_timeout(SOON), Ok(Ok(())));
    }

    #[test]
    fn a_stream_that_takes_nothing_more_still_has_its_last_words_delivered() {
        let (mut node, mut volume, ended) = relayed(Peer::Node);
        volume.shutdown(std::net::Shutdown::Read).unwrap();
        // More than the buffers have room for, so the relay has met the closed side.
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
        let (mut node, mut volume, ended) = relayed(Peer::Node);
        node.write_all(&[7; 100 << 10]).unwrap();
        // Unread at its end, which resets the connection.
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
