//! What the files say of networks from which machines boot, as the role gets it.

use crate::aoe::frame::Target;
use crate::mac::Mac;
use part::power::control::Control;
use part::role::{Resource, ResourceKind};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// How long a client may use an address, seconds.
pub const LEASE_S: u32 = 12 * 3600;
/// The port of files by HTTP.
pub const HTTP_PORT: u16 = 7447;
/// The port of disks by iSCSI (RFC 7143).
pub const ISCSI_PORT: u16 = 3260;
/// The port of disks by NBD.
pub const NBD_PORT: u16 = 10_809;
/// Where leases are kept.
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
pub struct Boots {
    /// The name of this node; empty outside of a cluster.
    pub me: String,
    /// The nodes that answer, in the order in which they share the range; empty outside of a cluster.
    pub nodes: Vec<String>,
    /// The networks, by the name of their section.
    pub lans: BTreeMap<String, Lan>,
}

impl Boots {
    /// Returns what only one instance of the program may use at a time, as lines.
    pub fn resources(&self) -> Vec<String> {
        let interfaces = self.lans.values().map(|lan| &lan.interface);
        let interfaces: BTreeSet<&String> = interfaces.collect();
        let all =
            { interfaces.into_iter() }.map(|name| Resource::new(ResourceKind::BootInterface, name));
        all.map(|resource| resource.line()).collect()
    }
}

/// A network.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Lan {
    /// The interface where its clients are, or the relays to them.
    pub interface: String,
    /// Its network, where the interface does not say it: clients behind a relay.
    pub network: Option<Network>,
    /// Who gives addresses.
    pub gives: Gives,
    /// For how long a machine gets an address, seconds.
    pub lease_s: u32,
    /// What clients are told besides their address.
    pub tells: Tells,
    /// The images, by name.
    pub images: BTreeMap<String, Image>,
    /// The disks that machines use over the network, by name.
    pub disks: BTreeMap<String, Disk>,
    /// The machines that the file names, by their cards.
    pub machines: BTreeMap<Mac, Machine>,
    /// What becomes of other machines.
    pub unknown: Unknown,
    /// The TCP ports of files and disks.
    #[serde(flatten)]
    pub ports: Ports,
    /// The directory where leases are kept.
    pub leases: PathBuf,
    /// UEFI machines get the distribution's signed loaders.
    pub secure_boot: bool,
    /// What is answered over IPv6; None: nothing.
    #[serde(default)]
    pub six: Option<Six>,
    /// Addresses of nodes by other sections, such as a `virtual-ip`: no machine gets one.
    #[serde(default)]
    pub of_nodes: BTreeSet<IpAddr>,
    /// Addresses that other sections name as those of some machine, such as a `host` of a farm: a
    /// machine gets one of them only by its own line, or keeps its lease.
    #[serde(default)]
    pub of_others: BTreeSet<IpAddr>,
}

/// The TCP ports of a network. Its serialised form has no level of its own: payloads of earlier
/// versions have the ports beside the other fields of [`Lan`].
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ports {
    /// Files by HTTP.
    #[serde(rename = "http_port")]
    pub http: u16,
    /// Disks by iSCSI.
    #[serde(rename = "iscsi_port", default = "iscsi_port")]
    pub iscsi: u16,
    /// Disks by NBD.
    #[serde(rename = "nbd_port", default = "nbd_port")]
    pub nbd: u16,
}

impl Default for Ports {
    fn default() -> Ports {
        Ports {
            http: HTTP_PORT,
            iscsi: ISCSI_PORT,
            nbd: NBD_PORT,
        }
    }
}

/// The IPv6 of a network.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Six {
    /// The network.
    pub network: Network6,
    /// The first and the last address for machines without an address of their own.
    pub range: Option<(Ipv6Addr, Ipv6Addr)>,
    /// For how long a machine gets an address, seconds.
    pub lease_s: u32,
    /// The machines of the file that have an address of their own.
    pub machines: BTreeMap<Mac, Ipv6Addr>,
    /// The nameservers.
    pub dns: Vec<Ipv6Addr>,
}

/// An IPv6 network.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network6 {
    /// Its first address.
    pub first: Ipv6Addr,
    /// The length of its prefix, 0 to 128.
    pub prefix: u8,
}

