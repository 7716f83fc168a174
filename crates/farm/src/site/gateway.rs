//! What a farm knows of its gateway: its tunnels and their bounds, who waits to authenticate again, and
//! which connections at the farm's own addresses come from a tunnel.

use super::{Inner, Site};
use crate::config::Farm;
use crate::cookie::{self, PROOF_BYTES};
use crate::user::{User, UserId};
use access::network::client_network;
use access::session::proof_of;
use access::user::List;
use part::lock;
use part::report::Moment;
use part::voice::write_error;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::sync::Notify;

/// Tunnels of one user, and of one address: an office is behind one.
const OF_USER_MAX: usize = 16;
const OF_ADDRESS_MAX: usize = 200;

/// What happened at the gateway since the role began.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Tunnels that were opened to a host.
    pub opened: u64,
    /// Users who were not let in: wrong passwords, cookies that are not valid.
    pub unknown: u64,
    /// Connections to hosts that the user may not reach.
    pub denied: u64,
    /// Tunnels that do not keep to the protocol.
    pub malformed: u64,
    /// Tunnels that ended because their client was too slow.
    pub slow: u64,
    /// Tunnels beyond the limits.
    pub over: u64,
    /// Hosts that could not be reached.
    pub unreached: u64,
    /// Tunnels that ended by the idle timeout or the session limit.
    pub expired: u64,
}

/// What is behind the lock of a site for its gateway.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) counters: Counters,
    tunnels: BTreeMap<u32, Tunnel>,
    next: u32,
    /// Connections of tunnels to the farm's own addresses, by their addresses here: where their clients are.
    arrivals: BTreeMap<SocketAddr, IpAddr>,
    /// Tunnels whose users have to authenticate again: the user, and how to wake it.
    waiting: BTreeMap<u64, (String, Arc<Notify>)>,
    /// Who was refused last, and why.
    pub(super) last_refused: Option<String>,
}

/// A tunnel.
#[derive(Clone, Debug)]
struct Tunnel {
    from: IpAddr,
    /// HTTP has said the user.
    is_known: bool,
    /// Empty: not let in yet.
    user: String,
    /// The digest of what the user had then.
    proof: [u8; PROOF_BYTES],
    /// Where it leads; empty: nowhere yet.
    target: String,
    /// It leads to a host, not to the farm itself.
    is_direct: bool,
    /// Ends it.
    ends: Arc<Notify>,
}

impl State {
    /// The tunnel that gives way to another one, of this address or of any: the oldest one of nobody, of the
    /// address with most of those.
    fn gives_way(&self, from: Option<IpAddr>) -> Option<u32> {
        let all = self.tunnels.iter();
        let of_nobody = all.filter(|(_, one)| !one.is_known && one.user.is_empty());
        let mut by_address: BTreeMap<IpAddr, (usize, u32)> = BTreeMap::new();
        let from = from.map(client_network);
        let of_nobody = of_nobody.map(|(number, one)| (number, client_network(one.from)));
        for (number, network) in of_nobody.filter(|(_, one)| from.is_none_or(|from| from == *one)) {
            by_address.entry(network).or_insert((0, *number)).0 += 1;
        }
        let most = by_address.into_values().max_by_key(|(count, _)| *count);
        most.map(|(_, oldest)| oldest)
    }

    /// How many tunnels lead to a host.
    pub(super) fn open(&self) -> usize {
        let all = self.tunnels.values();
        all.filter(|one| !one.target.is_empty()).count()
    }

    /// Ends the tunnels of a user that lead to a host. Returns their hosts.
    pub(super) fn disconnect(&self, user: UserId, host: &str) -> Vec<String> {
        let is_of = |one: &&Tunnel| User::named(&one.user).is_some_and(|one| one.id == user);
        let is_meant = |one: &&Tunnel| host.is_empty() || one.target == host;
        let direct = self.tunnels.values().filter(|one| one.is_direct);
        let all: Vec<&Tunnel> = direct.filter(is_meant).filter(is_of).collect();
        all.iter().for_each(|one| one.ends.notify_one());
        all.iter().map(|one| one.target.clone()).collect()
    }

    /// Ends the tunnels of users who are no longer in the list, or have another password or second factor
    /// than when they were let in. Returns the users, from where, and where the tunnels lead.
    pub(super) fn end_outdated(&self, users: &List) -> Vec<(String, IpAddr, String)> {
        let all = self.tunnels.values().filter(|one| !one.user.is_empty());
        all.filter(|one| proof_of(users, &one.user) != one.proof)
            .map(|one| {
                one.ends.notify_one();
                (one.user.clone(), one.from, one.target.clone())
            })
            .collect()
    }

    /// The tunnels that lead to a host, for display.
    pub(super) fn shown(&self) -> Vec<String> {
        let all = self.tunnels.values();
        all.filter(|one| !one.target.is_empty())
            .map(|one| format!("{} from {} to {}", one.user, one.from, one.target))
            .collect()
    }
}

/// The number of a tunnel, until it is dropped.
pub struct Numbered {
    site: Arc<Site>,
    /// The number.
    pub number: u32,
    /// An operator ends it, or it gives way before its user is let in.
    pub ends: Arc<Notify>,
}

