//! What the files say of guests and of the nodes that run them, as the role gets it.

use configuration::External;
use part::power::control::Control;
use part::role::{Resource, ResourceKind};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

/// How long a guest may take to shut down before it is ended, milliseconds.
pub const STOP_MS: u64 = 120_000;

/// All guests, and the nodes.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Guests {
    /// The name of this node; empty outside of a cluster: each guest runs here, without a lease.
    pub me: String,
    /// The nodes that the files describe, by name. A node without a section is not here.
    pub nodes: BTreeMap<String, Node>,
    /// The guests, by name.
    pub guests: BTreeMap<String, Guest>,
    /// The templates, by name: they never run.
    pub templates: BTreeMap<String, Guest>,
}

impl Guests {
    /// Returns what only one instance of the program may use at a time, as lines.
    pub fn resources(&self) -> Vec<String> {
        self.guests.keys().map(|name| resource(name)).collect()
    }
}

/// A guest as a resource of this machine: its line in the runtime directory.
pub(crate) fn resource(name: &str) -> String {
    Resource::new(ResourceKind::Guest, name).line()
}

/// What a section `node` says for guests.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Node {
    /// How it is powered off, in the order in which it is tried.
    pub fences: Vec<Control>,
    /// A watchdog device, which resets the machine if this program stops feeding it.
    pub watchdog: Option<PathBuf>,
    /// What it has for guests; None: all that the machine has.
    pub room: Option<Room>,
}

/// What a node has for guests.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Room {
    /// Bytes of memory; None: what the machine has, less a reserve.
    pub memory_bytes: Option<u64>,
    /// Processors; None: they are not counted.
    pub cpus: Option<u32>,
}

/// A guest.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Guest {
    /// The nodes on which it may run, the best first. Empty outside of a cluster.
    pub prefer: Vec<String>,
    /// Its memory, bytes; a multiple of 1 MiB.
    pub memory_bytes: u64,
    /// Its processors.
    pub cpus: u32,
    /// Its disks, in their order.
    pub disks: Vec<Disk>,
    /// Its network cards, in their order.
    pub nics: Vec<Nic>,
    /// What it boots from.
    pub boot: Boot,
    /// The firmware.
    pub firmware: Firmware,
    /// Data for cloud-init (NoCloud): the text of `user-data`.
    #[serde(default)]
    pub user_data: Option<String>,
    /// Its display or terminal.
    pub console: Console,
    /// How it is seen that it works.
    pub check: Option<Check>,
    /// How it moves.
    pub migrate: Migrate,
    /// How long it may take to shut down before it is ended, milliseconds.
    pub stop_ms: u64,
    /// Where it runs beside which others, and when.
    pub order: Order,
}

impl Guest {
    /// What it takes of a node.
    pub fn takes(&self) -> crate::placement::Room {
        crate::placement::Room {
            memory_bytes: self.memory_bytes,
            cpus: self.cpus,
        }
    }

    /// One whose section has a size of memory and no other line.
    pub fn plain(memory_bytes: u64) -> Guest {
        Guest {
            prefer: Vec::new(),
            memory_bytes,
            cpus: 1,
            disks: Vec::new(),
            nics: Vec::new(),
            boot: Boot::Disk,
            firmware: Firmware::default(),
            user_data: None,
            console: Console::default(),
            check: None,
            migrate: Migrate::default(),
            stop_ms: STOP_MS,
            order: Order::default(),
        }
    }

    /// Whether it writes to a disk that a storage system keeps: nothing there refuses a late write.
    pub fn is_external(&self) -> bool {
        let mut disks = self.disks.iter();
        disks.any(|disk| disk.external.is_some() && !disk.read_only)
    }
}

/// Where and when a guest runs in respect of others.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Order {
    /// Guests that run before it starts.
    pub after: BTreeSet<String>,
    /// Which guests run where there is not room for all: those with the higher number.
    pub priority: i32,
    /// Guests on whose node it has to be.
    pub beside: BTreeSet<String>,
    /// Guests on whose node it must not be.
    pub apart: BTreeSet<String>,
    /// It returns to a better node by itself.
    pub fails_back: bool,
}

/// A disk.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Disk {
    /// The volume.
    pub volume: String,
    /// The guest cannot write it.
    pub read_only: bool,
    /// The bus.
    pub bus: Bus,
    /// The image that QEMU opens by itself, if a storage system keeps it.
    #[serde(default)]
    pub external: Option<External>,
}

