//! Tracks the addresses of nodes, which no machine gets: those of this host, those that other nodes
//! report, and those in the configuration. Reports leases of addresses that clients must no longer
//! get.

use super::NetworkState;
use crate::config::MachineConfig;
use crate::dhcp::desk::DhcpServer;
use crate::dhcp::pool::Superseded;
use crate::dhcp::range::Address;
use crate::history::BootHistoryEntry;
use crate::mac::Mac;
use part::report::Moment;
use part::voice::write_error;
use std::collections::BTreeSet;
use std::net::IpAddr;

const SUPERSEDED_SHOWN: usize = 4;

impl NetworkState {
    /// Sets the addresses of this host: no machine gets one.
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

    /// Returns the addresses of this host that are in the ranges, at most `max`. Other nodes
    /// exclude these addresses.
    pub fn own_of_host(&self, max: usize) -> Vec<IpAddr> {
        let is_given = |address: &&IpAddr| match address {
            IpAddr::V4(address) => self.range().is_some_and(|range| range.has(*address)),
            IpAddr::V6(address) => self.range6().is_some_and(|range| range.has(*address)),
        };
        let own = self.host.iter().filter(is_given);
        let own = own.filter(|address| !self.lan.of_nodes.contains(address));
        own.copied().take(max).collect()
    }

    /// Reports leases of addresses that the configuration no longer permits for clients. Their
    /// clients use them until they are refused. `known`: addresses that were reported before.
    pub(super) fn report_superseded<A: Address + Into<IpAddr>>(
        &mut self,
        known: &BTreeSet<A>,
        leases: Vec<(A, Superseded)>,
        now_ms: u64,
    ) {
        let new = leases
            .into_iter()
            .filter(|(address, _)| !known.contains(address));
        for (address, lease) in new {
            let why = self.new_owner(address.into());
            let why = why.unwrap_or_else(|| "it is not an address for clients now".to_owned());
            let left_s = lease.until_ms.saturating_sub(now_ms) / 1_000;
            write_error(&format!(
                "evenkeel: boot {}: {} still has a lease of {address} for up to {left_s} s, but {why}: it is refused when it \
                 asks to renew the lease\n",
                self.name, lease.mac
            ));
            let step = BootHistoryEntry {
                at: Moment::now(),
                asked: format!("loses its lease of {address}"),
                answered: String::new(),
                why: format!("{why}: the next request for it gets a NAK"),
                times: 1,
            };
            self.history.add(lease.mac, step);
        }
    }

    /// Explains what has an address that clients must not get; None: nothing has it.
    fn new_owner(&self, address: IpAddr) -> Option<String> {
        let mut machines = self.lan.machines.iter();
        let has_it = |mac: &Mac, machine: &MachineConfig| match address {
            IpAddr::V4(address) => machine.address == Some(address),
            IpAddr::V6(address) => {
                let six = self.lan.six.as_ref();
                six.is_some_and(|six| six.machines.get(mac) == Some(&address))
            }
        };
        if self.of_nodes().any(|one| one == address) {
            return Some("a node has the address now".to_owned());
        }
        let (_, machine) = machines.find(|(mac, machine)| has_it(mac, machine))?;
        Some(format!("it is the address of machine {} now", machine.name))
    }

    /// Describes, for operators, leases of addresses that clients must no longer get: two hosts may
    /// use such an address.
    pub(super) fn superseded_words(&self) -> Vec<String> {
        let four = self.desk.iter().flat_map(DhcpServer::superseded);
        let four = four.map(|(address, lease)| (IpAddr::V4(address), lease));
        let six = self.six.superseded().into_iter();
        let six = six.map(|(address, lease)| (IpAddr::V6(address), lease));
        let now_ms = Moment::now().boottime_ms;
        let all = four.chain(six).filter(|(_, lease)| !lease.is_refused);
        let words = all.filter_map(|(address, lease)| {
            let left_s = lease.until_ms.saturating_sub(now_ms) / 1_000;
            let why = self.new_owner(address)?;
            Some(format!(
                "{} uses {address} for up to {left_s} s, until it asks to renew its lease and is refused: {why}",
                lease.mac
            ))
        });
        words.take(SUPERSEDED_SHOWN).collect()
    }

    /// Returns the addresses of nodes: from the configuration, from this host, and as other nodes
    /// report them.
    pub(super) fn of_nodes(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let others = self.parts.standing.nodes.own.iter();
        self.lan
            .of_nodes
            .iter()
            .chain(&self.host)
            .chain(others)
            .copied()
    }
}
