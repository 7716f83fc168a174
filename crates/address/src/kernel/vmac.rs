//! The virtual interfaces of `use_vmac` and `use_ipvlan`: as keepalived makes them,
//! a macvlan in private mode with the router's MAC (RFC 9568, 7.3), and the settings
//! that keep ARP of the two interfaces apart.

use super::link::{attribute, body, good_name};
use super::message::{Message, flag, kind};
use super::sysctl::{self, Saved};
use super::{Kernel, KernelError, Link};
use rustix::io::Errno;

/// `IFLA_INET6_ADDR_GEN_MODE` inside of `IFLA_AF_SPEC`.
const ADDRESS_GENERATION: u16 = 8;
/// No link-local address by itself.
const GENERATE_NONE: u8 = 1;
/// `IFLA_MACVLAN_MODE`, `IFLA_IPVLAN_MODE`
const MODE: u16 = 1;
/// `IFLA_IPVLAN_FLAGS`
const IPVLAN_FLAGS: u16 = 2;
const MACVLAN_PRIVATE: u32 = 1;
const IPVLAN_L2: u16 = 0;

/// How an ipvlan treats its siblings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IpvlanFlag {
    /// `bridge`: they reach each other.
    #[default]
    Bridge,
    /// `private`: they do not.
    Private,
    /// `vepa`: by the switch.
    Vepa,
}

impl IpvlanFlag {
    fn number(self) -> u16 {
        match self {
            IpvlanFlag::Bridge => 0,
            IpvlanFlag::Private => 1,
            IpvlanFlag::Vepa => 2,
        }
    }
}

/// The kind of interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VmacKind {
    /// `use_vmac`: a MAC of its own.
    Macvlan {
        /// Its MAC.
        mac: [u8; 6],
    },
    /// `use_ipvlan`: the MAC of the interface below.
    Ipvlan {
        /// The isolation mode among siblings.
        flag: IpvlanFlag,
    },
}

/// A virtual interface that is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VmacSpec {
    /// Its name.
    pub name: String,
    /// The number of the interface below.
    pub base: u32,
    /// The kind of interface.
    pub kind: VmacKind,
    /// For IPv6: it has IPv6, and no IPv4 settings are touched.
    pub ipv6: bool,
    /// `IFLA_MASTER`: the VRF that the interface below is in.
    pub vrf: Option<u32>,
}

impl VmacSpec {
    /// The router's own MAC: 00:00:5e:00:01:VRID, and 02 for IPv6.
    pub fn mac(vrid: u8, ipv6: bool) -> [u8; 6] {
        [0, 0, 0x5e, 0, if ipv6 { 2 } else { 1 }, vrid]
    }

    /// Its name where none is written: `vrrp.VRID`, `vrrp6.VRID`.
    pub fn name(vrid: u8, ipv6: bool) -> String {
        format!("vrrp{}.{vrid}", if ipv6 { "6" } else { "" })
    }

    /// Whether an interface is what is wanted: by its kind, mode, MAC and base.
    fn is(&self, link: &Link) -> bool {
        let same = match self.kind {
            VmacKind::Macvlan { mac } => {
                link.kind == "macvlan"
                    && link.mode == Some(MACVLAN_PRIVATE)
                    && link.mac == Some(mac)
            }
            VmacKind::Ipvlan { flag } => {
                let mode = u32::from(IPVLAN_L2) | u32::from(flag.number()) << 16;
                link.kind == "ipvlan" && link.mode == Some(mode)
            }
        };
        same && link.parent == Some(self.base)
    }

