//! Addresses of nodes, which no machine gets: those of this host, those that other nodes report, and those of
//! the files.

use super::Site;
use std::collections::BTreeSet;
use std::net::IpAddr;

impl Site {
    /// This host has these addresses from now on: no machine gets one.
    pub fn set_host(&mut self, addresses: BTreeSet<IpAddr>, now_ms: u64) {
        if self.host == addresses {
            return;
        }
        self.host = addresses;
        if let Some(here) = self.here().cloned() {
            self.rebuild(here, now_ms);
        }
        self.change6(now_ms);
    }

    /// Addresses of this host that machines of this network would get otherwise, for other nodes: at
    /// most so many.
    pub fn own_of_host(&self, max: usize) -> Vec<IpAddr> {
        let is_given = |address: &&IpAddr| match address {
            IpAddr::V4(address) => self.range().is_some_and(|range| range.has(*address)),
            IpAddr::V6(address) => self.range6().is_some_and(|range| range.has(*address)),
        };
        let own = self.host.iter().filter(is_given);
        let own = own.filter(|address| !self.lan.of_nodes.contains(address));
        own.copied().take(max).collect()
    }

    /// The addresses that nodes have, by the files, by this host and by what other nodes say.
    pub(super) fn of_nodes(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let others = self.parts.standing.nodes.own.iter();
        { self.lan.of_nodes.iter() }
            .chain(&self.host)
            .chain(others)
            .copied()
    }
}
