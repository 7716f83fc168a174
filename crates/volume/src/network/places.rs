//! Limits concurrent connections. Those in the handshake have their own slots, limited per address
//! and in total, so that they cannot use up those of identified clients.

use super::front::FrontError;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub const OF_ADDRESS_MAX: usize = 16;
pub const HANDSHAKES_MAX: usize = 64;
/// Maximum number of relayed connections per volume. Larger than the volume's number of client
/// slots, because closing takes a moment.
pub const CONNECTIONS_MAX: usize = 32;
/// Minimum time for which a connection in the handshake keeps its slot when another connection from
/// its address needs one.
const HANDSHAKE_LEAST: Duration = Duration::from_millis(500);
/// Prefix length of an IPv6 network: one host may use all addresses in it.
const NETWORK_BITS: u32 = 64;

/// Connections in the handshake, the oldest first.
#[derive(Debug, Default)]
pub struct Handshakes {
    all: Mutex<Vec<Handshake>>,
}

#[derive(Debug)]
struct Handshake {
    number: u64,
    from: IpAddr,
    since: Instant,
    socket: TcpStream,
}

/// Slot of a connection in the handshake. Dropping it frees the slot.
#[derive(Debug)]
pub struct HandshakeSlot {
    of: Arc<Handshakes>,
    number: u64,
}

impl Handshakes {
    /// Reserves a slot without waiting. If the address uses all of its slots, closes its oldest
    /// handshake. If all slots are in use, closes the oldest handshake of the address with the most
    /// handshakes.
    ///
    /// # Errors
    /// The address uses all its slots, and its oldest handshake has only just begun.
    pub fn take(
        self: &Arc<Self>,
        number: u64,
        from: IpAddr,
        socket: TcpStream,
        since: Instant,
    ) -> Result<HandshakeSlot, FrontError> {
        let from = network(from);
        let mut all = self.all();
        let of_it = all.iter().filter(|one| one.from == from).count();
        if of_it >= OF_ADDRESS_MAX {
            let oldest = all.iter().position(|one| one.from == from);
            let is_old = |place: &usize| {
                let age = since.saturating_duration_since(all[*place].since);
                age >= HANDSHAKE_LEAST
            };
            match oldest.filter(is_old) {
                Some(place) => all.remove(place).close(),
                None => return Err(FrontError::TooManyOfAddress),
            }
        }
        while all.len() >= HANDSHAKES_MAX {
            let place = greediest(&all);
            all.remove(place).close();
        }
        all.push(Handshake {
            number,
            from,
            since,
            socket,
        });
        Ok(HandshakeSlot {
            of: Arc::clone(self),
            number,
        })
    }

    fn all(&self) -> MutexGuard<'_, Vec<Handshake>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handshake {
    fn close(self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// Returns the index of the oldest handshake from the address that has the most handshakes. If
/// several addresses have equally many, the one with the oldest handshake counts.
fn greediest(all: &[Handshake]) -> usize {
    let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for one in all {
        *counts.entry(one.from).or_default() += 1;
    }
    let most = counts.values().copied().max();
    let is_of_most = |one: &Handshake| counts.get(&one.from).copied() == most;
    all.iter().position(is_of_most).unwrap_or(0)
}

fn network(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) => {
            let mask = u128::MAX << NETWORK_BITS;
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
        v4 => v4,
    }
}

impl Drop for HandshakeSlot {
    fn drop(&mut self) {
        self.of.all().retain(|one| one.number != self.number);
    }
}

/// Slot of a relayed connection. Dropping it frees the slot.
#[derive(Debug)]
pub struct RelaySlot(Arc<AtomicUsize>);

impl RelaySlot {
    /// Reserves a slot; None if all are in use.
    pub fn take(count: &Arc<AtomicUsize>) -> Option<RelaySlot> {
        let before = count.fetch_add(1, Ordering::Relaxed);
        let place = RelaySlot(Arc::clone(count));
        (before < CONNECTIONS_MAX).then_some(place)
    }
}

impl Drop for RelaySlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    /// Clients of the test, and the server's handshakes.
    struct HandshakeFixture {
        listener: TcpListener,
        handshakes: Arc<Handshakes>,
        clients: Vec<TcpStream>,
    }

