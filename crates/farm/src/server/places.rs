//! Limits the connections of a farm: of all clients, and of each client address until it is routed.
//! An IPv6 address counts by its network of 64 bits. The address of a trusted proxy has no limit of
//! its own, because its clients have theirs. At a limit, the oldest client without a valid request
//! makes room for a new one, so neither one address nor a crowd of them locks others out.

use super::home::Home;
use access::network::client_network;
use part::lock;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// Maximum number of unrouted connections of one client address. All users of an office that share
/// one address may log on at once.
const UNROUTED_MAX: usize = 200;

/// Divisor of the number of slots: the last eighth is reserved for addresses that have less than a
/// sixteenth of them.
const RESERVED_PART: usize = 8;
const FEW_PART: usize = 16;
/// Minimum number of slots of which some are reserved: a small office may have a single address.
const RESERVED_FROM: usize = 64;

#[derive(Debug, Default)]
pub(super) struct ConnectionSlots(Mutex<SlotUsage>);

#[derive(Debug, Default)]
struct SlotUsage {
    maxconn: usize,
    routed: usize,
    unrouted: usize,
    routed_of: BTreeMap<IpAddr, usize>,
    of: BTreeMap<IpAddr, UnroutedClients>,
    next: u64,
}

/// Unrouted clients of one address, by number, so the oldest first.
#[derive(Debug, Default)]
struct UnroutedClients {
    /// Clients that have sent nothing valid.
    silent: Clients,
    /// Clients that have sent an RDP request, or completed a TLS handshake for HTTPS.
    spoken: Clients,
}

/// Clients by number, each with the notifier that ends its connection.
type Clients = BTreeMap<u64, Arc<Notify>>;

/// Slot of one connection; dropping it releases the slot.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    places: Arc<ConnectionSlots>,
    number: u64,
    pub(crate) from: IpAddr,
    pub(crate) home: Home,
    pub(super) by_gateway: bool,
    is_routed: bool,
    leave: Arc<Notify>,
}

impl ConnectionSlots {
    /// Reserves a slot. Returns None if all slots have routed clients.
    pub(super) fn take(
        places: &Arc<ConnectionSlots>,
        from: IpAddr,
        home: Home,
        is_proxy: bool,
        maxconn: u32,
    ) -> Option<ConnectionSlot> {
        let mut taken = lock(&places.0);
        let maxconn = usize::try_from(maxconn).unwrap_or(usize::MAX);
        taken.maxconn = maxconn;
        if !is_proxy && taken.is_full(from) {
            taken.make_room(Some(from))?;
        } else if taken.routed + taken.unrouted >= maxconn {
            taken.make_room(None)?;
        }
        let number = taken.next;
        taken.next += 1;
        taken.unrouted += 1;
        let leave = Arc::new(Notify::new());
        let own = taken.of.entry(client_network(from)).or_default();
        own.silent.insert(number, Arc::clone(&leave));
        Some(ConnectionSlot {
            places: Arc::clone(places),
            number,
            from,
            home,
            by_gateway: false,
            is_routed: false,
            leave,
        })
    }
}

impl UnroutedClients {
    fn count(&self) -> usize {
        self.silent.len() + self.spoken.len()
    }
}

impl SlotUsage {
    fn is_full(&self, from: IpAddr) -> bool {
        let own = self.of.get(&client_network(from));
        own.is_some_and(|own| own.count() >= UNROUTED_MAX)
    }

    /// Returns whether the remaining slots are reserved for addresses with fewer routed clients.
    fn is_reserved(&self, network: IpAddr) -> bool {
        let has_reserve = self.maxconn >= RESERVED_FROM;
        let last = self.maxconn - self.maxconn / RESERVED_PART;
        let own = self.routed_of.get(&network).copied().unwrap_or(0);
        has_reserve && self.routed >= last && own >= self.maxconn / FEW_PART
    }

    /// Evicts the oldest unrouted client of an address, or of the address with the most of them.
    /// Clients that have sent nothing are evicted first. Returns None if there is no unrouted
    /// client.
    fn make_room(&mut self, of: Option<IpAddr>) -> Option<()> {
        let of = of.map(client_network);
        let oldest = |kind: fn(&UnroutedClients) -> &Clients| {
            let all = self.of.iter();
            let all = all.filter(|(from, _)| of.is_none_or(|of| of == **from));
            let first = all.filter_map(|(from, own)| {
                let clients = kind(own);
                let number = *clients.first_key_value()?.0;
                Some((clients.len(), Reverse(number), *from))
            });
            first.max()
        };
        let found = oldest(|own| &own.silent).or_else(|| oldest(|own| &own.spoken));
        let (_, Reverse(number), from) = found?;
        self.remove(from, number)?.notify_one();
        Some(())
    }

