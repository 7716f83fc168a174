//! Addresses that are about to be given away on purpose.

use crate::reactor::Instant;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Which addresses, and since when.
#[derive(Debug, Default)]
pub(crate) struct Draining {
    /// Whether there are any: all that a request asks otherwise.
    any: AtomicBool,
    list: Mutex<Vec<(IpAddr, Instant)>>,
}

impl Draining {
    /// Since when an address is.
    pub(super) fn since(&self, address: IpAddr) -> Option<Instant> {
        if !self.any.load(Relaxed) {
            return None;
        }
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let found = list.iter().find(|(other, _)| *other == address);
        found.map(|(_, since)| *since)
    }

    /// These are now. True: some are that were not before.
    pub(super) fn set(&self, addresses: &[IpAddr], now: Instant) -> bool {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|(address, _)| addresses.contains(address));
        let kept = list.len();
        for address in addresses {
            if list.iter().all(|(other, _)| other != address) {
                list.push((*address, now));
            }
        }
        self.any.store(!list.is_empty(), Relaxed);
        list.len() > kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_drains_since_it_was_first_said_until_it_is_said_no_more() {
        let at = Instant::from_nanos;
        let ip = |n: u8| IpAddr::from([192, 0, 2, n]);
        let draining = Draining::default();
        assert_eq!(draining.since(ip(1)), None);
        assert!(draining.set(&[ip(1)], at(5)));
        assert!(!draining.set(&[ip(1)], at(6)));
        assert!(draining.set(&[ip(1), ip(2)], at(7)));
        assert_eq!(draining.since(ip(1)), Some(at(5)));
        assert_eq!(draining.since(ip(2)), Some(at(7)));
        assert_eq!(draining.since(ip(3)), None);
        assert!(!draining.set(&[ip(2)], at(8)));
        assert_eq!(draining.since(ip(1)), None);
        draining.set(&[], at(9));
        assert_eq!(draining.since(ip(2)), None);
    }
}
