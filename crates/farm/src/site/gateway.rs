//! Tracks the gateway of a farm: the tunnels and their limits, the users who have to authenticate
//! again, and the connections from tunnels to the farm's own addresses.

use super::{FarmState, FarmStateInner};
use crate::config::Farm;
use crate::cookie::{self, PROOF_BYTES};
use crate::user::{FarmUser, UserId};
use access::network::client_network;
use access::session::credentials_digest;
use access::user::List;
use part::lock;
use part::report::Moment;
use part::voice::write_error;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::sync::Notify;

/// Limit of the tunnels of one user.
const OF_USER_MAX: usize = 16;
/// Limit of the tunnels of one client network, which many users may share, as in an office.
const OF_ADDRESS_MAX: usize = 200;

/// Events at the gateway since the role started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GatewayCounters {
    pub opened: u64,
    pub unknown: u64,
    pub denied: u64,
    pub malformed: u64,
    pub slow: u64,
    pub over: u64,
    pub unreached: u64,
    /// Gateway tunnels closed by the idle timeout or the session limit.
    pub expired: u64,
}

/// Gateway state of a farm, protected by the lock of the site.
#[derive(Debug, Default)]
pub(super) struct GatewayState {
    pub(super) counters: GatewayCounters,
    tunnels: BTreeMap<u32, Tunnel>,
    next: u32,
    /// Client addresses of the connections from tunnels to the farm's own addresses, by the local
    /// address of the connection.
    arrivals: BTreeMap<SocketAddr, IpAddr>,
    /// Tunnels that wait until their user has authenticated again: the user, and the notifier that
    /// wakes the tunnel.
    waiting: BTreeMap<u64, (String, Arc<Notify>)>,
    pub(super) last_refused: Option<String>,
}

#[derive(Clone, Debug)]
struct Tunnel {
    from: IpAddr,
    is_known: bool,
    /// Empty until the user is authenticated.
    user: String,
    /// Digest of the user's credentials at the time of the authentication.
    proof: [u8; PROOF_BYTES],
    /// Name of the target; empty until the tunnel is connected.
    target: String,
    /// True if the target is a host, not the farm itself.
    is_direct: bool,
    ends: Arc<Notify>,
}

impl GatewayState {
    /// Chooses the tunnel that is closed in favour of a new one, from one address or from any. It
    /// is the oldest unauthenticated tunnel of the address with the most of them.
    fn choose_tunnel_to_close(&self, from: Option<IpAddr>) -> Option<u32> {
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

    pub(super) fn open(&self) -> usize {
        let all = self.tunnels.values();
        all.filter(|one| !one.target.is_empty()).count()
    }

    /// Closes the tunnels of a user to a host. Returns their hosts.
    pub(super) fn disconnect(&self, user: UserId, host: &str) -> Vec<String> {
        let is_of = |one: &&Tunnel| FarmUser::named(&one.user).is_some_and(|one| one.id == user);
        let is_meant = |one: &&Tunnel| host.is_empty() || one.target == host;
        let direct = self.tunnels.values().filter(|one| one.is_direct);
        let all: Vec<&Tunnel> = direct.filter(is_meant).filter(is_of).collect();
        all.iter().for_each(|one| one.ends.notify_one());
        all.iter().map(|one| one.target.clone()).collect()
    }

    /// Closes the tunnels of users who are no longer in the list, or whose password or second
    /// factor has changed. Returns the user, the client address and the target of each tunnel.
    pub(super) fn end_outdated(&self, users: &List) -> Vec<(String, IpAddr, String)> {
        let all = self.tunnels.values().filter(|one| !one.user.is_empty());
        all.filter(|one| credentials_digest(users, &one.user) != one.proof)
            .map(|one| {
                one.ends.notify_one();
                (one.user.clone(), one.from, one.target.clone())
            })
            .collect()
    }

    pub(super) fn shown(&self) -> Vec<String> {
        let all = self.tunnels.values();
        all.filter(|one| !one.target.is_empty())
            .map(|one| format!("{} from {} to {}", one.user, one.from, one.target))
            .collect()
    }
}

/// Number of a tunnel; dropping it releases the number.
pub struct Numbered {
    site: Arc<FarmState>,
    pub number: u32,
    pub ends: Arc<Notify>,
}

impl Drop for Numbered {
    fn drop(&mut self) {
        lock(&self.site.inner).gateway.tunnels.remove(&self.number);
    }
}

/// Registration of a connection from a tunnel to the farm's own address; dropping it removes the
/// entry.
pub struct Arrival {
    site: Arc<FarmState>,
    at: SocketAddr,
}

impl Drop for Arrival {
    fn drop(&mut self) {
        lock(&self.site.inner).gateway.arrivals.remove(&self.at);
    }
}

/// Registration of a tunnel that waits for its user to authenticate again; dropping it removes the
/// entry.
pub struct ReauthenticationWait {
    site: Arc<FarmState>,
    number: u64,
    pub woken: Arc<Notify>,
}

impl Drop for ReauthenticationWait {
    fn drop(&mut self) {
        lock(&self.site.inner).gateway.waiting.remove(&self.number);
    }
}

impl FarmStateInner {
    /// Closes the tunnels of users whom the configuration of a farm would refuse with their current
    /// credentials.
    pub(super) fn end_outdated_tunnels(&mut self, farm: &str) {
        for (user, from, target) in self.gateway.end_outdated(&self.farm.users) {
            let why = "the user was removed, or the password or second factor changed";
            write_error(&format!(
                "evenkeel: farm {farm}: gateway: a tunnel of {user} from {from} is closed: {why}\n"
            ));
            if let Some(user) = FarmUser::named(&user) {
                let got = format!("disconnected from {target}");
                self.note(&user, from, "gateway", &got, why);
            }
        }
    }
}

impl FarmState {
    /// Reads the configuration of the farm under the lock. The closure must not block.
    pub fn with_farm<T>(&self, look: impl FnOnce(&Farm) -> T) -> T {
        look(&lock(&self.inner).farm)
    }

