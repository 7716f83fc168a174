//! Tests a network over IPv6: which packets belong to it, and that a lease is on disk before a
//! machine gets its response.

use super::*;
use crate::config::{Ipv6Config as Config, LanConfig, UnknownMachinePolicy};
use crate::dhcp6::option::put;
use crate::site::NodeLeaseStatus;

const CARD: Mac = Mac([2, 0, 0, 0, 0, 7]);

fn ip(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, last)
}

fn site() -> NetworkState {
    let lan = LanConfig {
        unknown: UnknownMachinePolicy::Menu,
        six: Some(Config {
            network: Ipv6Network::of(ip(0), 64),
            range: Some((ip(0x100), ip(0x101))),
            lease_s: 3_600,
            machines: BTreeMap::new(),
            dns: Vec::new(),
        }),
        ..LanConfig::plain("br0")
    };
    let mut site = NetworkState::new("lan", lan, 1);
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
    site
}

fn here(site: &mut NetworkState, last: Ipv6Addr) {
    let card = Mac([2, 0, 0, 0, 0, 2]);
    site.set_node_address6(Some(Dhcpv6ServerIdentity::new(last, card)), 0);
}

/// Builds a SOLICIT, and a REQUEST for an address.
fn packet(kind: u8, address: Option<Ipv6Addr>) -> Vec<u8> {
    let mut bytes = vec![kind, 1, 2, 3];
    put(&mut bytes, 1, &[0, 4, 7, 7]);
    if kind == 3 {
        put(&mut bytes, 2, &[0, 3, 0, 1, 2, 0, 0, 0, 0, 2]);
    }
    let mut data = vec![0; 12];
    if let Some(address) = address {
        let inside = [&address.octets()[..], &[0; 8]].concat();
        put(&mut data, 5, &inside);
    }
    put(&mut bytes, 3, &data);
    bytes
}

fn relayed(link: Ipv6Addr, inner: &[u8]) -> Vec<u8> {
    let mut bytes = vec![12, 0];
    bytes.extend(link.octets());
    bytes.extend([0; 16]);
    put(&mut bytes, 79, &[&[0, 1][..], &CARD.0].concat());
    put(&mut bytes, 9, inner);
    bytes
}

const NEIGHBOUR: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 7);

#[test]
fn only_neighbours_and_relays_of_the_network_are_answered() {
    let mut site = site();
    let solicit = packet(1, None);
    let is_answered = |site: &mut NetworkState, packet: &[u8], from: Ipv6Addr| {
        site.decide6(packet, from, Some(CARD), 0).is_some()
    };
    assert!(
        !is_answered(&mut site, &solicit, NEIGHBOUR),
        "no address yet"
    );
    assert_eq!(site.advertises(), None);
    here(&mut site, ip(2));
    assert_eq!(site.advertises(), Some(Ipv6Network::of(ip(0), 64)));
    assert!(is_answered(&mut site, &solicit, NEIGHBOUR));
    assert!(!is_answered(&mut site, &solicit, ip(9)), "not a neighbour");
    let far: Ipv6Addr = "fd00:21::1".parse().unwrap();
    assert!(is_answered(&mut site, &relayed(ip(1), &solicit), far));
    assert!(!is_answered(&mut site, &relayed(far, &solicit), ip(1)));
    let twice = relayed(Ipv6Addr::UNSPECIFIED, &relayed(ip(1), &solicit));
    assert!(is_answered(&mut site, &twice, far));
    let unsaid = relayed(Ipv6Addr::UNSPECIFIED, &solicit);
    assert!(!is_answered(&mut site, &unsaid, far));
    // A node that serves only machines behind a relay.
    here(&mut site, far);
    assert_eq!(site.advertises(), None);
    assert!(!is_answered(&mut site, &solicit, NEIGHBOUR));
    assert!(is_answered(&mut site, &relayed(ip(1), &solicit), far));
    assert_eq!(site.counts.unreadable, 0);
    assert!(!is_answered(&mut site, &[1, 2], NEIGHBOUR));
    assert_eq!(site.counts.unreadable, 1);
}

#[test]
fn one_machine_is_not_answered_more_often_than_it_may_ask() {
    let mut site = site();
    here(&mut site, ip(2));
    let solicit = packet(1, None);
    let answered = (0..100).filter(|_| {
        let decided = site.decide6(&solicit, NEIGHBOUR, Some(CARD), 0);
        decided.is_some()
    });
    assert_eq!(answered.count(), 40);
    assert_eq!(site.counts.limited, 60);
}

#[test]
fn a_machine_hears_only_of_a_lease_that_is_on_the_disk_and_a_restart_knows_it() {
    let directory = lab::ScratchDirectory::new().unwrap();
    let ask = |site: &mut NetworkState, mac, last| {
        let packet = packet(3, Some(ip(last)));
        let (_, decision) = site.decide6(&packet, NEIGHBOUR, Some(mac), 0).unwrap();
        site.store6();
        (decision.is_lease, site.may_tell6(mac))
    };
    let mut site = site();
    here(&mut site, ip(2));
    assert!(site.needs_journal6());
    assert_eq!(ask(&mut site, CARD, 0x100), (true, false), "no journal");
    site.keep_in6(
        Ok(LeaseJournal::open(directory.path(), "lan@6").unwrap()),
        0,
    );
    assert!(!site.needs_journal6());
    assert_eq!(ask(&mut site, CARD, 0x100), (true, true));
    assert!(site.is_stored6());
    drop(site);
    let mut site = self::site();
    here(&mut site, ip(2));
    site.keep_in6(
        Ok(LeaseJournal::open(directory.path(), "lan@6").unwrap()),
        0,
    );
    let other = Mac([2, 0, 0, 0, 0, 8]);
    assert_eq!(
        ask(&mut site, other, 0x100),
        (false, true),
        "it is another machine's"
    );
    assert_eq!(ask(&mut site, other, 0x101), (true, true));
}

#[test]
fn the_address_of_another_node_is_given_to_nobody() {
    let mut site = site();
    here(&mut site, ip(2));
    let mut standing = NodeLeaseStatus {
        held: site.parts.standing.held.clone(),
        ..NodeLeaseStatus::default()
    };
    standing.nodes.six = vec![ip(0x100)];
    site.apply_node_status("", standing, 0);
    let (_, decision) = site
        .decide6(&packet(1, Some(ip(0x100))), NEIGHBOUR, Some(CARD), 0)
        .unwrap();
    let given = decision.answer.and_then(|answer| answer.grants[0].address);
    assert_eq!(given, Some(ip(0x101)));
}

#[test]
fn the_addresses_of_range6_are_counted() {
    let mut site = site();
    here(&mut site, ip(2));
    let numbers = |site: &mut NetworkState| {
        let shown = site.subject(&crate::site::ServerStatus::default());
        ["addresses", "leased", "free", "withheld"]
            .map(|name| shown.value(&format!("range6 {name}")))
    };
    assert_eq!(numbers(&mut site), [Some(2), Some(0), Some(2), Some(0)]);
    let request = packet(3, Some(ip(0x100)));
    site.decide6(&request, NEIGHBOUR, Some(CARD), 0).unwrap();
    assert_eq!(numbers(&mut site), [Some(2), Some(1), Some(1), Some(0)]);
}
