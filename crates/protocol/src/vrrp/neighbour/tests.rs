//! Tests ARP and neighbour discovery frames that keepalived 2.2.7 and Linux sent.

use super::*;
use proptest::prelude::*;

const A: Mac = [2, 0, 0, 0, 0, 0x0a];
const B: Mac = [2, 0, 0, 0, 0, 0x0b];

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |c: u8| char::from(c).to_digit(16).expect("a digit") as u8;
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|p| digit(p[0]) << 4 | digit(p[1])).collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// keepalived's announcements: the address, whether the interface forwards, the frame.
const ANNOUNCEMENTS: [(&str, bool, &str); 4] = [
    (
        "10.9.0.100",
        false,
        "ffffffffffff02000000000a0806000108000604000102000000000a0a090064\
         ffffffffffff0a090064",
    ),
    (
        "fd09::100",
        false,
        "33330000000102000000000a86dd6000000000203afffd0900000000000000000000\
         00000100ff0200000000000000000000000000018800588220000000fd0900000000\
         00000000000000000100020102000000000a",
    ),
    (
        "fe80::100",
        false,
        "33330000000102000000000a86dd6000000000203afffe8000000000000000000000\
         00000100ff0200000000000000000000000000018800559420000000fe8000000000\
         00000000000000000100020102000000000a",
    ),
    (
        "fd09::100",
        true,
        "33330000000102000000000a86dd6000000000203afffd0900000000000000000000\
         00000100ff0200000000000000000000000000018800d881a0000000fd0900000000\
         00000000000000000100020102000000000a",
    ),
];

#[test]
fn announcements_are_keepaliveds_byte_by_byte() {
    for (address, router, hex) in ANNOUNCEMENTS {
        assert_eq!(announce(A, ip(address), router), bytes(hex), "{address}");
    }
    // An announcement from an interface with a virtual MAC.
    let hex = "ffffffffffff00005e0001340806000108000604000100005e0001340a090065\
               ffffffffffff0a090065";
    let virtual_mac = [0, 0, 0x5e, 0, 1, 0x34];
    assert_eq!(announce(virtual_mac, ip("10.9.0.101"), true), bytes(hex));
}

#[test]
fn the_form_of_a_reply_differs_in_its_operation_alone() {
    let reply = gratuitous_reply(A, "10.9.0.100".parse().expect("an address"));
    let mut request = announce(A, ip("10.9.0.100"), false);
    request[21] = 2;
    assert_eq!(reply, request);
}

/// Probes that a Linux host answered: the address, the source of the probe, the frame, the reply.
const PROBES: [(&str, Option<&str>, &str, &str, Manner); 4] = [
    (
        "10.9.0.1",
        None,
        "ffffffffffff02000000000b0806000108000604000102000000000b00000000\
         0000000000000a090001",
        "02000000000b02000000000a0806000108000604000202000000000a0a090001\
         02000000000b00000000",
        Manner::Answers,
    ),
    (
        "10.9.0.1",
        Some("10.9.0.2"),
        "ffffffffffff02000000000b0806000108000604000102000000000b0a090002\
         0000000000000a090001",
        "02000000000b02000000000a0806000108000604000202000000000a0a090001\
         02000000000b0a090002",
        Manner::Answers,
    ),
    (
        "fd09::1",
        None,
        "3333ff00000102000000000b86dd6000000000183aff000000000000000000000000\
         00000000ff0200000000000000000001ff00000187007d9c00000000fd0900000000\
         00000000000000000001",
        "33330000000102000000000a86dd6000000000203afffd0900000000000000000000\
         00000001ff02000000000000000000000000000188005a8020000000fd0900000000\
         00000000000000000001020102000000000a",
        Manner::Announces,
    ),
    (
        "fd09::1",
        Some("fd09::2"),
        "3333ff00000102000000000b86dd6000000000203afffd0900000000000000000000\
         00000002ff0200000000000000000001ff00000187007d7c00000000fd0900000000\
         00000000000000000001010102000000000b",
        "02000000000b02000000000a86dd6000000000203afffd0900000000000000000000\
         00000001fd09000000000000000000000000000288001c7860000000fd0900000000\
         00000000000000000001020102000000000a",
        Manner::Answers,
    ),
];

#[test]
fn probes_get_replies_that_are_parsed() {
    for (address, source, hex, answer, manner) in PROBES {
        let address = ip(address);
        assert_eq!(probe(B, address, source.map(ip)), bytes(hex), "{address}");
        let claimed = claim(&bytes(answer)).expect("a claim");
        let (mac, sender) = (A, A);
        let expected = AddressClaim {
            address,
            mac,
            sender,
            manner,
        };
        assert_eq!(claimed, expected);
        assert!(claimed.is_conflict(&[B]) && !claimed.is_conflict(&[B, A]));
    }
}

#[test]
fn probe_contains_the_senders_address() {
    for (_, source, hex, ..) in PROBES {
        let claimed = claim(&bytes(hex)).expect("a claim");
        assert_eq!(claimed.mac, B);
        match source {
            Some(source) => {
                assert_eq!(
                    (claimed.address, claimed.manner),
                    (ip(source), Manner::Uses)
                );
                assert!(claimed.is_conflict(&[A]));
            }
            // A host that only probes for the address does not have it.
            None => {
                assert_eq!(claimed.manner, Manner::Probes);
                assert!(!claimed.is_conflict(&[A]));
            }
        }
    }
}