    pub fn count_gateway(&self, which: impl FnOnce(&mut GatewayCounters) -> &mut u64) {
        let mut inner = lock(&self.inner);
        let count = which(&mut inner.gateway.counters);
        *count = count.saturating_add(1);
    }

    /// Creates the cookie in a `.rdp` file with which a user is admitted to the gateway without a
    /// password.
    pub fn gateway_cookie(&self, user: &str) -> String {
        // Dates the new cookie one second later than a revoked one, which may have been created in
        // this second.
        let first_s = self.all_ended_s(user).saturating_add(1);
        let inner = lock(&self.inner);
        let made_s = first_s.max(Moment::now().unix_ms / 1_000);
        let expires_s = made_s.saturating_add(inner.farm.tokens.lifetime_ms / 1_000);
        let expires_s = u32::try_from(expires_s).unwrap_or(u32::MAX);
        let proof = credentials_digest(&inner.farm.users, user);
        cookie::issue(&inner.key, self.id, user, proof, expires_s)
    }

    /// Returns the user of a cookie.
    ///
    /// # Errors
    /// Returns why the cookie is not valid.
    pub fn cookie_user(&self, cookie: &str) -> Result<String, cookie::CookieError> {
        let (user, made_s) = {
            let inner = lock(&self.inner);
            let proof_of = |name: &str| credentials_digest(&inner.farm.users, name);
            let now_s = Moment::now().unix_ms / 1_000;
            let (user, expires_s) = cookie::read(&inner.key, self.id, cookie, proof_of, now_s)?;
            let lifetime_s = inner.farm.tokens.lifetime_ms / 1_000;
            (user, expires_s.saturating_sub(lifetime_s))
        };
        // Refuses cookies from before the change of a password, even if the old password is set
        // again.
        if self.all_ended_s(&user) >= made_s.max(1) {
            Err(cookie::CookieError::Forged)
        } else {
            Ok(user)
        }
    }

