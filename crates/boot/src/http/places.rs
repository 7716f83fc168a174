//! Limits the HTTP connections, in total and per client address.

use part::lock;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

#[derive(Debug)]
pub(super) struct ConnectionLimiter {
    all_max: usize,
    of_one_max: usize,
    taken: Mutex<ConnectionCounts>,
}

#[derive(Debug, Default)]
struct ConnectionCounts {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

/// Slot of a connection, until it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    places: Arc<ConnectionLimiter>,
    of: IpAddr,
}

impl ConnectionLimiter {
    pub(super) fn new(all_max: usize, of_one_max: usize) -> Arc<ConnectionLimiter> {
        Arc::new(ConnectionLimiter {
            all_max,
            of_one_max,
            taken: Mutex::default(),
        })
    }

    /// Acquires a slot for a connection from an address. None: a limit is reached.
    pub(super) fn take(self: &Arc<ConnectionLimiter>, of: IpAddr) -> Option<ConnectionSlot> {
        let mut taken = lock(&self.taken);
        let own = taken.of.get(&of).copied().unwrap_or(0);
        if taken.all >= self.all_max || own >= self.of_one_max {
            return None;
        }
        taken.all += 1;
        taken.of.insert(of, own + 1);
        Some(ConnectionSlot {
            places: Arc::clone(self),
            of,
        })
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut taken = lock(&self.places.taken);
        taken.all -= 1;
        if let Some(own) = taken.of.get_mut(&self.of) {
            *own -= 1;
            if *own == 0 {
                taken.of.remove(&self.of);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn places_are_limited_for_all_and_for_one_and_come_back() {
        let places = ConnectionLimiter::new(3, 2);
        let of = |last| IpAddr::from(Ipv4Addr::new(192, 0, 2, last));
        let held = [places.take(of(1)).unwrap(), places.take(of(1)).unwrap()];
        assert!(places.take(of(1)).is_none());
        let _other = places.take(of(2)).unwrap();
        assert!(places.take(of(3)).is_none());
        drop(held);
        assert_eq!(lock(&places.taken).of.len(), 1);
        assert!(places.take(of(1)).is_some());
    }
}
