//! Tests the response to each kind of client in each state of its address, with the reason.

use super::super::samples::UUID;
use super::*;
use crate::config::{Image, Ipv6Network, MachineConfig, UnknownMachinePolicy};
use crate::dhcp::range::Range;
use std::collections::HashSet;

/// Configured machine with a fixed address.
const FIXED: Mac = Mac([2, 0, 0, 0, 0, 1]);
const RANGED: Mac = Mac([2, 0, 0, 0, 0, 2]);
const STRANGER: Mac = Mac([2, 0, 0, 0, 0, 3]);
const HOUR_MS: u64 = 3_600_000;

fn ip(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, last)
}

fn here() -> Dhcpv6ServerIdentity {
    Dhcpv6ServerIdentity::new(ip(2), Mac([0x52, 0x54, 0, 0, 0, 2]))
}

/// Builds the server logic of a node that has the first of `parts` pool parts of the range.
fn desk(unknown: UnknownMachinePolicy, parts: u32) -> Dhcpv6Server {
    let mut lan = LanConfig::plain("br0");
    let kernel = Image::Kernel {
        kernel: "/srv/kernel".into(),
        initrd: Vec::new(),
        append: String::new(),
        nbd: None,
    };
    lan.images.insert("rescue".to_owned(), kernel);
    lan.unknown = unknown;
    for (mac, name) in [(FIXED, "fixed"), (RANGED, "ranged")] {
        let machine = MachineConfig {
            name: name.to_owned(),
            address: None,
            image: "rescue".to_owned(),
            once: false,
            power: None,
        };
        lan.machines.insert(mac, machine);
    }
    let six = Ipv6Config {
        network: Ipv6Network::of(ip(0), 64),
        range: Some((ip(0x100), ip(0x109))),
        lease_s: 3_600,
        machines: [(FIXED, ip(0x107))].into(),
        dns: Vec::new(),
    };
    let range = Range {
        first: ip(0x100),
        last: ip(0x109),
        parts,
    };
    let mut pool = Pool::new(range, 3_600, 0, HashSet::from([ip(0x107)]), [], 0);
    pool.take(0, true, 0);
    Dhcpv6Server::new(lan, six, here(), Some(pool))
}

fn request(kind: Dhcpv6MessageType, mac: Mac, addresses: &[u16]) -> Request {
    let needs_server = matches!(
        kind,
        Dhcpv6MessageType::Request
            | Dhcpv6MessageType::Renew
            | Dhcpv6MessageType::Release
            | Dhcpv6MessageType::Decline
    );
    let association = Association {
        id: [0, 0, 0, 7],
        addresses: addresses.iter().map(|last| ip(*last)).collect(),
    };
    Request {
        kind,
        xid: [1, 2, 3],
        mac,
        stage: BootStage::System,
        architecture: None,
        client: UUID.to_vec(),
        server: needs_server.then(|| here().duid),
        associations: vec![association],
        is_rapid: false,
        wants: Vec::new(),
        enterprise: [0, 0, 1, 0x57],
        hops: Vec::new(),
    }
}

/// A message, its sender, and the addresses in it.
type Asks<'a> = (Dhcpv6MessageType, Mac, &'a [u16]);

fn shown(decision: &Dhcpv6Decision) -> String {
    let Some(answer) = &decision.answer else {
        return format!("-: {}", decision.why);
    };
    let mut text = answer.verdict.word().to_owned();
    if let Some(status) = answer.status {
        text.push_str(&format!(" {}", status.word()));
    }
    for grant in &answer.grants {
        let address = grant.address.map(|address| address.to_string());
        let status = grant.status.map(|status| status.word().to_owned());
        let words = address.or(status).unwrap_or_else(|| "nothing".to_owned());
        text.push_str(&format!(
            " [{words}{}]",
            " and an end".repeat(grant.ended.len())
        ));
    }
    let lease = if decision.is_lease { ", a lease" } else { "" };
    format!("{text}{lease}: {}", decision.why)
}

