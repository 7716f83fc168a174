//! Limits the connections at the port of guest roles before their certificate is known. A guest
//! role dials from a privileged port, so other users of the nodes' machines cannot use up the slots
//! of nodes. All other connections share a few slots; a new connection replaces the oldest one
//! without a certificate.

use part::lock;
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::sockopt::{set_socket_reuseaddr, socket_error};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Privileged source ports that no well-known service uses.
const RESERVED: std::ops::RangeInclusive<u16> = 700..=1023;
const TRIES: u16 = 16;
/// Maximum number of connections from privileged ports at addresses of nodes.
const NODES_MAX: usize = 32;
/// Maximum number of all other connections without a certificate.
const STRANGERS_MAX: usize = 16;
/// Maximum number of all other connections with a certificate: a node may connect from an address
/// that the cluster does not know.
const KNOWN_MAX: usize = 32;
/// Minimum time for which a connection that has not presented a certificate keeps its slot, so that
/// a flood of connections does not replace all others at once.
const TURN: Duration = Duration::from_millis(40);

#[derive(Debug, Default)]
pub struct ConnectionSlots {
    nodes: AtomicUsize,
    known: AtomicUsize,
    strangers: Mutex<UnknownClients>,
}

#[derive(Debug, Default)]
struct UnknownClients {
    last: u64,
    all: VecDeque<(u64, Instant, TcpStream)>,
}

/// Slot of a connection, released when dropped.
#[derive(Debug)]
pub struct ConnectionSlot {
    door: Arc<ConnectionSlots>,
    of: SlotKind,
}

#[derive(Debug)]
enum SlotKind {
    Node,
    Known,
    Stranger(u64),
}

impl ConnectionSlots {
    /// Acquires a slot for a connection. `is_node`: the connection comes from the address of
    /// another node. None: no slot is free.
    pub fn enter(
        self: &Arc<ConnectionSlots>,
        socket: &TcpStream,
        is_node: bool,
    ) -> Option<ConnectionSlot> {
        let port = socket.peer_addr().map_or(u16::MAX, |at| at.port());
        let of = if is_node && port <= *RESERVED.end() {
            one_more(&self.nodes, NODES_MAX).then_some(SlotKind::Node)
        } else {
            self.stranger(socket).map(SlotKind::Stranger)
        };
        Some(ConnectionSlot {
            door: Arc::clone(self),
            of: of?,
        })
    }

    fn stranger(&self, socket: &TcpStream) -> Option<u64> {
        let handle = socket.try_clone().ok()?;
        let mut strangers = lock(&self.strangers);
        if strangers.all.len() >= STRANGERS_MAX {
            let has_had = |(_, since, _): &(u64, Instant, TcpStream)| since.elapsed() >= TURN;
            if !strangers.all.front().is_some_and(has_had) {
                return None;
            }
            if let Some((_, _, oldest)) = strangers.all.pop_front() {
                // Shuts the oldest connection down, which its thread notices.
                let _ = oldest.shutdown(Shutdown::Both);
            }
        }
        strangers.last += 1;
        let number = strangers.last;
        strangers.all.push_back((number, Instant::now(), handle));
        Some(number)
    }

    fn leave(&self, number: u64) -> bool {
        let mut strangers = lock(&self.strangers);
        let at = strangers.all.iter().position(|(own, ..)| *own == number);
        at.and_then(|at| strangers.all.remove(at)).is_some()
    }
}

impl ConnectionSlot {
    /// Marks the connection as one with a node's certificate, which no new connection replaces.
    /// False: the connection was replaced already, or too many such connections exist.
    pub fn is_known(&mut self) -> bool {
        let SlotKind::Stranger(number) = self.of else {
            return true;
        };
        if !self.door.leave(number) || !one_more(&self.door.known, KNOWN_MAX) {
            return false;
        }
        self.of = SlotKind::Known;
        true
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        match self.of {
            SlotKind::Node => drop(self.door.nodes.fetch_sub(1, Ordering::Relaxed)),
            SlotKind::Known => drop(self.door.known.fetch_sub(1, Ordering::Relaxed)),
            SlotKind::Stranger(number) => drop(self.door.leave(number)),
        }
    }
}

fn one_more(count: &AtomicUsize, most: usize) -> bool {
    let more = |count| (count < most).then_some(count + 1);
    count
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
        .is_ok()
}

