//! Holds the state of a proxy that survives a change of the configuration.

use super::listener::Listeners;
use super::outages::Outages;
use super::queue::Queue;
use super::{Captures, Counters, LastTime, ListenerState, Tally};
use reactor::{Gauge, Rate};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// State of a proxy, identified by its name. A frontend and a backend of the same name share it;
/// each uses its own part. So a `listen` section can be split into two sections, and two can be
/// merged, without loss of state.
#[derive(Debug, Default)]
pub struct ProxyState {
    pub name: Box<str>,
    pub frontend: FrontendState,
    pub backend: BackendState,
    pub captures: Captures,
}

/// State of a proxy towards clients.
#[derive(Debug, Default)]
pub struct FrontendState {
    pub counters: Counters,
    /// Current client connections, which `maxconn` limits.
    pub sessions: Gauge,
    pub session_rate: Rate,
    pub connection_rate: Rate,
    pub request_rate: Rate,
    /// `maxconn` that an operator set; 0 means that of the configuration file.
    pub maxconn_set: AtomicU32,
    /// `disable frontend`: its listeners accept no connections.
    pub paused: AtomicBool,
    /// Number of configured listeners that are not open: an accepted configuration version runs
    /// without listeners that cannot be opened.
    pub unopened: AtomicU32,
    /// `shutdown frontend`: the frontend stays closed until a later configuration file contains it.
    shut: AtomicBool,
    pub log_lines: AtomicU64,
    listeners: Listeners,
}

/// State of a proxy towards servers.
#[derive(Debug, Default)]
pub struct BackendState {
    pub counters: Counters,
    pub sessions: Gauge,
    pub session_rate: Rate,
    pub queue: Queue,
    pub balance: super::balance::SharedBalanceState,
    /// `fullconn`: number of streams at which servers get their full `maxconn`.
    pub fullconn: AtomicU32,
    active_usable: AtomicU32,
    backup_usable: AtomicU32,
    /// `option allbackups` of the newest configuration file.
    pub all_backups: AtomicBool,
    lineup: Mutex<Lineup>,
    pub last_session: LastTime,
    /// `appsession`: sessions of the application.
    pub app_sessions: super::AppSessions,
}

/// Number of usable servers, and the outages of the backend.
#[derive(Debug, Default)]
struct Lineup {
    active: u32,
    backup: u32,
    outages: Outages,
    downs: u32,
}

/// Up and down times of a backend, as durations, because another process has another clock origin.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BackendLife {
    pub last_change_ago_ms: u64,
    pub downtime_ms: u64,
    /// Time since the backend went down; None if it is up.
    pub down_for_ms: Option<u64>,
    pub downs: u32,
}

/// Up and down times of a backend for statistics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BackendReport {
    /// Usable servers that are not backups (`act`).
    pub active: u32,
    /// Number of usable backup servers (`bck`).
    pub backup: u32,
    /// Time at which the backend last went up or down (`lastchg` counts from it).
    pub last_change_ms: u64,
    /// Time without any usable server, including the current outage (`downtime`).
    pub downtime_ms: u64,
    /// Number of times that the backend went down (`chkdown`).
    pub downs: u32,
    pub up: bool,
}

/// Effect of a change of one server on its backend. `active` and `backup` are the numbers of usable
/// servers after the change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LineupChange {
    pub active: u32,
    pub backup: u32,
    /// True if the last usable server was lost.
    pub went_down: bool,
    /// True if the first usable server was gained.
    pub came_up: bool,
}

impl ProxyState {
    pub fn new(name: &str) -> Self {
        ProxyState {
            name: name.into(),
            ..Default::default()
        }
    }

    /// Counts an event of the frontend.
    #[inline]
    pub fn count_frontend(&self, tally: Tally) {
        self.frontend.counters.count(tally);
    }

    /// Counts an event of the backend.
    #[inline]
    pub fn count_backend(&self, tally: Tally) {
        self.backend.counters.count(tally);
    }

    /// `shutdown frontend`: closes the frontend until a later configuration file contains it.
    /// Returns false if it was closed before.
    pub fn shut_down(&self) -> bool {
        self.frontend.paused.store(true, Relaxed);
        !self.frontend.shut.swap(true, Relaxed)
    }

    /// Reopens a frontend that was shut down, because a later configuration file contains it. It
    /// then accepts connections as after a restart.
    pub(crate) fn open_again(&self) {
        if self.frontend.shut.swap(false, Relaxed) {
            self.frontend.paused.store(false, Relaxed);
        }
    }

    pub fn is_shut_down(&self) -> bool {
        self.frontend.shut.load(Relaxed)
    }

    /// Returns the counters of a listener (`option socket-stats`) by its id.
    pub fn listener(&self, id: u32) -> Arc<ListenerState> {
        self.frontend.listeners.get(id)
    }

    pub(crate) fn renumber_listeners(&self, ids: &[(u32, u32)]) {
        self.frontend.listeners.renumber(ids);
    }

