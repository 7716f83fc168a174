//! The state of one server: administrative and checked state, weight, limits,
//! connections. Changed by the side thread (checks, operators) under a lock
//! that the data plane never takes; read by the data plane from atomics.

mod agent;
mod control;
mod holders;
mod kept;
mod report;

pub use agent::{AgentReport, AgentResult, AgentVerdict, ByTracked};
pub use agent::{AgentSet, TakesErrors};
pub(crate) use control::Control;
pub use control::{Adoption, Change};
pub(crate) use holders::{Ending, Followers, Limits, Reach, Share, Standing};
pub use holders::{Idle, InBalance, Traffic};
pub use kept::Kept;
pub use kept::{AGE_MAX_MS, COUNT_MAX};
pub use report::{AdminReport, ServerReport};

use super::ProxyState;
use super::queue::Queue;
use crate::setting::ServerAddress;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// One of the ways that there have been to a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Way(u64);

impl Way {
    /// The same, where the file's is that of a certain tree.
    pub fn of_file(self, way: u32) -> Way {
        Way(self.0 & u64::from(u32::MAX) | u64::from(way) << 32)
    }
}

/// The name that a server has at run time, in place of its file's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostNow {
    /// The name.
    pub text: Box<str>,
    /// The port of its record.
    pub port: u16,
    /// A record of its service told it; else an operator.
    pub by_record: bool,
    /// The record's address was told besides: nobody has to ask for it.
    pub told_beside: bool,
}

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

/// Why the sessions of a server were ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Shutdown {
    /// It went down (`on-marked-down shutdown-sessions`).
    Down,
    /// Another came up (`on-marked-up shutdown-backup-sessions`).
    Up,
    /// An operator said so.
    Killed,
}

/// Bits of a [`Shutdown`] in a mark of [`ServerState::shutdown_mark`].
const SHUTDOWN_BITS: u32 = 2;

/// The parts that a weight of 1 has, so that a warming server can have less
/// than 1.
pub const WEIGHT_SCALE: u32 = 16;
/// The highest `weight`.
pub const WEIGHT_MAX: u32 = 256;

pub(crate) const USABLE: u32 = 1;
pub(crate) const PERSISTENT: u32 = 2;
pub(crate) const UP: u32 = 4;
pub(crate) const BACKUP: u32 = 8;
pub(crate) const ADDRESS_SET: u32 = 16;
/// What an operator said of TLS; 0 is nothing.
const TLS_ON: u8 = 1;
const TLS_OFF: u8 = 2;

/// Uids of removed servers, for reuse. A user of a uid also holds the server, or
/// tolerates that the uid means another one.
static FREE_UIDS: Mutex<Vec<u32>> = Mutex::new(Vec::new());
static NEXT_UID: AtomicU32 = AtomicU32::new(0);
/// The next [`ServerState::rank`]; 0 is that of servers which always were usable.
pub(crate) static RANKS: AtomicU64 = AtomicU64::new(1);

