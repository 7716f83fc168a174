//! Counts the process's TLS connections and handshakes, and how many handshakes were full ones.
//! The counters are global, like the session cache and the ticket keys.

use reactor::{Gauge, Rate};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[derive(Debug, Default)]
pub struct TlsCounters {
    /// Current TLS connections with clients and servers, including handshakes.
    pub connections: Gauge,
    pub total: AtomicU64,
    pub rate: Rate,
    /// Full handshakes with clients per second.
    pub client_keys: Rate,
    /// Full handshakes with servers per second.
    pub server_keys: Rate,
}

static COUNTERS: LazyLock<TlsCounters> = LazyLock::new(TlsCounters::default);

pub fn counters() -> &'static TlsCounters {
    &COUNTERS
}

impl TlsCounters {
    /// Returns the share of the clients' handshakes of the last second that resumed a session,
    /// percent.
    pub fn resumed_percent(&self, now_ms: u64) -> u64 {
        let (all, keys) = (self.rate.read(now_ms), self.client_keys.read(now_ms));
        if all == 0 {
            return 0;
        }
        (all.saturating_sub(keys) * 100) / all
    }
}

/// A TLS connection, counted until it is dropped.
#[derive(Debug)]
pub struct Counted(());

impl Counted {
    /// Counts a connection. None if there are already `most` (`maxsslconn`).
    pub fn new(most: Option<u32>) -> Option<Counted> {
        if !COUNTERS.connections.increment_below(most.unwrap_or(0)) {
            return None;
        }
        COUNTERS.total.fetch_add(1, Relaxed);
        Some(Counted(()))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        COUNTERS.connections.decrement();
    }
}
