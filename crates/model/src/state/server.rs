//! Holds the state of one server: administrative state, health, weight, limits, connections. The
//! side thread (checks, operators) changes it under a lock. Threads that serve clients read it from
//! atomics, and take the lock only for data that is set at run time, such as another address.

mod agent;
mod control;
mod holders;
mod kept;
mod report;

pub use agent::{AgentReport, AgentResult, AgentVerdict, ByTracked};
pub use agent::{AgentSet, TakesErrors};
pub(crate) use control::ServerControl;
pub use control::{Adoption, ServerChange};
pub(crate) use holders::{Followers, Limits, Reach, ServerAvailability, ServerShutdown, Share};
pub use holders::{Idle, InBalance, Traffic};
pub use kept::Kept;
pub use kept::{AGE_MAX_MS, COUNT_MAX};
pub use report::{AdminReport, ServerReport};

use super::queue::Queue;
use super::{ProxyState, Tally};
use crate::setting::ServerAddress;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Generation of a server's address and TLS settings. Idle connections of an older generation are
/// not reused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Way(u64);

impl Way {
    /// Replaces the half of the generation that counts changes by the configuration file.
    pub fn of_file(self, way: u32) -> Way {
        Way(self.0 & u64::from(u32::MAX) | u64::from(way) << 32)
    }
}

/// Host name that a server has at run time, in place of the one in the configuration file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostNow {
    pub text: Box<str>,
    /// Port in the SRV record of the service.
    pub port: u16,
    /// The host name comes from an SRV record; otherwise an operator set it.
    pub by_record: bool,
    /// The response with the SRV record also contained the address of the host, so no further
    /// query is needed.
    pub told_beside: bool,
}

/// Administrative state that an operator set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum AdminState {
    #[default]
    Ready,
    /// No new sessions except for persistent ones.
    Drain,
    /// In maintenance: no traffic, no checks.
    Maintenance,
}

/// Health as the checks found it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum HealthState {
    #[default]
    Up,
    Down,
    /// The server responds with status 404, which excludes it from new sessions (`disable-on-404`).
    Stopping,
}

/// Reason for which the sessions of a server were ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Shutdown {
    /// The server went down (`on-marked-down shutdown-sessions`).
    Down,
    /// Another server came up (`on-marked-up shutdown-backup-sessions`).
    Up,
    /// An operator ended the sessions.
    Killed,
}

/// Number of bits of a [`Shutdown`] in [`ServerState::shutdown_mark`].
const SHUTDOWN_BITS: u32 = 2;

/// Number of units in a weight of 1. Smaller units are needed for a server in slow start.
pub const WEIGHT_SCALE: u32 = 16;
pub const WEIGHT_MAX: u32 = 256;

pub(crate) const USABLE: u32 = 1;
pub(crate) const PERSISTENT: u32 = 2;
pub(crate) const UP: u32 = 4;
pub(crate) const BACKUP: u32 = 8;
pub(crate) const ADDRESS_SET: u32 = 16;
/// Value of the TLS setting: an operator switched TLS on. 0 means that no operator set it.
const TLS_ON: u8 = 1;
/// Value of the TLS setting: an operator switched TLS off.
const TLS_OFF: u8 = 2;

/// Uids of removed servers, for reuse. Code that stores a uid must also hold a reference to the
/// server, or tolerate that another server gets the uid.
static FREE_UIDS: Mutex<Vec<u32>> = Mutex::new(Vec::new());
static NEXT_UID: AtomicU32 = AtomicU32::new(0);
/// The rank that the next server to become usable gets ([`ServerState::rank`]); 0 is for servers
/// that have always been usable.
pub(crate) static RANKS: AtomicU64 = AtomicU64::new(1);