/// The state of one server, found again by the names of its backend and its own.
#[derive(Debug)]
pub struct ServerState {
    /// Its name.
    pub name: Box<str>,
    /// Unique in the process: the place of its pools in each thread.
    pub uid: u32,
    /// Its backend.
    pub backend: Arc<ProxyState>,
    /// What it has served.
    pub traffic: Traffic,
    /// Its idle connections.
    pub idle: Idle,
    /// Streams that wait for this server.
    pub queue: Queue,
    pub(crate) standing: Standing,
    pub(crate) share: Share,
    pub(crate) limits: Limits,
    /// What the balance of its backend remembers of it.
    pub in_balance: InBalance,
    pub(crate) reach: Reach,
    pub(crate) ending: Ending,
    pub(crate) followers: Followers,
    pub(crate) control: Mutex<Control>,
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
    /// A new server's state: up, ready, of weight 1 and without limits, and
    /// not counted by its backend until [`ServerState::configure`].
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
            standing: Standing::default(),
            share: Share::default(),
            limits: Limits::default(),
            in_balance: InBalance::default(),
            reach: Reach::default(),
            ending: Ending::default(),
            followers: Followers::default(),
            control: Mutex::default(),
        }
    }

    /// Which threads have idle connections of HTTP/1 to it: a bit each.
    pub fn idle_threads(&self) -> u64 {
        self.idle.threads.load(Ordering::Relaxed)
    }

    /// A thread has idle connections from now on, or none any more. Only that thread says
    /// so of itself.
    pub fn has_idle(&self, thread: usize, some: bool) {
        let bit = 1_u64 << thread;
        match (some, self.idle_threads() & bit != 0) {
            (true, false) => self.idle.threads.fetch_or(bit, Ordering::Relaxed),
            (false, true) => self.idle.threads.fetch_and(!bit, Ordering::Relaxed),
            _ => bit,
        };
    }

    fn flag(&self, flag: u32) -> bool {
        self.standing.flags.load(Ordering::Relaxed) & flag != 0
    }

    /// Whether balancing may give it new sessions: up, not draining, not in
    /// maintenance, of a weight above 0.
    pub fn usable(&self) -> bool {
        self.flag(USABLE)
    }

    /// In which order servers became usable: the lower, the longer it has been so.
    pub fn rank(&self) -> u64 {
        self.standing.rank.load(Ordering::Relaxed)
    }

    /// Whether it may take a session that belongs to it (a cookie, a table):
    /// also while it drains, stops or has a weight of 0.
    pub fn usable_for_persistence(&self) -> bool {
        self.flag(PERSISTENT)
    }

    /// Whether checks find it up and it is not in maintenance.
    pub fn up(&self) -> bool {
        self.flag(UP)
    }

    /// Whether the newest file has it no more: it finishes what it has.
    pub fn is_retired(&self) -> bool {
        self.ending.retired.load(Ordering::SeqCst)
    }

    /// Returns whether it counts as up only because its first health check has not ended, or that of
    /// the server that it tracks.
    pub fn is_untested(&self) -> bool {
        let control = self.control();
        if let Some(tracked) = control.tracking.server.clone() {
            // Not under this one's lock.
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

    /// Whether it is a `backup`.
    pub fn backup(&self) -> bool {
        self.flag(BACKUP)
    }

    /// Its share of the load now, in parts of [`WEIGHT_SCALE`]; 0 where it may
    /// take none.
    pub fn weight(&self) -> u32 {
        if self.usable() {
            self.share.weight.load(Ordering::Relaxed)
        } else {
            0
        }
    }

    /// The same as if it had warmed up: what static tables go by.
    pub fn whole_weight(&self) -> u32 {
        if self.usable() {
            self.share.whole_weight.load(Ordering::Relaxed)
        } else {
            0
        }
    }

    /// Sessions that it may have now; 0 is no limit. It follows the load of the
    /// backend between `minconn` and `maxconn`, and grows while it warms up.
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

    /// Whether [`ServerState::limit`] can rise without a slot being given back.
    pub(crate) fn limit_moves(&self) -> bool {
        self.limits.minconn.load(Ordering::Relaxed) < self.limits.maxconn.load(Ordering::Relaxed)
            || self.share.throttle.load(Ordering::Relaxed) < 100
    }

    /// Streams that may wait for it; 0 is no limit.
    pub fn maxqueue(&self) -> u32 {
        self.limits.maxqueue.load(Ordering::Relaxed)
    }

    /// How long connections to it are kept idle, milliseconds.
    pub fn purge_delay_ms(&self) -> u32 {
        self.idle.purge_delay_ms.load(Ordering::Relaxed)
    }

    /// Percent of its weight that it gets while it warms up (`throttle`).
    pub fn throttle(&self) -> u32 {
        self.share.throttle.load(Ordering::Relaxed)
    }

    /// The name that it has at run time; None takes the file's.
    pub fn host(&self) -> Option<HostNow> {
        self.control().location.host.as_deref().cloned()
    }

    /// Gives it another name.
    pub fn set_host(&self, host: Option<HostNow>) {
        self.control().location.host = host.map(Box::new);
    }

    /// The address that an operator set, or that its name stands for by now; None
    /// takes the file's.
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

    /// Whether an operator said that connections to it speak TLS; None is as the
    /// file has it.
    pub fn tls_override(&self) -> Option<bool> {
        match self.reach.tls.load(Ordering::Acquire) {
            TLS_ON => Some(true),
            TLS_OFF => Some(false),
            _ => None,
        }
    }

    /// Lets connections to it speak TLS from now on, or not.
    pub fn set_tls(&self, on: bool) {
        let new = if on { TLS_ON } else { TLS_OFF };
        if self.reach.tls.swap(new, Ordering::AcqRel) != new {
            self.next_of_operator();
        }
    }

    /// The way to it: which of its file's, and how often an operator has set
    /// another address. A connection that went another way is not used again.
    pub fn way(&self) -> Way {
        Way(self.reach.way.load(Ordering::Acquire))
    }

    /// The way of the newest file is this one.
    pub(crate) fn set_way(&self, of_file: u32) {
        self.change_way(|way| way.of_file(of_file).0);
    }

    /// An operator has set another address, or other files for TLS: what is
    /// connected already goes on, and is not kept for others.
    pub fn next_of_operator(&self) {
        let low = |way: u64| u64::from((way as u32).wrapping_add(1));
        self.change_way(|way| way.0 & !u64::from(u32::MAX) | low(way.0));
    }

    /// Both halves change at any time, by different threads.
    fn change_way(&self, change: impl Fn(Way) -> u64) {
        let next = |way| Some(change(Way(way)));
        // The closure never refuses.
        let _ = self
            .reach
            .way
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
    }

    /// The newest file has no way to it: connections to it are not kept.
    pub(crate) fn close_way(&self) {
        self.set_way(self.next_way());
    }

    /// The next file's way, where it is another.
    pub(crate) fn next_way(&self) -> u32 {
        ((self.way().0 >> 32) as u32).wrapping_add(1)
    }

    /// Tells the balance that something of it changed.
    pub fn changed(self: &Arc<Self>) {
        if !self.in_balance.listed.swap(true, Ordering::SeqCst) {
            self.backend.backend.balance.list(self.uid);
        }
    }

    /// Tells the balance that it has fewer sessions, if that asked for it.
    pub(crate) fn relieved(self: &Arc<Self>) {
        if self.in_balance.interest.load(Ordering::SeqCst)
            && self.in_balance.interest.swap(false, Ordering::SeqCst)
        {
            self.changed();
        }
    }

    /// Tells the streams that use it to end; those of other threads are woken.
    pub fn shut_sessions_down(&self, why: Shutdown) {
        let count = |mark: u32| Some(((mark >> SHUTDOWN_BITS) + 1) << SHUTDOWN_BITS | why as u32);
        // The closure never refuses.
        let _ = self
            .ending
            .shutdowns
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, count);
        for thread in 0..reactor::THREADS_MAX {
            reactor::wake_all(thread);
        }
    }

    /// What a stream remembers when it begins with this server.
    pub fn shutdown_mark(&self) -> u32 {
        self.ending.shutdowns.load(Ordering::Relaxed)
    }

    /// Why sessions were shut down since a mark, if they were.
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

    pub(crate) fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
