//! What a server's state consists of, by what it is about. All of it is read by
//! the data plane without a lock, but [`Followers`].

use super::{PERSISTENT, ServerState, TakesErrors, UP, USABLE, WEIGHT_SCALE};
use crate::state::{Counters, LastTime};
use reactor::{Gauge, Rate};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};
use std::sync::{Mutex, Weak};

/// What a server has served, and serves.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Counters.
    pub counters: Counters,
    /// Streams that hold one of its slots: what its `maxconn` bounds.
    pub sessions: Gauge,
    /// Sessions a second.
    pub session_rate: Rate,
    /// When it last had a session.
    pub last_session: LastTime,
}

/// The idle connections to a server.
#[derive(Debug, Default)]
pub struct Idle {
    /// Idle connections in all pools.
    pub count: AtomicU32,
    /// Threads that have some: a bit each.
    pub(crate) threads: AtomicU64,
    /// `pool-purge-delay` of the newest file, milliseconds.
    pub(crate) purge_delay_ms: AtomicU32,
}

/// Whether a server may take sessions.
#[derive(Debug)]
pub(crate) struct Standing {
    /// Bits: usable, for persistent sessions, up, a backup, of another address.
    pub(crate) flags: AtomicU32,
    /// See [`ServerState::rank`].
    pub(crate) rank: AtomicU64,
    /// `disable health`: see [`ServerState::stop_checks`].
    pub(crate) checks_stopped: AtomicBool,
}

impl Default for Standing {
    fn default() -> Self {
        Standing {
            flags: AtomicU32::new(USABLE | PERSISTENT | UP),
            rank: AtomicU64::new(0),
            checks_stopped: AtomicBool::new(false),
        }
    }
}

/// A server's share of the load.
#[derive(Debug)]
pub(crate) struct Share {
    /// In parts of [`WEIGHT_SCALE`].
    pub(crate) weight: AtomicU32,
    /// The same as if it were warm.
    pub(crate) whole_weight: AtomicU32,
    /// Percent of its weight and limit that it gets while it warms up.
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

/// What a server may be given at once; 0 is no limit.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    pub(crate) maxconn: AtomicU32,
    pub(crate) minconn: AtomicU32,
    pub(crate) maxqueue: AtomicU32,
}

/// What the balance of a backend remembers of one of its servers.
#[derive(Debug, Default)]
pub struct InBalance {
    /// It stands in the list of what changed.
    pub listed: AtomicBool,
    /// The balance wants to know when a slot is given back.
    pub(crate) interest: AtomicBool,
    /// Its place among the servers of the newest tree.
    pub(crate) index_hint: AtomicU32,
}

/// How a server is reached.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// See [`super::Way`].
    pub(crate) way: AtomicU64,
    /// What an operator said of TLS.
    pub(crate) tls: AtomicU8,
}

/// The end of a server, or of its sessions.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// The newest file has it no more.
    pub(crate) retired: AtomicBool,
    /// Streams which look at this are told to end when it changes: it counts
    /// the times that the sessions of this server were shut down, above the
    /// bits of the last [`super::Shutdown`].
    pub(crate) shutdowns: AtomicU32,
}

/// Who follows what becomes of a server.
#[derive(Debug, Default)]
pub(crate) struct Followers {
    /// Servers whose state is this one's.
    pub(crate) trackers: Mutex<Vec<Weak<ServerState>>>,
    /// Errors of its traffic in a row (`observe`).
    pub(crate) errors_in_row: AtomicU32,
    /// Who is told when they are too many.
    pub(crate) observer: Mutex<Option<Weak<dyn TakesErrors>>>,
}