#[test]
fn source_of_the_other_family_is_ignored() {
    let address = ip("fd09::1");
    assert_eq!(
        probe(B, address, Some(ip("10.9.0.2"))),
        probe(B, address, None)
    );
    let address = ip("10.9.0.1");
    assert_eq!(
        probe(B, address, Some(ip("fd09::2"))),
        probe(B, address, None)
    );
}

#[test]
fn an_announcement_names_its_address_and_mac() {
    for (address, _, hex) in ANNOUNCEMENTS {
        let claimed = claim(&bytes(hex)).expect("a claim");
        assert_eq!((claimed.address, claimed.mac), (ip(address), A));
        assert_eq!(claimed.manner, Manner::Announces);
    }
    let reply = gratuitous_reply(A, "10.9.0.9".parse().expect("an address"));
    assert_eq!(claim(&reply).map(|c| c.manner), Some(Manner::Announces));
}

#[test]
fn padded_minimum_ethernet_frame_is_parsed() {
    for (_, _, hex) in ANNOUNCEMENTS {
        let mut padded = bytes(hex);
        let bare = claim(&padded);
        padded.resize(padded.len() + 18, 0x55);
        assert_eq!(claim(&padded), bare);
    }
}

#[test]
fn proxy_reply_is_distinguished_from_the_host() {
    let mut frame = announce(A, ip("10.9.0.9"), false);
    frame[6..12].copy_from_slice(&B);
    let claimed = claim(&frame).expect("a claim");
    assert_eq!((claimed.mac, claimed.sender), (A, B));
}

/// Decodes the IPv6 advertisement after a change, with a correct checksum.
fn advertisement_with(change: impl FnOnce(&mut Vec<u8>)) -> Option<AddressClaim> {
    let mut frame = announce(A, ip("fd09::100"), false);
    change(&mut frame);
    frame[56..58].fill(0);
    let message = frame[54..].to_vec();
    let at = |place: usize| {
        let octets: [u8; 16] = frame[place..place + 16].try_into().expect("an address");
        IpAddr::from(octets)
    };
    let sum = crate::vrrp::checksum::Sum::default();
    let sum = sum.with_pseudo_header(at(22), at(38), 58, message.len());
    let sum = sum.with(&message).checksum();
    frame[56..58].copy_from_slice(&sum.to_be_bytes());
    claim(&frame)
}

#[test]
fn messages_that_the_rfc_calls_invalid_claim_nothing() {
    assert!(advertisement_with(|_| {}).is_some());
    type Change = fn(&mut Vec<u8>);
    let table: [(&str, Change); 9] = [
        ("it came through a router", |f| f[21] = 254),
        ("a code", |f| f[55] = 1),
        ("the target is a group", |f| f[62] = 0xff),
        ("the target is nobody", |f| f[62..78].fill(0)),
        ("solicited, but to all", |f| f[58] |= 0x40),
        ("an option without a length", |f| f[79] = 0),
        ("an option that does not end", |f| f[79] = 2),
        ("another message", |f| f[54] = 137),
        ("the MAC of a group", |f| f[80] = 0x33),
    ];
    for (what, change) in table {
        assert_eq!(advertisement_with(change), None, "{what}");
    }
    let mut frame = announce(A, ip("fd09::100"), false);
    frame[57] ^= 1;
    assert_eq!(claim(&frame), None, "a wrong checksum");
}

#[test]
fn an_advertisement_without_a_mac_means_its_sender() {
    let claimed = advertisement_with(|f| {
        f.truncate(78);
        f[19] = 24;
    });
    assert_eq!(claimed.map(|c| c.mac), Some(A));
}

#[test]
fn arp_of_other_hardware_or_without_sender_is_ignored() {
    type Change = fn(&mut Vec<u8>);
    let table: [(&str, Change); 5] = [
        ("InfiniBand", |f| f[15] = 32),
        ("another protocol", |f| f[16] = 9),
        ("another length", |f| f[18] = 8),
        ("another operation", |f| f[21] = 3),
        ("a reply from nobody", |f| {
            f[21] = 2;
            f[28..32].fill(0);
        }),
    ];
    for (what, change) in table {
        let mut frame = announce(A, ip("10.9.0.100"), false);
        change(&mut frame);
        assert_eq!(claim(&frame), None, "{what}");
    }
}

proptest! {
    #[test]
    fn no_frame_makes_it_panic(
        which in 0usize..8,
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..6),
        end in 0usize..120,
        noise in proptest::collection::vec(any::<u8>(), 0..120),
    ) {
        let mut frame = match PROBES.get(which) {
            Some((_, _, _, answer, _)) => bytes(answer),
            None => bytes(ANNOUNCEMENTS[which % 4].2),
        };
        for (place, byte) in changes {
            let place = place % frame.len();
            frame[place] = byte;
        }
        frame.truncate(end);
        let _ = claim(&frame);
        let _ = claim(&noise);
        let mut typed = vec![2; 12];
        typed.extend([0x86, 0xdd]);
        typed.extend(noise);
        let _ = claim(&typed);
    }

    #[test]
    fn announcements_and_probes_are_decoded_as_encoded(mac: [u8; 6], v4: [u8; 4], v6: [u8; 16]) {
        let mac = [mac[0] & 0xfe | 2, mac[1], mac[2], mac[3], mac[4], mac[5]];
        for address in [IpAddr::from(v4), IpAddr::from(v6)] {
            if address.is_unspecified() || address.is_multicast() {
                continue;
            }
            let told = claim(&announce(mac, address, true)).map(|c| (c.address, c.mac));
            prop_assert_eq!(told, Some((address, mac)));
            let asked = claim(&probe(mac, address, None));
            prop_assert_eq!(asked.map(|c| c.manner), Some(Manner::Probes));
        }
    }
}