    fn message(&self) -> Message {
        let how = flag::REQUEST | flag::ACK | flag::CREATE | flag::EXCLUSIVE;
        let mut message = Message::new(kind::NEW_LINK, how, &body(0, 0, 0));
        message.string(attribute::NAME, &self.name);
        message.u32(attribute::LINK, self.base);
        if let VmacKind::Macvlan { mac } = self.kind {
            message.attribute(attribute::ADDRESS, &mac);
        }
        message.nested(attribute::INFO, |info| match self.kind {
            VmacKind::Macvlan { .. } => {
                info.string(attribute::INFO_KIND, "macvlan");
                info.nested(attribute::INFO_DATA, |data| data.u32(MODE, MACVLAN_PRIVATE));
            }
            VmacKind::Ipvlan { flag } => {
                info.string(attribute::INFO_KIND, "ipvlan");
                info.nested(attribute::INFO_DATA, |data| {
                    data.u16(MODE, IPVLAN_L2);
                    data.u16(IPVLAN_FLAGS, flag.number());
                });
            }
        });
        message
    }
}

/// A virtual interface of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vmac {
    /// The interface, up.
    pub link: Link,
    /// It was there already: left by a role before this one.
    pub found: bool,
}

/// The virtual interfaces of one [`Kernel`], and the settings that were changed.
#[derive(Debug, Default)]
pub(super) struct Vmacs {
    /// Their numbers.
    present: Vec<u32>,
    /// Settings, but for those of virtual interfaces, as they were before.
    saved: Vec<Saved>,
}

/// The settings of other interfaces that are changed only while there are virtual ones.
const BESIDE_VMACS: [&str; 3] = ["arp_filter", "arp_ignore", "rp_filter"];

impl Kernel {
    /// Makes a virtual interface and puts it up. One that is there and is the same is
    /// taken over with its addresses; one of this name that is another macvlan or
    /// ipvlan is made anew; anything else of this name is an error (`EEXIST`).
    pub fn create_vmac(&mut self, spec: &VmacSpec) -> Result<Vmac, KernelError> {
        good_name(&spec.name)?;
        let before = self.link(&spec.name)?;
        let found = before.as_ref().is_some_and(|link| spec.is(link));
        match before {
            Some(_) if found => {}
            Some(link) if link.kind == "macvlan" || link.kind == "ipvlan" => {
                self.delete_link(link.index)?;
                self.socket
                    .one("create a virtual interface", spec.message())?;
            }
            Some(_) => {
                return Err(KernelError::Refused {
                    request: "create a virtual interface",
                    errno: Errno::EXIST,
                    words: format!("another interface has the name {}", spec.name),
                });
            }
            None => self
                .socket
                .one("create a virtual interface", spec.message())?,
        }
        let gone = || KernelError::NoInterface(spec.name.clone());
        let link = self.link(&spec.name)?.ok_or_else(gone)?;
        if !self.vmacs.present.contains(&link.index) {
            self.vmacs.present.push(link.index);
        }
        if let Err(error) = self.prepare(spec, &link) {
            if !found {
                let _ = self.remove_link_of_vmac(link.index);
            }
            return Err(error);
        }
        let link = self.link_of(link.index)?.ok_or_else(gone)?;
        Ok(Vmac { link, found })
    }

    /// Removes a virtual interface; with the last one the settings of other interfaces
    /// become what they were.
    pub fn remove_vmac(&mut self, vmac: &Vmac) -> Result<(), KernelError> {
        self.remove_link_of_vmac(vmac.link.index)
    }

    /// Changes a setting until [`Kernel::restore_settings`].
    ///
    /// # Errors
    /// The kernel refuses the value, or does not have the setting.
    pub fn set_until_stop(&mut self, path: &str, value: &str) -> Result<(), KernelError> {
        self.vmacs.keep(sysctl::set(path, value)?);
        Ok(())
    }

    /// All settings become what they were: for a stop that leaves nothing in place.
    pub fn restore_settings(&mut self) -> Result<(), KernelError> {
        self.vmacs.restore(|_| true)
    }

    /// Settings of interfaces that are not ours as they were before we changed them, to
    /// be kept for a role that comes after this one.
    pub fn saved_settings(&self) -> &[Saved] {
        &self.vmacs.saved
    }

    /// Takes over what a role before this one kept.
    pub fn adopt_settings(&mut self, saved: Vec<Saved>) {
        for one in saved {
            self.vmacs.keep(Some(one));
        }
    }