impl Drop for Numbered {
    fn drop(&mut self) {
        lock(&self.site.inner).gateway.tunnels.remove(&self.number);
    }
}

/// The way of one connection from a tunnel to the farm's own address, until it is dropped.
pub struct Arrival {
    site: Arc<Site>,
    at: SocketAddr,
}

impl Drop for Arrival {
    fn drop(&mut self) {
        lock(&self.site.inner).gateway.arrivals.remove(&self.at);
    }
}

/// A tunnel that waits for its user to authenticate again, until it is dropped.
pub struct Waiting {
    site: Arc<Site>,
    number: u64,
    /// Wakes it.
    pub woken: Arc<Notify>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        lock(&self.site.inner).gateway.waiting.remove(&self.number);
    }
}

impl Inner {
    /// Ends the tunnels of users whom the configuration of a farm would not let in as they are now.
    pub(super) fn end_outdated_tunnels(&mut self, farm: &str) {
        for (user, from, target) in self.gateway.end_outdated(&self.farm.users) {
            let why = "the user was removed, or has another password or second factor";
            write_error(&format!(
                "evenkeel: farm {farm}: gateway: a tunnel of {user} from {from} ends: {why}\n"
            ));
            if let Some(user) = User::named(&user) {
                let got = format!("disconnected from {target}");
                self.note(&user, from, "gateway", &got, why);
            }
        }
    }
}

impl Site {
    /// Looks into the lines of its section. Nothing may wait within.
    pub fn with_farm<T>(&self, look: impl FnOnce(&Farm) -> T) -> T {
        look(&lock(&self.inner).farm)
    }

    /// Counts something of the gateway.
    pub fn count_gateway(&self, which: impl FnOnce(&mut Counters) -> &mut u64) {
        let mut inner = lock(&self.inner);
        let count = which(&mut inner.gateway.counters);
        *count = count.saturating_add(1);
    }

    /// Makes the cookie by which a user comes into the gateway without a password, for a `.rdp` file.
    pub fn gateway_cookie(&self, user: &str) -> String {
        // One that has ended may be of this second.
        let first_s = self.all_ended_s(user).saturating_add(1);
        let inner = lock(&self.inner);
        let made_s = first_s.max(Moment::now().unix_ms / 1_000);
        let expires_s = made_s.saturating_add(inner.farm.tokens.lifetime_ms / 1_000);
        let expires_s = u32::try_from(expires_s).unwrap_or(u32::MAX);
        let proof = proof_of(&inner.farm.users, user);
        cookie::issue(&inner.key, self.id, (user, proof), expires_s)
    }

    /// The user of a cookie.
    ///
    /// # Errors
    /// Why it is of nobody.
    pub fn cookie_user(&self, cookie: &str) -> Result<String, cookie::Refused> {
        let (user, made_s) = {
            let inner = lock(&self.inner);
            let proof_of = |name: &str| proof_of(&inner.farm.users, name);
            let now_s = Moment::now().unix_ms / 1_000;
            let (user, expires_s) = cookie::read(&inner.key, self.id, cookie, proof_of, now_s)?;
            let lifetime_s = inner.farm.tokens.lifetime_ms / 1_000;
            (user, expires_s.saturating_sub(lifetime_s))
        };
        // Also if the password of then has come back.
        match self.all_ended_s(&user) >= made_s.max(1) {
            true => Err(cookie::Refused::Forged),
            false => Ok(user),
        }
    }

    /// A tunnel begins, with a user whom HTTP has said or without one (`is_known`). At the limits one of nobody
    /// gives way to it. None: there is none.
    pub fn tunnel_begins(self: &Arc<Site>, from: IpAddr, is_known: bool) -> Option<Numbered> {
        let mut inner = lock(&self.inner);
        let maxconn = usize::try_from(inner.farm.maxconn).unwrap_or(usize::MAX);
        let gateway = &mut inner.gateway;
        let network = client_network(from);
        let own = { gateway.tunnels.values() }.filter(|one| client_network(one.from) == network);
        let is_full = own.count() >= OF_ADDRESS_MAX;
        if is_full || gateway.tunnels.len() >= maxconn {
            gateway.counters.over += 1;
            let number = gateway.gives_way(is_full.then_some(from))?;
            if let Some(tunnel) = gateway.tunnels.remove(&number) {
                tunnel.ends.notify_one();
            }
        }
        gateway.next = gateway.next.wrapping_add(1).max(1);
        let number = gateway.next;
        let ends = Arc::new(Notify::new());
        let tunnel = Tunnel {
            from,
            is_known,
            user: String::new(),
            proof: Default::default(),
            target: String::new(),
            is_direct: false,
            ends: Arc::clone(&ends),
        };
        gateway.tunnels.insert(number, tunnel);
        Some(Numbered {
            site: Arc::clone(self),
            number,
            ends,
        })
    }

