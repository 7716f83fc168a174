//! The state of one proxy: what outlives a change of the configuration.

use super::{Counters, Gauge, Rate};
use crate::balance;
use crate::queue::Queue;
use std::sync::atomic::{AtomicBool, AtomicU32};

/// The state of one proxy, found again by its name.
#[derive(Debug, Default)]
pub struct ProxyState {
    /// Its name.
    pub name: Box<str>,
    /// Counters of its frontend side.
    pub frontend: Counters,
    /// Counters of its backend side.
    pub backend: Counters,
    /// Connections of clients now: what `maxconn` bounds.
    pub frontend_sessions: Gauge,
    /// Streams in the backend now.
    pub backend_sessions: Gauge,
    /// Sessions a second of the frontend.
    pub session_rate: Rate,
    /// Connections a second of the frontend.
    pub connection_rate: Rate,
    /// HTTP requests a second of the frontend.
    pub request_rate: Rate,
    /// Sessions a second of the backend.
    pub backend_session_rate: Rate,
    /// Streams that wait for any server of the backend.
    pub queue: Queue,
    /// What the balance algorithm remembers.
    pub balance: balance::State,
    /// `maxconn` as an operator set it; 0 takes the file's.
    pub maxconn_set: AtomicU32,
    /// `disable frontend`, `shutdown frontend`: its listeners take no one.
    pub paused: AtomicBool,
}

impl ProxyState {
    /// A new proxy's state.
    pub fn new(name: &str) -> Self {
        ProxyState { name: name.into(), ..Default::default() }
    }
}
