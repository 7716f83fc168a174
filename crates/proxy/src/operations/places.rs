//! Slots of operators' connections (`stats maxconn`). A connection that executes a command
//! keeps its slot. If all slots are taken, the next connection gets that of an idle one:
//! first of those that never sent a command, then of those between two commands, then of
//! those that do not read their output. Within a group the one that is idle longest loses its
//! slot. Silent connections thus cannot lock operators out.

use model::thread::lock;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::timeout;

/// Time without progress after which a reader counts as slow.
const SLOW_AFTER: Duration = Duration::from_secs(1);
/// Interval at which a waiting connection looks for a slot.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Reason why a connection is idle.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Rest {
    /// No command was sent yet.
    Silent,
    /// A command was executed, and another may follow.
    Between,
    /// The client has to read output.
    Reader,
}

/// Reason of an idle period, and its number.
type Key = (Rest, u64);

#[derive(Debug)]
pub(super) struct Places {
    taken: Mutex<Taken>,
    /// Notified whenever a slot may have become free.
    changed: Notify,
}

#[derive(Debug)]
struct Taken {
    most: usize,
    places: usize,
    /// Number of idle periods so far.
    rests: u64,
    resting: BTreeMap<Key, (Instant, Arc<Notify>)>,
    /// Idle period of the connection that was asked to leave. None once that connection has left
    /// or executes a command.
    asked: Option<Key>,
}

/// A slot, held for the lifetime of its connection.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    places: Arc<Places>,
    rest: Mutex<Option<Key>>,
    wanted: Arc<Notify>,
}

impl Places {
    pub(super) fn new(most: usize) -> Arc<Places> {
        Arc::new(Places {
            taken: Mutex::new(Taken {
                most,
                places: 0,
                rests: 0,
                resting: BTreeMap::new(),
                asked: None,
            }),
            changed: Notify::new(),
        })
    }

    /// Sets the number of slots; existing connections keep theirs.
    pub(super) fn set_most(&self, most: usize) {
        lock(&self.taken).most = most;
        self.changed.notify_one();
    }

    /// Waits for a slot and takes it.
    pub(super) async fn take(self: &Arc<Places>) -> ConnectionPermit {
        loop {
            if let Some(place) = self.try_take(Instant::now()) {
                return place;
            }
            // Also checks periodically, because a reader becomes slow by time alone.
            let _ = timeout(LOOK_EVERY, self.changed.notified()).await;
        }
    }

    fn try_take(self: &Arc<Places>, now: Instant) -> Option<ConnectionPermit> {
        let mut taken = lock(&self.taken);
        if taken.places < taken.most {
            taken.places += 1;
            drop(taken);
            let place = ConnectionPermit {
                places: Arc::clone(self),
                rest: Mutex::default(),
                wanted: Arc::default(),
            };
            place.rests(Rest::Silent);
            return Some(place);
        }
        if taken.asked.is_none() {
            let may_go = |(rest, _): &Key, since: &Instant| {
                *rest != Rest::Reader || now.saturating_duration_since(*since) >= SLOW_AFTER
            };
            let mut resting = taken.resting.iter();
            let found = resting.find(|(key, (since, _))| may_go(key, since));
            let found = found.map(|(key, (_, wanted))| (*key, Arc::clone(wanted)));
            if let Some((key, wanted)) = found {
                taken.asked = Some(key);
                wanted.notify_one();
            }
        }
        None
    }
}

impl ConnectionPermit {
    /// Returns a slot for a connection that does not compete with others.
    pub(super) fn alone() -> ConnectionPermit {
        ConnectionPermit {
            places: Places::new(1),
            rest: Mutex::default(),
            wanted: Arc::default(),
        }
    }

    /// Marks the connection as busy. A request to leave is withdrawn.
    pub(super) fn works(&self) {
        if let Some(rest) = lock(&self.rest).take() {
            lock(&self.places.taken).forget(rest);
            self.places.changed.notify_one();
        }
    }

    /// Marks the connection as idle: it waits for its client.
    pub(super) fn rests(&self, why: Rest) {
        let before = lock(&self.rest).take();
        let mut taken = lock(&self.places.taken);
        if let Some(before) = before {
            taken.forget(before);
        }
        taken.rests += 1;
        let key = (why, taken.rests);
        let resting = (Instant::now(), Arc::clone(&self.wanted));
        taken.resting.insert(key, resting);
        drop(taken);
        *lock(&self.rest) = Some(key);
        self.places.changed.notify_one();
    }

    /// Waits until another connection wants the slot of this idle one.
    pub(super) async fn wanted(&self) {
        loop {
            self.wanted.notified().await;
            let rest = *lock(&self.rest);
            // The notification may be for an earlier idle period.
            if rest.is_some() && lock(&self.places.taken).asked == rest {
                return;
            }
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let rest = lock(&self.rest).take();
        let mut taken = lock(&self.places.taken);
        if let Some(rest) = rest {
            taken.forget(rest);
        }
        taken.places = taken.places.saturating_sub(1);
        drop(taken);
        self.places.changed.notify_one();
    }
}

impl Taken {
    fn forget(&mut self, rest: Key) {
        self.resting.remove(&rest);
        if self.asked == Some(rest) {
            self.asked = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(place: &ConnectionPermit) -> bool {
        let rest = *lock(&place.rest);
        rest.is_some() && lock(&place.places.taken).asked == rest
    }

    #[test]
    fn the_connection_that_never_spoke_goes_first_and_the_one_that_works_never() {
        let (places, now) = (Places::new(3), Instant::now());
        let mut all: Vec<ConnectionPermit> = (0..3).filter_map(|_| places.try_take(now)).collect();
        assert_eq!(all.len(), 3);
        all[0].rests(Rest::Between);
        all[1].works();
        assert!(places.try_take(now).is_none());
        let who: Vec<bool> = all.iter().map(asked).collect();
        assert_eq!(who, [false, false, true]);
        // The connection is busy after all, so the next one is asked.
        all[2].works();
        assert!(places.try_take(now).is_none());
        assert!(asked(&all[0]));
        all.remove(0);
        assert!(places.try_take(now).is_some());
    }

    #[test]
    fn a_reader_is_asked_to_go_when_it_has_been_slow() {
        let (places, now) = (Places::new(1), Instant::now());
        let place = places.try_take(now).expect("the first");
        place.rests(Rest::Reader);
        assert!(places.try_take(now).is_none());
        assert!(!asked(&place));
        let later = Instant::now() + SLOW_AFTER;
        assert!(places.try_take(later).is_none());
        assert!(asked(&place));
    }

    #[test]
    fn fewer_places_end_no_connection_that_works() {
        let (places, now) = (Places::new(2), Instant::now());
        let all: Vec<ConnectionPermit> = (0..2).filter_map(|_| places.try_take(now)).collect();
        all.iter().for_each(ConnectionPermit::works);
        places.set_most(1);
        drop(all);
        let one = places.try_take(now);
        assert!(one.is_some() && places.try_take(now).is_none());
    }
}