/// State of one server, identified by the names of its backend and of the server.
#[derive(Debug)]
pub struct ServerState {
    pub name: Box<str>,
    /// Number that is unique in the process, by which each thread finds its connection pool for
    /// the server.
    pub uid: u32,
    pub backend: Arc<ProxyState>,
    pub traffic: Traffic,
    pub idle: Idle,
    pub queue: Queue,
    pub(crate) availability: ServerAvailability,
    pub(crate) share: Share,
    pub(crate) limits: Limits,
    pub in_balance: InBalance,
    pub(crate) reach: Reach,
    pub(crate) ending: ServerShutdown,
    pub(crate) followers: Followers,
    pub(crate) control: Mutex<ServerControl>,
}

impl Default for ServerState {
    fn default() -> Self {
        ServerState::new("", Arc::default())
    }
}

impl Drop for ServerState {
    fn drop(&mut self) {
        if self.is_retired() {
            self.backend.backend.balance.forget_one();
        }
        FREE_UIDS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(self.uid);
    }
}

impl ServerState {
    #[inline]
    pub fn count(&self, tally: Tally) {
        self.traffic.counters.count(tally);
    }

    /// Creates the state of a new server: up, ready, of weight 1 and without limits. The backend
    /// does not count it until [`ServerState::configure`].
    pub fn new(name: &str, backend: Arc<ProxyState>) -> Self {
        let free = FREE_UIDS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        ServerState {
            name: name.into(),
            uid: free.unwrap_or_else(|| NEXT_UID.fetch_add(1, Ordering::Relaxed)),
            backend,
            traffic: Traffic::default(),
            idle: Idle::default(),
            queue: Queue::default(),
            availability: ServerAvailability::default(),
            share: Share::default(),
            limits: Limits::default(),
            in_balance: InBalance::default(),
            reach: Reach::default(),
            ending: ServerShutdown::default(),
            followers: Followers::default(),
            control: Mutex::default(),
        }
    }

    /// Returns the threads that have idle HTTP/1 connections to the server, one bit each.
    pub fn idle_threads(&self) -> u64 {
        self.idle.threads.load(Ordering::Relaxed)
    }

    /// Records whether a thread has idle connections to the server. Only the thread itself may call
    /// this.
    pub fn has_idle(&self, thread: usize, some: bool) {
        let bit = 1_u64 << thread;
        match (some, self.idle_threads() & bit != 0) {
            (true, false) => self.idle.threads.fetch_or(bit, Ordering::Relaxed),
            (false, true) => self.idle.threads.fetch_and(!bit, Ordering::Relaxed),
            _ => bit,
        };
    }

    fn flag(&self, flag: u32) -> bool {
        self.availability.flags.load(Ordering::Relaxed) & flag != 0
    }

    /// Returns whether balancing may assign new sessions to the server: up, not draining, not in
    /// maintenance, weight above 0.
    pub fn usable(&self) -> bool {
        self.flag(USABLE)
    }

    /// Returns the position of the server in the order in which servers became usable. A server
    /// with a lower rank has been usable for longer.
    pub fn rank(&self) -> u64 {
        self.availability.rank.load(Ordering::Relaxed)
    }

    /// Returns whether the server may take persistent sessions (cookie, stick table). That includes
    /// a server that drains, stops or has a weight of 0.
    pub fn usable_for_persistence(&self) -> bool {
        self.flag(PERSISTENT)
    }

    /// Returns whether checks find the server up and it is not in maintenance.
    pub fn is_up(&self) -> bool {
        self.flag(UP)
    }

    /// Returns whether the newest configuration file no longer has the server. A retired server
    /// finishes its sessions.
    pub fn is_retired(&self) -> bool {
        self.ending.retired.load(Ordering::SeqCst)
    }

    /// Returns whether the first health check or agent check of the server has not ended, or that
    /// of the server that it tracks, so that its state is only assumed.
    pub fn is_untested(&self) -> bool {
        let control = self.control();
        if let Some(tracked) = control.tracking.server.clone() {
            // Releases this lock before the tracked server's is taken.
            drop(control);
            return tracked.has_first_check_pending();
        }
        drop(control);
        self.has_first_check_pending()
    }

