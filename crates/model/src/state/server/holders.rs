//! Groups the state of a server by subject: traffic, idle connections, availability, limits.
//! Threads that serve clients read all of it without a lock, except for [`Followers`].

use super::{PERSISTENT, ServerState, TakesErrors, UP, USABLE, WEIGHT_SCALE};
use crate::state::{Counters, LastTime};
use reactor::{Gauge, Rate};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};
use std::sync::{Mutex, Weak};

#[derive(Debug, Default)]
pub struct Traffic {
    pub counters: Counters,
    /// Streams that hold a slot, which `maxconn` limits.
    pub sessions: Gauge,
    pub session_rate: Rate,
    pub last_session: LastTime,
}

/// The idle connections to a server.
#[derive(Debug, Default)]
pub struct Idle {
    /// Idle connections in all pools.
    pub count: AtomicU32,
    /// Threads that have idle connections, one bit each.
    pub(crate) threads: AtomicU64,
    /// `pool-purge-delay` of the newest configuration file, milliseconds.
    pub(crate) purge_delay_ms: AtomicU32,
}

#[derive(Debug)]
pub(crate) struct ServerAvailability {
    /// Bits: usable, usable for persistent sessions, up, backup, address set.
    pub(crate) flags: AtomicU32,
    /// Rank of the server: see [`ServerState::rank`].
    pub(crate) rank: AtomicU64,
    /// `disable health`: see [`ServerState::stop_checks`].
    pub(crate) checks_stopped: AtomicBool,
}

impl Default for ServerAvailability {
    fn default() -> Self {
        ServerAvailability {
            flags: AtomicU32::new(USABLE | PERSISTENT | UP),
            rank: AtomicU64::new(0),
            checks_stopped: AtomicBool::new(false),
        }
    }
}

/// A server's share of the load.
#[derive(Debug)]
pub(crate) struct Share {
    /// Current weight in units of [`WEIGHT_SCALE`].
    pub(crate) weight: AtomicU32,
    pub(crate) whole_weight: AtomicU32,
    /// Percentage of the weight and limit that applies during slow start.
    pub(crate) throttle: AtomicU32,
}

impl Default for Share {
    fn default() -> Self {
        Share {
            weight: AtomicU32::new(WEIGHT_SCALE),
            whole_weight: AtomicU32::new(WEIGHT_SCALE),
            throttle: AtomicU32::new(100),
        }
    }
}

/// Limits of a server; 0 means no limit.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    pub(crate) maxconn: AtomicU32,
    pub(crate) minconn: AtomicU32,
    pub(crate) maxqueue: AtomicU32,
}

/// Data that the balance algorithm of a backend keeps about a server.
#[derive(Debug, Default)]
pub struct InBalance {
    /// The server is in the list of changed servers.
    pub listed: AtomicBool,
    /// The load balancing has requested a notification when a slot is released.
    pub(crate) interest: AtomicBool,
    /// Index of the server in the newest configuration.
    pub(crate) index_hint: AtomicU32,
}

/// Connection settings of a server.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    pub(crate) way: AtomicU64,
    pub(crate) tls: AtomicU8,
}

#[derive(Debug, Default)]
pub(crate) struct ServerShutdown {
    pub(crate) retired: AtomicBool,
    /// Counts in its upper bits how often the sessions of the server were shut down; the lower
    /// bits are the last [`super::Shutdown`]. A stream ends when the value differs from the one
    /// that it stored.
    pub(crate) shutdowns: AtomicU32,
}

/// Objects that are notified of changes of a server.
#[derive(Debug, Default)]
pub(crate) struct Followers {
    pub(crate) trackers: Mutex<Vec<Weak<ServerState>>>,
    /// Number of traffic errors in a row (`observe`).
    pub(crate) errors_in_row: AtomicU32,
    /// Observer that is notified of too many errors.
    pub(crate) observer: Mutex<Option<Weak<dyn TakesErrors>>>,
}