impl Network6 {
    /// The network of an address.
    pub fn of(address: Ipv6Addr, prefix: u8) -> Network6 {
        let prefix = prefix.min(128);
        let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
        Network6 {
            first: (address.to_bits() & mask).into(),
            prefix,
        }
    }

    /// Whether an address is in it.
    pub fn has(self, address: Ipv6Addr) -> bool {
        Network6::of(address, self.prefix).first == self.first
    }

    /// Whether a machine may have an address: it is in the network, and not its first one, which all
    /// routers have (RFC 4291, 2.6.1).
    pub fn may_have(self, address: Ipv6Addr) -> bool {
        self.has(address) && address != self.first
    }
}

impl fmt::Display for Network6 {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.first, self.prefix)
    }
}

/// An IPv4 network.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    /// Its first address.
    pub first: Ipv4Addr,
    /// The length of its prefix, 0 to 32.
    pub prefix: u8,
}

impl Network {
    /// The network of an address.
    pub fn of(address: Ipv4Addr, prefix: u8) -> Network {
        let prefix = prefix.min(32);
        let mask = Network::bits(prefix);
        Network {
            first: (address.to_bits() & mask).into(),
            prefix,
        }
    }

    fn bits(prefix: u8) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
    }

    /// Its mask.
    pub fn mask(self) -> Ipv4Addr {
        Network::bits(self.prefix).into()
    }

    /// The address of all of it.
    pub fn broadcast(self) -> Ipv4Addr {
        (self.first.to_bits() | !Network::bits(self.prefix)).into()
    }

    /// Whether an address is in it.
    pub fn has(self, address: Ipv4Addr) -> bool {
        Network::of(address, self.prefix).first == self.first
    }

    /// Whether a machine may have an address: it is in the network, and neither of its two ends.
    pub fn may_have(self, address: Ipv4Addr) -> bool {
        let is_end = address == self.first || address == self.broadcast();
        self.has(address) && !(is_end && self.prefix < 31)
    }
}

/// Who gives addresses.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gives {
    /// Another DHCP server: this one only says what to boot.
    Other,
    /// This one, to the machines of the file.
    Fixed,
    /// This one, to others, too.
    Range {
        /// The first address.
        first: Ipv4Addr,
        /// The last one.
        last: Ipv4Addr,
    },
}

/// What clients are told besides their address.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Tells {
    /// The router.
    pub gateway: Option<Ipv4Addr>,
    /// The nameservers.
    pub dns: Vec<Ipv4Addr>,
    /// The domain.
    pub domain: Option<String>,
    /// The time servers.
    pub ntp: Vec<Ipv4Addr>,
    /// From which address files are fetched, where it is not that of the node that answers.
    pub server: Option<Ipv4Addr>,
}

/// What a machine boots.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Image {
    /// A Linux kernel.
    Kernel {
        /// The kernel.
        kernel: PathBuf,
        /// Its initial file systems, in their order.
        initrd: Vec<PathBuf>,
        /// Its command line.
        append: String,
        /// The disk that it gets as its root by NBD.
        #[serde(default)]
        nbd: Option<String>,
    },
    /// A boot loader or another program of the firmware.
    Program {
        /// The file for BIOS.
        bios: Option<PathBuf>,
        /// The file for UEFI.
        uefi: Option<PathBuf>,
    },
    /// The disk of the machine.
    Disk,
    /// A disk over Ethernet.
    Aoe {
        /// The name of the disk.
        disk: String,
    },
    /// A disk by iSCSI.
    Iscsi {
        /// The name of the disk.
        disk: String,
    },
}

impl Image {
    /// The disk over the network that it is, or has as its root.
    pub fn disk(&self) -> Option<&str> {
        match self {
            Image::Aoe { disk } | Image::Iscsi { disk } => Some(disk),
            Image::Kernel { nbd, .. } => nbd.as_deref(),
            Image::Program { .. } | Image::Disk => None,
        }
    }
}

