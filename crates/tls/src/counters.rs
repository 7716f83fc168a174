//! The TLS counters of the process: current connections, handshakes, and those of them
//! that were full handshakes. Global, like the session cache and the ticket keys.

use reactor::{Gauge, Rate};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The counters.
#[derive(Debug, Default)]
pub struct TlsCounters {
    /// TLS connections now, of clients and with servers; handshakes included.
    pub connections: Gauge,
    /// All that ever were.
    pub total: AtomicU64,
    /// Clients' handshakes a second.
    pub rate: Rate,
    /// Those that did not resume a session.
    pub client_keys: Rate,
    /// Handshakes with servers that did not resume a session.
    pub server_keys: Rate,
}

static COUNTERS: LazyLock<TlsCounters> = LazyLock::new(TlsCounters::default);

/// Returns the counters of the process.
pub fn counters() -> &'static TlsCounters {
    &COUNTERS
}

impl TlsCounters {
    /// How many of the clients' handshakes of the last second resumed a session,
    /// percent.
    pub fn resumed_percent(&self, now_ms: u64) -> u64 {
        let (all, keys) = (self.rate.read(now_ms), self.client_keys.read(now_ms));
        if all == 0 {
            return 0;
        }
        (all.saturating_sub(keys) * 100) / all
    }
}

/// One TLS connection, counted for as long as it lives.
#[derive(Debug)]
pub struct Counted(());

impl Counted {
    /// One more, unless there are `most` already (`maxsslconn`).
    pub fn new(most: Option<u32>) -> Option<Counted> {
        if !COUNTERS.connections.up_to(most.unwrap_or(0)) {
            return None;
        }
        COUNTERS.total.fetch_add(1, Relaxed);
        Some(Counted(()))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        COUNTERS.connections.down();
    }
}
