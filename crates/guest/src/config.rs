//! Defines the configuration of guests, and of the nodes that run them, as the guest role receives
//! it.

pub use image::hardware::{Bus, Firmware, Model};
pub use image::mac::Mac;

use configuration::External;
use part::fnv::fnv1a;
use part::power::control::PowerControl;
use part::role::{Resource, ResourceKind};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

/// Default time that a guest has to shut down before its process is ended, milliseconds.
pub const STOP_MS: u64 = 120_000;
/// Longest `stop-timeout`, milliseconds.
pub const STOP_MS_MAX: u32 = 24 * 3_600_000;

/// All guests, templates and nodes of the configuration.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Guests {
    /// Name of this node. Empty outside of a cluster: each guest runs here, without a lease.
    pub me: String,
    pub nodes: BTreeMap<String, NodeSettings>,
    pub guests: BTreeMap<String, Guest>,
    /// Templates, by name. They never run.
    pub templates: BTreeMap<String, Guest>,
}

impl Guests {
    /// Returns the guests as resources that only one instance of Evenkeel may use at a time.
    pub fn resources(&self) -> Vec<String> {
        self.guests.keys().map(|name| resource(name)).collect()
    }
}

pub(crate) fn resource(name: &str) -> String {
    Resource::new(ResourceKind::Guest, name).line()
}

/// Settings of a section `node` that concern guests.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct NodeSettings {
    /// Fencing methods, in the order in which they are tried.
    pub fences: Vec<PowerControl>,
    /// Watchdog device. It resets the machine if the guest role stops feeding it.
    pub watchdog: Option<PathBuf>,
    /// Capacity for guests; None: the whole machine, less a reserve.
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
    pub disks: Vec<Disk>,
    pub nics: Vec<Nic>,
    pub boot: Boot,
    pub firmware: Firmware,
    #[serde(default)]
    pub user_data: Option<String>,
    /// Display; [`Console::Serial`]: only the serial terminal.
    pub console: Console,
    pub check: Option<Check>,
    pub migrate: Migrate,
    pub stop_ms: u64,
    pub order: PlacementRules,
}

impl Guest {
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

    /// Returns whether the guest writes to a disk on external storage, which does not refuse late
    /// writes.
    pub fn is_external(&self) -> bool {
        let mut disks = self.disks.iter();
        disks.any(|disk| disk.external.is_some() && !disk.read_only)
    }
}

/// Placement and start order of a guest with respect to other guests.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct PlacementRules {
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
    pub read_only: bool,
    pub bus: Bus,
    #[serde(default)]
    pub external: Option<External>,
}

/// Network card of a guest.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Nic {
    pub bridge: String,
    pub mac: [u8; 6],
    /// IP addresses of the guest on this card, announced when the guest starts to run on a node.
    pub addresses: Vec<IpAddr>,
    pub model: Model,
}

/// Boot source of a guest.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub enum Boot {
    #[default]
    Disk,
    /// Network boot (PXE) from the first card.
    Network,
    Iso(PathBuf),
    /// Direct kernel boot from files on the node.
    Kernel {
        kernel: PathBuf,
        initrd: Option<PathBuf>,
        append: String,
    },
}

impl Boot {
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
    #[default]
    Vnc,
    Spice,
    Serial,
}

/// Migration mode of a guest.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Migrate {
    #[default]
    Live,
    /// The guest is shut down on the source and started on the target.
    Cold,
    Never,
}

/// Health check of a guest.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Check {
    pub probe: Probe,
    pub inter_ms: u64,
    pub timeout_ms: u64,
    /// Failures in a row after which the guest is unhealthy.
    pub fall: u32,
    /// Successes in a row after which the guest is healthy.
    pub rise: u32,
    /// Time after the start during which failures do not count, milliseconds.
    pub grace_ms: u64,
    pub restarts: bool,
}

/// Method of a health check.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub enum Probe {
    Tcp {
        /// Address to connect to: that of the line `check`, or the first address of the guest's
        /// cards.
        at: IpAddr,
        port: u16,
    },
    Ping(IpAddr),
    Agent,
}

/// Returns the name under which a guest is registered as the user of a volume.
pub fn user_of(guest: &str) -> String {
    format!("guest/{guest}")
}

/// Returns the generated MAC address of a card that has none in the configuration. It is the same
/// on each node and after each reload: locally administered, with the prefix that QEMU uses.
pub fn mac_of(guest: &str, index: usize) -> [u8; 6] {
    // Uses a hash that never changes, because the address must stay the same.
    let hash = fnv1a(guest.bytes().chain([0, index as u8]));
    let [.., a, b, c] = (hash ^ (hash >> 32)).to_be_bytes();
    [0x52, 0x54, 0x00, a, b, c]
}