/// A disk that machines use over the network.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Disk {
    /// Its number for AoE; None: it is not used that way.
    pub target: Option<Target>,
    /// What stores it.
    pub storage: Storage,
    /// The name of its target of iSCSI; None: it is not used that way.
    #[serde(default)]
    pub iscsi: Option<String>,
    /// It is an export of NBD, by its name.
    #[serde(default)]
    pub nbd: bool,
    /// By iSCSI and NBD, every address may use it, not only those of machines that boot from it.
    #[serde(default)]
    pub is_open: bool,
    /// Each machine has a copy of its own.
    #[serde(default)]
    pub overlay: Option<Overlay>,
}

/// Where the copies of machines are.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Overlay {
    /// The directory.
    pub directory: PathBuf,
    /// Bytes that a machine can change.
    pub bytes_max: u64,
    /// They are kept; otherwise they are dropped when their machine boots again.
    #[serde(default)]
    pub is_kept: bool,
}

/// What stores a disk.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Storage {
    /// A volume, on the node that serves it.
    Volume(String),
    /// A file or a block device of each node.
    File {
        /// Its path.
        path: PathBuf,
        /// Machines only read it.
        is_read_only: bool,
    },
}

/// A machine of the file.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// Its address; None: one of the range.
    pub address: Option<Ipv4Addr>,
    /// Its image.
    pub image: String,
    /// It boots the image once, and its disk from then on.
    pub once: bool,
    /// By what its power is controlled; None: nothing is known of it.
    #[serde(default)]
    pub power: Option<Control>,
}

/// What becomes of machines that the file does not name.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub enum Unknown {
    /// They get no answer.
    #[default]
    Ignore,
    /// They get an address, and a menu of the images.
    Menu,
    /// They get an address and this image.
    Image(String),
    /// They get an address, say what they are, and wait for a line in the file.
    Enlist,
}

#[cfg(test)]
impl Lan {
    /// A network whose section has an interface and no other line, with an image that is the disk.
    pub fn plain(interface: &str) -> Lan {
        Lan {
            interface: interface.to_owned(),
            network: None,
            gives: Gives::Fixed,
            lease_s: LEASE_S,
            tells: Tells::default(),
            disks: Default::default(),
            images: [("disk".to_owned(), Image::Disk)].into(),
            machines: BTreeMap::new(),
            unknown: Unknown::Ignore,
            ports: Ports::default(),
            leases: LEASES.into(),
            secure_boot: false,
            six: None,
            of_nodes: BTreeSet::new(),
            of_others: BTreeSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use part::codec;
    use serde::de::IgnoredAny;

    /// A network as versions wrote it that had one port.
    #[derive(Serialize)]
    struct EarlierLan {
        interface: String,
        network: Option<Network>,
        gives: Gives,
        lease_s: u32,
        tells: Tells,
        images: BTreeMap<String, Image>,
        disks: BTreeMap<String, Disk>,
        machines: BTreeMap<Mac, Machine>,
        unknown: Unknown,
        http_port: u16,
        leases: PathBuf,
        secure_boot: bool,
    }

    #[test]
    fn payload_of_an_earlier_version_is_read() {
        let lan = Lan::plain("br0");
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
        let read: Lan = codec::decode(&codec::encode(&earlier)).unwrap();
        let ports = Ports {
            http: 8080,
            ..Ports::default()
        };
        assert_eq!(read, Lan { ports, ..lan });
    }

    #[test]
    fn ports_are_fields_of_the_network_in_payloads() {
        let addresses = [
            IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ];
        let machine = Machine {
            name: "web".to_owned(),
            address: Some(Ipv4Addr::new(10, 0, 0, 2)),
            image: "disk".to_owned(),
            once: false,
            power: None,
        };
        let lan = Lan {
            ports: Ports {
                http: 1,
                iscsi: 2,
                nbd: 3,
            },
            machines: [(Mac([2, 0, 0, 0, 0, 1]), machine)].into(),
            of_nodes: addresses.into(),
            ..Lan::plain("br0")
        };
        let bytes = codec::encode(&lan);
        let fields: BTreeMap<String, IgnoredAny> = codec::decode(&bytes).unwrap();
        let is_port = |name: &&String| name.contains("port");
        let ports: Vec<_> = fields.keys().filter(is_port).collect();
        assert_eq!(ports, ["http_port", "iscsi_port", "nbd_port"]);
        assert_eq!(codec::decode::<Lan>(&bytes).unwrap(), lan);
    }
}