    fn has_first_check_pending(&self) -> bool {
        let control = self.control();
        let (checks, agent) = (&control.checks, &control.agent);
        let is_checked = checks.enabled && !self.checks_stopped();
        let has_agent = agent.configured && !agent.stopped;
        (is_checked && checks.last_ms.is_none()) || (has_agent && agent.last.is_none())
    }

    pub fn backup(&self) -> bool {
        self.flag(BACKUP)
    }

    /// Returns the current weight in units of [`WEIGHT_SCALE`]; 0 if the server is not usable.
    pub fn weight(&self) -> u32 {
        if self.usable() {
            self.share.weight.load(Ordering::Relaxed)
        } else {
            0
        }
    }

    /// Returns the weight without slow start, for static tables.
    pub fn whole_weight(&self) -> u32 {
        if self.usable() {
            self.share.whole_weight.load(Ordering::Relaxed)
        } else {
            0
        }
    }

    /// Returns the current limit of sessions; 0 means no limit. It lies between `minconn` and
    /// `maxconn`, depending on the load of the backend, and rises during slow start.
    pub fn limit(&self) -> u32 {
        let max = self.limits.maxconn.load(Ordering::Relaxed);
        if max == 0 {
            return 0;
        }
        let min = self.limits.minconn.load(Ordering::Relaxed);
        let full = self.backend.backend.fullconn.load(Ordering::Relaxed);
        let mut limit = max;
        if min < max && full > 0 {
            let load = self.backend.backend.sessions.current();
            if load < full {
                limit = (u64::from(load) * u64::from(max) / u64::from(full)) as u32;
                limit = limit.max(min);
            }
        }
        let throttle = self.share.throttle.load(Ordering::Relaxed);
        if throttle < 100 {
            limit = (u64::from(limit) * u64::from(throttle) / 100) as u32;
        }
        limit.max(1)
    }

    /// Returns whether [`ServerState::limit`] can rise although no session ends.
    pub(crate) fn limit_moves(&self) -> bool {
        self.limits.minconn.load(Ordering::Relaxed) < self.limits.maxconn.load(Ordering::Relaxed)
            || self.share.throttle.load(Ordering::Relaxed) < 100
    }

    /// Returns the maximum number of streams in the queue of the server; 0 means no limit.
    pub fn maxqueue(&self) -> u32 {
        self.limits.maxqueue.load(Ordering::Relaxed)
    }

    /// Returns the time for which idle connections are kept, in milliseconds.
    pub fn purge_delay_ms(&self) -> u32 {
        self.idle.purge_delay_ms.load(Ordering::Relaxed)
    }

    /// Returns the percentage of the weight that applies during slow start (`throttle`).
    pub fn throttle(&self) -> u32 {
        self.share.throttle.load(Ordering::Relaxed)
    }

    /// Returns the host name set at run time; None means that of the configuration file.
    pub fn host(&self) -> Option<HostNow> {
        self.control().location.host.as_deref().cloned()
    }

    /// Sets the host name; None restores that of the configuration file.
    pub fn set_host(&self, host: Option<HostNow>) {
        self.control().location.host = host.map(Box::new);
    }

    /// Returns the address that an operator set or to which the name resolves; None means that of
    /// the configuration file.
    pub fn address_override(&self) -> Option<ServerAddress> {
        if !self.flag(ADDRESS_SET) {
            return None;
        }
        let control = self.control();
        let address = control.location.address?;
        Some(match control.location.port_offset {
            Some(offset) => ServerAddress::SamePort(address.ip(), offset),
            None => ServerAddress::Inet(address),
        })
    }