    fn begin_routed(&mut self, network: IpAddr) {
        self.routed += 1;
        *self.routed_of.entry(network).or_default() += 1;
    }

    fn end_routed(&mut self, network: IpAddr) {
        self.routed -= 1;
        if let Some(own) = self.routed_of.get_mut(&network) {
            *own -= 1;
            if *own == 0 {
                self.routed_of.remove(&network);
            }
        }
    }

    fn remove(&mut self, from: IpAddr, number: u64) -> Option<Arc<Notify>> {
        let from = client_network(from);
        let own = self.of.get_mut(&from)?;
        let leave = own
            .silent
            .remove(&number)
            .or_else(|| own.spoken.remove(&number))?;
        self.unrouted -= 1;
        if own.count() == 0 {
            self.of.remove(&from);
        }
        Some(leave)
    }
}

impl ConnectionSlot {
    pub(super) fn leave(&self) -> Arc<Notify> {
        Arc::clone(&self.leave)
    }

    /// Moves the slot to the address of the client that a trusted proxy has named. At the limit of
    /// that address, its oldest client is evicted.
    pub(crate) fn move_to(&mut self, from: IpAddr) {
        let places = Arc::clone(&self.places);
        let mut taken = lock(&places.0);
        let before = std::mem::replace(&mut self.from, from);
        let (before, now) = (client_network(before), client_network(from));
        if before == now {
            return;
        }
        if self.is_routed {
            taken.end_routed(before);
            taken.begin_routed(now);
            return;
        }
        let own = taken.of.get(&before);
        let has_spoken = own.is_some_and(|own| own.spoken.contains_key(&self.number));
        // Stops for an evicted client, which no longer counts for any address.
        let Some(leave) = taken.remove(before, self.number) else {
            return;
        };
        if taken.is_full(now) {
            taken.make_room(Some(now));
        }
        taken.unrouted += 1;
        let own = taken.of.entry(now).or_default();
        let clients = if has_spoken {
            &mut own.spoken
        } else {
            &mut own.silent
        };
        clients.insert(self.number, leave);
    }

    pub(crate) fn spoke(&self) {
        let mut taken = lock(&self.places.0);
        if let Some(own) = taken.of.get_mut(&client_network(self.from))
            && let Some(leave) = own.silent.remove(&self.number)
        {
            own.spoken.insert(self.number, leave);
        }
    }

