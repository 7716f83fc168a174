//! Creates, adopts and removes the virtual interfaces of `use_vmac` and `use_ipvlan`. As in
//! keepalived, `use_vmac` is a macvlan in private mode with the router's MAC (RFC 9568, 7.3).
//! Settings keep its ARP apart from that of the parent interface, and are restored when the last
//! virtual interface is removed.

use super::link::{attribute, body, good_name};
use super::message::{NetlinkMessage, flag, kind};
use super::sysctl::{self, Saved};
use super::{Kernel, KernelError, NetworkInterface};
use rustix::io::Errno;

/// Netlink attribute `IFLA_INET6_ADDR_GEN_MODE` inside `IFLA_AF_SPEC`.
const ADDRESS_GENERATION: u16 = 8;
/// Value for no automatic link-local address.
const GENERATE_NONE: u8 = 1;
/// Netlink attributes `IFLA_MACVLAN_MODE` and `IFLA_IPVLAN_MODE`, which have the same number.
const MODE: u16 = 1;
const IPVLAN_FLAGS: u16 = 2;
const MACVLAN_PRIVATE: u32 = 1;
const IPVLAN_L2: u16 = 0;

/// Isolation between ipvlan interfaces of the same parent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IpvlanFlag {
    /// `bridge`: ipvlan interfaces of the same parent reach each other directly.
    #[default]
    Bridge,
    /// `private`: ipvlan interfaces of the same parent do not reach each other.
    Private,
    /// `vepa`: ipvlan interfaces of the same parent reach each other through the switch.
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

/// Type of the virtual interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VmacKind {
    /// `use_vmac`: has its own MAC.
    Macvlan { mac: [u8; 6] },
    /// `use_ipvlan`: has the MAC of the parent interface.
    Ipvlan { flag: IpvlanFlag },
}

/// A virtual interface to create.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VmacSpec {
    pub name: String,
    /// Index of the parent interface.
    pub base: u32,
    pub kind: VmacKind,
    /// True if the interface is for IPv6; no IPv4 settings are changed then.
    pub ipv6: bool,
    /// `IFLA_MASTER`: index of the VRF that contains the parent interface.
    pub vrf: Option<u32>,
}

impl VmacSpec {
    /// Returns the virtual router's MAC: 00:00:5e:00:01:VRID, or 00:00:5e:00:02:VRID for IPv6.
    pub fn mac(vrid: u8, ipv6: bool) -> [u8; 6] {
        [0, 0, 0x5e, 0, if ipv6 { 2 } else { 1 }, vrid]
    }

    /// Returns the default name: `vrrp.VRID`, or `vrrp6.VRID` for IPv6.
    pub fn name(vrid: u8, ipv6: bool) -> String {
        format!("vrrp{}.{vrid}", if ipv6 { "6" } else { "" })
    }

