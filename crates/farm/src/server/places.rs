//! Bounds of connections: of all clients, and of each address before its client is routed, so that one
//! address takes nothing from others.

use part::lock;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

/// Connections of one address that are not routed yet. An office behind one address logs on at once.
const UNROUTED_MAX: u32 = 200;

/// The connections of a farm.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    all: u32,
    unrouted: BTreeMap<IpAddr, u32>,
}

/// The place of one connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    /// Where the client is.
    pub(crate) from: IpAddr,
    /// The client comes through a tunnel of the gateway.
    pub(super) by_gateway: bool,
    is_routed: bool,
}

impl Places {
    /// Takes a place. None: there is none.
    pub(super) fn take(places: &Arc<Places>, from: IpAddr, maxconn: u32) -> Option<Place> {
        let mut taken = lock(&places.0);
        let own = taken.unrouted.get(&from).copied().unwrap_or_default();
        if taken.all >= maxconn || own >= UNROUTED_MAX {
            return None;
        }
        taken.all += 1;
        taken.unrouted.insert(from, own + 1);
        Some(Place {
            places: Arc::clone(places),
            from,
            by_gateway: false,
            is_routed: false,
        })
    }
}

impl Place {
    /// The client is routed: only the bound of all clients counts it.
    pub(crate) fn routed(&mut self) {
        if !std::mem::replace(&mut self.is_routed, true) {
            self.give_back(&mut lock(&self.places.0));
        }
    }

    fn give_back(&self, taken: &mut Taken) {
        if let Some(own) = taken.unrouted.get_mut(&self.from) {
            *own -= 1;
            if *own == 0 {
                taken.unrouted.remove(&self.from);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.places.0);
        taken.all -= 1;
        if !self.is_routed {
            self.give_back(&mut taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_takes_nothing_from_others_and_all_have_a_bound() {
        let places = Arc::default();
        let take =
            |last: u8| Places::take(&places, IpAddr::from([192, 0, 2, last]), UNROUTED_MAX + 2);
        let mut held: Vec<Place> = (0..UNROUTED_MAX).map_while(|_| take(1)).collect();
        assert_eq!(held.len(), UNROUTED_MAX as usize);
        assert!(take(1).is_none());
        let other = take(2).expect("another address");
        held[0].routed();
        held[0].routed();
        let more = take(1).expect("a routed one does not count");
        assert!(take(3).is_none(), "all places are taken");
        drop((other, more, held));
        let taken = lock(&places.0);
        assert_eq!((taken.all, taken.unrouted.len()), (0, 0));
    }
}