    pub fn listeners(&self) -> Vec<Arc<ListenerState>> {
        self.frontend.listeners.all()
    }

    pub fn active_usable(&self) -> u32 {
        self.backend.active_usable.load(Relaxed)
    }

    pub fn backup_usable(&self) -> u32 {
        self.backend.backup_usable.load(Relaxed)
    }

    /// `nbsrv`: returns the number of servers that share the load now. Backups count when no other
    /// server is usable; without `option allbackups` only one of them does.
    pub fn usable_servers(&self) -> u32 {
        match (self.active_usable(), self.backup_usable()) {
            (0, 0) => 0,
            (0, backups) if self.backend.all_backups.load(Relaxed) => backups,
            (0, _) => 1,
            (active, _) => active,
        }
    }

    /// Counts a server that became usable or unusable.
    pub(crate) fn relineup(&self, backup: bool, usable: bool, now_ms: u64) -> LineupChange {
        let mut lineup = self
            .backend
            .lineup
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = lineup.active + lineup.backup;
        let cell = if backup {
            &mut lineup.backup
        } else {
            &mut lineup.active
        };
        *cell = if usable {
            *cell + 1
        } else {
            cell.saturating_sub(1)
        };
        let after = lineup.active + lineup.backup;
        let change = LineupChange {
            active: lineup.active,
            backup: lineup.backup,
            went_down: before > 0 && after == 0,
            came_up: before == 0 && after > 0,
        };
        if change.went_down {
            lineup.outages.begin(now_ms);
            lineup.downs += 1;
        } else if change.came_up {
            lineup.outages.end(now_ms);
        }
        self.backend.active_usable.store(lineup.active, Relaxed);
        self.backend.backup_usable.store(lineup.backup, Relaxed);
        change
    }

    /// Moves a server from the active servers to the backups, or back, after a change of the
    /// configuration file. Its usability is unchanged.
    pub(crate) fn swap_side(&self, to_backup: bool) {
        let mut lineup = self
            .backend
            .lineup
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (active, backup) = (lineup.active, lineup.backup);
        (lineup.active, lineup.backup) = if to_backup {
            (active.saturating_sub(1), backup + 1)
        } else {
            (active + 1, backup.saturating_sub(1))
        };
        self.backend.active_usable.store(lineup.active, Relaxed);
        self.backend.backup_usable.store(lineup.backup, Relaxed);
    }

    /// Sets the time of the last change to the start of service.
    pub fn begin(&self, now_ms: u64) {
        let mut lineup = self
            .backend
            .lineup
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        lineup.outages.last_change_ms = now_ms;
    }

    /// Applies the up and down times that another process recorded. Must be called after the
    /// states of the servers are restored, which take precedence.
    pub fn resume(&self, life: BackendLife, now_ms: u64) {
        let mut lineup = self
            .backend
            .lineup
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let ago = |age_ms: u64| now_ms.saturating_sub(age_ms);
        lineup.downs = life.downs;
        lineup.outages.over_ms = life.downtime_ms;
        let down = lineup.active + lineup.backup == 0;
        match (life.down_for_ms, down) {
            (Some(age), true) => lineup.outages.since_ms = Some(ago(age)),
            (Some(age), false) => {
                lineup.outages.over_ms += age;
                lineup.outages.since_ms = None;
            }
            (None, true) if lineup.outages.since_ms.is_some() => lineup.downs += 1,
            (None, _) => {}
        }
        // If the other process had the backend up and it is down now, or the reverse, the last
        // change is now.
        if life.down_for_ms.is_some() == lineup.outages.since_ms.is_some() {
            lineup.outages.last_change_ms = ago(life.last_change_ago_ms);
        }
    }

    /// Returns the up and down times of the backend for another process.
    pub fn life(&self, now_ms: u64) -> BackendLife {
        let lineup = self
            .backend
            .lineup
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let since = |ms: u64| now_ms.saturating_sub(ms);
        BackendLife {
            last_change_ago_ms: since(lineup.outages.last_change_ms),
            downtime_ms: lineup.outages.over_ms,
            down_for_ms: lineup.outages.since_ms.map(since),
            downs: lineup.downs,
        }
    }

    pub fn listeners_with_ids(&self) -> Vec<(u32, Arc<ListenerState>)> {
        self.frontend.listeners.with_ids()
    }

    pub(crate) fn lineup(&self) -> LineupChange {
        LineupChange {
            active: self.active_usable(),
            backup: self.backup_usable(),
            ..Default::default()
        }
    }

    pub fn backend_report(&self, now_ms: u64) -> BackendReport {
        let lineup = self
            .backend
            .lineup
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        BackendReport {
            active: lineup.active,
            backup: lineup.backup,
            last_change_ms: lineup.outages.last_change_ms,
            downtime_ms: lineup.outages.total_ms(now_ms),
            downs: lineup.downs,
            up: lineup.active + lineup.backup > 0,
        }
    }
}
