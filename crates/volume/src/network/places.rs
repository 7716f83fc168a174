//! How many connections there are at a time. Those whose client is not known yet have slots of
//! their own, and cannot take those of the others: so many for each address, and so many in all.

use super::front::FrontError;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Unfinished handshakes of one address.
pub const OF_ADDRESS_MAX: usize = 16;
/// Unfinished handshakes of one volume.
pub const HANDSHAKES_MAX: usize = 64;
/// Connections of one address whose bytes are carried: more than a volume has places for clients,
/// because those that end take a moment.
pub const CONNECTIONS_MAX: usize = 32;
/// How long a handshake keeps its slot when another one of its address wants it.
const HANDSHAKE_LEAST: Duration = Duration::from_millis(500);
/// Bits of an IPv6 address that are a network: one host may have all addresses of it.
const NETWORK_BITS: u32 = 64;

/// Connections without a known client, the oldest one first.
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

/// A slot that is free again once this is dropped.
#[derive(Debug)]
pub struct Young {
    of: Arc<Handshakes>,
    number: u64,
}

impl Handshakes {
    /// Takes a slot; it never waits. Where there is none, another handshake is closed for it: the
    /// oldest one of the address that has the most.
    ///
    /// # Errors
    /// The address has all slots that it can have, and the oldest one has just been taken.
    pub fn take(
        self: &Arc<Self>,
        (number, from): (u64, IpAddr),
        socket: TcpStream,
        since: Instant,
    ) -> Result<Young, FrontError> {
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
        Ok(Young {
            of: Arc::clone(self),
            number,
        })
    }

    fn all(&self) -> MutexGuard<'_, Vec<Handshake>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handshake {
    /// Its thread sees the end, and is done.
    fn close(self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// The index of the oldest handshake of the address that has the most; of several such addresses,
/// of the one with the oldest.
fn greediest(all: &[Handshake]) -> usize {
    let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for one in all {
        *counts.entry(one.from).or_default() += 1;
    }
    let most = counts.values().copied().max();
    let is_of_most = |one: &Handshake| counts.get(&one.from).copied() == most;
    all.iter().position(is_of_most).unwrap_or(0)
}

/// Returns whose address it is: one host has a whole network of IPv6.
fn network(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) => {
            let mask = u128::MAX << NETWORK_BITS;
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
        v4 => v4,
    }
}

impl Drop for Young {
    fn drop(&mut self) {
        self.of.all().retain(|one| one.number != self.number);
    }
}

/// A connection that is carried, until this is dropped.
#[derive(Debug)]
pub struct Carried(Arc<AtomicUsize>);

impl Carried {
    /// Counts it; None where there are too many.
    pub fn take(count: &Arc<AtomicUsize>) -> Option<Carried> {
        let before = count.fetch_add(1, Ordering::Relaxed);
        let place = Carried(Arc::clone(count));
        (before < CONNECTIONS_MAX).then_some(place)
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    /// Clients that connect, and the handshakes of the server.
    struct Crowd {
        listener: TcpListener,
        handshakes: Arc<Handshakes>,
        clients: Vec<TcpStream>,
    }

    impl Crowd {
        fn new() -> Crowd {
            Crowd {
                listener: TcpListener::bind("127.0.0.1:0").unwrap(),
                handshakes: Arc::default(),
                clients: Vec::new(),
            }
        }

        /// Another client, as if it came from there.
        fn connect(&mut self, from: &str, now: Instant) -> Result<Young, FrontError> {
            let client = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
            client.set_nonblocking(true).unwrap();
            let number = self.clients.len() as u64;
            self.clients.push(client);
            let socket = self.listener.accept().unwrap().0;
            let from = (number, from.parse().unwrap());
            self.handshakes.take(from, socket, now)
        }

        /// Which clients were closed.
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
        let (mut crowd, now) = (Crowd::new(), Instant::now());
        let connect = |crowd: &mut Crowd, at| crowd.connect("192.0.2.1", at);
        let mut places: Vec<Young> = (0..OF_ADDRESS_MAX)
            .map(|_| connect(&mut crowd, now).unwrap())
            .collect();
        let refused = connect(&mut crowd, now);
        assert!(matches!(refused, Err(FrontError::TooManyOfAddress)));
        // It is closed, and others are not affected.
        assert_eq!(crowd.closed(), [OF_ADDRESS_MAX]);
        let other = crowd.connect("192.0.2.2", now).unwrap();
        let later = now + HANDSHAKE_LEAST;
        places.push(connect(&mut crowd, later).unwrap());
        assert_eq!(
            crowd.closed(),
            [0, OF_ADDRESS_MAX],
            "the oldest one is closed"
        );
        // The slot of one that was closed is not returned twice.
        drop(places.remove(0));
        assert!(connect(&mut crowd, now).is_err());
        drop(places.remove(0));
        places.push(connect(&mut crowd, now).unwrap());
        drop(other);
    }

    #[test]
    fn where_all_slots_are_taken_the_address_with_the_most_gives_one_at_once() {
        let (mut crowd, now) = (Crowd::new(), Instant::now());
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
    fn connections_have_a_bound_and_leave_their_places() {
        let count = Arc::default();
        let mut all: Vec<Carried> = (0..CONNECTIONS_MAX)
            .map(|_| Carried::take(&count).unwrap())
            .collect();
        assert!(Carried::take(&count).is_none());
        all.pop();
        assert!(Carried::take(&count).is_some());
    }
}
