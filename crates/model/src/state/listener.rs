//! Small states of statistics: what one listener counts, and when a server or
//! backend last had a session.

use super::Counters;
use reactor::Gauge;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

/// What a listener counts where `option socket-stats` asks for it.
#[derive(Debug, Default)]
pub struct ListenerState {
    /// Counters.
    pub counters: Counters,
    /// Connections now.
    pub sessions: Gauge,
}

/// The listeners of a proxy by their ids. Only proxies with `option
/// socket-stats` fill it; who reads it waits for no one but the first
/// connection of a listener.
#[derive(Debug, Default)]
pub(super) struct Listeners(RwLock<Vec<(u32, Arc<ListenerState>)>>);

impl Listeners {
    /// The state of a listener, made where there was none.
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

    /// Other ids, of listeners that were known by their first ones; all others
    /// are forgotten.
    pub(super) fn renumber(&self, ids: &[(u32, u32)]) {
        let mut list = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let known: HashMap<u32, Arc<ListenerState>> = list.drain(..).collect();
        let stays = |(old, new): &(u32, u32)| Some((*new, Arc::clone(known.get(old)?)));
        list.extend(ids.iter().filter_map(stays));
    }

    /// All of them with their ids.
    pub(crate) fn with_ids(&self) -> Vec<(u32, Arc<ListenerState>)> {
        let list = self.0.read().unwrap_or_else(PoisonError::into_inner);
        list.clone()
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Arc<ListenerState>> {
        let list = self.0.read().unwrap_or_else(PoisonError::into_inner);
        list.iter().map(|(_, state)| Arc::clone(state)).collect()
    }
}

/// Seconds before the clock's zero that a time may lie, because another process
/// saw it.
const BEFORE_S: u64 = crate::clock::BEFORE_MS / 1000;

/// When something last happened, to the second. Threads that say so at the same
/// time do not fight for the cell: only the first in a second writes.
#[derive(Debug, Default)]
pub struct LastTime(AtomicU64);

impl LastTime {
    /// It happens now.
    pub fn note(&self, now_ms: u64) {
        let second = now_ms / 1000 + BEFORE_S;
        if self.0.load(Relaxed) != second {
            self.0.store(second, Relaxed);
        }
    }

    /// How long ago it was; None for never.
    pub fn seconds_ago(&self, now_ms: u64) -> Option<u64> {
        match self.0.load(Relaxed) {
            0 => None,
            second => Some((now_ms / 1000 + BEFORE_S).saturating_sub(second)),
        }
    }

    /// It happened so long ago, perhaps before the clock's zero; what is known
    /// to be later stays.
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
        listeners.get(2).sessions.up();
        assert_eq!(listeners.get(2).sessions.current(), 1);
        assert_eq!(listeners.get(1).sessions.current(), 0);
        assert_eq!(listeners.all().len(), 2);
    }
}
