//! Holds the memory that the proxy shares with the process that moves virtual addresses
//! ([`crate::vitals`]), and lists the addresses that are about to leave this machine as planned.

use protocol::vitals::Vitals;
use reactor::Instant;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};

#[derive(Debug, Default)]
pub(crate) struct VitalsMemory {
    pub(crate) memory: OnceLock<(Vitals<'static>, u64)>,
    /// Number of times that this process has claimed the shared memory. After each claim it must
    /// write the table of slots again.
    pub(crate) claims: AtomicU64,
    pub(crate) draining: Draining,
}

impl VitalsMemory {
    /// Returns the shared memory, and the number that identifies this process as its writer.
    pub(crate) fn memory(&self) -> Option<(Vitals<'static>, u64)> {
        self.memory.get().copied()
    }
}

/// Addresses whose connections are being drained, with the start and end of each drain.
#[derive(Debug, Default)]
pub(crate) struct Draining {
    /// Set while any address drains; otherwise a request checks only this.
    any: AtomicBool,
    list: Mutex<Vec<(IpAddr, Drain)>>,
}

/// Period in which client connections to an address should end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Drain {
    pub since: Instant,
    /// Time at which the address leaves this machine. Connections that still exist are then reset.
    pub until: Instant,
}

impl Drain {
    /// Returns when the last idle connection is to be closed: a request that a client
    /// sends just before that still gets its response.
    pub(crate) fn last_close(self) -> Instant {
        self.since + self.until.saturating_duration_since(self.since) * 3 / 4
    }
}

impl Draining {
    pub(crate) fn of(&self, address: IpAddr) -> Option<Drain> {
        if !self.any.load(Relaxed) {
            return None;
        }
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let found = list.iter().find(|(other, _)| *other == address);
        found.map(|(_, drain)| *drain)
    }

    pub(crate) fn set(&self, addresses: &[(IpAddr, Instant)], now: Instant) -> bool {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|(address, _)| addresses.iter().any(|(other, _)| other == address));
        let kept = list.len();
        for (address, until) in addresses {
            if list.iter().all(|(other, _)| other != address) {
                let drain = Drain {
                    since: now,
                    until: *until,
                };
                list.push((*address, drain));
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
    fn repeated_drain_requests_keep_the_first_time() {
        let at = Instant::from_nanos;
        let ip = |n: u8| IpAddr::from([192, 0, 2, n]);
        let draining = Draining::default();
        let since = |address| draining.of(address).map(|drain| drain.since);
        let until = |n| (ip(n), at(100));
        assert_eq!(since(ip(1)), None);
        assert!(draining.set(&[until(1)], at(5)));
        assert!(!draining.set(&[until(1)], at(6)));
        assert!(draining.set(&[until(1), until(2)], at(7)));
        assert_eq!(since(ip(1)), Some(at(5)));
        assert_eq!(since(ip(2)), Some(at(7)));
        assert_eq!(since(ip(3)), None);
        assert!(!draining.set(&[until(2)], at(8)));
        assert_eq!(since(ip(1)), None);
        draining.set(&[], at(9));
        assert_eq!(since(ip(2)), None);
    }

    #[test]
    fn idle_connections_close_before_the_address_leaves() {
        let at = Instant::from_nanos;
        let drain = |since, until| Drain {
            since: at(since),
            until: at(until),
        };
        assert_eq!(drain(100, 500).last_close(), at(400));
        assert_eq!(drain(500, 100).last_close(), at(500), "it is over");
    }
}
