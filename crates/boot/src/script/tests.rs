//! Tests the scripts of iPXE with one node and with two.

use super::*;
use crate::config::{AddressSource, ClientParameters, LanPorts, UnknownMachinePolicy};
use std::collections::BTreeMap;

const MAC: Mac = Mac([0x52, 0x54, 0, 0, 0, 7]);

fn lan() -> LanConfig {
    let kernel = Image::Kernel {
        kernel: "/srv/kernel".into(),
        initrd: vec!["/srv/initrd".into()],
        append: "quiet".to_owned(),
        nbd: None,
    };
    LanConfig {
        interface: "br0".to_owned(),
        network: None,
        gives: AddressSource::Fixed,
        lease_s: 3_600,
        tells: ClientParameters::default(),
        disks: BTreeMap::new(),
        images: BTreeMap::from([("rescue".to_owned(), kernel)]),
        machines: BTreeMap::new(),
        unknown: UnknownMachinePolicy::Menu,
        ports: LanPorts::default(),
        leases: "/leases".into(),
        secure_boot: false,
        six: None,
        of_nodes: Default::default(),
        of_others: Default::default(),
        virtual_addresses: Default::default(),
    }
}

fn of_nodes(nodes: &[u8]) -> String {
    let servers = FetchServers {
        addresses: nodes
            .iter()
            .map(|last| Ipv4Addr::new(10, 20, 0, *last).into())
            .collect(),
        port: 7_447,
        disks: None,
    };
    let lan = lan();
    let script = of_image(&lan, "rescue", &lan.images["rescue"], MAC, &servers);
    String::from_utf8(script).unwrap()
}

#[test]
fn a_machine_of_two_nodes_goes_on_at_the_other_one_at_once_and_pauses_when_both_fail() {
    insta::assert_snapshot!(of_nodes(&[2, 3]));
}

#[test]
fn a_machine_of_one_node_asks_it_again() {
    insta::assert_snapshot!(of_nodes(&[2]));
}
