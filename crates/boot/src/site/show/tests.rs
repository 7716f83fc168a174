//! Tests the report of a network whose addresses other hosts use.

use super::*;
use crate::config::{Ipv4Network, LanConfig, MachineConfig, UnknownMachinePolicy};
use crate::dhcp::desk::{ClusterNodeAddresses, DhcpNodeAddresses, DhcpServer};
use crate::dhcp::pool::{AddressClaimResult, AddressKnowledge, ClientRequestState, Holder};
use crate::journal::LeaseJournal;
use crate::site::{HeldPart, NodeLeaseStatus};
use lab::ScratchDirectory;
use std::net::{IpAddr, Ipv4Addr};

const SQUATTER: Mac = Mac([2, 0, 0, 0, 9, 9]);
const RANGED: Mac = Mac([2, 0, 0, 0, 0, 7]);

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 20, 0, last)
}

fn mac(number: u8) -> Mac {
    Mac([2, 0, 0, 0, 1, number])
}

/// Creates a network with four addresses, one of which the router has. This node holds the first
/// part of the range.
fn site(scratch: &ScratchDirectory, machines: &[Mac], parts: u32) -> NetworkState {
    let machine = |mac: &Mac| {
        let machine = MachineConfig {
            name: mac.to_string(),
            address: None,
            image: "disk".to_owned(),
            once: false,
            power: None,
        };
        (*mac, machine)
    };
    let mut lan = LanConfig {
        gives: AddressSource::Range {
            first: ip(100),
            last: ip(103),
        },
        machines: machines.iter().map(machine).collect(),
        unknown: UnknownMachinePolicy::Menu,
        ..LanConfig::plain("br0")
    };
    lan.tells.gateway = Some(ip(100));
    let mut site = NetworkState::new("lan", lan, parts);
    let held = HeldPart {
        has_all_leases: true,
        until_ms: u64::MAX,
        ..HeldPart::default()
    };
    let standing = NodeLeaseStatus {
        held: [(0, held)].into(),
        ..NodeLeaseStatus::default()
    };
    site.apply_node_status("", standing, 0);
    site.keep_in(Ok(LeaseJournal::open(scratch.path(), "lan").unwrap()), 0);
    let here = DhcpNodeAddresses {
        address: ip(2),
        network: Ipv4Network::of(ip(0), 24),
        nodes: ClusterNodeAddresses::default(),
    };
    site.set_node_address(Some(here), 0);
    site
}

/// Returns the reason of the response to a machine that sends a DHCPDISCOVER, and the offered
/// address.
fn discovers(site: &mut NetworkState, mac: Mac) -> (String, Option<Ipv4Addr>) {
    let mut packet = vec![1, 1, 6, 0];
    packet.resize(28, 0);
    packet.extend(mac.0);
    packet.resize(236, 0);
    packet.extend([99, 130, 83, 99, 53, 1, 1, 255]);
    let (_, decision) = site.decide(&packet, false, 0).unwrap();
    let address = decision.answer.and_then(|answer| answer.address?.address);
    (decision.why, address)
}

/// Lets another host reply to ARP requests for each address that new machines are offered.
fn squat(site: &mut NetworkState) {
    for number in 0..9 {
        if let (_, Some(address)) = discovers(site, mac(number)) {
            assert!(site.in_use(address, SQUATTER, 0));
        }
    }
}

#[test]
fn addresses_that_others_use_are_the_reason_and_are_counted() {
    let scratch = ScratchDirectory::new().unwrap();
    let mut site = site(&scratch, &[], 1);
    let shown = site.subject(&ServerStatus::default());
    assert_eq!(shown.state.word, "answers");
    assert_eq!(
        (shown.value("addresses"), shown.value("free")),
        (Some(3), Some(3))
    );
    assert_eq!(shown.value("range6 free"), None);
    squat(&mut site);
    let (why, address) = discovers(&mut site, mac(20));
    let words = "this node has no free address of range: 3 in use by others";
    assert_eq!((&*why, address), (words, None));
    let shown = site.subject(&ServerStatus::default());
    assert_eq!(shown.state.word, "trouble");
    let words = "no address of range is free here for new machines: 3 in use by others";
    assert_eq!(shown.why, words);
    assert_eq!(shown.value("in use by others"), Some(3));
}

