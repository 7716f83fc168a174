//! Defines the configuration of the networks from which machines boot, as the loader encodes it for
//! the boot role. No checks: [`crate::keyword`] has refused invalid values.

use crate::aoe::frame::AoeAddress;
use crate::mac::Mac;
use part::power::control::PowerControl;
use part::role::{Resource, ResourceKind};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

pub const LEASE_S: u32 = 12 * 3600;
pub const HTTP_PORT: u16 = 7447;
pub const ISCSI_PORT: u16 = 3260;
pub const NBD_PORT: u16 = 10_809;
pub const LEASES: &str = "/var/lib/evenkeel/boot";

fn iscsi_port() -> u16 {
    ISCSI_PORT
}

fn nbd_port() -> u16 {
    NBD_PORT
}

/// All networks from which machines boot.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct BootConfig {
    /// Name of this node; empty outside of a cluster.
    pub me: String,
    /// Nodes that serve the networks, in the order in which they share the ranges; empty outside
    /// of a cluster.
    pub nodes: Vec<String>,
    pub lans: BTreeMap<String, LanConfig>,
}

impl BootConfig {
    /// Returns the resources that only one instance of evenkeel may use at a time, each as a line:
    /// the interfaces of the networks.
    pub fn resources(&self) -> Vec<String> {
        let interfaces = self.lans.values().map(|lan| &lan.interface);
        let interfaces: BTreeSet<&String> = interfaces.collect();
        let all = interfaces
            .into_iter()
            .map(|name| Resource::new(ResourceKind::BootInterface, name));
        all.map(|resource| resource.line()).collect()
    }
}

/// Network from which machines boot.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct LanConfig {
    /// Interface where the clients are, or the relays to them.
    pub interface: String,
    /// Network of the clients, if the section names one, such as for clients behind a relay; None:
    /// the network of the interface.
    pub network: Option<Ipv4Network>,
    pub gives: AddressSource,
    pub lease_s: u32,
    pub tells: ClientParameters,
    pub images: BTreeMap<String, Image>,
    pub disks: BTreeMap<String, DiskConfig>,
    pub machines: BTreeMap<Mac, MachineConfig>,
    pub unknown: UnknownMachinePolicy,
    #[serde(flatten)]
    pub ports: LanPorts,
    pub leases: PathBuf,
    /// True if UEFI machines get the distribution's signed loaders.
    pub secure_boot: bool,
    /// IPv6 of the network; None: no responses over IPv6.
    #[serde(default)]
    pub six: Option<Ipv6Config>,
    /// Addresses that other sections give to nodes, such as a `virtual-ip`: no machine gets one of
    /// them.
    #[serde(default)]
    pub of_nodes: BTreeSet<IpAddr>,
    /// Addresses that other sections name for machines, such as a `host` of a farm. A machine gets
    /// such an address only if its own line says so, or if it has a lease of it.
    #[serde(default)]
    pub of_others: BTreeSet<IpAddr>,
    /// IPv6 addresses of `virtual-ip` sections. They move between nodes, so the node prefers
    /// another address of its own for its responses to machines.
    #[serde(default)]
    pub virtual_addresses: BTreeSet<IpAddr>,
}

/// TCP ports of the servers of a network. Payloads of earlier versions have the ports as fields of
/// [`LanConfig`], so the serialised form is flattened.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct LanPorts {
    #[serde(rename = "http_port")]
    pub http: u16,
    #[serde(rename = "iscsi_port", default = "iscsi_port")]
    pub iscsi: u16,
    #[serde(rename = "nbd_port", default = "nbd_port")]
    pub nbd: u16,
}

impl Default for LanPorts {
    fn default() -> LanPorts {
        LanPorts {
            http: HTTP_PORT,
            iscsi: ISCSI_PORT,
            nbd: NBD_PORT,
        }
    }
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Ipv6Config {
    pub network: Ipv6Network,
    pub range: Option<(Ipv6Addr, Ipv6Addr)>,
    pub lease_s: u32,
    pub machines: BTreeMap<Mac, Ipv6Addr>,
    pub dns: Vec<Ipv6Addr>,
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv6Network {
    pub first: Ipv6Addr,
    pub prefix: u8,
}

impl Ipv6Network {
    pub fn of(address: Ipv6Addr, prefix: u8) -> Ipv6Network {
        let prefix = prefix.min(128);
        let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
        Ipv6Network {
            first: (address.to_bits() & mask).into(),
            prefix,
        }
    }

    pub fn has(self, address: Ipv6Addr) -> bool {
        Ipv6Network::of(address, self.prefix).first == self.first
    }

    /// Returns whether a machine may have an address: it is in the network, and is not the
    /// network's first address, the anycast address of all routers (RFC 4291, 2.6.1).
    pub fn may_have(self, address: Ipv6Addr) -> bool {
        self.has(address) && address != self.first
    }
}

impl fmt::Display for Ipv6Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.first, self.prefix)
    }
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipv4Network {
    pub first: Ipv4Addr,
    pub prefix: u8,
}

