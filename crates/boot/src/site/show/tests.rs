//! Tests the report of a network whose addresses other hosts use.

use super::*;
use crate::config::{Lan, Machine, Network, Unknown};
use crate::dhcp::desk::{Desk, Here, Nodes};
use crate::dhcp::pool::{Claim, Fate, How};
use crate::journal::Journal;
use crate::site::{Held, Standing};
use lab::Scratch;
use std::net::{IpAddr, Ipv4Addr};

const SQUATTER: Mac = Mac([2, 0, 0, 0, 9, 9]);
const RANGED: Mac = Mac([2, 0, 0, 0, 0, 7]);

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 20, 0, last)
}

fn mac(number: u8) -> Mac {
    Mac([2, 0, 0, 0, 1, number])
}

/// A network with four addresses, of which the router has one. This node holds the first part.
fn site(scratch: &Scratch, machines: &[Mac], parts: u32) -> Site {
    let machine = |mac: &Mac| {
        let machine = Machine {
            name: mac.to_string(),
            address: None,
            image: "disk".to_owned(),
            once: false,
            power: None,
        };
        (*mac, machine)
    };
    let mut lan = Lan {
        gives: Gives::Range {
            first: ip(100),
            last: ip(103),
        },
        machines: machines.iter().map(machine).collect(),
        unknown: Unknown::Menu,
        ..Lan::plain("br0")
    };
    lan.tells.gateway = Some(ip(100));
    let mut site = Site::new("lan", lan, parts);
    let held = Held {
        knows: true,
        until_ms: u64::MAX,
        ..Held::default()
    };
    let standing = Standing {
        held: [(0, held)].into(),
        ..Standing::default()
    };
    site.stand("", standing, 0);
    site.keep_in(Ok(Journal::open(scratch.path(), "lan").unwrap()), 0);
    let here = Here {
        address: ip(2),
        network: Network::of(ip(0), 24),
        nodes: Nodes::default(),
    };
    site.is_here(Some(here), 0);
    site
}

/// Returns the reason of the response to a machine that looks for a server, and the offered
/// address.
fn discovers(site: &mut Site, mac: Mac) -> (String, Option<Ipv4Addr>) {
    let mut packet = vec![1, 1, 6, 0];
    packet.resize(28, 0);
    packet.extend(mac.0);
    packet.resize(236, 0);
    packet.extend([99, 130, 83, 99, 53, 1, 1, 255]);
    let (_, decision) = site.decide(&packet, false, 0).unwrap();
    let address = decision.answer.and_then(|answer| answer.address?.address);
    (decision.why, address)
}

/// Lets another machine respond to ARP for each address that new machines are offered.
fn squat(site: &mut Site) {
    for number in 0..9 {
        if let (_, Some(address)) = discovers(site, mac(number)) {
            assert!(site.in_use(address, SQUATTER, 0));
        }
    }
}

#[test]
fn addresses_that_others_use_are_the_reason_and_are_counted() {
    let scratch = Scratch::new().unwrap();
    let mut site = site(&scratch, &[], 1);
    let shown = site.subject(&Servers::default());
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
    let shown = site.subject(&Servers::default());
    assert_eq!(shown.state.word, "trouble");
    let words = "no address of range is free here for new machines: 3 in use by others";
    assert_eq!(shown.why, words);
    assert_eq!(shown.value("in use by others"), Some(3));
}

#[test]
fn what_is_kept_for_machines_of_the_file_is_not_the_only_reason() {
    let scratch = Scratch::new().unwrap();
    let mut site = site(&scratch, &[RANGED], 1);
    squat(&mut site);
    let (why, address) = discovers(&mut site, mac(20));
    let words = "what is free of range here is for machines of the file: 2 in use by others";
    assert_eq!((&*why, address), (words, None));
    assert_eq!(site.subject(&Servers::default()).state.word, "trouble");
    assert!(discovers(&mut site, RANGED).1.is_some());
}

#[test]
fn a_node_of_two_without_free_addresses_is_in_trouble_only_where_others_use_them() {
    let scratch = Scratch::new().unwrap();
    let mut site = site(&scratch, &[], 2);
    let (_, address) = discovers(&mut site, mac(1));
    assert!(address.is_some());
    // The other node may have free addresses.
    assert_eq!(site.subject(&Servers::default()).state.word, "answers");
    assert!(site.in_use(address.unwrap(), SQUATTER, 0));
    let shown = site.subject(&Servers::default());
    assert_eq!(shown.state.word, "trouble", "{:?}", shown.numbers);
}

#[test]
fn what_is_withheld_is_said_also_where_another_address_is_free() {
    let scratch = Scratch::new().unwrap();
    let mut site = site(&scratch, &[], 1);
    assert!(!format!("{:?}", site.subject(&Servers::default())).contains("withheld here"));
    let pool = site.desk.as_mut().and_then(Desk::pool).unwrap();
    pool.give_up(0);
    let withheld = |address| match address == ip(101) {
        true => Fate::Unclear,
        false => Fate::Known,
    };
    pool.take_as(0, 0, withheld);
    let shown = site.subject(&Servers::default());
    assert_eq!(
        (shown.value("withheld"), shown.value("free")),
        (Some(1), Some(2))
    );
    let words = "1, which only their users get for up to";
    assert!(format!("{shown:?}").contains(words), "{shown:?}");
}

#[test]
fn address_of_this_host_or_another_node_is_nobodys_from_the_moment_it_appears() {
    let scratch = Scratch::new().unwrap();
    let mut site = site(&scratch, &[], 1);
    let pool = site.desk.as_mut().and_then(Desk::pool).unwrap();
    pool.claim(mac(1), ip(101), How::Selecting, 0);
    site.store();
    let lease = |site: &mut Site, last| {
        let pool = site.desk.as_mut().and_then(Desk::pool).unwrap();
        pool.claim(mac(1), ip(last), How::Renew, 1)
    };
    assert_eq!(lease(&mut site, 101), Claim::Yes);
    site.set_host([ip(2).into(), ip(101).into()].into(), 1);
    assert_eq!(lease(&mut site, 101), Claim::No);
    assert_eq!(site.own_of_host(9), [IpAddr::V4(ip(101))]);
    // The node fails, and may return with its addresses.
    site.set_host([ip(2).into()].into(), 2);
    assert_eq!(lease(&mut site, 101), Claim::Yes);
    let nodes = Nodes {
        gone: vec![ip(102)],
        own: vec![ip(103).into()],
        ..Nodes::default()
    };
    let standing = Standing {
        held: site.parts.standing.held.clone(),
        nodes,
        ..Standing::default()
    };
    site.stand("", standing, 3);
    for last in [102, 103] {
        assert_eq!(lease(&mut site, last), Claim::No, "{last}");
    }
}
