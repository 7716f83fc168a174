//! Assigns resolved addresses to the servers that share a host name, or hosts and ports to the
//! servers of a service name, without IO. A server keeps its address as long as the name still
//! resolves to it, so that a change of one address moves no other server.

use model::config::{AddressFamily, Resolving};
use protocol::dns::Service;
use std::collections::HashSet;
use std::net::IpAddr;

/// A server, and its current address.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResolvedServer<'s> {
    pub address: Option<IpAddr>,
    pub resolving: &'s Resolving,
    /// Only addresses of this family are acceptable (`ipv4@name`).
    pub only: Option<AddressFamily>,
}

impl ResolvedServer<'_> {
    fn takes(&self, ip: IpAddr) -> bool {
        self.only.is_none_or(|family| family.has(ip))
    }

    fn rank(&self, ip: IpAddr) -> u8 {
        let resolving = self.resolving;
        let near = resolving
            .networks
            .iter()
            .any(|network| network.contains(ip));
        u8::from(near) * 2 + u8::from(resolving.prefer.has(ip))
    }
}

/// Returns the address for each server; None if no address is left for it.
pub(super) fn addresses(slots: &[ResolvedServer<'_>], found: &[IpAddr]) -> Vec<Option<IpAddr>> {
    let mut taken: HashSet<IpAddr> = HashSet::with_capacity(slots.len());
    let there: HashSet<IpAddr> = found.iter().copied().collect();
    let mut given: Vec<Option<IpAddr>> = slots
        .iter()
        .map(|slot| {
            let ip = slot
                .address
                .filter(|ip| there.contains(ip) && slot.takes(*ip))?;
            (taken.insert(ip) || slot.resolving.same_address).then_some(ip)
        })
        .collect();
    for (slot, given) in slots.iter().zip(&mut given) {
        let free = |ip: &&IpAddr| {
            slot.takes(**ip) && (slot.resolving.same_address || !taken.contains(*ip))
        };
        let now = given.map(|ip| slot.rank(ip));
        // The first of the best addresses. If the present address is equally good, the server
        // keeps it.
        let better = found
            .iter()
            .filter(free)
            .filter(|ip| now.is_none_or(|now| slot.rank(**ip) > now))
            .rev()
            .max_by_key(|ip| slot.rank(**ip))
            .copied();
        if let Some(ip) = better {
            if let Some(old) = given.replace(ip) {
                taken.remove(&old);
            }
            taken.insert(ip);
        }
    }
    given
}

/// Returns the service for each server, as an index in `found`. `now` is the current host and port
/// of each server.
pub(super) fn services(now: &[Option<(&str, u16)>], found: &[&Service]) -> Vec<Option<usize>> {
    let mut taken = vec![false; found.len()];
    let mut given: Vec<Option<usize>> = now
        .iter()
        .map(|now| {
            let (host, port) = (*now)?;
            let at = (0..found.len()).find(|at| {
                !taken[*at] && found[*at].host.as_str() == host && found[*at].port == port
            })?;
            taken[at] = true;
            Some(at)
        })
        .collect();
    let mut free = (0..found.len()).filter(|at| !taken[*at]);
    for slot in given.iter_mut().filter(|slot| slot.is_none()) {
        *slot = free.next();
    }
    given
}

/// Converts the weight in an SRV record to the weight of a server. Only 0 becomes 0, which means
/// no new clients.
pub(super) fn weight(of_record: u16) -> u32 {
    u32::from(of_record).div_ceil(256)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::rules::network::MaskedNetwork;
    use protocol::dns::DnsName;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn given(resolving: &Resolving, now: &[&str], found: &[&str]) -> Vec<String> {
        let slots: Vec<ResolvedServer<'_>> = now
            .iter()
            .map(|now| ResolvedServer {
                address: now.parse().ok(),
                resolving,
                only: None,
            })
            .collect();
        let given = addresses(&slots, &ips(found));
        let text = |ip: Option<IpAddr>| ip.map_or("-".to_owned(), |ip| ip.to_string());
        given.into_iter().map(text).collect()
    }

    #[test]
    fn each_server_has_an_address_of_its_own_and_keeps_it() {
        let usual = Resolving::default();
        let cases: [(&[&str], &[&str], &[&str]); 5] = [
            (
                &["", "", ""],
                &["1.0.0.1", "1.0.0.2"],
                &["1.0.0.1", "1.0.0.2", "-"],
            ),
            (
                &["1.0.0.2", "1.0.0.1"],
                &["1.0.0.1", "1.0.0.2"],
                &["1.0.0.2", "1.0.0.1"],
            ),
            (
                &["1.0.0.9", "1.0.0.1"],
                &["1.0.0.1", "1.0.0.2"],
                &["1.0.0.2", "1.0.0.1"],
            ),
            (&["1.0.0.1", "1.0.0.1"], &["1.0.0.1"], &["1.0.0.1", "-"]),
            (&["1.0.0.1"], &[], &["-"]),
        ];
        for (now, found, want) in cases {
            assert_eq!(given(&usual, now, found), want, "{now:?} {found:?}");
        }
        let same = Resolving {
            same_address: true,
            ..Resolving::default()
        };
        assert_eq!(
            given(&same, &["", ""], &["1.0.0.1"]),
            ["1.0.0.1", "1.0.0.1"]
        );
    }

    #[test]
    fn networks_and_versions_that_are_preferred_come_first() {
        let near = Resolving {
            networks: vec![MaskedNetwork::parse("10.0.0.0/8").unwrap()],
            ..Resolving::default()
        };
        let found = ["1.0.0.1", "10.0.0.1", "1.0.0.2"];
        assert_eq!(
            given(&near, &["", "1.0.0.2", ""], &found),
            ["10.0.0.1", "1.0.0.2", "1.0.0.1"]
        );
        assert_eq!(given(&near, &["1.0.0.2"], &found), ["10.0.0.1"]);
        let v4 = Resolving {
            prefer: AddressFamily::V4,
            ..Resolving::default()
        };
        assert_eq!(given(&v4, &[""], &["::1", "1.0.0.1"]), ["1.0.0.1"]);
    }

    #[test]
    fn services_stay_in_their_slots() {
        let of = |host: &str, port| Service {
            host: DnsName::new(host).unwrap(),
            port,
            weight: 1,
            priority: 1,
            addresses: Vec::new(),
        };
        let (a, b, c) = (of("a", 1), of("b", 1), of("a", 2));
        let found = [&a, &b, &c];
        assert_eq!(
            services(&[None, Some(("a", 1)), Some(("x", 1)), None, None], &found),
            [Some(1), Some(0), Some(2), None, None]
        );
    }

    #[test]
    fn weights_of_records_become_those_of_servers() {
        assert_eq!([0, 1, 256, 300, u16::MAX].map(weight), [0, 1, 1, 2, 256]);
    }
}
