//! The state of one server: administrative and checked state, weight, limits,
//! connections. Written by the side thread (checks, operators), read by all.

use super::{Counters, Gauge, Rate};
use crate::queue::Queue;
use std::sync::atomic::AtomicU32;

/// What an operator wants of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum AdminState {
    /// In service.
    #[default]
    Ready,
    /// No new sessions but persistent ones.
    Drain,
    /// In maintenance: no traffic, no checks.
    Maintenance,
}

/// What the checks found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum HealthState {
    /// Serves.
    #[default]
    Up,
    /// Does not.
    Down,
    /// Serves, but asked for no new sessions (404 with `disable-on-404`).
    Stopping,
}

/// The state of one server, found again by the names of its backend and its own.
#[derive(Debug, Default)]
pub struct ServerState {
    /// Its name.
    pub name: Box<str>,
    /// Unique in the process: the place of its pools in each thread.
    pub uid: u32,
    /// Counters.
    pub counters: Counters,
    /// Streams that hold one of its slots: what its `maxconn` bounds.
    pub sessions: Gauge,
    /// Sessions a second.
    pub session_rate: Rate,
    /// Idle connections in all pools.
    pub idle: AtomicU32,
    /// Streams that wait for this server.
    pub queue: Queue,
}