    /// Registers a new tunnel. `is_known` is true if HTTP has authenticated its user. At the limits
    /// an unauthenticated tunnel is closed to make room; returns None if there is none.
    pub fn tunnel_begins(self: &Arc<FarmState>, from: IpAddr, is_known: bool) -> Option<Numbered> {
        let mut inner = lock(&self.inner);
        let maxconn = usize::try_from(inner.farm.maxconn).unwrap_or(usize::MAX);
        let gateway = &mut inner.gateway;
        let network = client_network(from);
        let own = gateway
            .tunnels
            .values()
            .filter(|one| client_network(one.from) == network);
        let is_full = own.count() >= OF_ADDRESS_MAX;
        if is_full || gateway.tunnels.len() >= maxconn {
            gateway.counters.over += 1;
            let number = gateway.choose_tunnel_to_close(is_full.then_some(from))?;
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

    /// Sets the user of a tunnel. Returns false if the user has too many tunnels.
    pub fn tunnel_of(&self, number: u32, user: &str) -> bool {
        let mut inner = lock(&self.inner);
        let proof = credentials_digest(&inner.farm.users, user);
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

    /// Notes that a tunnel is connected, to a host or to the farm itself.
    pub fn tunnel_opens(
        &self,
        number: u32,
        user: &str,
        from: IpAddr,
        target: &str,
        is_direct: bool,
    ) {
        let mut inner = lock(&self.inner);
        inner.gateway.counters.opened += 1;
        if let Some(tunnel) = inner.gateway.tunnels.get_mut(&number) {
            target.clone_into(&mut tunnel.target);
            tunnel.is_direct = is_direct;
        }
        if let Some(user) = FarmUser::named(user) {
            let got = format!("a tunnel to {target}");
            inner.note(
                &user,
                from,
                "gateway",
                &got,
                "the user is permitted to reach it",
            );
        }
    }

    pub fn gateway_refuses(&self, user: &str, from: IpAddr, why: &str) {
        self.gateway_refuses_unnoted(user, from, why);
        if let Some(user) = FarmUser::named(user) {
            lock(&self.inner).note(&user, from, "gateway", "refused", why);
        }
    }

    /// Does the same as [`FarmState::gateway_refuses`], but adds no step to the user's history.
    pub fn gateway_refuses_unnoted(&self, user: &str, from: IpAddr, why: &str) {
        let user = FarmUser::named(user);
        let name = user.as_ref().map_or("-", |user| &user.name);
        let words = format!("{name} from {from}: {why}");
        lock(&self.inner).gateway.last_refused = Some(words);
    }

    /// Registers the client address of a tunnel's connection to the farm by the local address of
    /// that connection.
    pub fn arrives(self: &Arc<FarmState>, at: SocketAddr, from: IpAddr) -> Arrival {
        lock(&self.inner).gateway.arrivals.insert(at, from);
        Arrival {
            site: Arc::clone(self),
            at,
        }
    }

    /// Returns the client address of a connection from this local address, if it comes through the
    /// gateway.
    pub fn arrived(&self, at: SocketAddr) -> Option<IpAddr> {
        let at = SocketAddr::new(at.ip().to_canonical(), at.port());
        lock(&self.inner).gateway.arrivals.get(&at).copied()
    }

    /// Registers a tunnel that waits until its user authenticates again under this number.
    pub fn tunnel_waits(self: &Arc<FarmState>, number: u64, user: &str) -> ReauthenticationWait {
        let woken = Arc::new(Notify::new());
        let waits = (user.to_owned(), Arc::clone(&woken));
        lock(&self.inner).gateway.waiting.insert(number, waits);
        ReauthenticationWait {
            site: Arc::clone(self),
            number,
            woken,
        }
    }

    /// Returns the notifier of the waiting tunnel with this number, if it belongs to this user.
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
    fn unauthenticated_tunnels_are_evicted_by_address() {
        let mut farm = farm(Balance::Load, &[1]);
        farm.maxconn = 4;
        let site = Arc::new(FarmState::new("office", farm, &[7; 32], None));
        let begins = |last: u8, is_known| site.tunnel_begins([10, 0, 0, last].into(), is_known);
        let known = begins(1, true).unwrap();
        let [first, second] = [2, 2].map(|last| begins(last, false).unwrap());
        let other = begins(3, false).unwrap();
        let next = begins(4, false).unwrap();
        let ended = [&known, &first, &second, &other, &next].map(has_ended);
        assert_eq!(ended, [false, true, false, false, false]);
        drop(first);
        // Tunnels of authenticated users stay.
        for one in [&second, &other, &next] {
            assert!(site.tunnel_of(one.number, "anna"));
        }
        assert!(begins(5, true).is_none());
        drop(other);
        assert!(begins(5, false).is_some());
    }

    #[test]
    fn an_address_with_too_many_tunnels_evicts_its_own() {
        let mut farm = farm(Balance::Load, &[1]);
        farm.maxconn = 2_000;
        let site = Arc::new(FarmState::new("office", farm, &[7; 32], None));
        let begins = |last: u8| site.tunnel_begins([10, 0, 0, last].into(), false).unwrap();
        let other = begins(1);
        let own: Vec<Numbered> = (0..OF_ADDRESS_MAX).map(|_| begins(2)).collect();
        let _next = begins(2);
        assert!(has_ended(&own[0]) && !has_ended(&own[1]) && !has_ended(&other));
    }
}
