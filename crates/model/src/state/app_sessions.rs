//! Remembers the server of each session of an application, by the session's identifier. The table
//! in memory is bounded: it drops the sessions that were idle for the longest time.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Maximum number of sessions of a backend.
pub const SESSIONS_MAX: usize = 1 << 18;

/// Server of each session of a backend's application.
#[derive(Debug, Default)]
pub struct AppSessions(Mutex<Generations>);

/// Recently used sessions, and older ones. A session that is used moves to the recent ones; the
/// older ones are dropped all at once.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Box<[u8]>, AppSessionEntry>,
    old: HashMap<Box<[u8]>, AppSessionEntry>,
    began_ms: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct AppSessionEntry {
    /// Uid of the server, which is the same in all configurations.
    uid: u32,
    used_ms: u64,
}

impl AppSessions {
    fn generations(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the uid of the server of session `id`, unless the session was idle for longer than
    /// `timeout_ms`.
    pub fn find(&self, id: &[u8], now_ms: u64, timeout_ms: u32) -> Option<u32> {
        let mut generations = self.generations();
        let known = match generations.young.get_mut(id) {
            Some(known) => known,
            None => {
                let (id, known) = generations.old.remove_entry(id)?;
                generations.make_room(now_ms, timeout_ms);
                generations.young.entry(id).or_insert(known)
            }
        };
        let silent_ms = now_ms.saturating_sub(known.used_ms);
        known.used_ms = now_ms;
        (silent_ms <= u64::from(timeout_ms)).then_some(known.uid)
    }

    pub fn put(&self, id: &[u8], uid: u32, now_ms: u64, timeout_ms: u32) {
        let known = AppSessionEntry {
            uid,
            used_ms: now_ms,
        };
        let mut generations = self.generations();
        if let Some(was) = generations.young.get_mut(id) {
            *was = known;
            return;
        }
        generations.old.remove(id);
        generations.make_room(now_ms, timeout_ms);
        generations.young.insert(id.into(), known);
    }
}

impl Generations {
    fn make_room(&mut self, now_ms: u64, timeout_ms: u32) {
        let old = now_ms.saturating_sub(self.began_ms) > u64::from(timeout_ms);
        if old || self.young.len() >= SESSIONS_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
            self.began_ms = now_ms;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_forgotten_when_it_was_silent_for_too_long() {
        let sessions = AppSessions::default();
        sessions.put(b"a", 7, 1000, 100);
        assert_eq!(sessions.find(b"a", 1100, 100), Some(7));
        assert_eq!(sessions.find(b"a", 1200, 100), Some(7));
        assert_eq!(sessions.find(b"a", 1301, 100), None);
        assert_eq!(sessions.find(b"b", 1301, 100), None);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_silent_ones_first() {
        let sessions = AppSessions::default();
        for n in 0..2 * SESSIONS_MAX as u32 {
            sessions.put(&n.to_be_bytes(), n, 0, 1_000_000);
            if n % 1000 == 0 {
                assert_eq!(sessions.find(&0u32.to_be_bytes(), 0, 1_000_000), Some(0));
            }
        }
        let generations = sessions.generations();
        assert!(generations.young.len() + generations.old.len() <= SESSIONS_MAX);
    }
}