    impl HandshakeFixture {
        fn new() -> HandshakeFixture {
            HandshakeFixture {
                listener: TcpListener::bind("127.0.0.1:0").unwrap(),
                handshakes: Arc::default(),
                clients: Vec::new(),
            }
        }

        /// Connects another client that seems to come from `from`.
        fn connect(&mut self, from: &str, now: Instant) -> Result<HandshakeSlot, FrontError> {
            let client = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
            client.set_nonblocking(true).unwrap();
            let number = self.clients.len() as u64;
            self.clients.push(client);
            let socket = self.listener.accept().unwrap().0;
            let from = from.parse().unwrap();
            self.handshakes.take(number, from, socket, now)
        }

        /// Indexes of the clients that were closed.
        fn closed(&mut self) -> Vec<usize> {
            let is_closed = |client: &mut TcpStream| matches!(client.read(&mut [0]), Ok(0));
            let clients = self.clients.iter_mut().map(is_closed).enumerate();
            clients
                .filter_map(|(place, is)| is.then_some(place))
                .collect()
        }
    }

    #[test]
    fn an_address_with_all_its_slots_gets_no_other_before_a_moment_has_passed() {
        let (mut crowd, now) = (HandshakeFixture::new(), Instant::now());
        let connect = |crowd: &mut HandshakeFixture, at| crowd.connect("192.0.2.1", at);
        let mut places: Vec<HandshakeSlot> = (0..OF_ADDRESS_MAX)
            .map(|_| connect(&mut crowd, now).unwrap())
            .collect();
        let refused = connect(&mut crowd, now);
        assert!(matches!(refused, Err(FrontError::TooManyOfAddress)));
        // The connection is closed; other addresses are not affected.
        assert_eq!(crowd.closed(), [OF_ADDRESS_MAX]);
        let other = crowd.connect("192.0.2.2", now).unwrap();
        let later = now + HANDSHAKE_LEAST;
        places.push(connect(&mut crowd, later).unwrap());
        assert_eq!(
            crowd.closed(),
            [0, OF_ADDRESS_MAX],
            "the oldest one is closed"
        );
        // A slot of a closed handshake is not freed twice.
        drop(places.remove(0));
        assert!(connect(&mut crowd, now).is_err());
        drop(places.remove(0));
        places.push(connect(&mut crowd, now).unwrap());
        drop(other);
    }

    #[test]
    fn with_no_free_slot_the_largest_address_loses_one() {
        let (mut crowd, now) = (HandshakeFixture::new(), Instant::now());
        let good = crowd.connect("198.51.100.1", now).unwrap();
        let greedy = [
            OF_ADDRESS_MAX - 1,
            OF_ADDRESS_MAX,
            OF_ADDRESS_MAX,
            OF_ADDRESS_MAX,
        ];
        let mut places = Vec::new();
        for (host, count) in greedy.into_iter().enumerate() {
            let from = format!("192.0.2.{host}");
            places.extend((0..count).map(|_| crowd.connect(&from, now).unwrap()));
        }
        assert_eq!(places.len() + 1, HANDSHAKES_MAX);
        let other = crowd.connect("203.0.113.1", now).unwrap();
        assert_eq!(crowd.closed(), [OF_ADDRESS_MAX], "the oldest of 192.0.2.1");
        drop((good, other));
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let of = |address: &str| network(address.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::9"));
        assert_ne!(of("2001:db8:1:2::9"), of("2001:db8:1:3::9"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn connections_are_bounded_and_release_their_slots() {
        let count = Arc::default();
        let mut all: Vec<RelaySlot> = (0..CONNECTIONS_MAX)
            .map(|_| RelaySlot::take(&count).unwrap())
            .collect();
        assert!(RelaySlot::take(&count).is_none());
        all.pop();
        assert!(RelaySlot::take(&count).is_some());
    }
}
