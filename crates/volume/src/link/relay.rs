//! Carries bytes between a connection of the network and a stream of this machine, where those
//! are who know what they mean. It looks at none of them.

use super::Wire;
use super::silence::is_silent;
use crate::stream::Bytes;
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
use std::time::{Duration, Instant};

/// Bytes that wait in one direction.
const BUFFER_BYTES: usize = 256 << 10;
/// After how long the network is given up if a node takes or confirms nothing.
pub const GONE: Duration = Duration::from_secs(15);
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
struct Lane {
    bytes: Vec<u8>,
    begin: usize,
    end: usize,
    /// Nothing more comes.
    is_over: bool,
}

impl Lane {
    fn new() -> Lane {
        Lane {
            bytes: vec![0; BUFFER_BYTES],
            begin: 0,
            end: 0,
            is_over: false,
        }
    }

    fn is_empty(&self) -> bool {
        self.begin == self.end
    }

    fn wants(&self) -> bool {
        self.is_empty() && !self.is_over
    }

    /// Moves bytes; returns whether there were any.
    fn step(&mut self, from: &mut impl Bytes, to: &mut impl Bytes) -> Result<bool, Errno> {
        let mut moved = false;
        if self.wants() {
            match from.read(&mut [IoSliceMut::new(&mut self.bytes)]) {
                // A reset is an end as well.
                Ok(0) | Err(Errno::CONNRESET | Errno::PIPE | Errno::TIMEDOUT) => {
                    self.is_over = true;
                    moved = true;
                }
                Ok(count) => {
                    (self.begin, self.end) = (0, count);
                    moved = true;
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        if !self.is_empty() {
            match to.write(&[IoSlice::new(&self.bytes[self.begin..self.end])]) {
                Ok(count) => {
                    self.begin += count;
                    moved |= count > 0;
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(moved)
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

/// A connection with its two ends.
struct Relay {
    wire: Wire,
    stream: UnixStream,
    peer: Peer,
    /// From this machine to the network, and back.
    out: Lane,
    back: Lane,
    /// The network takes nothing any more.
    is_deaf: bool,
    /// The network was told that nothing more comes.
    has_ended: bool,
    /// This machine has closed its end: until then the other side may do so, too.
    leaves: Option<Instant>,
    /// A client sends nothing more, and the volume has not taken all of it: until then it may.
    lingers: Option<Instant>,
}

/// Carries bytes in both directions, until one side has closed its end and the other one has
/// what was sent before. The network is given up once it has taken or confirmed nothing for so
/// long as `gone` says. It blocks.
///
/// # Errors
/// The system's; the connection is gone then, too.
pub fn relay(wire: Wire, stream: UnixStream, peer: Peer, gone: Duration) -> Result<(), Errno> {
    stream
        .set_nonblocking(true)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    notice(&wire, gone);
    let mut relay = Relay {
        wire,
        stream,
        peer,
        out: Lane::new(),
        back: Lane::new(),
        is_deaf: false,
        has_ended: false,
        leaves: None,
        lingers: None,
    };
    loop {
        let mut moved = relay.carry_out();
        moved |= relay.carry_back()?;
        if relay.back.is_over && relay.back.is_empty() {
            let _ = shutdown(&relay.stream, Shutdown::Both);
            return Ok(());
        }
        moved |= relay.says_end();
        let is_late = |at: Instant| Instant::now() >= at;
        if relay.leaves.is_some_and(is_late) {
            return Ok(());
        }
        if moved {
            relay.lingers = None;
        } else if relay.is_abandoned() || relay.lingers.is_some_and(is_late) {
            return Ok(());
        } else {
            relay.waits();
        }
    }
}

impl Relay {
    /// Carries bytes to the network. Returns whether there were any.
    fn carry_out(&mut self) -> bool {
        if self.is_deaf {
            return false;
        }
        let mut sent = match self.leaves {
            None => self.out.step(&mut self.stream.as_fd(), &mut self.wire),
            Some(_) => Ok(false),
        };
        if sent.is_ok() && self.wire.has_output() {
            // What TLS has encrypted.
            match self.wire.write(&[]) {
                Ok(_) | Err(Errno::AGAIN) => {}
                Err(errno) => sent = Err(errno),
            }
        }
        // What the other side said before is still to come.
        self.is_deaf = sent.is_err();
        sent.unwrap_or_default()
    }

    /// Carries bytes from the network. Returns whether there were any.
    fn carry_back(&mut self) -> Result<bool, Errno> {
        match self.leaves {
            // Nobody is there for it any more; unread it would make the network drop what was sent.
            Some(_) => {
                self.back.begin = self.back.end;
                self.back.step(&mut self.wire, &mut Nowhere)
            }
            None => self.back.step(&mut self.wire, &mut self.stream.as_fd()),
        }
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
        network.set(PollFlags::IN, self.back.wants() || is_left);
        let has_output = !self.out.is_empty() || self.wire.has_output();
        network.set(PollFlags::OUT, has_output && !self.is_deaf);
        // A client that closes its connection is gone, also where nothing is taken of it now.
        let is_client = self.peer == Peer::Client;
        network.set(PollFlags::RDHUP, is_client && self.lingers.is_none());
        local.set(PollFlags::IN, self.out.wants() && !is_left && !self.is_deaf);
        local.set(PollFlags::OUT, !self.back.is_empty() && !is_left);
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

/// Takes everything.
struct Nowhere;

impl Bytes for Nowhere {
    fn read(&mut self, _: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        Ok(0)
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, Errno> {
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }
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
            ends.send(relay(wire, inner, peer, Duration::from_secs(120)))
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
}
