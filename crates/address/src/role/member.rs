//! One virtual router as the loop sees it: its configuration, and where its adverts and
//! addresses go on this machine now.

use super::kept::fingerprint;
use super::links::Links;
use super::standing::Refused;
use super::tracker::Judgement;
use super::vmacs::SecondaryVmac;
use crate::config::{Address, Instance};
use crate::kernel::{AddressSeen, AddressSpec, IpvlanFlag, Vmac};
use crate::standing::Row;
use part::report::Event;
use protocol::vrrp::{Counters, State, Time};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

/// A virtual router.
#[derive(Debug)]
pub struct Member {
    /// As configured.
    pub config: Instance,
    /// The place of its socket among the role's.
    pub socket: Option<usize>,
    /// Its virtual interface.
    pub vmac: Option<Vmac>,
    /// Virtual interfaces of addresses that are elsewhere.
    pub beside: Vec<SecondaryVmac>,
    /// Where its adverts come from.
    pub source: Option<IpAddr>,
    /// It was begun ([`protocol::vrrp::Router::start`]).
    pub begun: bool,
    /// Its addresses are in the kernel.
    pub holds: bool,
    /// Its state as it was entered last.
    pub state: State,
    /// Its priority and its faults.
    pub judgement: Judgement,
    /// Faults that come from no tracked object.
    pub untracked: UntrackedFaults,
    /// The row of the table that applies ([`crate::standing`]).
    pub row: Option<Row>,
    /// Addresses that cannot be set here.
    pub refused: Refused,
    /// The fault last reported to the router; the outer `None` means not reported yet.
    pub told_fault: Option<Option<String>>,
    /// The state from which it resumes.
    pub resume: Option<protocol::vrrp::Resume>,
    /// Its state in the previous configuration or process.
    pub before: Option<State>,
    /// When the lifetime of its addresses is renewed.
    pub renew_at: Option<Time>,
    /// Next announcement on its other interfaces.
    pub extra_at: Option<Time>,
    /// History that survives a reload.
    pub history: History,
}

/// Faults of a virtual router that come from no tracked object, in words.
#[derive(Debug, Default)]
pub struct UntrackedFaults {
    /// The advert socket, the source address or the virtual interface.
    pub connection: Option<String>,
    /// Why there is no virtual interface.
    pub vmac: Option<String>,
    /// Why the lease that the addresses are bound to is not held.
    pub lease: Option<String>,
}

/// History of a virtual router, by name.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The last transitions.
    pub transitions: VecDeque<Event>,
    /// Counters of the routers before this one.
    pub base: Counters,
    /// Counters as they were when statistics were cleared.
    pub cleared: Counters,
    /// How often a state was entered.
    pub entered: u64,
    /// Announcements that were sent.
    pub announcements: u64,
    /// Number of addresses restored after another program deleted them.
    pub restored: u64,
    /// Other hosts that use a virtual address, and when each was last seen.
    conflicts: VecDeque<(String, Time)>,
    /// When it was last known to be master.
    pub master_at: Option<Time>,
}

/// How many transitions of an instance are remembered.
const MAX_TRANSITIONS: usize = 32;

/// How many conflicts are remembered.
const MAX_CONFLICTS: usize = 16;

/// How long a conflict is reported. An owner that failed may use the address for a moment
/// as well; that is no lasting conflict.
const CONFLICT_TOLD: Duration = Duration::from_secs(600);

impl History {
    /// Remembers a transition.
    pub fn push(&mut self, event: Event) {
        self.entered += 1;
        if self.transitions.len() >= MAX_TRANSITIONS {
            self.transitions.pop_front();
        }
        self.transitions.push_back(event);
    }

    /// Records a host that uses an address; returns true if it is new.
    pub fn conflict(&mut self, now: Time, words: String) -> bool {
        self.conflicts.retain(|(_, seen)| is_told(*seen, now));
        if let Some((_, seen)) = self.conflicts.iter_mut().find(|(known, _)| *known == words) {
            *seen = now;
            return false;
        }
        if self.conflicts.len() >= MAX_CONFLICTS {
            self.conflicts.pop_front();
        }
        self.conflicts.push_back((words, now));
        true
    }

    /// Returns the recent conflicts.
    pub fn conflicts(&self, now: Time) -> Vec<String> {
        let told = self
            .conflicts
            .iter()
            .filter(|(_, seen)| is_told(*seen, now));
        told.map(|(words, _)| words.clone()).collect()
    }
}

fn is_told(seen: Time, now: Time) -> bool {
    now < seen.after(CONFLICT_TOLD)
}

impl Member {
    /// Not begun.
    pub fn new(config: Instance, history: History) -> Member {
        Member {
            config,
            socket: None,
            vmac: None,
            beside: Vec::new(),
            source: None,
            begun: false,
            holds: false,
            state: State::Init,
            judgement: Judgement::default(),
            untracked: UntrackedFaults::default(),
            row: None,
            refused: Refused::default(),
            told_fault: None,
            resume: None,
            before: None,
            renew_at: None,
            extra_at: None,
            history,
        }
    }