#[test]
fn each_message_is_answered_with_its_reason() {
    let table: &[(&str, &[Asks<'_>])] = &[
        (
            "an address of its own",
            &[
                (Dhcpv6MessageType::Solicit, FIXED, &[]),
                (Dhcpv6MessageType::Request, FIXED, &[0x107]),
                (Dhcpv6MessageType::Renew, FIXED, &[0x107]),
                (Dhcpv6MessageType::Request, FIXED, &[0x105]),
                (Dhcpv6MessageType::Renew, FIXED, &[0x105]),
                (Dhcpv6MessageType::Decline, FIXED, &[0x107]),
                (Dhcpv6MessageType::Release, FIXED, &[0x107]),
            ],
        ),
        (
            "an address of the range",
            &[
                (Dhcpv6MessageType::Solicit, RANGED, &[0x103]),
                (Dhcpv6MessageType::Request, RANGED, &[0x103]),
                (Dhcpv6MessageType::Solicit, STRANGER, &[0x103]),
                (Dhcpv6MessageType::Request, STRANGER, &[0x103]),
                (Dhcpv6MessageType::Renew, STRANGER, &[0x103]),
                (Dhcpv6MessageType::Rebind, STRANGER, &[0x103]),
                (Dhcpv6MessageType::Renew, RANGED, &[0x103]),
                (Dhcpv6MessageType::Rebind, RANGED, &[0x103]),
                (Dhcpv6MessageType::Confirm, RANGED, &[0x103]),
                (Dhcpv6MessageType::Release, STRANGER, &[0x103]),
                (Dhcpv6MessageType::Release, RANGED, &[0x103]),
                (Dhcpv6MessageType::Decline, RANGED, &[0x103]),
            ],
        ),
        (
            "an address that it does not name",
            &[
                (Dhcpv6MessageType::Request, RANGED, &[]),
                (Dhcpv6MessageType::Renew, RANGED, &[]),
                (Dhcpv6MessageType::Confirm, RANGED, &[]),
            ],
        ),
        (
            "an address that is not for it",
            &[
                (Dhcpv6MessageType::Request, RANGED, &[0x107]),
                (Dhcpv6MessageType::Renew, RANGED, &[0x107]),
                (Dhcpv6MessageType::Request, RANGED, &[0x200]),
            ],
        ),
        (
            "after a restart of the node",
            &[
                (Dhcpv6MessageType::Renew, RANGED, &[0x104]),
                (Dhcpv6MessageType::Solicit, RANGED, &[]),
            ],
        ),
    ];
    let mut text = String::new();
    for (name, steps) in table {
        text.push_str(&format!("{name}\n"));
        let mut desk = desk(UnknownMachinePolicy::Menu, 1);
        for (kind, mac, addresses) in *steps {
            let decision = desk.decide(&request(*kind, *mac, addresses), 0);
            text.push_str(&format!(
                "  {} {mac} {addresses:x?} -> {}\n",
                kind.word(),
                shown(&decision)
            ));
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn other_networks_other_servers_and_strangers_are_told_apart() {
    let mut desk = desk(UnknownMachinePolicy::Menu, 1);
    let mut far = request(Dhcpv6MessageType::Confirm, RANGED, &[0x103]);
    far.associations[0]
        .addresses
        .push("fd00:21::1".parse().unwrap());
    assert_eq!(
        shown(&desk.decide(&far, 0)),
        "REPLY NotOnLink: fd00:21::1 is not of this network"
    );
    far.kind = Dhcpv6MessageType::Request;
    far.associations[0].addresses.remove(0);
    let told = shown(&desk.decide(&far, 0));
    assert!(told.starts_with("REPLY [NotOnLink]: "), "{told}");
    // The offer is free again when the client accepts that of another server.
    desk.decide(&request(Dhcpv6MessageType::Solicit, RANGED, &[0x103]), 0);
    let mut other = request(Dhcpv6MessageType::Request, RANGED, &[0x103]);
    other.server = Some(vec![9; 10]);
    assert_eq!(
        shown(&desk.decide(&other, 0)),
        "-: it is for another server"
    );
    assert_eq!(desk.pool().unwrap().of(RANGED), None);
    let mut quiet = self::desk(UnknownMachinePolicy::Ignore, 1);
    let told = shown(&quiet.decide(&request(Dhcpv6MessageType::Solicit, STRANGER, &[]), 0));
    assert!(told.starts_with("-: the file does not name"), "{told}");
}

#[test]
fn a_machine_has_one_address_whatever_it_asks_for() {
    let mut desk = desk(UnknownMachinePolicy::Menu, 1);
    let mut many = request(Dhcpv6MessageType::Request, RANGED, &[0x103, 0x104]);
    many.associations.push(Association {
        id: [0, 0, 0, 8],
        addresses: vec![ip(0x105)],
    });
    let told = shown(&desk.decide(&many, 0));
    assert!(
        told.starts_with("REPLY [fd00:20::103] [NoAddrsAvail], a lease"),
        "{told}"
    );
    many.kind = Dhcpv6MessageType::Renew;
    let told = shown(&desk.decide(&many, 0));
    assert!(
        told.starts_with("REPLY [fd00:20::103 and an end] [nothing and an end], a lease"),
        "{told}"
    );
}

#[test]
fn two_messages_are_enough_where_no_other_node_could_give_another_address() {
    for (mac, parts, expected) in [
        (RANGED, 1, "REPLY [fd00:20::103], a lease"),
        (RANGED, 2, "ADVERTISE [fd00:20::103]"),
        (FIXED, 2, "REPLY [fd00:20::107], a lease"),
    ] {
        let mut desk = desk(UnknownMachinePolicy::Menu, parts);
        let mut rapid = request(Dhcpv6MessageType::Solicit, mac, &[0x103]);
        rapid.is_rapid = true;
        let decision = desk.decide(&rapid, 0);
        assert!(shown(&decision).starts_with(expected), "{decision:?}");
        let is_rapid = decision.answer.is_some_and(|answer| answer.is_rapid);
        assert_eq!(is_rapid, expected.starts_with("REPLY"));
    }
}

#[test]
fn an_address_of_the_part_of_another_node_is_that_nodes() {
    let mut desk = desk(UnknownMachinePolicy::Menu, 2);
    for kind in [Dhcpv6MessageType::Renew, Dhcpv6MessageType::Rebind] {
        let decision = desk.decide(&request(kind, RANGED, &[0x108]), 0);
        assert!(shown(&decision).starts_with("-: fd00:20::108 is of the other node"));
    }
    // The other node has failed, and its leases are unknown here: only a client that is known to
    // have the address gets it.
    desk.pool().unwrap().take(1, false, 0);
    let asked = desk.decide(&request(Dhcpv6MessageType::Request, STRANGER, &[0x108]), 0);
    assert!(
        shown(&asked).starts_with("REPLY [NoAddrsAvail]"),
        "{asked:?}"
    );
    let kept = desk.decide(&request(Dhcpv6MessageType::Rebind, RANGED, &[0x108]), 0);
    assert!(
        shown(&kept).starts_with("-: the other node may have given fd00:20::108"),
        "{kept:?}"
    );
    let later = desk.decide(
        &request(Dhcpv6MessageType::Request, STRANGER, &[0x109]),
        2 * HOUR_MS,
    );
    assert!(
        shown(&later).starts_with("REPLY [fd00:20::109], a lease"),
        "{later:?}"
    );
}

#[test]
fn a_withheld_address_is_for_the_client_that_had_it_from_this_node() {
    let mut desk = desk(UnknownMachinePolicy::Menu, 1);
    let asks = |desk: &mut Dhcpv6Server, kind, mac| {
        let decision = desk.decide(&request(kind, mac, &[0x103]), 0);
        decision.is_lease
    };
    assert!(asks(&mut desk, Dhcpv6MessageType::Request, RANGED));
    let pool = desk.pool().unwrap();
    pool.give_up(0);
    pool.take(0, false, 0);
    for kind in [Dhcpv6MessageType::Renew, Dhcpv6MessageType::Rebind] {
        assert!(!asks(&mut desk, kind, STRANGER));
    }
    assert!(asks(&mut desk, Dhcpv6MessageType::Rebind, RANGED));
}

#[test]
fn each_stage_of_a_machine_gets_its_file_at_the_address_of_the_node() {
    let mut desk = desk(UnknownMachinePolicy::Menu, 1);
    let mut file = |stage, architecture, mac| {
        let mut asks = request(Dhcpv6MessageType::Solicit, mac, &[]);
        (asks.stage, asks.architecture) = (stage, architecture);
        let decision = desk.decide(&asks, 0);
        decision.answer.and_then(|answer| answer.file)
    };
    assert_eq!(
        [
            file(BootStage::Firmware, Some(7), FIXED),
            file(BootStage::HttpFirmware, Some(16), FIXED),
            file(BootStage::Ipxe, Some(7), FIXED),
            file(BootStage::System, None, FIXED),
            file(BootStage::Firmware, Some(11), FIXED),
        ],
        [
            Some("tftp://[fd00:20::2]/snponly.efi".to_owned()),
            Some("http://[fd00:20::2]:7447/snponly.efi".to_owned()),
            Some("http://[fd00:20::2]:7447/boot/02-00-00-00-00-01.ipxe".to_owned()),
            None,
            None,
        ]
    );
    let information = Request {
        associations: Vec::new(),
        stage: BootStage::Ipxe,
        ..request(Dhcpv6MessageType::Information, FIXED, &[])
    };
    let decision = desk.decide(&information, 0);
    assert!(decision.answer.unwrap().file.is_some() && !decision.is_lease);
}

#[test]
fn what_only_the_leader_decides_no_other_node_says() {
    let mut desk = desk(UnknownMachinePolicy::Menu, 1);
    let leader = Leader {
        name: "alpha".to_owned(),
        orders: HashSet::from([crate::mac::mark(FIXED)]),
    };
    desk.set_turns(SingleBootProgress::default(), Some(leader));
    let mut asks = request(Dhcpv6MessageType::Solicit, FIXED, &[]);
    asks.stage = BootStage::Ipxe;
    let told = shown(&desk.decide(&asks, 0));
    assert_eq!(told, "-: it boots something once, which node alpha decides");
}

#[test]
fn client_without_a_record_gets_no_lease_by_renew_rebind_or_confirm() {
    for (kind, expected) in [
        (Dhcpv6MessageType::Renew, "REPLY [nothing and an end]"),
        (Dhcpv6MessageType::Rebind, "-"),
        // Confirm checks only the link (RFC 8415, 18.3.3).
        (Dhcpv6MessageType::Confirm, "REPLY Success"),
    ] {
        let mut desk = desk(UnknownMachinePolicy::Menu, 1);
        let decision = desk.decide(&request(kind, STRANGER, &[0x103]), 0);
        assert!(
            !decision.is_lease && desk.leased(STRANGER).is_none(),
            "{kind:?}"
        );
        let shown = shown(&decision);
        let (words, _) = shown.split_once(": ").unwrap();
        assert_eq!(words.to_lowercase(), expected.to_lowercase(), "{shown}");
    }
    // A Request without a Solicit is treated like one after it (RFC 8415, 18.3.2).
    let mut desk = desk(UnknownMachinePolicy::Menu, 1);
    let decision = desk.decide(&request(Dhcpv6MessageType::Request, STRANGER, &[0x103]), 0);
    assert_eq!(desk.leased(STRANGER), Some(ip(0x103)), "{decision:?}");
}

#[test]
fn address_of_a_node_or_another_machine_is_given_and_confirmed_to_nobody() {
    let kinds = [
        Dhcpv6MessageType::Solicit,
        Dhcpv6MessageType::Request,
        Dhcpv6MessageType::Renew,
        Dhcpv6MessageType::Rebind,
        Dhcpv6MessageType::Confirm,
    ];
    for is_rapid in [false, true] {
        for kind in kinds {
            for mac in [STRANGER, RANGED, FIXED] {
                let mut desk = desk(UnknownMachinePolicy::Menu, 1);
                // 0x107 is the address of FIXED in the file, too.
                desk.set_of_nodes([ip(0x107)].into());
                desk.pool().unwrap().claim(
                    Mac([2, 0, 0, 0, 0, 9]),
                    ip(0x101),
                    ClientRequestState::Selecting,
                    0,
                );
                for last in [0x107, 0x101] {
                    let mut request = request(kind, mac, &[last]);
                    request.is_rapid = is_rapid;
                    let decision = desk.decide(&request, 0);
                    let answer = decision.answer.as_ref();
                    let grants = answer.map_or(&[][..], |answer| &answer.grants);
                    let given = grants.iter().any(|grant| grant.address == Some(ip(last)));
                    assert!(!given, "{kind:?} by {mac}: {decision:?}");
                    let status = answer.and_then(|answer| answer.status);
                    if kind == Dhcpv6MessageType::Confirm {
                        assert_eq!(status, Some(Dhcpv6StatusCode::NotOnLink), "{decision:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn lease_of_an_address_that_others_have_now_ends_at_its_renewal() {
    let desk_after = |leases: &[(u16, Mac)], of_nodes: &[u16]| {
        let old = desk(UnknownMachinePolicy::Menu, 1);
        let of_nodes: HashSet<Ipv6Addr> = of_nodes.iter().map(|one| ip(*one)).collect();
        let reserved = of_nodes.iter().copied().chain([ip(0x107)]).collect();
        let range = Range {
            first: ip(0x100),
            last: ip(0x109),
            parts: 1,
        };
        let known = leases
            .iter()
            .map(|(one, mac)| (ip(*one), crate::dhcp::pool::Holder::Client(*mac)));
        let mut pool = Pool::new(range, 3_600, 0, reserved, known, 0);
        pool.take(0, true, 0);
        let mut desk = Dhcpv6Server::new(old.lan, old.six, here(), Some(pool));
        desk.set_of_nodes(of_nodes);
        desk
    };
    let shown = |desk: &mut Dhcpv6Server, kind, mac, addresses: &[u16], now_ms| {
        let decision = desk.decide(&request(kind, mac, addresses), now_ms);
        let words = shown(&decision);
        words
            .split_once(": ")
            .map(|(words, _)| words.to_owned())
            .unwrap()
    };
    for kind in [Dhcpv6MessageType::Renew, Dhcpv6MessageType::Rebind] {
        let mut desk = desk_after(&[(0x105, STRANGER)], &[0x105]);
        assert_eq!(
            shown(&mut desk, kind, STRANGER, &[0x105], 0),
            "REPLY [nothing and an end]"
        );
        assert!(
            !shown(&mut desk, Dhcpv6MessageType::Solicit, STRANGER, &[0x105], 0)
                .contains("fd00:20::105")
        );
    }
    // A machine gets its own address when the lease of another client has ended.
    let mut desk = desk_after(&[(0x107, STRANGER)], &[]);
    let own = "ADVERTISE [fd00:20::107]";
    let first = shown(&mut desk, Dhcpv6MessageType::Solicit, FIXED, &[0x107], 0);
    assert!(
        first.starts_with("ADVERTISE [fd00:20::10") && first != own,
        "{first}"
    );
    assert_eq!(
        shown(&mut desk, Dhcpv6MessageType::Renew, STRANGER, &[0x107], 1),
        "REPLY [nothing and an end]"
    );
    assert_eq!(
        shown(&mut desk, Dhcpv6MessageType::Solicit, FIXED, &[], 60_002),
        own
    );
}
