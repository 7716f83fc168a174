//! How many connections there may be. Who has signed in keeps a place; strangers share the others, and
//! the oldest of them leaves for a new one: so a crowd of connections keeps nobody out.

use part::lock;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// Connections at one time, and of one address.
const ALL_MAX: usize = 512;
const OF_ONE_MAX: usize = 128;

/// The connections that there are.
#[derive(Default)]
pub(super) struct Places {
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    /// By their numbers, so the oldest first.
    taken: BTreeMap<u64, Taken>,
    of: BTreeMap<IpAddr, usize>,
    next: u64,
}

struct Taken {
    of: IpAddr,
    guest: Guest,
    leave: Arc<Notify>,
}

/// Whether somebody has signed in at a connection.
#[derive(Clone, Default)]
pub(super) struct Guest(Arc<AtomicBool>);

impl Guest {
    /// Somebody has.
    pub(super) fn know(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody has.
    pub(super) fn is_known(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection's place, until it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    /// Whose it is.
    pub(super) guest: Guest,
    leave: Arc<Notify>,
}

impl Places {
    /// A place for a connection of this address. None: all are taken by people who have signed in.
    pub(super) fn take(self: &Arc<Places>, of: IpAddr) -> Option<Place> {
        let mut all = lock(&self.all);
        let own = all.of.get(&of).copied().unwrap_or_default();
        if own >= OF_ONE_MAX {
            all.make_room(Some(of))?;
        } else if all.taken.len() >= ALL_MAX {
            all.make_room(None)?;
        }
        let (guest, leave) = (Guest::default(), Arc::new(Notify::new()));
        let number = all.next;
        all.next += 1;
        *all.of.entry(of).or_default() += 1;
        let taken = Taken {
            of,
            guest: guest.clone(),
            leave: Arc::clone(&leave),
        };
        all.taken.insert(number, taken);
        drop(all);
        Some(Place {
            places: Arc::clone(self),
            number,
            guest,
            leave,
        })
    }
}

impl All {
    /// The oldest stranger leaves: of an address, or of the one that has most connections. None: there is
    /// no stranger.
    fn make_room(&mut self, of: Option<IpAddr>) -> Option<()> {
        let mut strangers = self.taken.iter().filter(|(_, one)| !one.guest.is_known());
        let oldest = match of {
            Some(of) => strangers.find(|(_, one)| one.of == of)?,
            None => {
                let most = |one: &Taken| self.of.get(&one.of).copied().unwrap_or_default();
                // Of several the first is the oldest.
                strangers.min_by_key(|(_, one)| std::cmp::Reverse(most(one)))?
            }
        };
        let number = *oldest.0;
        oldest.1.leave.notify_one();
        self.remove(number);
        Some(())
    }

    fn remove(&mut self, number: u64) {
        let Some(taken) = self.taken.remove(&number) else {
            return;
        };
        if let Some(left) = self.of.get_mut(&taken.of) {
            *left -= 1;
            if *left == 0 {
                self.of.remove(&taken.of);
            }
        }
    }
}

impl Place {
    /// Ready when the place is another one's.
    pub(super) async fn left(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.places.all).remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    fn has_left(place: &Place) -> bool {
        let mut left = std::pin::pin!(place.left());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        left.as_mut().poll(&mut context).is_ready()
    }

    #[test]
    fn the_oldest_stranger_of_an_address_leaves_for_a_new_one() {
        let places = Arc::new(Places::default());
        let mut of_one: Vec<Place> = Vec::new();
        for _ in 0..OF_ONE_MAX {
            of_one.push(places.take(address(1)).unwrap());
        }
        of_one[0].guest.know();
        let other = places.take(address(2)).unwrap();
        let new = places.take(address(1)).unwrap();
        let left: Vec<usize> = { of_one.iter().enumerate() }
            .filter(|(_, place)| has_left(place))
            .map(|(at, _)| at)
            .collect();
        assert_eq!(left, [1]);
        assert!(!has_left(&other) && !has_left(&new));
        assert_eq!(lock(&places.all).of[&address(1)], OF_ONE_MAX);
        drop(of_one);
        assert_eq!(lock(&places.all).taken.len(), 2);
    }

    #[test]
    fn of_all_the_address_with_most_connections_gives_way_and_who_has_signed_in_never() {
        let places = Arc::new(Places::default());
        let mut all = Vec::new();
        for last in 1..=u8::MAX {
            all.push(places.take(address(last)).unwrap());
        }
        while all.len() < ALL_MAX {
            let last = u8::try_from(all.len() % 3).unwrap() + 10;
            all.push(places.take(address(last)).unwrap());
        }
        let new = places.take(address(7)).unwrap();
        let left: Vec<bool> = all.iter().map(has_left).collect();
        // The first of those with most.
        assert_eq!(left.iter().position(|left| *left), Some(9));
        assert_eq!(left.iter().filter(|left| **left).count(), 1);
        all.push(new);
        all.remove(9);
        for place in &all {
            place.guest.know();
        }
        assert!(places.take(address(8)).is_none());
        drop(all);
        assert!(lock(&places.all).of.is_empty());
    }
}