    fn remove_link_of_vmac(&mut self, index: u32) -> Result<(), KernelError> {
        let removed = self.delete_link(index);
        self.vmacs.present.retain(|present| *present != index);
        if self.vmacs.present.is_empty() {
            let beside = |saved: &Saved| BESIDE_VMACS.iter().any(|name| saved.path.ends_with(name));
            self.vmacs.restore(beside)?;
        }
        removed.map(|_| ())
    }

    /// Settings as keepalived makes them, and up.
    fn prepare(&mut self, spec: &VmacSpec, link: &Link) -> Result<(), KernelError> {
        self.generate_no_address(link.index);
        if let Some(vrf) = spec.vrf.filter(|vrf| link.master != Some(*vrf)) {
            let how = flag::REQUEST | flag::ACK;
            let mut message = Message::new(kind::NEW_LINK, how, &body(link.index, 0, 0));
            message.u32(attribute::MASTER, vrf);
            self.socket.one("put an interface into a VRF", message)?;
        }
        if !spec.ipv6 {
            self.vmacs.filter_each_by_itself(&link.name)?;
            let own = [
                ("accept_local", "1"),
                ("arp_ignore", "1"),
                ("rp_filter", "0"),
                ("promote_secondaries", "1"),
            ];
            for (name, value) in own {
                sysctl::set(&sysctl::of_interface(false, &link.name, name), value)?;
            }
            // A kernel without IPv6 has no such setting.
            let _ = sysctl::set(&sysctl::of_interface(true, &link.name, "disable_ipv6"), "1");
            // The interface below must not answer for addresses of the virtual one.
            if let Some(base) = self.link_of(spec.base)? {
                for name in ["arp_ignore", "arp_filter"] {
                    let path = sysctl::of_interface(false, &base.name, name);
                    self.vmacs.keep(sysctl::set(&path, "1")?);
                }
            }
        }
        self.set_link_up(link.index, true)
    }

    /// The interface gets no link-local address by itself: neighbours would learn the
    /// virtual MAC while another machine is master. A kernel without IPv6 refuses, and
    /// needs it not.
    fn generate_no_address(&mut self, index: u32) {
        let how = flag::REQUEST | flag::ACK;
        let mut message = Message::new(kind::NEW_LINK, how, &body(index, 0, 0));
        message.nested(attribute::AF_SPEC, |families| {
            families.nested(u16::from(super::message::INET6), |inet6| {
                inet6.u8(ADDRESS_GENERATION, GENERATE_NONE);
            });
        });
        let _ = self.socket.one("disable address generation", message);
    }
}

impl Vmacs {
    /// The first value of a setting is the one that is written back.
    fn keep(&mut self, saved: Option<Saved>) {
        let known = |one: &Saved| self.saved.iter().any(|s| s.path == one.path);
        self.saved.extend(saved.filter(|one| !known(one)));
    }

    /// The last change is undone first; each is tried, and the first error told.
    fn restore(&mut self, which: impl Fn(&Saved) -> bool) -> Result<(), KernelError> {
        let (now, later) = std::mem::take(&mut self.saved).into_iter().partition(which);
        self.saved = later;
        let now: Vec<Saved> = now;
        let results: Vec<_> = now.iter().rev().map(Saved::restore).collect();
        results.into_iter().collect()
    }

    /// A filter of reverse paths for all interfaces holds also for the virtual one, where
    /// it would drop answers to addresses of the interface below: each of the others gets
    /// what held for all, and for all none holds.
    fn filter_each_by_itself(&mut self, vmac: &str) -> Result<(), KernelError> {
        let path = |name: &str| sysctl::of_interface(false, name, "rp_filter");
        let all = sysctl::read(&path("all"))?;
        if all == "0" {
            return Ok(());
        }
        for name in sysctl::interfaces(false)? {
            let virtual_one = name == "all" || name == vmac;
            // An interface may go while we look.
            let Ok(own) = sysctl::read(&path(&name)) else {
                continue;
            };
            if !virtual_one && own < all {
                self.keep(sysctl::set(&path(&name), &all)?);
            }
        }
        self.keep(sysctl::set(&path("all"), "0")?);
        Ok(())
    }
}
