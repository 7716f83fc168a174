//! Writes the configuration sections `volume` and `guest` of a new guest, for an operator to paste.

use crate::hardware::{Bus, Firmware, Model};
use crate::mac::Mac;
use crate::size::{MIB, words};
use std::fmt::Write;
use std::net::IpAddr;

/// Planned guest, from which the sections are written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GuestDraft {
    pub name: String,
    pub memory_mib: u64,
    pub cpus: u32,
    /// Disks of the guest: the name of each volume, and its size in bytes.
    pub disks: Vec<(String, u64)>,
    pub bus: Bus,
    pub nics: Vec<NetworkCard>,
    pub firmware: Firmware,
}

/// Network card of a new guest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NetworkCard {
    /// Name of the bridge on the host; empty: unknown.
    pub bridge: String,
    /// MAC address; None: generated from the name of the guest.
    pub mac: Option<[u8; 6]>,
    pub addresses: Vec<IpAddr>,
    pub model: Model,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VolumeLocation {
    /// Names of the nodes; empty: no cluster.
    pub nodes: Vec<String>,
    /// Words after the keyword `backing` in the section of the volume, such as `lvm vg0`.
    pub backing: String,
}

impl Default for VolumeLocation {
    fn default() -> VolumeLocation {
        VolumeLocation {
            nodes: Vec::new(),
            backing: "file /srv/volumes".to_owned(),
        }
    }
}

/// Size of a volume is a multiple of this number of bytes.
const BLOCK_BYTES: u64 = 4096;

fn room(bytes: u64) -> String {
    words(
        bytes
            .max(1)
            .div_ceil(BLOCK_BYTES)
            .saturating_mul(BLOCK_BYTES),
    )
}

impl GuestDraft {
    pub fn volume(&self, index: usize, site: &VolumeLocation) -> String {
        let Some((name, bytes)) = self.disks.get(index) else {
            return String::new();
        };
        let mut text = format!("volume {name}\n    size {}\n", room(*bytes));
        if !site.nodes.is_empty() {
            // Names two nodes at most, because a volume has at most two copies.
            let on = site.nodes.iter().take(2).cloned().collect::<Vec<_>>();
            let _ = writeln!(text, "    on {}", on.join(" "));
        }
        let _ = writeln!(text, "    backing {}", site.backing);
        text
    }

    pub fn guest(&self, site: &VolumeLocation) -> String {
        let mut text = format!("guest {}\n", self.name);
        if !site.nodes.is_empty() {
            let _ = writeln!(text, "    prefer {}", site.nodes.join(" "));
        }
        let memory = words(self.memory_mib.max(16).saturating_mul(MIB));
        let _ = writeln!(text, "    memory {memory}\n    cpus {}", self.cpus.max(1));
        let bus = self.bus.words();
        for (volume, _) in &self.disks {
            let _ = writeln!(text, "    disk {volume}{bus}");
        }
        for card in &self.nics {
            let _ = writeln!(text, "    {}", card.line());
        }
        if self.firmware == Firmware::Uefi {
            text += "    firmware uefi\n";
        }
        text
    }
}

impl NetworkCard {
    fn line(&self) -> String {
        let bridge = if self.bridge.is_empty() {
            "br0"
        } else {
            &self.bridge
        };
        let mut line = format!("nic {bridge}");
        if let Some(mac) = self.mac {
            let _ = write!(line, " mac {}", Mac(mac));
        }
        for address in &self.addresses {
            let _ = write!(line, " address {address}");
        }
        line + self.model.words()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_can_be_pasted() {
        let draft = GuestDraft {
            name: "mail".to_owned(),
            memory_mib: 3 << 10,
            cpus: 2,
            disks: vec![("mail".to_owned(), 40 << 30), ("mail-2".to_owned(), 4097)],
            bus: Bus::Ide,
            nics: vec![NetworkCard {
                bridge: "xenbr0".to_owned(),
                mac: Some([0, 0x16, 0x3e, 1, 2, 3]),
                addresses: vec!["192.0.2.25".parse().unwrap()],
                model: Model::E1000,
            }],
            firmware: Firmware::Uefi,
        };
        let site = VolumeLocation {
            nodes: vec!["alpha".to_owned(), "beta".to_owned()],
            backing: "lvm vg0".to_owned(),
        };
        assert_eq!(
            draft.volume(0, &site),
            "volume mail\n    size 40g\n    on alpha beta\n    backing lvm vg0\n"
        );
        assert_eq!(
            draft.volume(1, &VolumeLocation::default()),
            "volume mail-2\n    size 8k\n    backing file /srv/volumes\n"
        );
        assert_eq!(
            draft.guest(&site),
            "guest mail\n    prefer alpha beta\n    memory 3g\n    cpus 2\n    disk mail bus ide\n    \
             disk mail-2 bus ide\n    nic xenbr0 mac 00:16:3e:01:02:03 address 192.0.2.25 model e1000\n    \
             firmware uefi\n"
        );
    }
}
