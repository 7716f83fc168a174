//! Defines the hardware settings of a guest, as far as its disk image or its description for
//! another hypervisor determines them.

use serde::{Deserialize, Serialize};

/// Bus by which a disk is attached.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Bus {
    /// virtio-blk, for which every current Linux has a driver.
    #[default]
    Virtio,
    /// AHCI, for systems without drivers for virtio.
    Sata,
    /// IDE, for old systems without drivers for AHCI.
    Ide,
}

impl Bus {
    /// Returns the words of a line `disk` that select the bus; empty for the default.
    pub fn words(self) -> &'static str {
        match self {
            Bus::Virtio => "",
            Bus::Sata => " bus sata",
            Bus::Ide => " bus ide",
        }
    }
}

/// Model of a network card.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Model {
    #[default]
    Virtio,
    /// Intel e1000, for systems without drivers for virtio.
    E1000,
}

impl Model {
    /// Returns the words of a line `nic` that select the model; empty for the default.
    pub fn words(self) -> &'static str {
        match self {
            Model::Virtio => "",
            Model::E1000 => " model e1000",
        }
    }
}

/// The firmware of a guest.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Firmware {
    #[default]
    Bios,
    Uefi,
}