/// How a disk is attached.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Bus {
    /// virtio-blk: the guest needs a driver that every Linux has.
    #[default]
    Virtio,
    /// AHCI, for systems without drivers for virtio.
    Sata,
    /// IDE, for old ones.
    Ide,
}

impl Bus {
    /// What a line `disk` says of it.
    pub fn words(self) -> &'static str {
        match self {
            Bus::Virtio => "",
            Bus::Sata => " bus sata",
            Bus::Ide => " bus ide",
        }
    }
}

/// A network card.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Nic {
    /// The bridge of the host.
    pub bridge: String,
    /// Its address.
    pub mac: [u8; 6],
    /// The addresses that the guest has there, for announcements after a move.
    pub addresses: Vec<IpAddr>,
    /// The model.
    pub model: Model,
}

/// The model of a network card.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Model {
    /// virtio-net.
    #[default]
    Virtio,
    /// Intel's, for systems without drivers for virtio.
    E1000,
}

impl Model {
    /// What a line `nic` says of it.
    pub fn words(self) -> &'static str {
        match self {
            Model::Virtio => "",
            Model::E1000 => " model e1000",
        }
    }
}

/// What a guest boots from.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub enum Boot {
    /// Its first disk.
    #[default]
    Disk,
    /// The network (PXE) of its first card.
    Network,
    /// An image of a CD, in this file of the node.
    Iso(PathBuf),
    /// A kernel in a file of the node, with its initial RAM disk and command line.
    Kernel {
        /// The kernel.
        kernel: PathBuf,
        /// The initial RAM disk.
        initrd: Option<PathBuf>,
        /// The command line.
        append: String,
    },
}

impl Boot {
    /// Returns the files of the node that it names.
    pub fn files(&self) -> Vec<&std::path::Path> {
        match self {
            Boot::Disk | Boot::Network => Vec::new(),
            Boot::Iso(path) => vec![path],
            Boot::Kernel { kernel, initrd, .. } => {
                let kernel = std::iter::once(kernel.as_path());
                kernel.chain(initrd.as_deref()).collect()
            }
        }
    }
}

/// The firmware of a guest.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Firmware {
    /// SeaBIOS.
    #[default]
    Bios,
    /// OVMF.
    Uefi,
}

/// How an operator sees a guest, beside its serial terminal, which each guest has.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Console {
    /// A display, by VNC at a socket of the host.
    #[default]
    Vnc,
    /// A display, by SPICE at a socket of the host.
    Spice,
    /// No display.
    Serial,
}

/// How a guest moves to another node.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Migrate {
    /// While it runs.
    #[default]
    Live,
    /// It is shut down here and started there.
    Cold,
    /// Only where its node fails.
    Never,
}

/// How it is seen that a guest works.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// What is tried.
    pub probe: Probe,
    /// How often, milliseconds.
    pub inter_ms: u64,
    /// How long an answer may take, milliseconds.
    pub timeout_ms: u64,
    /// Failures in a row after which it does not work.
    pub fall: u32,
    /// Successes in a row after which it works.
    pub rise: u32,
    /// How long after its start failures do not count, milliseconds.
    pub grace_ms: u64,
    /// A guest that does not work is restarted; otherwise it is only reported.
    pub restarts: bool,
}

/// What a check tries.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Probe {
    /// A connection to this port.
    Tcp {
        /// The address: the first of its cards' where the line has none.
        at: IpAddr,
        /// The port.
        port: u16,
    },
    /// An echo (ICMP).
    Ping(IpAddr),
    /// The guest agent of QEMU.
    Agent,
}

/// The name of a guest as the user of a volume.
pub fn user_of(guest: &str) -> String {
    format!("guest/{guest}")
}

/// A MAC address as files and people have it.
pub fn mac_words(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Returns the address of a network card that has none in the file: the same on each node and
/// after each load. Locally administered, with the prefix that QEMU uses.
pub fn mac_of(guest: &str, index: usize) -> [u8; 6] {
    // FNV-1a, 64 bits: any hash will do that stays as it is.
    let bytes = guest.bytes().chain([0, index as u8]);
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let [.., a, b, c] = (hash ^ (hash >> 32)).to_be_bytes();
    [0x52, 0x54, 0x00, a, b, c]
}
