//! Runs the boot role with one network and nothing else, for measurements of DHCP.
//!
//! ```text
//! dhcp INTERFACE DIRECTORY MACHINES
//! ```
//!
//! The interface has 10.20.0.1/15. Machines have the cards 02:01:00:00:00:00 and following, and the
//! addresses 10.21.0.1 and following; others get one of 10.20.1.0 to 10.20.250.255.

use boot::config::{
    AddressSource, BootConfig, ClientParameters, Image, LanConfig, LanPorts, MachineConfig,
    UnknownMachinePolicy,
};
use boot::mac::Mac;
use boot::role::{BootEnvironment, BootRole};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

fn machine(number: u32) -> (Mac, MachineConfig) {
    let [a, b, c, d] = number.to_be_bytes();
    let machine = MachineConfig {
        name: format!("m{number}"),
        address: Some(Ipv4Addr::from_bits(0x0a15_0001 + number)),
        image: "disk".to_owned(),
        once: false,
        power: None,
    };
    (Mac([2, 1, a, b, c, d]), machine)
}

fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [interface, directory, machines] = &*arguments else {
        return Err("dhcp INTERFACE DIRECTORY MACHINES".to_owned());
    };
    let machines: u32 = machines.parse().map_err(|_| "how many machines?")?;
    let lan = LanConfig {
        interface: interface.clone(),
        network: None,
        gives: AddressSource::Range {
            first: Ipv4Addr::new(10, 20, 1, 0),
            last: Ipv4Addr::new(10, 20, 250, 255),
        },
        lease_s: 3600,
        tells: ClientParameters::default(),
        disks: Default::default(),
        images: BTreeMap::from([("disk".to_owned(), Image::Disk)]),
        machines: (0..machines).map(machine).collect(),
        unknown: UnknownMachinePolicy::Menu,
        ports: LanPorts::default(),
        leases: directory.into(),
        secure_boot: false,
        six: None,
        of_nodes: Default::default(),
        of_others: Default::default(),
        virtual_addresses: Default::default(),
    };
    let boots = BootConfig {
        lans: [("lan".to_owned(), lan)].into(),
        ..BootConfig::default()
    };
    let place = BootEnvironment {
        only_reads: || Ok(()),
        only_writes: |_| Ok(()),
        runtime: || "/nowhere".into(),
    };
    let _role = BootRole::new(place, &part::codec::encode(&boots))?;
    loop {
        std::thread::park();
    }
}
