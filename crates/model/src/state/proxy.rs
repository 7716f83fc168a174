//! The state of one proxy: what outlives a change of the configuration.

use super::listener::Listeners;
use super::outages::Outages;
use super::queue::Queue;
use super::{Captures, Counters, LastTime, ListenerState};
use reactor::{Gauge, Rate};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// The state of one proxy, found again by its name. A frontend and a backend of
/// one name have the same, of which each has its side: so a `listen` can become
/// two sections, and two sections one, without anything being forgotten.
#[derive(Debug, Default)]
pub struct ProxyState {
    /// Its name.
    pub name: Box<str>,
    /// Its side as a frontend.
    pub frontend: FrontendState,
    /// Its side as a backend.
    pub backend: BackendState,
    /// The last messages of it that were none.
    pub captures: Captures,
}

/// The side of a proxy that clients see.
#[derive(Debug, Default)]
pub struct FrontendState {
    /// Counters.
    pub counters: Counters,
    /// Connections of clients now: what `maxconn` bounds.
    pub sessions: Gauge,
    /// Sessions a second.
    pub session_rate: Rate,
    /// Connections a second.
    pub connection_rate: Rate,
    /// HTTP requests a second.
    pub request_rate: Rate,
    /// `maxconn` as an operator set it; 0 takes the file's.
    pub maxconn_set: AtomicU32,
    /// `disable frontend`: its listeners take no one.
    pub paused: AtomicBool,
    /// Listeners of its lines that are not open: an accepted version is served without them.
    pub unopened: AtomicU32,
    /// `shutdown frontend`: until a later file has it.
    shut: AtomicBool,
    /// Lines that it has logged.
    pub log_lines: AtomicU64,
    listeners: Listeners,
}

/// The side of a proxy that servers see.
#[derive(Debug, Default)]
pub struct BackendState {
    /// Counters.
    pub counters: Counters,
    /// Streams in it now.
    pub sessions: Gauge,
    /// Sessions a second.
    pub session_rate: Rate,
    /// Streams that wait for any of its servers.
    pub queue: Queue,
    /// What the balance algorithm remembers.
    pub balance: super::balance::State,
    /// Streams in it from which on servers get their whole `maxconn`.
    pub fullconn: AtomicU32,
    active_usable: AtomicU32,
    backup_usable: AtomicU32,
    /// `option allbackups` of the newest file.
    pub all_backups: AtomicBool,
    lineup: Mutex<Lineup>,
    /// When it last had a session.
    pub last_session: LastTime,
    /// `appsession`: the sessions of its application.
    pub app_sessions: super::AppSessions,
}

/// Which servers can be used, and since when that is so.
#[derive(Debug, Default)]
struct Lineup {
    active: u32,
    backup: u32,
    outages: Outages,
    /// Times that it went down.
    downs: u32,
}

/// A backend's life for another process, whose clock has another zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BackendLife {
    /// How long ago it went up or down.
    pub last_change_ago_ms: u64,
    /// Down times that are over.
    pub downtime_ms: u64,
    /// How long it has been down, where it is.
    pub down_for_ms: Option<u64>,
    /// Times that it went down.
    pub downs: u32,
}

/// What statistics show of a backend's life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BackendReport {
    /// Usable servers that are no backups (`act`).
    pub active: u32,
    /// Usable backups (`bck`).
    pub backup: u32,
    /// When it last went up or down (`lastchg` is counted from it).
    pub last_change_ms: u64,
    /// Time without any usable server, the present one included (`downtime`).
    pub downtime_ms: u64,
    /// Times that it went down (`chkdown`).
    pub downs: u32,
    /// Whether a server is usable.
    pub up: bool,
}

/// What happened to a backend when a server of it changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LineupChange {
    /// Usable servers that are no backups, now.
    pub active: u32,
    /// Usable backups, now.
    pub backup: u32,
    /// This was the last usable one.
    pub went_down: bool,
    /// There was none before.
    pub came_up: bool,
}

impl ProxyState {
    /// A new proxy's state.
    pub fn new(name: &str) -> Self {
        ProxyState {
            name: name.into(),
            ..Default::default()
        }
    }

    /// `shutdown frontend`: it takes no one until a later file that has it.
    /// False when that was said before.
    pub fn shut_down(&self) -> bool {
        self.frontend.paused.store(true, Relaxed);
        !self.frontend.shut.swap(true, Relaxed)
    }

    /// A later file has it: it takes connections, as after a restart, if it was
    /// shut down.
    pub(crate) fn open_again(&self) {
        if self.frontend.shut.swap(false, Relaxed) {
            self.frontend.paused.store(false, Relaxed);
        }
    }

    /// Whether it was shut down.
    pub fn is_shut_down(&self) -> bool {
        self.frontend.shut.load(Relaxed)
    }

    /// What a listener of it counts (`option socket-stats`), by the listener's id.
    pub fn listener(&self, id: u32) -> Arc<ListenerState> {
        self.frontend.listeners.get(id)
    }

    /// Its listeners have other ids in another file: from the first to the second.
    pub(crate) fn renumber_listeners(&self, ids: &[(u32, u32)]) {
        self.frontend.listeners.renumber(ids);
    }

    /// What all of its listeners count.
    pub fn listeners(&self) -> Vec<Arc<ListenerState>> {
        self.frontend.listeners.all()
    }

    /// Usable servers that are no backups.
    pub fn active_usable(&self) -> u32 {
        self.backend.active_usable.load(Relaxed)
    }

    /// Usable backups.
    pub fn backup_usable(&self) -> u32 {
        self.backend.backup_usable.load(Relaxed)
    }

    /// `nbsrv`: how many servers share the load now. Backups count when no
    /// other is usable, and without `option allbackups` one of them only.
    pub fn usable_servers(&self) -> u32 {
        match (self.active_usable(), self.backup_usable()) {
            (0, 0) => 0,
            (0, backups) if self.backend.all_backups.load(Relaxed) => backups,
            (0, _) => 1,
            (active, _) => active,
        }
    }

    /// Counts a server that became usable or ceased to be.
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

    /// Moves a server between active and backup without its becoming usable
    /// or ceasing to be (a change of the file).
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

    /// It begins to serve: until it goes up or down, that is its last change.
    pub fn begin(&self, now_ms: u64) {
        let mut lineup = self
            .backend
            .lineup
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        lineup.outages.last_change_ms = now_ms;
    }

    /// Takes over the life of the backend as another process saw it. To be called
    /// when its servers have theirs: what follows from those stays.
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
        // Another line-up than it had there is a change of now.
        if life.down_for_ms.is_some() == lineup.outages.since_ms.is_some() {
            lineup.outages.last_change_ms = ago(life.last_change_ago_ms);
        }
    }

    /// The life of the backend, for another process.
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

    /// What its listeners count, with their ids.
    pub fn listeners_with_ids(&self) -> Vec<(u32, Arc<ListenerState>)> {
        self.frontend.listeners.with_ids()
    }

    /// The present counts as a change that changed nothing.
    pub(crate) fn lineup(&self) -> LineupChange {
        LineupChange {
            active: self.active_usable(),
            backup: self.backup_usable(),
            ..Default::default()
        }
    }

    /// For statistics.
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
