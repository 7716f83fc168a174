//! Creates and removes the virtual interfaces of virtual routers: those of `use_vmac` and
//! `use_ipvlan`, and those of single addresses on other interfaces (`use_vmac_addr`, or `use_vmac`
//! after an address).

use super::event_loop::AddressRole;
use super::member::{VrrpInstance, ipvlan_flag};
use super::{Level, clock};
use crate::config::Address;
use crate::kernel::{Vmac, VmacKind, VmacSpec};
use std::collections::BTreeSet;

/// Default prefix of the names of virtual interfaces.
const PREFIX: &str = "vrrp";

/// Virtual interface of addresses that are on an interface other than the router's, or of the other
/// address family on the same interface.
#[derive(Clone, Debug)]
pub struct SecondaryVmac {
    pub base: String,
    /// True if the address family is IPv6, which determines the virtual MAC.
    pub ipv6: bool,
    pub vmac: Vmac,
}

/// Returns the virtual interface that an address needs: its parent and the address
/// family. None if it needs none.
fn wish<'a>(member: &'a VrrpInstance, address: &'a Address) -> Option<(&'a str, bool)> {
    let base = address.interface.as_deref().filter(|_| address.vmac)?;
    let ipv6 = address.address.is_ipv6();
    let own = member.config.vmac.as_ref();
    let has = own.is_some_and(|own| !own.is_ipvlan)
        && base == member.config.interface
        && ipv6 == member.config.ipv6;
    (!has).then_some((base, ipv6))
}

impl VrrpInstance {
    /// Returns the virtual interface of an address: that of the router, or a secondary one. None:
    /// the address is on the named interface itself.
    pub fn vmac_of(&self, address: &Address) -> Option<Option<&Vmac>> {
        if address.interface.is_none() {
            return self.vmac.as_ref().map(Some);
        }
        if !address.vmac {
            return None;
        }
        let Some((base, ipv6)) = wish(self, address) else {
            return Some(self.vmac.as_ref());
        };
        let of = |b: &&SecondaryVmac| b.base == base && b.ipv6 == ipv6;
        Some(self.secondary_vmacs.iter().find(of).map(|b| &b.vmac))
    }

    pub fn vmacs(&self) -> impl Iterator<Item = &Vmac> {
        self.vmac
            .iter()
            .chain(self.secondary_vmacs.iter().map(|beside| &beside.vmac))
    }

    /// Returns whether this interface is the parent of one of the member's virtual interfaces.
    pub fn stands_on(&self, name: &str) -> bool {
        let own = self.config.vmac.is_some() && self.config.interface == name;
        own || self
            .addresses()
            .any(|a| wish(self, a).is_some_and(|(base, _)| base == name))
    }
}

impl AddressRole {
    pub(super) fn make_vmacs(&mut self, at: usize) {
        self.make_vmac(at);
        let Some(member) = self.members.get_mut(at) else {
            return;
        };
        let wishes: BTreeSet<(String, bool)> = member
            .addresses()
            .filter_map(|address| wish(member, address))
            .map(|(base, ipv6)| (base.to_owned(), ipv6))
            .collect();
        let prefix = self.config.global.vmac_address_prefix.clone();
        let prefix = prefix.unwrap_or_else(|| PREFIX.to_owned());
        for (base, ipv6) in wishes {
            let Some(below) = self.host.links.named(&base) else {
                continue;
            };
            let (index, vrid) = (below.link.index, member.config.vrid);
            let family = if ipv6 { "6-" } else { "" };
            let spec = VmacSpec {
                // Includes the index of the parent interface, which makes the name unique.
                name: format!("{prefix}{family}{index}.{vrid}"),
                base: index,
                kind: VmacKind::Macvlan {
                    mac: VmacSpec::mac(vrid, ipv6),
                },
                ipv6,
                vrf: None,
            };
            member
                .secondary_vmacs
                .retain(|b| b.base != base || b.ipv6 != ipv6);
            match self.host.kernel.create_vmac(&spec) {
                Ok(vmac) => {
                    self.host.links.set(clock::now(), vmac.link.clone());
                    member
                        .secondary_vmacs
                        .push(SecondaryVmac { base, ipv6, vmac });
                }
                Err(error) => {
                    let words = format!("virtual interface {}: {error}", spec.name);
                    let line = format!("({}) {words}", member.config.name);
                    (self.given.log)(Level::Error, &line);
                    member.untracked.vmac = Some(words);
                }
            }
        }
    }

    /// Creates the virtual interface of a member, if one is configured and its parent exists.
    fn make_vmac(&mut self, at: usize) {
        let Some(member) = self.members.get_mut(at) else {
            return;
        };
        member.untracked.vmac = None;
        let Some(wanted) = &member.config.vmac else {
            return;
        };
        let Some(base) = self.host.links.named(&member.config.interface) else {
            return;
        };
        let (vrid, ipv6) = (member.config.vrid, member.config.ipv6);
        let name = wanted.name.clone();
        let mac = wanted.mac.unwrap_or_else(|| VmacSpec::mac(vrid, ipv6));
        let kind = if wanted.is_ipvlan {
            VmacKind::Ipvlan {
                flag: ipvlan_flag(wanted.ipvlan_mode.as_deref()),
            }
        } else {
            VmacKind::Macvlan { mac }
        };
        let spec = VmacSpec {
            name: name.unwrap_or_else(|| VmacSpec::name(vrid, ipv6)),
            base: base.link.index,
            kind,
            ipv6,
            vrf: base
                .link
                .master
                .filter(|_| member.config.options.vrf.is_some()),
        };
        match self.host.kernel.create_vmac(&spec) {
            Ok(vmac) => {
                let now = clock::now();
                self.host.links.set(now, vmac.link.clone());
                member.vmac = Some(vmac);
            }
            Err(error) => {
                let words = format!("virtual interface {}: {error}", spec.name);
                let line = format!("({}) {words}", member.config.name);
                (self.given.log)(Level::Error, &line);
                member.untracked.vmac = Some(words);
            }
        }
    }

    /// Removes the virtual interfaces that no instance has any more.
    pub(super) fn remove_vmacs(&mut self, gone: Vec<VrrpInstance>) {
        for vmac in gone.iter().flat_map(VrrpInstance::vmacs) {
            let same = |other: &Vmac| other.link.index == vmac.link.index;
            if self.members.iter().flat_map(VrrpInstance::vmacs).any(same) {
                continue;
            }
            if let Err(error) = self.host.kernel.remove_vmac(vmac) {
                self.log(Level::Warning, &format!("{}: {error}", vmac.link.name));
            }
        }
    }
}
