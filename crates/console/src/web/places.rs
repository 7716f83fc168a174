//! How many connections there may be. Strangers share the places that others do not need, and the oldest of them
//! leaves for a new one, so a crowd of connections keeps nobody out. Who has signed in keeps a place, within bounds
//! of its user: some places are never taken by users who are no administrators, so there is always one for an
//! administrator, and for somebody who signs in.

use crate::user::Role;
use ::access::network::client_network;
use part::lock;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, Weak};
use tokio::sync::Notify;

/// Connections at one time, and of one address (of IPv6 one network of 64 bits). A trusted proxy has no bound of its
/// own: its clients have theirs.
const ALL_MAX: usize = 512;
const OF_ADDRESS_MAX: usize = 128;
/// Connections of one user, and of all users who are no administrators.
const OF_USER_MAX: usize = 64;
const OF_OTHERS_MAX: usize = 384;

/// The connections that there are.
#[derive(Default)]
pub(super) struct Places {
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    /// By their numbers, so the oldest first.
    taken: BTreeMap<u64, Taken>,
    next: u64,
}

struct Taken {
    /// The network of the client.
    of: IpAddr,
    /// The user, once somebody has signed in.
    user: Option<(Role, String)>,
    leave: Arc<Notify>,
}

/// A connection, for those who find out whose it is.
#[derive(Clone, Default)]
pub(super) struct Guest {
    places: Weak<Places>,
    number: u64,
}

/// A connection's place, until it is dropped.
pub(super) struct Place {
    /// The connection.
    pub(super) guest: Guest,
    leave: Arc<Notify>,
}

impl Places {
    /// A place for a connection of this address, or of a trusted proxy. None: all are taken by administrators.
    pub(super) fn take(self: &Arc<Places>, from: IpAddr, is_proxy: bool) -> Option<Place> {
        let of = client_network(from);
        let mut all = lock(&self.all);
        if !is_proxy && all.count_of(of) >= OF_ADDRESS_MAX {
            all.make_room(Some(of))?;
        } else if all.taken.len() >= ALL_MAX {
            all.make_room(None)?;
        }
        let (leave, number) = (Arc::new(Notify::new()), all.next);
        all.next += 1;
        let taken = Taken {
            of,
            user: None,
            leave: Arc::clone(&leave),
        };
        all.taken.insert(number, taken);
        let places = Arc::downgrade(self);
        Some(Place {
            guest: Guest { places, number },
            leave,
        })
    }
}

impl Guest {
    /// Somebody has signed in: the place counts for this user. At the bound of the user, or of all who are no
    /// administrators, the oldest connection of the user with most of them leaves.
    pub(super) fn know(&self, user: &str, role: Role) {
        let Some(places) = self.places.upgrade() else {
            return;
        };
        let mut all = lock(&places.all);
        let user = (role, user.to_owned());
        match all.taken.get_mut(&self.number) {
            Some(taken) if taken.user.as_ref() != Some(&user) => taken.user = Some(user.clone()),
            _ => return,
        }
        let own = |one: &Taken| one.user.as_ref() == Some(&user);
        if all.count(own) > OF_USER_MAX {
            all.oldest_leaves(own);
        }
        let is_other = |one: &Taken| {
            one.user
                .as_ref()
                .is_some_and(|(role, _)| *role < Role::Admin)
        };
        if all.count(is_other) > OF_OTHERS_MAX
            && let Some(user) = all.user_with_most(is_other)
        {
            all.oldest_leaves(|one| one.user.as_ref() == Some(&user));
        }
    }

    /// Whether somebody has signed in.
    pub(super) fn is_known(&self) -> bool {
        let places = self.places.upgrade();
        places.is_some_and(|places| {
            let all = lock(&places.all);
            let taken = all.taken.get(&self.number);
            taken.is_some_and(|taken| taken.user.is_some())
        })
    }

    /// A trusted proxy has named the client: the place counts for its address from now on.
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
    fn count(&self, which: impl Fn(&Taken) -> bool) -> usize {
        self.taken.values().filter(|one| which(one)).count()
    }

    fn count_of(&self, of: IpAddr) -> usize {
        self.count(|one| one.of == of)
    }

    /// The oldest stranger leaves: of an address, or of the one that has most connections. Without strangers the
    /// oldest connection of the user with most of them does, of the lowest role. None: there are only administrators.
    fn make_room(&mut self, of: Option<IpAddr>) -> Option<()> {
        let is_meant = |one: &Taken| of.is_none_or(|of| of == one.of);
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for one in self.taken.values().filter(|one| one.user.is_none()) {
            *counts.entry(one.of).or_default() += 1;
        }
        let strangers = self.taken.iter();
        let strangers = strangers.filter(|(_, one)| one.user.is_none() && is_meant(one));
        // Of several with as many the first is the oldest.
        let oldest = strangers.min_by_key(|(_, one)| Reverse(counts.get(&one.of).copied()));
        if let Some(number) = oldest.map(|(number, _)| *number) {
            return self.leaves(number);
        }
        let is_other = |one: &Taken| {
            let role = one.user.as_ref().map(|(role, _)| *role);
            is_meant(one) && role.is_some_and(|role| role < Role::Admin)
        };
        // At the bound of an address administrators have no other place to give.
        let is_any = |one: &Taken| of.is_some() && is_meant(one);
        let user = { self.user_with_most(is_other) }.or_else(|| self.user_with_most(is_any))?;
        self.oldest_leaves(|one| is_meant(one) && one.user.as_ref() == Some(&user))
    }