    /// Returns its identity across reloads.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.config)
    }

    /// The interface by which its adverts go.
    pub fn advert_interface<'a>(&'a self, links: &'a Links) -> Option<(u32, &'a str)> {
        match &self.vmac {
            Some(vmac) if !self.transmits_on_base() => {
                Some((vmac.link.index, vmac.link.name.as_str()))
            }
            _ => {
                let seen = links.named(&self.config.interface)?;
                Some((seen.link.index, seen.link.name.as_str()))
            }
        }
    }

    fn transmits_on_base(&self) -> bool {
        let of = |v: &crate::config::Vmac| v.transmit_on_base;
        self.config.vmac.as_ref().is_some_and(of)
    }

    /// The interface of an address: its own, or that of the instance.
    pub fn interface_of(&self, links: &Links, address: &Address) -> Option<u32> {
        if let Some(vmac) = self.vmac_of(address) {
            return vmac.map(|vmac| vmac.link.index);
        }
        let name = address.interface.as_ref();
        let seen = links.named(name.unwrap_or(&self.config.interface));
        seen.map(|seen| seen.link.index)
    }

    /// Returns the interface name, for output and for the stored state.
    pub fn name_of_interface<'a>(&'a self, address: &'a Address) -> &'a str {
        let vmac = self.vmac_of(address).flatten();
        let named = address.interface.as_ref();
        vmac.map_or(named.unwrap_or(&self.config.interface), |v| &v.link.name)
    }

    /// All of its addresses: those that adverts name, and the others.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.config.addresses.iter().chain(&self.config.excluded)
    }

    /// Its addresses as the kernel takes them. Their interfaces exist.
    pub fn specs(&self, links: &Links) -> Vec<AddressSpec> {
        self.specs_for(links, self.config.lifetime)
    }

    /// The same with another lifetime.
    pub fn specs_for(&self, links: &Links, lifetime: Option<Duration>) -> Vec<AddressSpec> {
        let spec = |address: &Address| {
            let interface = self.interface_of(links, address)?;
            // VRRP decided who has it: the kernel need not ask again.
            Some(AddressSpec::new(address, interface, lifetime, true))
        };
        self.addresses().filter_map(spec).collect()
    }

    /// Whether an address is one of its own, on an interface.
    pub fn owns(&self, links: &Links, address: IpAddr, interface: u32) -> bool {
        self.addresses()
            .any(|a| a.address == address && self.interface_of(links, a) == Some(interface))
    }

    /// Finds the source address of its adverts: the configured one, or the first
    /// non-virtual address of the interface; for IPv6 the link-local one.
    pub fn find_source(
        &self,
        links: &Links,
        addresses: &[AddressSeen],
        virtual_ones: &[IpAddr],
    ) -> Option<IpAddr> {
        if let Some(source) = self.config.source {
            // Unicast peers cannot answer an address that this machine does not have.
            let is_needed = self.config.options.track_source
                || matches!(
                    self.config.transport,
                    crate::config::Transport::Unicast { .. }
                );
            let is_there = || addresses.iter().any(|a| a.address == source);
            return (!is_needed || is_there()).then_some(source);
        }
        let base = links.named(&self.config.interface).map(|s| s.link.index);
        let own = self.vmac.as_ref().map(|v| v.link.index);
        let fits = |a: &&AddressSeen| {
            let here = Some(a.interface) == base || (self.config.ipv6 && Some(a.interface) == own);
            let family = match a.address {
                IpAddr::V4(_) => !self.config.ipv6,
                IpAddr::V6(six) => {
                    let unicast = !matches!(
                        self.config.transport,
                        crate::config::Transport::Multicast { .. }
                    );
                    self.config.ipv6 && (six.is_unicast_link_local() || unicast)
                }
            };
            here && family && !virtual_ones.contains(&a.address) && !a.flags.duplicate()
        };
        let found = addresses.iter().filter(fits);
        // One that the kernel already uses before one that it still asks about.
        let tentative = |a: &&AddressSeen| (a.flags.tentative(), a.flags.secondary());
        found.min_by_key(tentative).map(|a| a.address)
    }

    /// Returns whether the lease that it is bound to is its only fault.
    pub fn is_without_fault(&self) -> bool {
        let others = self
            .standing_fault()
            .or_else(|| self.untracked.connection.clone());
        self.judgement.faults.is_empty() && others.is_none()
    }

    /// All that keeps it in fault, in words.
    pub fn faults(&self) -> Vec<String> {
        let mut all = self.judgement.faults.clone();
        all.extend(self.untracked.connection.clone());
        all.extend(self.standing_fault());
        all.extend(self.untracked.lease.clone());
        all
    }
}

/// How an ipvlan treats its siblings, by its word.
pub fn ipvlan_flag(word: Option<&str>) -> IpvlanFlag {
    match word {
        Some("private") => IpvlanFlag::Private,
        Some("vepa") => IpvlanFlag::Vepa,
        _ => IpvlanFlag::Bridge,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_else_uses_an_address_is_said_again_after_ten_quiet_minutes() {
        let at = |seconds: u64| Time(seconds * 1_000_000_000);
        let other = || "172.16.61.150 at 02:00:00:00:00:01".to_owned();
        let mut history = History::default();
        assert!(history.conflict(at(1), other()));
        assert!(!history.conflict(at(500), other()));
        assert_eq!(history.conflicts(at(1_000)), [other()]);
        assert!(history.conflicts(at(1_200)).is_empty());
        assert!(history.conflict(at(1_200), other()));
        for n in 0..100 {
            history.conflict(at(1_200), format!("host {n}"));
        }
        assert_eq!(history.conflicts(at(1_200)).len(), MAX_CONFLICTS);
    }
}
