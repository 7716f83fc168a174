//! Limits the number of simultaneous connections. Connections without a session share the slots
//! that others do not need, and the oldest of them is closed for a new one, so a flood of
//! connections locks nobody out. A connection with a session keeps its slot within the limits of
//! its user. Users who are not administrators can never take some of the slots, so one is always
//! left for an administrator, and for users who sign in.

use crate::user::UserRole;
use ::access::network::client_network;
use part::lock;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, Weak};
use tokio::sync::Notify;

/// Maximum number of connections in total.
const ALL_MAX: usize = 512;
const OF_ADDRESS_MAX: usize = 128;
/// Maximum number of connections per user.
const OF_USER_MAX: usize = 64;
const OF_OTHERS_MAX: usize = 384;

#[derive(Default)]
pub(super) struct ConnectionLimiter {
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    /// Open connections by number, so that the oldest comes first.
    taken: BTreeMap<u64, OpenConnection>,
    next: u64,
}

struct OpenConnection {
    of: IpAddr,
    user: Option<(UserRole, String)>,
    leave: Arc<Notify>,
}

/// Handle by which the client and the user of a connection are set.
#[derive(Clone, Default)]
pub(super) struct ConnectionHandle {
    places: Weak<ConnectionLimiter>,
    number: u64,
}

/// Slot of a connection, freed when it is dropped.
pub(super) struct ConnectionSlot {
    pub(super) guest: ConnectionHandle,
    leave: Arc<Notify>,
}

impl ConnectionLimiter {
    /// Takes a slot for a connection of this address, or of a trusted proxy. None if administrators
    /// have taken all of them.
    pub(super) fn take(
        self: &Arc<ConnectionLimiter>,
        from: IpAddr,
        is_proxy: bool,
    ) -> Option<ConnectionSlot> {
        let of = client_network(from);
        let mut all = lock(&self.all);
        if !is_proxy && all.count_of(of) >= OF_ADDRESS_MAX {
            all.make_room(Some(of))?;
        } else if all.taken.len() >= ALL_MAX {
            all.make_room(None)?;
        }
        let (leave, number) = (Arc::new(Notify::new()), all.next);
        all.next += 1;
        let taken = OpenConnection {
            of,
            user: None,
            leave: Arc::clone(&leave),
        };
        all.taken.insert(number, taken);
        let places = Arc::downgrade(self);
        Some(ConnectionSlot {
            guest: ConnectionHandle { places, number },
            leave,
        })
    }
}

impl ConnectionHandle {
    /// Counts the connection for a user with a session. If the limit of the user, or of all users
    /// who are not administrators, is exceeded, the oldest connection of the user with the most of
    /// them is closed.
    pub(super) fn assign_user(&self, user: &str, role: UserRole) {
        let Some(places) = self.places.upgrade() else {
            return;
        };
        let mut all = lock(&places.all);
        let user = (role, user.to_owned());
        match all.taken.get_mut(&self.number) {
            Some(taken) if taken.user.as_ref() != Some(&user) => taken.user = Some(user.clone()),
            _ => return,
        }
        let own = |one: &OpenConnection| one.user.as_ref() == Some(&user);
        if all.count(own) > OF_USER_MAX {
            all.close_oldest(own);
        }
        let is_other = |one: &OpenConnection| {
            one.user
                .as_ref()
                .is_some_and(|(role, _)| *role < UserRole::Admin)
        };
        if all.count(is_other) > OF_OTHERS_MAX
            && let Some(user) = all.user_with_most(is_other)
        {
            all.close_oldest(|one| one.user.as_ref() == Some(&user));
        }
    }

    pub(super) fn is_known(&self) -> bool {
        let places = self.places.upgrade();
        places.is_some_and(|places| {
            let all = lock(&places.all);
            let taken = all.taken.get(&self.number);
            taken.is_some_and(|taken| taken.user.is_some())
        })
    }

