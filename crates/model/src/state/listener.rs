//! Holds the counters of a listener, and the time of the last session of a server or backend, for
//! statistics.

use super::Counters;
use reactor::Gauge;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

/// Counters of a listener with `option socket-stats`.
#[derive(Debug, Default)]
pub struct ListenerState {
    pub counters: Counters,
    pub sessions: Gauge,
}

/// Listeners of a proxy by their ids; used only with `option socket-stats`. Only the first
/// connection of a listener takes the write lock.
#[derive(Debug, Default)]
pub(super) struct Listeners(RwLock<Vec<(u32, Arc<ListenerState>)>>);

impl Listeners {
    /// Returns the state of a listener and creates it if needed.
    pub(super) fn get(&self, id: u32) -> Arc<ListenerState> {
        let known = |list: &[(u32, Arc<ListenerState>)]| {
            list.iter()
                .find(|(at, _)| *at == id)
                .map(|(_, state)| Arc::clone(state))
        };
        if let Some(state) = known(&self.0.read().unwrap_or_else(PoisonError::into_inner)) {
            return state;
        }
        let mut list = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known(&list).unwrap_or_else(|| {
            list.push((id, Arc::default()));
            list.last()
                .map(|(_, state)| Arc::clone(state))
                .unwrap_or_default()
        })
    }

    /// Changes ids of listeners; each pair is the old and the new id. Listeners that are not in
    /// the list are dropped.
    pub(super) fn renumber(&self, ids: &[(u32, u32)]) {
        let mut list = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let known: HashMap<u32, Arc<ListenerState>> = list.drain(..).collect();
        let stays = |(old, new): &(u32, u32)| Some((*new, Arc::clone(known.get(old)?)));
        list.extend(ids.iter().filter_map(stays));
    }

    pub(crate) fn with_ids(&self) -> Vec<(u32, Arc<ListenerState>)> {
        let list = self.0.read().unwrap_or_else(PoisonError::into_inner);
        list.clone()
    }

    pub(super) fn all(&self) -> Vec<Arc<ListenerState>> {
        let list = self.0.read().unwrap_or_else(PoisonError::into_inner);
        list.iter().map(|(_, state)| Arc::clone(state)).collect()
    }
}

/// A time recorded by another process may lie before the origin of this process's clock, by at
/// most this number of seconds.
const BEFORE_S: u64 = crate::clock::BEFORE_MS / 1000;

/// Time of the last event, in seconds. Only the first thread in a second writes the cell, so that
/// threads do not contend.
#[derive(Debug, Default)]
pub struct LastTime(AtomicU64);

impl LastTime {
    pub fn note(&self, now_ms: u64) {
        let second = now_ms / 1000 + BEFORE_S;
        if self.0.load(Relaxed) != second {
            self.0.store(second, Relaxed);
        }
    }

    /// Returns the seconds since the last event; None if there was none.
    pub fn seconds_ago(&self, now_ms: u64) -> Option<u64> {
        match self.0.load(Relaxed) {
            0 => None,
            second => Some((now_ms / 1000 + BEFORE_S).saturating_sub(second)),
        }
    }

    /// Records an event of another process, which may lie before the clock's origin. A later
    /// recorded time is kept.
    pub fn carry(&self, seconds_ago: u64, now_ms: u64) {
        let second = (now_ms / 1000 + BEFORE_S).saturating_sub(seconds_ago);
        self.0.fetch_max(second.max(1), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_time_is_told_in_seconds_and_never_is_never() {
        let last = LastTime::default();
        assert_eq!(last.seconds_ago(5000), None);
        last.note(0);
        assert_eq!(last.seconds_ago(0), Some(0));
        last.note(4200);
        assert_eq!(last.seconds_ago(9100), Some(5));
        last.carry(100, 9100);
        assert_eq!(last.seconds_ago(9100), Some(5));
        let early = LastTime::default();
        early.carry(3600, 9100);
        assert_eq!(early.seconds_ago(10_100), Some(3601));
    }

    #[test]
    fn a_listener_keeps_its_state() {
        let listeners = Listeners::default();
        listeners.get(2).sessions.increment();
        assert_eq!(listeners.get(2).sessions.current(), 1);
        assert_eq!(listeners.get(1).sessions.current(), 0);
        assert_eq!(listeners.all().len(), 2);
    }
}