/// Connects from a privileged port, or from another one if none is free.
///
/// # Errors
/// A system call fails.
pub fn dial(at: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let first = crate::clock::boottime_ns() as u16;
    for number in 0..TRIES {
        let count = RESERVED.end() - RESERVED.start() + 1;
        let port = RESERVED.start() + first.wrapping_add(number.wrapping_mul(7)) % count;
        match dial_from(at, port, patience) {
            Err(error) if is_taken(&error) => {}
            done => return done,
        }
    }
    TcpStream::connect_timeout(&at, patience)
}

fn is_taken(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
    matches!(
        error.kind(),
        AddrInUse | AddrNotAvailable | PermissionDenied
    )
}

fn dial_from(at: SocketAddr, port: u16, patience: Duration) -> io::Result<TcpStream> {
    let (family, any): (_, IpAddr) = match at {
        SocketAddr::V4(_) => (AddressFamily::INET, Ipv4Addr::UNSPECIFIED.into()),
        SocketAddr::V6(_) => (AddressFamily::INET6, Ipv6Addr::UNSPECIFIED.into()),
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Allows a port that is still in TIME_WAIT from an earlier connection.
    set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &SocketAddr::new(any, port))?;
    ioctl_fionbio(&socket, true)?;
    match connect(&socket, &at) {
        Ok(()) => {}
        Err(Errno::INPROGRESS) => wait_for(&socket, patience)?,
        Err(errno) => return Err(errno.into()),
    }
    ioctl_fionbio(&socket, false)?;
    Ok(TcpStream::from(socket))
}

fn wait_for(socket: &OwnedFd, patience: Duration) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut all = [PollFd::new(socket, PollFlags::OUT)];
        match poll(&mut all, Some(&left)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(socket_error(socket)??),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    /// Returns both ends of a new connection.
    fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let at = listener.local_addr().unwrap();
        let own = TcpStream::connect(at).unwrap();
        (own, listener.accept().unwrap().0)
    }

    #[test]
    fn the_oldest_anonymous_connection_is_evicted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let door = Arc::new(ConnectionSlots::default());
        let mut all = Vec::new();
        for at in 0..STRANGERS_MAX {
            let (own, its) = pair(&listener);
            let place = door.enter(&its, at % 2 == 0).unwrap();
            all.push((own, its, place));
        }
        // The minimum time of all connections is over.
        lock(&door.strangers)
            .all
            .iter_mut()
            .for_each(|(_, since, _)| {
                *since = since.checked_sub(TURN).unwrap();
            });
        assert!(all[1].2.is_known(), "it has a place of its own");
        let (_first, its) = pair(&listener);
        let _place = door.enter(&its, false).unwrap();
        assert!(lock(&door.strangers).all.len() == STRANGERS_MAX);
        let (_second, its) = pair(&listener);
        let _other = door.enter(&its, false).unwrap();
        assert_eq!(all[0].0.read(&mut [0]).unwrap(), 0, "it has to leave");
        assert!(!all[0].2.is_known() && all[1].2.is_known());
        drop(all);
        assert_eq!(lock(&door.strangers).all.len(), 2);
        assert_eq!(door.known.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_flood_is_limited_to_its_slots() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let door = Arc::new(ConnectionSlots::default());
        let all: Vec<_> = (0..STRANGERS_MAX)
            .map(|_| {
                let (own, its) = pair(&listener);
                let place = door.enter(&its, true).unwrap();
                (own, its, place)
            })
            .collect();
        // The minimum time of all connections begins an hour later.
        lock(&door.strangers)
            .all
            .iter_mut()
            .for_each(|(_, since, _)| {
                *since += Duration::from_secs(3600);
            });
        let (_own, its) = pair(&listener);
        assert!(door.enter(&its, true).is_none());
        drop(all);
        assert!(door.enter(&its, true).is_some());
    }

    #[test]
    fn a_node_has_its_slot_despite_a_flood() {
        lab::skip_unless_root!();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let door = Arc::new(ConnectionSlots::default());
        let mut places = Vec::new();
        for _ in 0..NODES_MAX {
            let own = dial(at, Duration::from_secs(5)).unwrap();
            assert!(RESERVED.contains(&own.local_addr().unwrap().port()));
            let its = listener.accept().unwrap().0;
            places.push((door.enter(&its, true).unwrap(), own));
        }
        assert!(lock(&door.strangers).all.is_empty());
        let _own = dial(at, Duration::from_secs(5)).unwrap();
        let its = listener.accept().unwrap().0;
        assert!(door.enter(&its, true).is_none(), "all have theirs");
        assert!(door.enter(&its, false).is_some(), "it is a stranger");
        // No listener is left at the address.
        drop(listener);
        let refused = dial(at, Duration::from_secs(5)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