impl Ipv4Network {
    pub fn of(address: Ipv4Addr, prefix: u8) -> Ipv4Network {
        let prefix = prefix.min(32);
        let mask = Ipv4Network::bits(prefix);
        Ipv4Network {
            first: (address.to_bits() & mask).into(),
            prefix,
        }
    }

    fn bits(prefix: u8) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
    }

    pub fn mask(self) -> Ipv4Addr {
        Ipv4Network::bits(self.prefix).into()
    }

    pub fn broadcast(self) -> Ipv4Addr {
        (self.first.to_bits() | !Ipv4Network::bits(self.prefix)).into()
    }

    pub fn has(self, address: Ipv4Addr) -> bool {
        Ipv4Network::of(address, self.prefix).first == self.first
    }

    /// Returns whether a machine may have an address: it is in the network, and is neither its
    /// first nor its last address. In a network with a prefix of 31 or 32, these two count as well.
    pub fn may_have(self, address: Ipv4Addr) -> bool {
        let is_end = address == self.first || address == self.broadcast();
        self.has(address) && !(is_end && self.prefix < 31)
    }
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddressSource {
    /// Another DHCP server assigns the addresses: this one only tells machines what to boot.
    Other,
    /// Only machines with an address in their line get addresses, from this server.
    Fixed,
    /// Machines get the address of their line, or one of this range, from this server.
    Range {
        first: Ipv4Addr,
        /// Last address of the range, included.
        last: Ipv4Addr,
    },
}

/// Parameters that clients get besides their address.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct ClientParameters {
    /// Default router; None: the option is omitted.
    pub gateway: Option<Ipv4Addr>,
    pub dns: Vec<Ipv4Addr>,
    pub domain: Option<String>,
    pub ntp: Vec<Ipv4Addr>,
    /// Address of the file server, if it is not the node that responds to the machine.
    pub server: Option<Ipv4Addr>,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Image {
    Kernel {
        kernel: PathBuf,
        initrd: Vec<PathBuf>,
        append: String,
        /// Name of the disk that the kernel gets as its root by NBD.
        #[serde(default)]
        nbd: Option<String>,
    },
    /// Boot loader or another program for the firmware.
    Program {
        bios: Option<PathBuf>,
        uefi: Option<PathBuf>,
    },
    /// Local disk of the machine.
    Disk,
    Aoe {
        disk: String,
    },
    Iscsi {
        disk: String,
    },
}

impl Image {
    /// Returns the name of the network disk that the image is, or has as its root.
    pub fn disk(&self) -> Option<&str> {
        match self {
            Image::Aoe { disk } | Image::Iscsi { disk } => Some(disk),
            Image::Kernel { nbd, .. } => nbd.as_deref(),
            Image::Program { .. } | Image::Disk => None,
        }
    }
}

/// Disk that machines use over the network.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct DiskConfig {
    /// AoE shelf and slot; None: the disk is not served by AoE.
    pub target: Option<AoeAddress>,
    pub storage: StorageConfig,
    /// Name of the iSCSI target; None: the disk is not served by iSCSI.
    #[serde(default)]
    pub iscsi: Option<String>,
    /// True if the disk is an NBD export, under its name.
    #[serde(default)]
    pub nbd: bool,
    /// True if every address may use the disk by iSCSI and NBD, not only machines that boot from
    /// it.
    #[serde(default)]
    pub is_open: bool,
    /// Overlays, if each machine has its own changes; None: machines share the disk.
    #[serde(default)]
    pub overlay: Option<Overlay>,
}