    /// The user with most of these connections, among those with the lowest role.
    fn user_with_most(&self, which: impl Fn(&Taken) -> bool) -> Option<(Role, String)> {
        let mut counts: BTreeMap<&(Role, String), usize> = BTreeMap::new();
        for user in { self.taken.values() }
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

    fn oldest_leaves(&mut self, which: impl Fn(&Taken) -> bool) -> Option<()> {
        let oldest = self.taken.iter().find(|(_, one)| which(one));
        let number = *oldest?.0;
        self.leaves(number)
    }

    fn leaves(&mut self, number: u64) -> Option<()> {
        self.taken.remove(&number)?.leave.notify_one();
        Some(())
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

    fn has_left(place: &Place) -> bool {
        let mut left = std::pin::pin!(place.left());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        left.as_mut().poll(&mut context).is_ready()
    }

    fn left(places: &[Place]) -> Vec<usize> {
        let all = places.iter().enumerate();
        let left = all.filter(|(_, place)| has_left(place));
        left.map(|(at, _)| at).collect()
    }

    fn take(places: &Arc<Places>, last: u8) -> Place {
        places.take(address(last), false).unwrap()
    }

    #[test]
    fn the_oldest_stranger_of_an_address_leaves_for_a_new_one() {
        let places = Arc::new(Places::default());
        let mut of_one: Vec<Place> = (0..OF_ADDRESS_MAX).map(|_| take(&places, 1)).collect();
        of_one[0].guest.know("vera", Role::Viewer);
        let (other, new) = (take(&places, 2), take(&places, 1));
        assert_eq!(left(&of_one), [1]);
        assert!(!has_left(&other) && !has_left(&new));
        assert_eq!(lock(&places.all).count_of(address(1)), OF_ADDRESS_MAX);
        // Without strangers the oldest of the user with most connections.
        of_one.remove(1);
        for (at, place) in of_one.iter().enumerate() {
            let users = [
                ("adam", Role::Admin),
                ("otto", Role::Operator),
                ("vera", Role::Viewer),
            ];
            let (user, role) = users[at % 3];
            place.guest.know(user, role);
        }
        new.guest.know("vera", Role::Viewer);
        let newer = take(&places, 1);
        assert_eq!(left(&of_one), [2]);
        drop((of_one, newer, new));
        assert_eq!(lock(&places.all).taken.len(), 1);
    }

    #[test]
    fn of_all_the_address_with_most_connections_gives_way() {
        let places = Arc::new(Places::default());
        let mut all: Vec<Place> = (1..=u8::MAX).map(|last| take(&places, last)).collect();
        while all.len() < ALL_MAX {
            let last = u8::try_from(all.len() % 3).unwrap() + 10;
            all.push(take(&places, last));
        }
        let new = take(&places, 7);
        // The first of those with most.
        assert_eq!(left(&all), [9]);
        drop((all, new));
        assert!(lock(&places.all).taken.is_empty());
    }

    #[test]
    fn a_viewer_with_all_connections_keeps_no_administrator_out() {
        let places = Arc::new(Places::default());
        // One account, and a thousand connections from as many addresses as it likes.
        let mut held = Vec::new();
        for at in 0..1_000 {
            let place = take(&places, u8::try_from(at % 200).unwrap());
            place.guest.know("vic", Role::Viewer);
            held.push(place);
            held.retain(|place| !has_left(place));
            assert!(held.len() <= OF_USER_MAX);
        }
        // With more accounts there are places left, too, also while strangers come.
        for at in 0..1_000 {
            let place = take(&places, u8::try_from(at % 200).unwrap());
            place.guest.know(&format!("vic{}", at % 20), Role::Operator);
            held.push(place);
            held.retain(|place| !has_left(place));
        }
        let known = lock(&places.all).count(|one| one.user.is_some());
        assert_eq!(known, OF_OTHERS_MAX);
        let admin = take(&places, 250);
        let strangers: Vec<Place> = (0..300).map(|_| take(&places, 251)).collect();
        assert!(!has_left(&admin));
        admin.guest.know("adm", Role::Admin);
        let more: Vec<Place> = (0..300).map(|_| take(&places, 252)).collect();
        assert!(!has_left(&admin) && admin.guest.is_known());
        drop((held, strangers, more, admin));
        assert!(lock(&places.all).taken.is_empty());
    }

    #[test]
    fn clients_behind_a_proxy_and_of_one_ipv6_network_have_their_own_bounds() {
        let places = Arc::new(Places::default());
        let proxied = |last: u8| {
            let place = places.take(address(9), true).unwrap();
            place.guest.move_to(address(last));
            place
        };
        let mut held: Vec<Place> = (0..OF_ADDRESS_MAX).map(|_| proxied(1)).collect();
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
        let held: Vec<Place> = (0..=OF_ADDRESS_MAX).map(of_network).collect();
        assert_eq!(left(&held), [0]);
    }
}