    /// Returns whether an interface matches in type, mode, MAC and parent.
    fn is(&self, link: &NetworkInterface) -> bool {
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

    fn message(&self) -> NetlinkMessage {
        let how = flag::REQUEST | flag::ACK | flag::CREATE | flag::EXCLUSIVE;
        let mut message = NetlinkMessage::new(kind::NEW_LINK, how, &body(0, 0, 0));
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

/// A virtual interface of this role.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vmac {
    /// The interface, which is up.
    pub link: NetworkInterface,
    /// True if the interface existed already, because a previous role did not remove it.
    pub found: bool,
}

/// Virtual interfaces of one [`Kernel`], and the original values of changed settings.
#[derive(Debug, Default)]
pub(super) struct Vmacs {
    present: Vec<u32>,
    /// Original values of changed settings, except those of virtual interfaces.
    saved: Vec<Saved>,
}

/// Settings of other interfaces that are changed only while virtual interfaces exist.
const BESIDE_VMACS: [&str; 3] = ["arp_filter", "arp_ignore", "rp_filter"];

impl Kernel {
    /// Creates a virtual interface and sets it up. An equal existing interface is adopted with its
    /// addresses; a different macvlan or ipvlan with this name is created again.
    ///
    /// # Errors
    /// Fails with [`KernelError::BadName`] if no interface can have this name, with
    /// [`KernelError::Refused`] (`EEXIST`) if an interface of another kind has it, with
    /// [`KernelError::NoInterface`] if the interface disappears meanwhile, and with
    /// [`KernelError::Sysctl`] if a setting cannot be changed; otherwise as described at
    /// [`Kernel`]. A new interface is then removed.
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

    /// Removes a virtual interface. With the last one, the settings of other interfaces are
    /// restored.
    ///
    /// # Errors
    /// Fails if the kernel does not remove the interface, or if a setting cannot be restored. An
    /// interface that is already gone is no error.
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

    /// Restores all settings, for a stop that leaves nothing behind.
    ///
    /// # Errors
    /// Returns the first setting that cannot be restored. The others are restored nevertheless.
    pub fn restore_settings(&mut self) -> Result<(), KernelError> {
        self.vmacs.restore(|_| true)
    }

    /// Returns the original values of changed settings, to be stored for the next role.
    pub fn saved_settings(&self) -> &[Saved] {
        &self.vmacs.saved
    }

    /// Adopts the original values that a previous role stored.
    pub fn adopt_settings(&mut self, saved: Vec<Saved>) {
        for one in saved {
            self.vmacs.keep(Some(one));
        }
    }

    fn remove_link_of_vmac(&mut self, index: u32) -> Result<(), KernelError> {
        // Keeps the settings after a failed removal: the interface still exists and needs them.
        self.delete_link(index)?;
        self.vmacs.present.retain(|present| *present != index);
        if self.vmacs.present.is_empty() {
            let beside = |saved: &Saved| BESIDE_VMACS.iter().any(|name| saved.path.ends_with(name));
            self.vmacs.restore(beside)?;
        }
        Ok(())
    }

    fn prepare(&mut self, spec: &VmacSpec, link: &NetworkInterface) -> Result<(), KernelError> {
        self.generate_no_address(link.index);
        if let Some(vrf) = spec.vrf.filter(|vrf| link.master != Some(*vrf)) {
            let how = flag::REQUEST | flag::ACK;
            let mut message = NetlinkMessage::new(kind::NEW_LINK, how, &body(link.index, 0, 0));
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
            // Ignores an error: a kernel without IPv6 has no such setting.
            let _ = sysctl::set(&sysctl::of_interface(true, &link.name, "disable_ipv6"), "1");
            // Changes the settings of the parent interface, which must not respond for addresses of
            // the virtual one.
            if let Some(base) = self.link_of(spec.base)? {
                for name in ["arp_ignore", "arp_filter"] {
                    let path = sysctl::of_interface(false, &base.name, name);
                    self.vmacs.keep(sysctl::set(&path, "1")?);
                }
            }
        }
        self.set_link_up(link.index, true)
    }

    /// Disables the automatic link-local address, from which neighbours would learn the virtual MAC
    /// while another machine is master. A kernel without IPv6 refuses, and does not need it.
    fn generate_no_address(&mut self, index: u32) {
        let how = flag::REQUEST | flag::ACK;
        let mut message = NetlinkMessage::new(kind::NEW_LINK, how, &body(index, 0, 0));
        message.nested(attribute::AF_SPEC, |families| {
            families.nested(u16::from(super::message::INET6), |inet6| {
                inet6.u8(ADDRESS_GENERATION, GENERATE_NONE);
            });
        });
        let _ = self.socket.one("disable address generation", message);
    }
}

impl Vmacs {
    /// Stores the original value of a setting; only the first one is restored.
    fn keep(&mut self, saved: Option<Saved>) {
        let known = |one: &Saved| self.saved.iter().any(|s| s.path == one.path);
        self.saved.extend(saved.filter(|one| !known(one)));
    }

    /// Restores settings, the last change first. Continues after an error, and returns the first
    /// one. A setting that cannot be restored stays saved for the next attempt.
    fn restore(&mut self, which: impl Fn(&Saved) -> bool) -> Result<(), KernelError> {
        let mut later = Vec::new();
        let mut first = None;
        for saved in std::mem::take(&mut self.saved).into_iter().rev() {
            if which(&saved) {
                let Err(error) = saved.restore() else {
                    continue;
                };
                first.get_or_insert(error);
            }
            later.push(saved);
        }
        later.reverse();
        self.saved = later;
        match first {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Moves the reverse path filter from all interfaces to each of them. A filter for all applies
    /// to the virtual interface, too, where it would drop responses to addresses of the parent.
    fn filter_each_by_itself(&mut self, vmac: &str) -> Result<(), KernelError> {
        let path = |name: &str| sysctl::of_interface(false, name, "rp_filter");
        let all = sysctl::read(&path("all"))?;
        if all == "0" {
            return Ok(());
        }
        for name in sysctl::interfaces(false)? {
            let virtual_one = name == "all" || name == vmac;
            // Skips an interface that disappeared after it was listed.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(path: &str) -> Saved {
        Saved {
            path: path.to_owned(),
            before: "0".to_owned(),
            ours: "1".to_owned(),
        }
    }

    #[test]
    fn setting_that_cannot_be_restored_stays_saved() {
        // The path of the second one is refused; the others do not exist.
        let gone = saved("net/ipv4/conf/no-such-link/arp_filter");
        let failing = saved("net/ipv4/conf/../arp_filter");
        let other = saved("net/ipv4/conf/no-such-link/forwarding");
        let mut vmacs = Vmacs {
            present: Vec::new(),
            saved: vec![other.clone(), gone, failing.clone()],
        };
        let restored = vmacs.restore(|saved| saved.path.ends_with("arp_filter"));
        assert!(matches!(restored, Err(KernelError::BadName(_))));
        assert_eq!(vmacs.saved, [other, failing.clone()]);
        assert!(vmacs.restore(|_| true).is_err());
        assert_eq!(vmacs.saved, [failing]);
    }
}