#[test]
fn what_is_kept_for_machines_of_the_file_is_not_the_only_reason() {
    let scratch = ScratchDirectory::new().unwrap();
    let mut site = site(&scratch, &[RANGED], 1);
    squat(&mut site);
    let (why, address) = discovers(&mut site, mac(20));
    let words = "what is free of range here is for machines of the file: 2 in use by others";
    assert_eq!((&*why, address), (words, None));
    assert_eq!(site.subject(&ServerStatus::default()).state.word, "trouble");
    assert!(discovers(&mut site, RANGED).1.is_some());
}

#[test]
fn a_node_of_two_without_free_addresses_is_in_trouble_only_where_others_use_them() {
    let scratch = ScratchDirectory::new().unwrap();
    let mut site = site(&scratch, &[], 2);
    let (_, address) = discovers(&mut site, mac(1));
    assert!(address.is_some());
    // The other node may have free addresses.
    assert_eq!(site.subject(&ServerStatus::default()).state.word, "answers");
    assert!(site.in_use(address.unwrap(), SQUATTER, 0));
    let shown = site.subject(&ServerStatus::default());
    assert_eq!(shown.state.word, "trouble", "{:?}", shown.numbers);
}

#[test]
fn what_is_withheld_is_said_also_where_another_address_is_free() {
    let scratch = ScratchDirectory::new().unwrap();
    let mut site = site(&scratch, &[], 1);
    assert!(!format!("{:?}", site.subject(&ServerStatus::default())).contains("withheld here"));
    let pool = site.desk.as_mut().and_then(DhcpServer::pool).unwrap();
    pool.give_up(0);
    let withheld = |address| {
        if address == ip(101) {
            AddressKnowledge::Unclear
        } else {
            AddressKnowledge::Known
        }
    };
    pool.take_as(0, 0, withheld);
    let shown = site.subject(&ServerStatus::default());
    assert_eq!(
        (shown.value("withheld"), shown.value("free")),
        (Some(1), Some(2))
    );
    let words = "1, which only their users get for up to";
    assert!(format!("{shown:?}").contains(words), "{shown:?}");
}

#[test]
fn file_of_another_version_is_named_in_status() {
    let scratch = ScratchDirectory::new().unwrap();
    let path = scratch.path().join("lan.leases");
    // A newer version writes files of a format that this one cannot read.
    let note = record::JournalEntry::<IpAddr, Holder, String>::Note("newer".to_owned());
    let newer = record::Journal::new(7).replace([note]);
    std::fs::write(&path, &newer).unwrap();
    let mut site = site(&scratch, &[], 1);
    let pool = site.desk.as_mut().and_then(DhcpServer::pool).unwrap();
    pool.give_up(0);
    pool.take(0, false, part::report::Moment::now().boottime_ms);
    let why = site.subject(&ServerStatus::default()).why;
    let words = "another node may have given 3, which only their users get for up to 722 minutes (lan.leases was written \
                 by another version of Evenkeel, and this one cannot read it)";
    assert!(why.ends_with(words), "{why}");
    let kept = std::fs::read(path.with_extension("damaged")).unwrap();
    assert_eq!(kept, newer);
}

#[test]
fn address_of_this_host_or_another_node_is_nobodys_from_the_moment_it_appears() {
    let scratch = ScratchDirectory::new().unwrap();
    let mut site = site(&scratch, &[], 1);
    let pool = site.desk.as_mut().and_then(DhcpServer::pool).unwrap();
    pool.claim(mac(1), ip(101), ClientRequestState::Selecting, 0);
    site.store();
    let lease = |site: &mut NetworkState, last| {
        let pool = site.desk.as_mut().and_then(DhcpServer::pool).unwrap();
        pool.claim(mac(1), ip(last), ClientRequestState::Renew, 1)
    };
    assert_eq!(lease(&mut site, 101), AddressClaimResult::Yes);
    site.set_host([ip(2).into(), ip(101).into()].into(), 1);
    assert_eq!(lease(&mut site, 101), AddressClaimResult::No);
    assert_eq!(site.own_of_host(9), [IpAddr::V4(ip(101))]);
    // The node fails, and may return with its addresses.
    site.set_host([ip(2).into()].into(), 2);
    assert_eq!(lease(&mut site, 101), AddressClaimResult::Yes);
    let nodes = ClusterNodeAddresses {
        gone: vec![ip(102)],
        own: vec![ip(103).into()],
        ..ClusterNodeAddresses::default()
    };
    let standing = NodeLeaseStatus {
        held: site.parts.standing.held.clone(),
        nodes,
        ..NodeLeaseStatus::default()
    };
    site.apply_node_status("", standing, 3);
    for last in [102, 103] {
        assert_eq!(lease(&mut site, last), AddressClaimResult::No, "{last}");
    }
}
