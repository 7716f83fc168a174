//! Stores the runtime state of a virtual router for the event loop: its configuration, its sockets
//! and interfaces on this machine, its faults and its history.

use super::kept::fingerprint;
use super::links::Links;
use super::standing::RefusedAddresses;
use super::tracker::Judgement;
use super::vmacs::SecondaryVmac;
use crate::config::{Address, Instance};
use crate::kernel::{AddressSeen, AddressSpec, IpvlanFlag, Vmac};
use crate::standing::Row;
use part::report::Event;
use protocol::vrrp::{Counters, Time, VrrpState};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

/// A virtual router, with its runtime state.
#[derive(Debug)]
pub struct VrrpInstance {
    pub config: Instance,
    /// Index of the router's advert socket in the role's list of sockets; None while it has none.
    pub socket: Option<usize>,
    pub vmac: Option<Vmac>,
    /// Virtual MAC interfaces of addresses that are on other interfaces.
    pub secondary_vmacs: Vec<SecondaryVmac>,
    /// Source address of the router's adverts; None if none was found.
    pub source: Option<IpAddr>,
    pub is_started: bool,
    pub holds: bool,
    pub state: VrrpState,
    pub judgement: Judgement,
    pub untracked: UntrackedFaults,
    /// Row of the ownership table that applies ([`crate::standing`]).
    pub row: Option<Row>,
    pub refused: RefusedAddresses,
    /// Fault that was last reported to the router; the outer `None` means not reported yet.
    pub told_fault: Option<Option<String>>,
    pub resume: Option<protocol::vrrp::Resume>,
    /// State in the previous configuration or process.
    pub previous_state: Option<VrrpState>,
    pub renew_at: Option<Time>,
    /// Time of the next announcement on other interfaces (`garp_extra_if`).
    pub extra_at: Option<Time>,
    pub history: History,
}

/// Messages about faults of a virtual router that come from no tracked object.
#[derive(Debug, Default)]
pub struct UntrackedFaults {
    /// Fault of the advert socket, the source address or the virtual interface.
    pub connection: Option<String>,
    pub vmac: Option<String>,
    pub lease: Option<String>,
}

/// History of a virtual router, which a reload passes on by name.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub transitions: VecDeque<Event>,
    /// Counters of earlier routers of this name.
    pub base: Counters,
    /// Counters at the time when statistics were cleared.
    pub cleared: Counters,
    pub entered: u64,
    pub announcements: u64,
    /// Number of addresses restored after another program deleted them.
    pub restored: u64,
    /// Other hosts that use a virtual address, each with the time when it was last seen.
    conflicts: VecDeque<(String, Time)>,
    /// True if the router is master because the router of the previous process was, and no majority
    /// has confirmed the served configuration version since the supervisor started.
    pub is_resumed: bool,
    /// Time at which the router was last known to be master.
    pub master_at: Option<Time>,
}

const MAX_TRANSITIONS: usize = 32;

const MAX_CONFLICTS: usize = 16;

/// Time for which a conflict is reported. An owner that failed may use the address for a moment as
/// well; that is no lasting conflict.
const CONFLICT_TOLD: Duration = Duration::from_secs(600);

impl History {
    /// Records a transition and drops the oldest one if there are too many.
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

impl VrrpInstance {
    pub fn new(config: Instance, history: History) -> VrrpInstance {
        VrrpInstance {
            config,
            socket: None,
            vmac: None,
            secondary_vmacs: Vec::new(),
            source: None,
            is_started: false,
            holds: false,
            state: VrrpState::Init,
            judgement: Judgement::default(),
            untracked: UntrackedFaults::default(),
            row: None,
            refused: RefusedAddresses::default(),
            told_fault: None,
            resume: None,
            previous_state: None,
            renew_at: None,
            extra_at: None,
            history,
        }
    }

    pub fn fingerprint(&self) -> String {
        fingerprint(&self.config)
    }

    /// Returns the index and name of the interface that sends the adverts.
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

    /// Returns all addresses: those in adverts, and the excluded ones.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.config.addresses.iter().chain(&self.config.excluded)
    }

    /// Returns the addresses as kernel requests, except those whose interface does not exist.
    pub fn specs(&self, links: &Links) -> Vec<AddressSpec> {
        self.specs_for(links, self.config.lifetime)
    }

    /// As [`Self::specs`], with another lifetime.
    pub fn specs_for(&self, links: &Links, lifetime: Option<Duration>) -> Vec<AddressSpec> {
        let spec = |address: &Address| {
            let interface = self.interface_of(links, address)?;
            // Disables the kernel's detection of duplicates, because VRRP has decided who owns the
            // address.
            Some(AddressSpec::new(address, interface, lifetime, true))
        };
        self.addresses().filter_map(spec).collect()
    }

    /// Returns whether an address on an interface belongs to this member.
    pub fn owns(&self, links: &Links, address: IpAddr, interface: u32) -> bool {
        self.addresses()
            .any(|a| a.address == address && self.interface_of(links, a) == Some(interface))
    }

    /// Finds the source address of the adverts: the configured one, or the first non-virtual
    /// address of the interface; for IPv6 the link-local one.
    pub fn find_source(
        &self,
        links: &Links,
        addresses: &[AddressSeen],
        virtual_ones: &[IpAddr],
    ) -> Option<IpAddr> {
        if let Some(source) = self.config.source {
            // Requires the source address on this machine for unicast: peers cannot answer to an
            // address that this machine does not have.
            let is_needed = self.config.options.track_source
                || matches!(
                    self.config.transport,
                    crate::config::InstanceTransport::Unicast { .. }
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
                        crate::config::InstanceTransport::Multicast { .. }
                    );
                    self.config.ipv6 && (six.is_unicast_link_local() || unicast)
                }
            };
            here && family && !virtual_ones.contains(&a.address) && !a.flags.duplicate()
        };
        let found = addresses.iter().filter(fits);
        // Prefers an address in use to one that is still checked for duplicates.
        let tentative = |a: &&AddressSeen| (a.flags.tentative(), a.flags.secondary());
        found.min_by_key(tentative).map(|a| a.address)
    }

    /// Returns whether the member has no fault except that of its lease.
    pub fn is_without_fault(&self) -> bool {
        let others = self
            .standing_fault()
            .or_else(|| self.untracked.connection.clone());
        self.judgement.faults.is_empty() && others.is_none()
    }

    pub fn faults(&self) -> Vec<String> {
        let mut all = self.judgement.faults.clone();
        all.extend(self.untracked.connection.clone());
        all.extend(self.standing_fault());
        all.extend(self.untracked.lease.clone());
        all
    }
}

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
