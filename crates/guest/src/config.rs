//! Configuration of guests, and of the nodes that run them, as the role receives it.

pub use image::hardware::{Bus, Firmware, Model, mac_words};

use configuration::External;
use part::fnv::fnv1a;
use part::power::control::PowerControl;
use part::role::{Resource, ResourceKind};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

/// Default time that a guest has to shut down before it is ended, milliseconds.
pub const STOP_MS: u64 = 120_000;

/// All guests, templates and nodes of the configuration.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Guests {
    /// Name of this node. Empty outside of a cluster: each guest runs here, without a lease.
    pub me: String,
    /// Nodes with a section in the configuration, by name.
    pub nodes: BTreeMap<String, NodeSettings>,
    pub guests: BTreeMap<String, Guest>,
    /// Templates, by name. They never run.
    pub templates: BTreeMap<String, Guest>,
}

impl Guests {
    /// Returns the guests as resources that only one instance of the program may use at a time.
    pub fn resources(&self) -> Vec<String> {
        self.guests.keys().map(|name| resource(name)).collect()
    }
}

/// Returns the line in the runtime directory that marks a guest as a resource of this machine.
pub(crate) fn resource(name: &str) -> String {
    Resource::new(ResourceKind::Guest, name).line()
}

/// Settings of a section `node` that concern guests.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct NodeSettings {
    /// Fencing methods, in the order in which they are tried.
    pub fences: Vec<PowerControl>,
    /// Watchdog device. It resets the machine if this program stops feeding it.
    pub watchdog: Option<PathBuf>,
    /// Capacity for guests; None: all that the machine has.
    pub room: Option<Room>,
}

/// Capacity of a node for guests.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Room {
    /// Memory in bytes; None: the machine's memory, less a reserve.
    pub memory_bytes: Option<u64>,
    /// Number of CPUs; None: CPUs are not counted.
    pub cpus: Option<u32>,
}

/// Settings of a section `guest` or of a template.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Guest {
    /// Nodes on which the guest may run, the best first. Empty outside of a cluster.
    pub prefer: Vec<String>,
    /// Memory in bytes; a multiple of 1 MiB.
    pub memory_bytes: u64,
    pub cpus: u32,
    /// Disks, in the order of the configuration.
    pub disks: Vec<Disk>,
    /// Network cards, in the order of the configuration.
    pub nics: Vec<Nic>,
    /// Boot device, image or kernel.
    pub boot: Boot,
    /// Firmware that boots the guest.
    pub firmware: Firmware,
    /// Text of `user-data` for cloud-init (NoCloud).
    #[serde(default)]
    pub user_data: Option<String>,
    /// Display, or none beside the serial terminal.
    pub console: Console,
    /// Health check; None: the guest is not checked.
    pub check: Option<Check>,
    pub migrate: Migrate,
    /// Time that the guest has to shut down before it is ended, milliseconds.
    pub stop_ms: u64,
    /// Placement and start order with respect to other guests.
    pub order: PlacementRules,
}

impl Guest {
    /// Returns the memory and CPUs that the guest uses of its node.
    pub fn takes(&self) -> crate::placement::Room {
        crate::placement::Room {
            memory_bytes: self.memory_bytes,
            cpus: self.cpus,
        }
    }

    /// Returns a guest whose section sets the memory size and nothing else.
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
            order: PlacementRules::default(),
        }
    }

    /// Returns whether the guest writes to a disk on external storage, which refuses no late
    /// write.
    pub fn is_external(&self) -> bool {
        let mut disks = self.disks.iter();
        disks.any(|disk| disk.external.is_some() && !disk.read_only)
    }
}

/// Placement and start order of a guest with respect to other guests.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct PlacementRules {
    /// Guests that must run before this one starts.
    pub after: BTreeSet<String>,
    /// Priority where capacity is short: guests with the higher number run.
    pub priority: i32,
    /// Guests that must run on the same node (colocation).
    pub beside: BTreeSet<String>,
    /// Guests that must not run on the same node (anti-affinity).
    pub apart: BTreeSet<String>,
    /// The guest returns to a better node by itself (failback).
    pub fails_back: bool,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Disk {
    pub volume: String,
    /// The guest cannot write to the disk.
    pub read_only: bool,
    /// Bus to which the disk is attached.
    pub bus: Bus,
    /// Image that QEMU opens directly, if the disk is on external storage.
    #[serde(default)]
    pub external: Option<External>,
}

/// Network card of a guest.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Nic {
    /// Name of the bridge on the host.
    pub bridge: String,
    /// MAC address of the card.
    pub mac: [u8; 6],
    /// IP addresses of the guest on this card, announced after a migration.
    pub addresses: Vec<IpAddr>,
    /// Emulated model of the card.
    pub model: Model,
}

/// Boot source of a guest.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub enum Boot {
    #[default]
    Disk,
    /// Network boot (PXE) from the first card.
    Network,
    /// CD image in this file on the node.
    Iso(PathBuf),
    /// Direct kernel boot from files on the node.
    Kernel {
        kernel: PathBuf,
        /// Path of the initial RAM disk.
        initrd: Option<PathBuf>,
        append: String,
    },
}

impl Boot {
    /// Returns the paths of the files on the node that are needed to boot.
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

/// Display of a guest. A serial terminal exists in any case.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Console {
    /// VNC on a socket of the host.
    #[default]
    Vnc,
    /// SPICE on a socket of the host.
    Spice,
    /// No display; only the serial terminal.
    Serial,
}

/// Migration mode of a guest.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Migrate {
    /// Live migration: the guest keeps running.
    #[default]
    Live,
    /// The guest is shut down on the source and started on the target.
    Cold,
    /// The guest moves only when its node fails.
    Never,
}

/// Health check of a guest.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Check {
    pub probe: Probe,
    /// Interval between two checks, milliseconds.
    pub inter_ms: u64,
    /// Timeout of one check, milliseconds.
    pub timeout_ms: u64,
    /// Failures in a row after which the guest is unhealthy.
    pub fall: u32,
    /// Successes in a row after which the guest is healthy.
    pub rise: u32,
    /// Time after the start during which failures do not count, milliseconds.
    pub grace_ms: u64,
    /// An unhealthy guest is restarted; otherwise it is only reported.
    pub restarts: bool,
}

/// Method of a health check.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Probe {
    /// TCP connection to this address and port.
    Tcp {
        /// Address to connect to; the first one of the guest's cards where the line has none.
        at: IpAddr,
        port: u16,
    },
    /// ICMP echo request (ping) to this address.
    Ping(IpAddr),
    /// Request to the QEMU guest agent.
    Agent,
}

/// Returns the name under which a guest is registered as the user of a volume.
pub fn user_of(guest: &str) -> String {
    format!("guest/{guest}")
}

/// Returns the generated MAC address of a card that has none in the configuration. It is the same
/// on each node and after each reload: locally administered, with the prefix that QEMU uses.
pub fn mac_of(guest: &str, index: usize) -> [u8; 6] {
    // Any hash works as long as it never changes, since the address must stay the same.
    let hash = fnv1a(guest.bytes().chain([0, index as u8]));
    let [.., a, b, c] = (hash ^ (hash >> 32)).to_be_bytes();
    [0x52, 0x54, 0x00, a, b, c]
}
