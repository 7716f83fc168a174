//! How many connections there are at a time. Those whose client is not known yet have places of
//! their own, and cannot take those of the others; the oldest of them leaves for a new one.

use std::collections::VecDeque;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Connections of one address whose handshake is not finished.
pub const HANDSHAKES_MAX: usize = 16;
/// Connections of one address whose bytes are carried: more than a volume has places for clients,
/// because those that end take a moment.
pub const CONNECTIONS_MAX: usize = 32;
/// How long a connection keeps its place when another one wants it.
const HANDSHAKE_LEAST: Duration = Duration::from_millis(500);

/// Connections without a known client.
#[derive(Debug, Default)]
pub struct Handshakes {
    all: Mutex<VecDeque<Handshake>>,
}

#[derive(Debug)]
struct Handshake {
    number: u64,
    since: Instant,
    socket: TcpStream,
}

/// A place that is free again once this is dropped.
#[derive(Debug)]
pub struct Young {
    of: Arc<Handshakes>,
    number: u64,
}

impl Handshakes {
    /// How long the next connection has to wait for a place; None: not at all.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        let all = self.all();
        let oldest = all.front().filter(|_| all.len() >= HANDSHAKES_MAX)?;
        let left = HANDSHAKE_LEAST.saturating_sub(now.saturating_duration_since(oldest.since));
        (!left.is_zero()).then_some(left)
    }

    /// Takes a place. The oldest connection is closed where there is none.
    pub fn take(self: &Arc<Self>, number: u64, socket: TcpStream, since: Instant) -> Young {
        let mut all = self.all();
        while all.len() >= HANDSHAKES_MAX {
            // Its thread sees the end, and is done.
            let oldest = all.pop_front();
            oldest.map(|oldest| oldest.socket.shutdown(Shutdown::Both));
        }
        all.push_back(Handshake {
            number,
            since,
            socket,
        });
        Young {
            of: Arc::clone(self),
            number,
        }
    }

    fn all(&self) -> MutexGuard<'_, VecDeque<Handshake>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[test]
    fn the_oldest_handshake_leaves_for_a_new_one_after_a_moment() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut clients = Vec::new();
        let mut connect = || {
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            clients.push(client);
            listener.accept().unwrap().0
        };
        let handshakes = Arc::new(Handshakes::default());
        let now = Instant::now();
        let mut places: Vec<Young> = (0..HANDSHAKES_MAX as u64)
            .map(|number| {
                assert_eq!(handshakes.wait(now), None);
                handshakes.take(number, connect(), now)
            })
            .collect();
        assert_eq!(handshakes.wait(now), Some(HANDSHAKE_LEAST));
        let later = now + HANDSHAKE_LEAST;
        assert_eq!(handshakes.wait(later), None);
        places.push(handshakes.take(99, connect(), later));
        let ended = clients[0].read(&mut [0]);
        assert_eq!(ended.unwrap(), 0, "the oldest one is closed");
        // The place of one that was closed is not given back twice.
        drop(places.remove(0));
        assert_eq!(handshakes.wait(now), Some(HANDSHAKE_LEAST));
        drop(places.remove(0));
        assert_eq!(handshakes.wait(now), None);
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