/// Location and limits of the overlays of a disk.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Overlay {
    pub directory: PathBuf,
    /// Maximum size of an overlay, which has the changes of one machine, bytes.
    pub bytes_max: u64,
    /// True if overlays are kept; otherwise they are dropped when their machine boots again.
    #[serde(default)]
    pub is_kept: bool,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum StorageConfig {
    /// A volume with this name, on the node that serves it.
    Volume(String),
    /// A file or a block device, on each node its own.
    File { path: PathBuf, is_read_only: bool },
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct MachineConfig {
    pub name: String,
    /// Fixed address; None: an address of the range.
    pub address: Option<Ipv4Addr>,
    pub image: String,
    /// True if the machine boots the image once, and its local disk from then on.
    pub once: bool,
    #[serde(default)]
    pub power: Option<PowerControl>,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub enum UnknownMachinePolicy {
    #[default]
    Ignore,
    /// The machines get an address, and a menu of the images.
    Menu,
    Image(String),
    /// The machines get an address, report facts about themselves, and wait until the configuration
    /// has a line for them.
    Enlist,
}

#[cfg(test)]
impl LanConfig {
    /// Returns a network whose section has only the line `interface`, and an image that is the
    /// local disk.
    pub fn plain(interface: &str) -> LanConfig {
        LanConfig {
            interface: interface.to_owned(),
            network: None,
            gives: AddressSource::Fixed,
            lease_s: LEASE_S,
            tells: ClientParameters::default(),
            disks: Default::default(),
            images: [("disk".to_owned(), Image::Disk)].into(),
            machines: BTreeMap::new(),
            unknown: UnknownMachinePolicy::Ignore,
            ports: LanPorts::default(),
            leases: LEASES.into(),
            secure_boot: false,
            six: None,
            of_nodes: BTreeSet::new(),
            of_others: BTreeSet::new(),
            virtual_addresses: BTreeSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use part::codec;
    use serde::de::IgnoredAny;

    /// Network in the serialised form of earlier versions, which had only one port.
    #[derive(Serialize)]
    struct EarlierLan {
        interface: String,
        network: Option<Ipv4Network>,
        gives: AddressSource,
        lease_s: u32,
        tells: ClientParameters,
        images: BTreeMap<String, Image>,
        disks: BTreeMap<String, DiskConfig>,
        machines: BTreeMap<Mac, MachineConfig>,
        unknown: UnknownMachinePolicy,
        http_port: u16,
        leases: PathBuf,
        secure_boot: bool,
    }

    #[test]
    fn payload_of_an_earlier_version_is_read() {
        let lan = LanConfig::plain("br0");
        let earlier = EarlierLan {
            interface: lan.interface.clone(),
            network: lan.network,
            gives: lan.gives,
            lease_s: lan.lease_s,
            tells: lan.tells.clone(),
            images: lan.images.clone(),
            disks: lan.disks.clone(),
            machines: lan.machines.clone(),
            unknown: lan.unknown.clone(),
            http_port: 8080,
            leases: lan.leases.clone(),
            secure_boot: lan.secure_boot,
        };
        let read: LanConfig = codec::decode(&codec::encode(&earlier)).unwrap();
        let ports = LanPorts {
            http: 8080,
            ..LanPorts::default()
        };
        assert_eq!(read, LanConfig { ports, ..lan });
    }

    #[test]
    fn ports_are_fields_of_the_network_in_payloads() {
        let addresses = [
            IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ];
        let machine = MachineConfig {
            name: "web".to_owned(),
            address: Some(Ipv4Addr::new(10, 0, 0, 2)),
            image: "disk".to_owned(),
            once: false,
            power: None,
        };
        let lan = LanConfig {
            ports: LanPorts {
                http: 1,
                iscsi: 2,
                nbd: 3,
            },
            machines: [(Mac([2, 0, 0, 0, 0, 1]), machine)].into(),
            of_nodes: addresses.into(),
            ..LanConfig::plain("br0")
        };
        let bytes = codec::encode(&lan);
        let fields: BTreeMap<String, IgnoredAny> = codec::decode(&bytes).unwrap();
        let is_port = |name: &&String| name.contains("port");
        let ports: Vec<_> = fields.keys().filter(is_port).collect();
        assert_eq!(ports, ["http_port", "iscsi_port", "nbd_port"]);
        assert_eq!(codec::decode::<LanConfig>(&bytes).unwrap(), lan);
    }
}