    /// Returns an operator's TLS setting for connections to the server; None means that of the
    /// configuration file.
    pub fn tls_override(&self) -> Option<bool> {
        match self.reach.tls.load(Ordering::Acquire) {
            TLS_ON => Some(true),
            TLS_OFF => Some(false),
            _ => None,
        }
    }

    pub fn set_tls(&self, on: bool) {
        let new = if on { TLS_ON } else { TLS_OFF };
        if self.reach.tls.swap(new, Ordering::AcqRel) != new {
            self.next_of_operator();
        }
    }

    /// Returns the current generation, which counts changes by the configuration file and by
    /// operators. A connection of another generation is not reused.
    pub fn way(&self) -> Way {
        Way(self.reach.way.load(Ordering::Acquire))
    }

    pub(crate) fn set_way(&self, of_file: u32) {
        self.change_way(|way| way.of_file(of_file).0);
    }

    /// Starts a new generation after the address, the use of TLS or the TLS files were changed at
    /// run time. Existing connections continue but are not reused.
    pub fn next_of_operator(&self) {
        let low = |way: u64| u64::from((way as u32).wrapping_add(1));
        self.change_way(|way| way.0 & !u64::from(u32::MAX) | low(way.0));
    }

    /// Updates the generation atomically, because different threads change its two halves.
    fn change_way(&self, change: impl Fn(Way) -> u64) {
        let next = |way| Some(change(Way(way)));
        // The closure never returns None, so the update cannot fail.
        let _ = self
            .reach
            .way
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
    }

    /// Starts a new generation because the newest configuration file does not contain the server,
    /// so that its connections are not kept.
    pub(crate) fn close_way(&self) {
        self.set_way(self.next_way());
    }

    /// Returns the number that the generation's half for the configuration file gets when that file
    /// changes the connection.
    pub(crate) fn next_way(&self) -> u32 {
        ((self.way().0 >> 32) as u32).wrapping_add(1)
    }

    /// Reports to the load balancing that the server has changed.
    pub fn changed(self: &Arc<Self>) {
        if !self.in_balance.listed.swap(true, Ordering::SeqCst) {
            self.backend.backend.balance.list(self.uid);
        }
    }

    /// Reports to the load balancing that the server has fewer sessions, if it requested such a
    /// report.
    pub(crate) fn relieved(self: &Arc<Self>) {
        if self.in_balance.interest.load(Ordering::SeqCst)
            && self.in_balance.interest.swap(false, Ordering::SeqCst)
        {
            self.changed();
        }
    }

    /// Ends all streams that use the server. Wakes the threads.
    pub fn shut_sessions_down(&self, why: Shutdown) {
        let count = |mark: u32| Some(((mark >> SHUTDOWN_BITS) + 1) << SHUTDOWN_BITS | why as u32);
        // The closure never returns None, so the update cannot fail.
        let _ = self
            .ending
            .shutdowns
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, count);
        for thread in 0..reactor::THREADS_MAX {
            reactor::wake_all(thread);
        }
    }

    /// Returns a number that a stream stores when it starts to use the server, for
    /// [`ServerState::shutdown_since`].
    pub fn shutdown_mark(&self) -> u32 {
        self.ending.shutdowns.load(Ordering::Relaxed)
    }

    /// Returns why sessions of the server were shut down after `mark` was stored; None if they
    /// were not.
    pub fn shutdown_since(&self, mark: u32) -> Option<Shutdown> {
        let now = self.shutdown_mark();
        (now != mark).then_some(match now & ((1 << SHUTDOWN_BITS) - 1) {
            0 => Shutdown::Down,
            1 => Shutdown::Up,
            _ => Shutdown::Killed,
        })
    }

    fn observer(&self) -> MutexGuard<'_, Option<Weak<dyn TakesErrors>>> {
        self.followers
            .observer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn trackers(&self) -> MutexGuard<'_, Vec<Weak<ServerState>>> {
        self.followers
            .trackers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn control(&self) -> MutexGuard<'_, ServerControl> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