    /// Counts the connection for the address of the client that a trusted proxy has named.
    pub(super) fn move_to(&self, from: IpAddr) {
        let Some(places) = self.places.upgrade() else {
            return;
        };
        let of = client_network(from);
        let mut all = lock(&places.all);
        match all.taken.get_mut(&self.number) {
            Some(taken) if taken.of != of => taken.of = of,
            _ => return,
        }
        if all.count_of(of) > OF_ADDRESS_MAX {
            all.make_room(Some(of));
        }
    }
}

impl All {
    fn count(&self, which: impl Fn(&OpenConnection) -> bool) -> usize {
        self.taken.values().filter(|one| which(one)).count()
    }

    fn count_of(&self, of: IpAddr) -> usize {
        self.count(|one| one.of == of)
    }

    /// Closes the oldest connection without a session: of the given address, or of the address with
    /// the most of them. If all connections have sessions, closes the oldest one of the user with
    /// the most connections, among the users with the lowest role. None if all belong to
    /// administrators.
    fn make_room(&mut self, of: Option<IpAddr>) -> Option<()> {
        let is_meant = |one: &OpenConnection| of.is_none_or(|of| of == one.of);
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for one in self.taken.values().filter(|one| one.user.is_none()) {
            *counts.entry(one.of).or_default() += 1;
        }
        let strangers = self.taken.iter();
        let strangers = strangers.filter(|(_, one)| one.user.is_none() && is_meant(one));
        // Finds the oldest one, which is the first on a tie.
        let oldest = strangers.min_by_key(|(_, one)| Reverse(counts.get(&one.of).copied()));
        if let Some(number) = oldest.map(|(number, _)| *number) {
            return self.close_connection(number);
        }
        let is_other = |one: &OpenConnection| {
            let role = one.user.as_ref().map(|(role, _)| *role);
            is_meant(one) && role.is_some_and(|role| role < UserRole::Admin)
        };
        // Closes even an administrator's connection at the limit of an address, because no other
        // slot can be freed.
        let is_any = |one: &OpenConnection| of.is_some() && is_meant(one);
        let user = self
            .user_with_most(is_other)
            .or_else(|| self.user_with_most(is_any))?;
        self.close_oldest(|one| is_meant(one) && one.user.as_ref() == Some(&user))
    }

    fn user_with_most(
        &self,
        which: impl Fn(&OpenConnection) -> bool,
    ) -> Option<(UserRole, String)> {
        let mut counts: BTreeMap<&(UserRole, String), usize> = BTreeMap::new();
        for user in self
            .taken
            .values()
            .filter(|one| which(one))
            .filter_map(|one| one.user.as_ref())
        {
            *counts.entry(user).or_default() += 1;
        }
        let most = counts
            .into_iter()
            .min_by_key(|((role, _), count)| (*role, Reverse(*count)));
        most.map(|(user, _)| user.clone())
    }

    fn close_oldest(&mut self, which: impl Fn(&OpenConnection) -> bool) -> Option<()> {
        let oldest = self.taken.iter().find(|(_, one)| which(one));
        let number = *oldest?.0;
        self.close_connection(number)
    }

    fn close_connection(&mut self, number: u64) -> Option<()> {
        self.taken.remove(&number)?.leave.notify_one();
        Some(())
    }
}

