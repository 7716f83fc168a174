//! Limits the number of clients by slots. A working client keeps its slot; an idle client loses it
//! to the next one that connects, the one that has been idle longest first. One idle client at a
//! time is asked to leave. If it has started to work meanwhile it stays, and the next one is asked.

use futures_util::FutureExt;
use part::lock;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;

#[derive(Clone, Debug)]
pub(super) struct ClientSlots(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    most: usize,
    taken: Mutex<SlotsInUse>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct SlotsInUse {
    places: usize,
    /// Number of times that clients became idle; orders the idle clients.
    rests: u64,
    /// Idle clients, the longest idle first.
    resting: BTreeMap<u64, Arc<Notify>>,
    /// The idle client that was asked to leave, by its number in [`SlotsInUse::rests`], until it
    /// leaves or starts to work.
    asked: Option<u64>,
}

/// A slot, released when dropped.
#[derive(Debug)]
pub(super) struct ClientSlot {
    places: ClientSlots,
    rest: Mutex<Option<u64>>,
    wanted: Arc<Notify>,
}

impl ClientSlots {
    pub(super) fn new(most: usize) -> ClientSlots {
        ClientSlots(Arc::new(Inside {
            most,
            taken: Mutex::default(),
            changed: Notify::new(),
        }))
    }

    fn taken(&self) -> MutexGuard<'_, SlotsInUse> {
        lock(&self.0.taken)
    }

    /// Waits for a slot, and asks an idle client to leave if none is free; the new client starts
    /// idle. Only one task may call this at a time.
    pub(super) async fn wait_for_slot(&self) -> ClientSlot {
        loop {
            {
                let mut taken = self.taken();
                if taken.places < self.0.most {
                    taken.places += 1;
                    drop(taken);
                    let place = ClientSlot {
                        places: self.clone(),
                        rest: Mutex::default(),
                        wanted: Arc::new(Notify::new()),
                    };
                    place.rests();
                    return place;
                }
                if taken.asked.is_none()
                    && let Some((rest, wanted)) = taken.resting.pop_first()
                {
                    taken.asked = Some(rest);
                    wanted.notify_one();
                }
            }
            self.0.changed.notified().await;
        }
    }
}

impl ClientSlot {
    pub(super) fn works(&self) {
        let Some(rest) = lock(&self.rest).take() else {
            return;
        };
        if self.places.taken().end_idle(rest) {
            // Consumes a pending notification, which would otherwise end the next idle time.
            let _ = self.wanted.notified().now_or_never();
            self.places.0.changed.notify_one();
        }
    }

    pub(super) fn rests(&self) {
        let mut taken = self.places.taken();
        taken.rests += 1;
        let rest = taken.rests;
        taken.resting.insert(rest, self.wanted.clone());
        drop(taken);
        *lock(&self.rest) = Some(rest);
        self.places.0.changed.notify_one();
    }

    /// Waits until another client needs the slot of this idle one.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }
}

impl Drop for ClientSlot {
    fn drop(&mut self) {
        let rest = lock(&self.rest).take();
        let mut taken = self.places.taken();
        if let Some(rest) = rest {
            taken.end_idle(rest);
        }
        taken.places -= 1;
        drop(taken);
        self.places.0.changed.notify_one();
    }
}

impl SlotsInUse {
    /// Ends an idle time; returns true if the client was asked to leave.
    fn end_idle(&mut self, rest: u64) -> bool {
        self.resting.remove(&rest);
        let asked = self.asked == Some(rest);
        if asked {
            self.asked = None;
        }
        asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_idle_client_is_asked_to_leave() {
        let places = ClientSlots::new(2);
        let first = places.wait_for_slot().now_or_never().unwrap();
        let second = places.wait_for_slot().now_or_never().unwrap();
        first.works();
        let mut third = Box::pin(places.wait_for_slot());
        assert!(third.as_mut().now_or_never().is_none());
        assert!(first.wanted().now_or_never().is_none());
        assert!(second.wanted().now_or_never().is_some());
        assert!(third.as_mut().now_or_never().is_none());
        drop(second);
        let third = third.now_or_never().unwrap();
        drop((first, third));
        assert_eq!(places.taken().places, 0);
        assert!(places.taken().resting.is_empty());
    }

    #[test]
    fn first_client_to_become_idle_is_asked_to_leave() {
        let places = ClientSlots::new(1);
        let first = places.wait_for_slot().now_or_never().unwrap();
        first.works();
        let mut second = Box::pin(places.wait_for_slot());
        assert!(second.as_mut().now_or_never().is_none());
        assert!(first.wanted().now_or_never().is_none());
        first.rests();
        assert!(second.as_mut().now_or_never().is_none());
        assert!(first.wanted().now_or_never().is_some());
        drop(first);
        assert!(second.now_or_never().is_some());
    }

    #[test]
    fn client_with_a_pending_request_stays_and_the_next_leaves() {
        let places = ClientSlots::new(3);
        let [first, second, third] =
            [(); 3].map(|()| places.wait_for_slot().now_or_never().unwrap());
        let mut next = Box::pin(places.wait_for_slot());
        assert!(next.as_mut().now_or_never().is_none());
        // The first is asked, and works before it has heard of it.
        first.works();
        assert!(next.as_mut().now_or_never().is_none());
        assert!(second.wanted().now_or_never().is_some());
        // A client that becomes idle again wakes the waiting task, which asks nobody while another
        // client is asked.
        first.rests();
        assert!(next.as_mut().now_or_never().is_none());
        assert!(first.wanted().now_or_never().is_none());
        assert!(third.wanted().now_or_never().is_none());
        drop(second);
        let next = next.now_or_never().unwrap();
        assert!(first.wanted().now_or_never().is_none());
        assert!(third.wanted().now_or_never().is_none());
        drop((first, third, next));
        let taken = places.taken();
        assert_eq!((taken.places, taken.asked), (0, None));
        assert!(taken.resting.is_empty());
    }
}