    /// The user of a tunnel is known. False: the user has as many as there may be.
    pub fn tunnel_of(&self, number: u32, user: &str) -> bool {
        let mut inner = lock(&self.inner);
        let proof = proof_of(&inner.farm.users, user);
        let gateway = &mut inner.gateway;
        let own = gateway.tunnels.values().filter(|one| one.user == user);
        if own.count() >= OF_USER_MAX {
            gateway.counters.over += 1;
            return false;
        }
        if let Some(tunnel) = gateway.tunnels.get_mut(&number) {
            user.clone_into(&mut tunnel.user);
            tunnel.proof = proof;
        }
        true
    }

    /// A tunnel is connected: with a host, or with the farm itself.
    pub fn tunnel_opens(
        &self,
        number: u32,
        (user, from): (&str, IpAddr),
        (target, is_direct): (&str, bool),
    ) {
        let mut inner = lock(&self.inner);
        inner.gateway.counters.opened += 1;
        if let Some(tunnel) = inner.gateway.tunnels.get_mut(&number) {
            target.clone_into(&mut tunnel.target);
            tunnel.is_direct = is_direct;
        }
        if let Some(user) = User::named(user) {
            let got = format!("a tunnel to {target}");
            inner.note(&user, from, "gateway", &got, "the user may reach it");
        }
    }

    /// A client of the gateway was refused.
    pub fn gateway_refuses(&self, user: &str, from: IpAddr, why: &str) {
        self.gateway_refuses_unnoted(user, from, why);
        if let Some(user) = User::named(user) {
            lock(&self.inner).note(&user, from, "gateway", "refused", why);
        }
    }

    /// The same without a step of the user.
    pub fn gateway_refuses_unnoted(&self, user: &str, from: IpAddr, why: &str) {
        let user = User::named(user);
        let name = user.as_ref().map_or("-", |user| &user.name);
        let words = format!("{name} from {from}: {why}");
        lock(&self.inner).gateway.last_refused = Some(words);
    }

    /// A connection from this address, which is ours, is of a client that is elsewhere.
    pub fn arrives(self: &Arc<Site>, at: SocketAddr, from: IpAddr) -> Arrival {
        lock(&self.inner).gateway.arrivals.insert(at, from);
        Arrival {
            site: Arc::clone(self),
            at,
        }
    }

    /// Where the client of a connection from this address is, if it comes by the gateway.
    pub fn arrived(&self, at: SocketAddr) -> Option<IpAddr> {
        let at = SocketAddr::new(at.ip().to_canonical(), at.port());
        lock(&self.inner).gateway.arrivals.get(&at).copied()
    }

    /// A tunnel waits until its user authenticates again by this number.
    pub fn tunnel_waits(self: &Arc<Site>, number: u64, user: &str) -> Waiting {
        let woken = Arc::new(Notify::new());
        let waits = (user.to_owned(), Arc::clone(&woken));
        lock(&self.inner).gateway.waiting.insert(number, waits);
        Waiting {
            site: Arc::clone(self),
            number,
            woken,
        }
    }

    /// What wakes the tunnel with this number, if it is of this user.
    pub fn waiting(&self, number: u64, user: &str) -> Option<Arc<Notify>> {
        let inner = lock(&self.inner);
        let (of, woken) = inner.gateway.waiting.get(&number)?;
        (of == user).then(|| Arc::clone(woken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Balance;
    use crate::directory::tests::farm;
    use futures_util::FutureExt;

    fn has_ended(one: &Numbered) -> bool {
        one.ends.notified().now_or_never().is_some()
    }

    #[test]
    fn of_the_tunnels_of_nobody_the_oldest_one_of_the_address_with_most_gives_way() {
        let mut farm = farm(Balance::Load, &[1]);
        farm.maxconn = 4;
        let site = Arc::new(Site::new("office", farm, &[7; 32], None));
        let begins = |last: u8, is_known| site.tunnel_begins([10, 0, 0, last].into(), is_known);
        let known = begins(1, true).unwrap();
        let [first, second] = [2, 2].map(|last| begins(last, false).unwrap());
        let other = begins(3, false).unwrap();
        let next = begins(4, false).unwrap();
        let ended = [&known, &first, &second, &other, &next].map(has_ended);
        assert_eq!(ended, [false, true, false, false, false]);
        drop(first);
        // Who was let in stays.
        for one in [&second, &other, &next] {
            assert!(site.tunnel_of(one.number, "anna"));
        }
        assert!(begins(5, true).is_none());
        drop(other);
        assert!(begins(5, false).is_some());
    }

    #[test]
    fn an_address_with_too_many_tunnels_has_only_its_own_give_way() {
        let mut farm = farm(Balance::Load, &[1]);
        farm.maxconn = 2_000;
        let site = Arc::new(Site::new("office", farm, &[7; 32], None));
        let begins = |last: u8| site.tunnel_begins([10, 0, 0, last].into(), false).unwrap();
        let other = begins(1);
        let own: Vec<Numbered> = (0..OF_ADDRESS_MAX).map(|_| begins(2)).collect();
        let _next = begins(2);
        assert!(has_ended(&own[0]) && !has_ended(&own[1]) && !has_ended(&other));
    }
}