impl ConnectionSlot {
    /// Returns when another connection has received the slot.
    pub(super) async fn wait_for_eviction(&self) {
        self.leave.notified().await;
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        if let Some(places) = self.guest.places.upgrade() {
            lock(&places.all).taken.remove(&self.guest.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    fn has_left(place: &ConnectionSlot) -> bool {
        let mut left = std::pin::pin!(place.wait_for_eviction());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        left.as_mut().poll(&mut context).is_ready()
    }

    fn left(places: &[ConnectionSlot]) -> Vec<usize> {
        let all = places.iter().enumerate();
        let left = all.filter(|(_, place)| has_left(place));
        left.map(|(at, _)| at).collect()
    }

    fn take(places: &Arc<ConnectionLimiter>, last: u8) -> ConnectionSlot {
        places.take(address(last), false).unwrap()
    }

    #[test]
    fn a_new_connection_replaces_the_oldest_anonymous_one_of_its_address() {
        let places = Arc::new(ConnectionLimiter::default());
        let mut of_one: Vec<ConnectionSlot> =
            (0..OF_ADDRESS_MAX).map(|_| take(&places, 1)).collect();
        of_one[0].guest.assign_user("vera", UserRole::Viewer);
        let (other, new) = (take(&places, 2), take(&places, 1));
        assert_eq!(left(&of_one), [1]);
        assert!(!has_left(&other) && !has_left(&new));
        assert_eq!(lock(&places.all).count_of(address(1)), OF_ADDRESS_MAX);
        // Without connections that have no session, the oldest one of the user with the most
        // connections is closed.
        of_one.remove(1);
        for (at, place) in of_one.iter().enumerate() {
            let users = [
                ("adam", UserRole::Admin),
                ("otto", UserRole::Operator),
                ("vera", UserRole::Viewer),
            ];
            let (user, role) = users[at % 3];
            place.guest.assign_user(user, role);
        }
        new.guest.assign_user("vera", UserRole::Viewer);
        let newer = take(&places, 1);
        assert_eq!(left(&of_one), [2]);
        drop((of_one, newer, new));
        assert_eq!(lock(&places.all).taken.len(), 1);
    }

    #[test]
    fn the_address_with_most_connections_loses_one_first() {
        let places = Arc::new(ConnectionLimiter::default());
        let mut all: Vec<ConnectionSlot> = (1..=u8::MAX).map(|last| take(&places, last)).collect();
        while all.len() < ALL_MAX {
            let last = u8::try_from(all.len() % 3).unwrap() + 10;
            all.push(take(&places, last));
        }
        let new = take(&places, 7);
        // The first of the address with the most connections is closed.
        assert_eq!(left(&all), [9]);
        drop((all, new));
        assert!(lock(&places.all).taken.is_empty());
    }

    #[test]
    fn a_viewer_cannot_exhaust_connections_of_administrators() {
        let places = Arc::new(ConnectionLimiter::default());
        // One account opens a thousand connections from many addresses.
        let mut held = Vec::new();
        for at in 0..1_000 {
            let place = take(&places, u8::try_from(at % 200).unwrap());
            place.guest.assign_user("vic", UserRole::Viewer);
            held.push(place);
            held.retain(|place| !has_left(place));
            assert!(held.len() <= OF_USER_MAX);
        }
        // More accounts cannot take the reserved slots either, even while new connections arrive.
        for at in 0..1_000 {
            let place = take(&places, u8::try_from(at % 200).unwrap());
            place
                .guest
                .assign_user(&format!("vic{}", at % 20), UserRole::Operator);
            held.push(place);
            held.retain(|place| !has_left(place));
        }
        let known = lock(&places.all).count(|one| one.user.is_some());
        assert_eq!(known, OF_OTHERS_MAX);
        let admin = take(&places, 250);
        let strangers: Vec<ConnectionSlot> = (0..300).map(|_| take(&places, 251)).collect();
        assert!(!has_left(&admin));
        admin.guest.assign_user("adm", UserRole::Admin);
        let more: Vec<ConnectionSlot> = (0..300).map(|_| take(&places, 252)).collect();
        assert!(!has_left(&admin) && admin.guest.is_known());
        drop((held, strangers, more, admin));
        assert!(lock(&places.all).taken.is_empty());
    }

    #[test]
    fn clients_behind_a_proxy_and_of_one_ipv6_network_have_their_own_bounds() {
        let places = Arc::new(ConnectionLimiter::default());
        let proxied = |last: u8| {
            let place = places.take(address(9), true).unwrap();
            place.guest.move_to(address(last));
            place
        };
        let mut held: Vec<ConnectionSlot> = (0..OF_ADDRESS_MAX).map(|_| proxied(1)).collect();
        held.extend((2..=5).map(proxied));
        assert_eq!(left(&held), [] as [usize; 0]);
        held.push(proxied(1));
        assert_eq!(left(&held), [0]);
        drop(held);
        let of_network = |last: usize| {
            let last = u16::try_from(last).unwrap();
            let from = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]);
            places.take(from, false).unwrap()
        };
        let held: Vec<ConnectionSlot> = (0..=OF_ADDRESS_MAX).map(of_network).collect();
        assert_eq!(left(&held), [0]);
    }
}
