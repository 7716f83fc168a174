//! Limits the number of connections to the statistics sockets (`stats maxconn`). A connection
//! that executes a command keeps its slot. If all slots are taken, a new connection gets the slot
//! of an idle one: first of those that never sent a command, then of those between two commands,
//! then of those that do not read their output; in each group, of the one that has been idle
//! longest. So idle connections cannot lock operators out.

use model::thread::lock;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::timeout;

/// Time without progress after which a client that has output to read counts as slow.
const SLOW_AFTER: Duration = Duration::from_secs(1);
/// Interval at which a connection that waits for a slot looks for one.
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Rest {
    Silent,
    /// A command was executed, and the connection waits for the next one.
    Between,
    /// The connection waits for its client to read output.
    Reader,
}

/// Why a connection is idle, and the number of its idle period.
type Key = (Rest, u64);

#[derive(Debug)]
pub(super) struct ConnectionSlots {
    taken: Mutex<SlotUsage>,
    /// Notified whenever a slot may have become free.
    changed: Notify,
}

#[derive(Debug)]
struct SlotUsage {
    slots_max: usize,
    slots_used: usize,
    /// Number of idle periods so far, over all connections.
    idle_periods: u64,
    idle: BTreeMap<Key, (Instant, Arc<Notify>)>,
    /// Idle period of the connection that must give up its slot. None once that connection has
    /// ended or executes a command.
    displaced: Option<Key>,
}

/// A slot, held as long as its connection lasts.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    places: Arc<ConnectionSlots>,
    idle_key: Mutex<Option<Key>>,
    displacement: Arc<Notify>,
}

impl ConnectionSlots {
    pub(super) fn new(most: usize) -> Arc<ConnectionSlots> {
        Arc::new(ConnectionSlots {
            taken: Mutex::new(SlotUsage {
                slots_max: most,
                slots_used: 0,
                idle_periods: 0,
                idle: BTreeMap::new(),
                displaced: None,
            }),
            changed: Notify::new(),
        })
    }

    #[cfg(test)]
    pub(super) fn most(&self) -> usize {
        lock(&self.taken).slots_max
    }

    /// Sets the number of slots; existing connections keep theirs.
    pub(super) fn set_most(&self, most: usize) {
        lock(&self.taken).slots_max = most;
        self.changed.notify_one();
    }

    pub(super) async fn take(self: &Arc<ConnectionSlots>) -> ConnectionPermit {
        loop {
            if let Some(place) = self.try_take(Instant::now()) {
                return place;
            }
            // Looks periodically, too, because a reader becomes slow by the passage of time alone.
            let _ = timeout(LOOK_EVERY, self.changed.notified()).await;
        }
    }

    fn try_take(self: &Arc<ConnectionSlots>, now: Instant) -> Option<ConnectionPermit> {
        let mut taken = lock(&self.taken);
        if taken.slots_used < taken.slots_max {
            taken.slots_used += 1;
            drop(taken);
            let place = ConnectionPermit {
                places: Arc::clone(self),
                idle_key: Mutex::default(),
                displacement: Arc::default(),
            };
            place.mark_idle(Rest::Silent);
            return Some(place);
        }
        if taken.displaced.is_none() {
            let may_go = |(rest, _): &Key, since: &Instant| {
                *rest != Rest::Reader || now.saturating_duration_since(*since) >= SLOW_AFTER
            };
            let mut resting = taken.idle.iter();
            let found = resting.find(|(key, (since, _))| may_go(key, since));
            let found = found.map(|(key, (_, wanted))| (*key, Arc::clone(wanted)));
            if let Some((key, wanted)) = found {
                taken.displaced = Some(key);
                wanted.notify_one();
            }
        }
        None
    }
}

impl ConnectionPermit {
    /// Returns a slot that no other connection can take, for a connection outside the limit.
    pub(super) fn alone() -> ConnectionPermit {
        ConnectionPermit {
            places: ConnectionSlots::new(1),
            idle_key: Mutex::default(),
            displacement: Arc::default(),
        }
    }

    /// Marks the connection as executing a command. A request to give up its slot is withdrawn.
    pub(super) fn works(&self) {
        if let Some(rest) = lock(&self.idle_key).take() {
            lock(&self.places.taken).forget(rest);
            self.places.changed.notify_one();
        }
    }

    pub(super) fn mark_idle(&self, why: Rest) {
        let before = lock(&self.idle_key).take();
        let mut taken = lock(&self.places.taken);
        if let Some(before) = before {
            taken.forget(before);
        }
        taken.idle_periods += 1;
        let key = (why, taken.idle_periods);
        let resting = (Instant::now(), Arc::clone(&self.displacement));
        taken.idle.insert(key, resting);
        drop(taken);
        *lock(&self.idle_key) = Some(key);
        self.places.changed.notify_one();
    }

    /// Waits until another connection needs the slot of this idle one.
    pub(super) async fn wanted(&self) {
        loop {
            self.displacement.notified().await;
            let rest = *lock(&self.idle_key);
            // Ignores a notification about an earlier idle period.
            if rest.is_some() && lock(&self.places.taken).displaced == rest {
                return;
            }
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let rest = lock(&self.idle_key).take();
        let mut taken = lock(&self.places.taken);
        if let Some(rest) = rest {
            taken.forget(rest);
        }
        taken.slots_used = taken.slots_used.saturating_sub(1);
        drop(taken);
        self.places.changed.notify_one();
    }
}

impl SlotUsage {
    fn forget(&mut self, rest: Key) {
        self.idle.remove(&rest);
        if self.displaced == Some(rest) {
            self.displaced = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(place: &ConnectionPermit) -> bool {
        let rest = *lock(&place.idle_key);
        rest.is_some() && lock(&place.places.taken).displaced == rest
    }

    #[test]
    fn silent_connection_is_evicted_first_and_busy_never() {
        let (places, now) = (ConnectionSlots::new(3), Instant::now());
        let mut all: Vec<ConnectionPermit> = (0..3).filter_map(|_| places.try_take(now)).collect();
        assert_eq!(all.len(), 3);
        all[0].mark_idle(Rest::Between);
        all[1].works();
        assert!(places.try_take(now).is_none());
        let who: Vec<bool> = all.iter().map(asked).collect();
        assert_eq!(who, [false, false, true]);
        // The connection executes a command again, so the next one must give up its slot.
        all[2].works();
        assert!(places.try_take(now).is_none());
        assert!(asked(&all[0]));
        all.remove(0);
        assert!(places.try_take(now).is_some());
    }

    #[test]
    fn slow_reader_is_evicted() {
        let (places, now) = (ConnectionSlots::new(1), Instant::now());
        let place = places.try_take(now).expect("the first");
        place.mark_idle(Rest::Reader);
        assert!(places.try_take(now).is_none());
        assert!(!asked(&place));
        let later = Instant::now() + SLOW_AFTER;
        assert!(places.try_take(later).is_none());
        assert!(asked(&place));
    }

    #[test]
    fn lower_limit_ends_no_busy_connection() {
        let (places, now) = (ConnectionSlots::new(2), Instant::now());
        let all: Vec<ConnectionPermit> = (0..2).filter_map(|_| places.try_take(now)).collect();
        all.iter().for_each(ConnectionPermit::works);
        places.set_most(1);
        drop(all);
        let one = places.try_take(now);
        assert!(one.is_some() && places.try_take(now).is_none());
    }
}