    /// Marks the client as routed: the limit of its address no longer counts it, and it is never
    /// evicted. A client that would need a reserved slot is ended instead.
    pub(crate) fn routed(&mut self) {
        let mut taken = lock(&self.places.0);
        let network = client_network(self.from);
        if !self.is_routed && taken.is_reserved(network) {
            self.leave.notify_one();
            return;
        }
        if !self.is_routed && taken.remove(self.from, self.number).is_some() {
            self.is_routed = true;
            taken.begin_routed(network);
        }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut taken = lock(&self.places.0);
        if self.is_routed {
            taken.end_routed(client_network(self.from))
        } else {
            // Ignores the result, because the client may have been evicted already.
            drop(taken.remove(self.from, self.number))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn home() -> Home {
        super::super::home::Homes::default().of(address(9))
    }

    fn take_slot(
        places: &Arc<ConnectionSlots>,
        last: u8,
        is_proxy: bool,
        maxconn: u32,
    ) -> Option<ConnectionSlot> {
        ConnectionSlots::take(places, address(last), home(), is_proxy, maxconn)
    }

    fn has_left(place: &ConnectionSlot) -> bool {
        let mut left = std::pin::pin!(place.leave.notified());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        left.as_mut().poll(&mut context).is_ready()
    }

    fn left(places: &[ConnectionSlot]) -> Vec<usize> {
        let all = places.iter().enumerate();
        let left = all.filter(|(_, place)| has_left(place));
        left.map(|(at, _)| at).collect()
    }

    #[test]
    fn the_oldest_silent_client_of_an_address_is_closed() {
        let places = Arc::default();
        let take = |last: u8| take_slot(&places, last, false, 1_000);
        let mut held: Vec<ConnectionSlot> = (0..UNROUTED_MAX).map_while(|_| take(1)).collect();
        assert_eq!(held.len(), UNROUTED_MAX);
        let other = take(2).expect("another address");
        held[0].spoke();
        held[1].routed();
        held[1].routed();
        // Routed clients do not count.
        held.push(take(1).expect("a place"));
        assert_eq!(left(&held), [] as [usize; 0]);
        held.push(take(1).expect("a place"));
        assert_eq!(left(&held), [2]);
        assert!(!has_left(&other));
        // Without silent clients, the oldest one with a request is evicted.
        held.remove(2);
        held.iter().for_each(ConnectionSlot::spoke);
        held.push(take(1).expect("a place"));
        assert_eq!(left(&held), [0]);
        drop((other, held));
        let taken = lock(&places.0);
        assert_eq!((taken.routed, taken.unrouted, taken.of.len()), (0, 0, 0));
    }

    #[test]
    fn the_address_with_most_silent_clients_loses_one() {
        let places = Arc::default();
        let take = |last: u8| take_slot(&places, last, false, 10);
        // The only client of its address, clients with requests, and a crowd.
        let mut held: Vec<ConnectionSlot> = [1, 2, 2, 2, 2, 3, 3, 3, 4, 4]
            .into_iter()
            .map_while(take)
            .collect();
        assert_eq!(held.len(), 10);
        held[1..5].iter().for_each(ConnectionSlot::spoke);
        held.push(take(5).expect("a place"));
        assert_eq!(left(&held), [5]);
        held.remove(5);
        // No crowd evicts a routed client.
        held.iter_mut().for_each(ConnectionSlot::routed);
        assert!(take(6).is_none());
        assert_eq!(left(&held), [] as [usize; 0]);
        held.pop();
        let new = take(6).expect("a place");
        let newer = take(6).expect("a place");
        assert!(has_left(&new) && !has_left(&newer));
        drop((held, new, newer));
        let taken = lock(&places.0);
        assert_eq!((taken.routed, taken.unrouted, taken.of.len()), (0, 0, 0));
    }

    #[test]
    fn routed_clients_of_one_address_leave_slots_for_others() {
        let places = Arc::default();
        let take = |last: u8| take_slot(&places, last, false, 64).expect("a place");
        let routed = |last: u8| {
            let mut place = take(last);
            place.routed();
            place
        };
        let mut held: Vec<ConnectionSlot> = (0..56).map(|_| routed(1)).collect();
        let refused = routed(1);
        assert!(has_left(&refused) && !refused.is_routed);
        drop(refused);
        // Other addresses get the last eighth, each up to a sixteenth of all.
        held.extend([2, 2, 2, 2, 3, 3, 3].map(routed));
        assert!(held.iter().all(|place| place.is_routed));
        assert!(!routed(2).is_routed);
        held.push(routed(4));
        assert_eq!(lock(&places.0).routed, 64);
        held[0].move_to(address(5));
        assert_eq!(lock(&places.0).routed_of[&address(5)], 1);
        drop(held);
        let taken = lock(&places.0);
        assert_eq!((taken.routed, taken.unrouted, taken.of.len()), (0, 0, 0));
        assert!(taken.routed_of.is_empty());
    }

    #[test]
    fn clients_behind_a_proxy_have_the_limits_of_their_own_addresses() {
        let places = Arc::default();
        let proxied = |last: u8| {
            let mut place = take_slot(&places, 9, true, 1_000).expect("a place");
            place.move_to(address(last));
            place
        };
        let mut held: Vec<ConnectionSlot> = (0..UNROUTED_MAX).map(|_| proxied(1)).collect();
        // All connections of the proxy may exceed the limit of one address, but no client of
        // another address does.
        held.extend((2..=4).map(proxied));
        assert_eq!(left(&held), [] as [usize; 0]);
        held.push(proxied(1));
        assert_eq!(left(&held), [0]);
        held.remove(0);
        let direct = take_slot(&places, 1, false, 1_000).expect("a place");
        assert_eq!(left(&held), [0]);
        // The proxy uses its connection for a request of another client.
        held[1].spoke();
        held[1].move_to(address(2));
        assert_eq!(lock(&places.0).of[&address(2)].spoken.len(), 1);
        held[1].routed();
        held[1].move_to(address(3));
        drop((held, direct));
        let taken = lock(&places.0);
        assert_eq!((taken.routed, taken.unrouted, taken.of.len()), (0, 0, 0));
    }

    #[test]
    fn one_ipv6_network_is_one_client() {
        let places = Arc::default();
        let take = |last: u16| {
            let from = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]);
            ConnectionSlots::take(&places, from, home(), false, 1_000).expect("a place")
        };
        let all = u16::try_from(UNROUTED_MAX + 1).expect("a small number");
        let held: Vec<ConnectionSlot> = (0..all).map(take).collect();
        assert_eq!(left(&held), [0]);
    }
}
