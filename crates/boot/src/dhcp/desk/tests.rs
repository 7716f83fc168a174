//! Tests the response to each kind of client in each state of its address, with the reason.

use super::super::pool::{AdoptedKnowledge, Holder};
use super::super::range::Range;
use super::super::request::{BootStage, EchoedOptions, RelayRoute, RequestedAddresses};
use super::*;
use crate::config::{ClientParameters, Image, LanPorts, UnknownMachinePolicy};
use std::collections::{BTreeMap, HashSet};

mod first_leases;
mod superseded;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 3);
const GONE: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 4);
const STRANGE: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 9);
const DAY_MS: u64 = 86_400_000;

/// A configured machine with a fixed address, one without, and one that is not configured.
const FIXED: Mac = Mac([2, 0, 0, 0, 0, 1]);
const RANGED: Mac = Mac([2, 0, 0, 0, 0, 2]);
const STRANGER: Mac = Mac([2, 0, 0, 0, 0, 3]);

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 20, 0, last)
}

fn lan(unknown: UnknownMachinePolicy, gives: AddressSource) -> LanConfig {
    let machine = |name: &str, address| MachineConfig {
        name: name.to_owned(),
        address,
        image: "disk".to_owned(),
        once: false,
        power: None,
    };
    LanConfig {
        interface: "br0".to_owned(),
        network: None,
        gives,
        lease_s: 3_600,
        tells: ClientParameters::default(),
        disks: Default::default(),
        images: BTreeMap::from([("disk".to_owned(), Image::Disk)]),
        machines: BTreeMap::from([
            (FIXED, machine("fixed", Some(ip(107)))),
            (RANGED, machine("ranged", None)),
        ]),
        unknown,
        ports: LanPorts::default(),
        leases: "/leases".into(),
        secure_boot: false,
        six: None,
        of_nodes: Default::default(),
        of_others: Default::default(),
        virtual_addresses: Default::default(),
    }
}

const RANGE: AddressSource = AddressSource::Range {
    first: Ipv4Addr::new(10, 20, 0, 100),
    last: Ipv4Addr::new(10, 20, 0, 109),
};

/// Builds a DHCP server that holds the first half of its range.
fn desk(unknown: UnknownMachinePolicy, gives: AddressSource) -> DhcpServer {
    let here = DhcpNodeAddresses {
        address: SERVER,
        network: Ipv4Network::of(SERVER, 24),
        nodes: ClusterNodeAddresses {
            there: vec![OTHER],
            gone: vec![GONE],
            ..ClusterNodeAddresses::default()
        },
    };
    let pool = match gives {
        AddressSource::Range { first, last } => {
            let range = Range {
                first,
                last,
                parts: 2,
            };
            let reserved = HashSet::from([ip(107)]);
            let mut pool = Pool::new(range, 3_600, 0, reserved, [], 0);
            pool.take(0, true, 0);
            Some(pool)
        }
        _ => None,
    };
    DhcpServer::new(lan(unknown, gives), here, pool)
}

fn request(kind: DhcpMessageType, mac: Mac, claims: RequestedAddresses) -> Request {
    Request {
        kind,
        xid: 7,
        mac,
        stage: BootStage::System,
        architecture: None,
        route: RelayRoute {
            broadcast: false,
            relay: None,
            link: None,
            hops: 0,
        },
        claims,
        echo: EchoedOptions::default(),
        host_name: String::new(),
        room: 548,
    }
}

fn claims(uses: Option<u8>, wants: Option<u8>, server: Option<Ipv4Addr>) -> RequestedAddresses {
    RequestedAddresses {
        uses: uses.map(ip),
        wants: wants.map(ip),
        server,
    }
}

const NOTHING: RequestedAddresses = RequestedAddresses {
    uses: None,
    wants: None,
    server: None,
};

fn shown(decision: &DhcpDecision) -> String {
    let answer = decision.answer.as_ref().map_or("-".to_owned(), |answer| {
        let given = answer.address.and_then(|given| given.address);
        let given = given.map_or(String::new(), |address| format!(" {address}"));
        let lease = answer.address.and_then(|given| given.lease_s);
        let lease = lease.map_or(String::new(), |lease| format!(" for {lease} s"));
        format!("{}{given}{lease}", answer.verdict.word())
    });
    let probe = decision
        .probe
        .map_or(String::new(), |address| format!(" [looks for {address}]"));
    let other = decision.other.map_or(String::new(), |address| {
        format!(" [another server: {address}]")
    });
    format!("{answer}{probe}{other}: {}", decision.why)
}

/// Message of a client, in the words of RFC 2131.
fn sayings() -> Vec<(&'static str, DhcpMessageType, RequestedAddresses)> {
    vec![
        ("DISCOVER", DhcpMessageType::Discover, NOTHING),
        (
            "DISCOVER for 103",
            DhcpMessageType::Discover,
            claims(None, Some(103), None),
        ),
        (
            "DISCOVER for the fixed one's",
            DhcpMessageType::Discover,
            claims(None, Some(107), None),
        ),
        (
            "SELECTING 103",
            DhcpMessageType::Request,
            claims(None, Some(103), Some(SERVER)),
        ),
        (
            "SELECTING the fixed one's",
            DhcpMessageType::Request,
            claims(None, Some(107), Some(SERVER)),
        ),
        (
            "SELECTING another node",
            DhcpMessageType::Request,
            claims(None, Some(106), Some(OTHER)),
        ),
        (
            "SELECTING a strange server",
            DhcpMessageType::Request,
            claims(None, Some(50), Some(STRANGE)),
        ),
        (
            "SELECTING nothing",
            DhcpMessageType::Request,
            claims(None, None, Some(SERVER)),
        ),
        (
            "INIT-REBOOT 103",
            DhcpMessageType::Request,
            claims(None, Some(103), None),
        ),
        (
            "INIT-REBOOT another network",
            DhcpMessageType::Request,
            RequestedAddresses {
                wants: Some(Ipv4Addr::new(192, 168, 1, 5)),
                ..NOTHING
            },
        ),
        (
            "INIT-REBOOT the other part",
            DhcpMessageType::Request,
            claims(None, Some(108), None),
        ),
    ]
}

/// Messages of a client with an address.
fn sayings_with_an_address() -> Vec<(&'static str, DhcpMessageType, RequestedAddresses)> {
    vec![
        (
            "RENEW 103",
            DhcpMessageType::Request,
            claims(Some(103), None, None),
        ),
        (
            "RENEW 103, which also wants 104",
            DhcpMessageType::Request,
            claims(Some(103), Some(104), None),
        ),
        (
            "REBIND the other part",
            DhcpMessageType::Request,
            claims(Some(108), None, None),
        ),
        (
            "INFORM",
            DhcpMessageType::Inform,
            claims(Some(50), None, None),
        ),
        (
            "DECLINE 103",
            DhcpMessageType::Decline,
            claims(None, Some(103), Some(SERVER)),
        ),
        (
            "DECLINE to a strange server",
            DhcpMessageType::Decline,
            claims(None, Some(103), Some(STRANGE)),
        ),
        (
            "RELEASE 103",
            DhcpMessageType::Release,
            claims(Some(103), None, Some(SERVER)),
        ),
        (
            "RELEASE to a strange server",
            DhcpMessageType::Release,
            claims(Some(103), None, Some(STRANGE)),
        ),
        ("a REQUEST for nothing", DhcpMessageType::Request, NOTHING),
    ]
}

fn table(unknown: &UnknownMachinePolicy, gives: AddressSource, has_lease: bool) -> String {
    let mut text = String::new();
    for (name, mac) in [("fixed", FIXED), ("ranged", RANGED), ("stranger", STRANGER)] {
        for (saying, kind, what) in sayings().into_iter().chain(sayings_with_an_address()) {
            let mut desk = desk(unknown.clone(), gives);
            if has_lease && let Some(pool) = desk.pool() {
                pool.claim(mac, ip(103), ClientRequestState::Selecting, 0);
            }
            let decision = desk.decide(&request(kind, mac, what), false, 1_000);
            text.push_str(&format!("{name}, {saying} -> {}\n", shown(&decision)));
        }
    }
    text
}

#[test]
fn clients_without_a_lease() {
    insta::assert_snapshot!(table(&UnknownMachinePolicy::Menu, RANGE, false));
}

#[test]
fn clients_with_a_lease_of_103() {
    insta::assert_snapshot!(table(&UnknownMachinePolicy::Menu, RANGE, true));
}

#[test]
fn clients_where_only_machines_of_the_file_get_an_address() {
    insta::assert_snapshot!(table(
        &UnknownMachinePolicy::Menu,
        AddressSource::Fixed,
        false
    ));
}

#[test]
fn clients_beside_another_server() {
    let mut text = table(&UnknownMachinePolicy::Menu, AddressSource::Other, false);
    for stage in [
        BootStage::Firmware,
        BootStage::HttpFirmware,
        BootStage::Ipxe,
    ] {
        for kind in [
            DhcpMessageType::Discover,
            DhcpMessageType::Request,
            DhcpMessageType::Inform,
            DhcpMessageType::Release,
        ] {
            for is_proxy_port in [false, true] {
                let mut desk = desk(UnknownMachinePolicy::Menu, AddressSource::Other);
                let mut request = request(kind, STRANGER, claims(Some(50), None, None));
                request.stage = stage;
                request.architecture = Some(7);
                let decision = desk.decide(&request, is_proxy_port, 1_000);
                let port = if is_proxy_port { 4011 } else { 67 };
                let (kind, stage) = (kind.word(), stage.word());
                text.push_str(&format!(
                    "{kind} by {stage} to {port} -> {}\n",
                    shown(&decision)
                ));
            }
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_machine_that_the_file_does_not_name_gets_what_unknown_says() {
    let mut text = String::new();
    let all = [
        UnknownMachinePolicy::Ignore,
        UnknownMachinePolicy::Menu,
        UnknownMachinePolicy::Image("disk".to_owned()),
        UnknownMachinePolicy::Enlist,
    ];
    for unknown in all {
        for stage in [BootStage::Firmware, BootStage::Ipxe, BootStage::System] {
            let mut desk = desk(unknown.clone(), RANGE);
            let mut request = request(DhcpMessageType::Discover, STRANGER, NOTHING);
            request.stage = stage;
            let decision = desk.decide(&request, false, 0);
            text.push_str(&format!(
                "{unknown:?}, {} -> {}\n",
                stage.word(),
                shown(&decision)
            ));
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn an_address_behind_a_relay_is_not_looked_for() {
    let mut desk = desk(UnknownMachinePolicy::Menu, RANGE);
    let mut request = request(DhcpMessageType::Discover, STRANGER, NOTHING);
    request.route.relay = Some(ip(1));
    let decision = desk.decide(&request, false, 0);
    assert!(decision.answer.is_some() && decision.probe.is_none());
}

#[test]
fn what_a_client_gives_back_is_anothers_after_the_time_of_a_packet() {
    let mut desk = desk(UnknownMachinePolicy::Menu, RANGE);
    let mut says =
        |mac, kind, claims, now| shown(&desk.decide(&request(kind, mac, claims), false, now));
    let wants = claims(None, Some(103), None);
    let selects = claims(None, Some(103), Some(SERVER));
    assert!(says(STRANGER, DhcpMessageType::Discover, wants, 0).starts_with("OFFER 10.20.0.103"));
    assert!(says(STRANGER, DhcpMessageType::Request, selects, 0).starts_with("ACK"));
    says(
        STRANGER,
        DhcpMessageType::Release,
        claims(Some(103), None, Some(SERVER)),
        10,
    );
    assert!(says(RANGED, DhcpMessageType::Request, selects, 59_000).starts_with("NAK"));
    assert!(
        says(RANGED, DhcpMessageType::Discover, wants, 60_011).starts_with("OFFER 10.20.0.103")
    );
    assert!(says(RANGED, DhcpMessageType::Request, selects, 60_011).starts_with("ACK"));
}

#[test]
fn a_flood_of_strangers_takes_no_address_of_a_known_machine() {
    let mut desk = desk(UnknownMachinePolicy::Menu, RANGE);
    for number in 0..100_000_u32 {
        let [a, b, c, d] = number.to_be_bytes();
        let mac = Mac([6, 1, a, b, c, d]);
        let now = u64::from(number) / 50;
        let offer = desk.decide(
            &request(DhcpMessageType::Discover, mac, NOTHING),
            false,
            now,
        );
        if let Some(given) = offer.answer.and_then(|answer| answer.address) {
            let takes = RequestedAddresses {
                wants: given.address,
                server: Some(SERVER),
                ..NOTHING
            };
            desk.decide(&request(DhcpMessageType::Request, mac, takes), false, now);
        }
        let last = 100 + (number % 10) as u8;
        let reboots = claims(None, Some(last), None);
        desk.decide(&request(DhcpMessageType::Request, mac, reboots), false, now);
        let renews = claims(Some(last), None, None);
        desk.decide(&request(DhcpMessageType::Request, mac, renews), false, now);
    }
    let count = desk.pool().unwrap().count();
    assert_eq!(
        (count.free, count.leased),
        (1, 4),
        "one is kept for the ranged machine"
    );
    assert_eq!(count.all, 9);
    let decision = desk.decide(
        &request(DhcpMessageType::Discover, RANGED, NOTHING),
        false,
        2_001,
    );
    let given = decision.answer.unwrap().address.unwrap().address;
    assert!(given.is_some());
    let fixed = desk.decide(
        &request(DhcpMessageType::Discover, FIXED, NOTHING),
        false,
        2_001,
    );
    assert_eq!(
        fixed.answer.unwrap().address.unwrap().address,
        Some(ip(107))
    );
    let stranger = desk.decide(
        &request(DhcpMessageType::Discover, STRANGER, NOTHING),
        false,
        2_001,
    );
    assert_eq!(stranger.answer, None);
}

#[test]
fn a_lease_ends_and_its_address_is_free_again() {
    let mut desk = desk(UnknownMachinePolicy::Menu, RANGE);
    let selects = claims(None, Some(103), Some(SERVER));
    let wants = claims(None, Some(103), None);
    desk.decide(
        &request(DhcpMessageType::Discover, STRANGER, wants),
        false,
        0,
    );
    desk.decide(
        &request(DhcpMessageType::Request, STRANGER, selects),
        false,
        0,
    );
    let pool = desk.pool().unwrap();
    pool.expire(3_600_000);
    assert_eq!(
        pool.of(STRANGER),
        Some(ip(103)),
        "the client's clock may be slow"
    );
    pool.expire(DAY_MS);
    assert_eq!(pool.of(STRANGER), None);
    assert_eq!(pool.count().free, 5);
}

#[test]
fn an_address_for_which_a_card_answers_is_given_to_nobody() {
    let mut desk = desk(UnknownMachinePolicy::Menu, RANGE);
    let given = |desk: &mut DhcpServer, mac, now| {
        let decision = desk.decide(
            &request(DhcpMessageType::Discover, mac, NOTHING),
            false,
            now,
        );
        decision.answer.unwrap().address.unwrap().address.unwrap()
    };
    let first = given(&mut desk, STRANGER, 0);
    assert!(!desk.in_use(first, STRANGER, 1), "its own client answers");
    assert!(desk.in_use(first, FIXED, 1));
    let second = given(&mut desk, STRANGER, 2);
    assert_ne!(first, second);
    let selects = RequestedAddresses {
        wants: Some(second),
        server: Some(SERVER),
        ..NOTHING
    };
    desk.decide(
        &request(DhcpMessageType::Request, STRANGER, selects),
        false,
        3,
    );
    // The ARP reply was late: the client learns of the conflict when it renews.
    assert!(desk.in_use(second, FIXED, 4));
    let renews = RequestedAddresses {
        uses: Some(second),
        ..NOTHING
    };
    let decision = desk.decide(
        &request(DhcpMessageType::Request, STRANGER, renews),
        false,
        5,
    );
    assert_eq!(decision.answer.unwrap().verdict, DhcpReplyType::No);
    // An ARP reply does not end an established lease.
    let third = given(&mut desk, STRANGER, 6);
    let selects = RequestedAddresses {
        wants: Some(third),
        server: Some(SERVER),
        ..NOTHING
    };
    desk.decide(
        &request(DhcpMessageType::Request, STRANGER, selects),
        false,
        7,
    );
    assert!(!desk.in_use(third, FIXED, 120_000));
}

/// Builds a DHCP server of which STRANGER accepts the offer of 104 at once, by a relay or not.
fn taken(relay: Option<Ipv4Addr>) -> DhcpServer {
    let mut desk = desk(UnknownMachinePolicy::Menu, RANGE);
    for (kind, server) in [
        (DhcpMessageType::Discover, None),
        (DhcpMessageType::Request, Some(SERVER)),
    ] {
        let mut asks = request(kind, STRANGER, claims(None, Some(104), server));
        asks.route.relay = relay;
        assert!(desk.decide(&asks, false, 0).answer.is_some());
    }
    assert_eq!(desk.client(ip(104)), Some(STRANGER));
    desk
}

#[test]
fn what_a_card_says_unasked_ends_no_lease_and_takes_no_address() {
    let asks = |desk: &mut DhcpServer, kind, claims, now_ms| {
        desk.decide(&request(kind, STRANGER, claims), false, now_ms);
    };
    // The probe of the offer gets a reply just after the client accepted the offer.
    assert!(taken(None).in_use(ip(104), FIXED, 1_999));
    // Later, no probe is outstanding.
    assert!(!taken(None).in_use(ip(104), FIXED, 2_000));
    // Behind a relay no probe was sent.
    assert!(!taken(Some(ip(1))).in_use(ip(104), FIXED, 1));
    // A client that renews its lease has the address, whatever ARP replies arrive afterwards.
    for claims in [
        claims(Some(104), None, None),
        claims(None, Some(104), None),
        claims(None, Some(104), Some(SERVER)),
    ] {
        let mut desk = taken(None);
        asks(&mut desk, DhcpMessageType::Request, claims, 1);
        assert!(!desk.in_use(ip(104), FIXED, 2), "{claims:?}");
        asks(&mut desk, DhcpMessageType::Discover, NOTHING, 3);
        assert!(!desk.in_use(ip(104), FIXED, 4), "{claims:?}");
        assert_eq!(desk.client(ip(104)), Some(STRANGER));
    }
    // An ARP reply alone assigns neither a free address nor one that is offered without a
    // request.
    let mut desk = desk(UnknownMachinePolicy::Menu, RANGE);
    let free = desk.pool().unwrap().free();
    for last in 100..110 {
        assert!(!desk.in_use(ip(last), FIXED, 0));
    }
    asks(
        &mut desk,
        DhcpMessageType::Discover,
        claims(None, Some(104), None),
        0,
    );
    assert!(!desk.in_use(ip(104), FIXED, 2_000));
    assert_eq!(desk.pool().unwrap().free(), free - 1);
    assert_eq!(desk.pool().unwrap().count().declined, 0);
}

#[test]
fn a_client_that_is_not_believed_gets_rid_of_an_address_that_somebody_answers_for() {
    let mut desk = desk(UnknownMachinePolicy::Menu, RANGE);
    let asks = |desk: &mut DhcpServer, kind, last, now_ms| {
        let asks = request(kind, STRANGER, claims(None, Some(last), Some(SERVER)));
        desk.decide(&asks, false, now_ms).probe
    };
    // The DECLINE is trusted twice.
    for last in [100, 101, 104] {
        asks(&mut desk, DhcpMessageType::Discover, last, 0);
        asks(&mut desk, DhcpMessageType::Request, last, 0);
        asks(&mut desk, DhcpMessageType::Decline, last, 9_000);
    }
    assert_eq!(desk.pool().unwrap().count().declined, 2);
    assert_eq!(desk.client(ip(104)), Some(STRANGER));
    assert!(desk.in_use(ip(104), FIXED, 10_999));
    assert_eq!(desk.client(ip(104)), None);
    // After a renewal, an ARP reply no longer ends the lease.
    let mut desk = taken(None);
    let renews = request(
        DhcpMessageType::Request,
        STRANGER,
        claims(Some(104), None, None),
    );
    desk.decide(&renews, false, 1);
    desk.pool().unwrap().asks(ip(104), 2);
    assert!(!desk.in_use(ip(104), FIXED, 3));
    // Without a renewal, ARP replies count only for a minute after the start of the lease.
    let mut desk = taken(None);
    desk.pool().unwrap().asks(ip(104), 60_000);
    assert!(!desk.in_use(ip(104), FIXED, 60_001));
}

#[test]
fn the_declines_of_both_nodes_are_an_eighth_of_the_range() {
    let range = Range {
        first: ip(0),
        last: ip(255),
        parts: 2,
    };
    let mut pool = Pool::new(range, 3_600, 0, HashSet::new(), [], 0);
    pool.take(0, true, 0);
    assert_eq!(pool.declines_max(), 16);
    pool.take(1, true, 0);
    assert_eq!(pool.declines_max(), 32);
}

#[test]
fn a_machine_that_goes_on_asking_another_node_for_its_own_address_is_answered_in_its_place() {
    let selects = |mac, last, xid| Request {
        xid,
        ..request(
            DhcpMessageType::Request,
            mac,
            claims(None, Some(last), Some(OTHER)),
        )
    };
    let mut desk = desk(UnknownMachinePolicy::Menu, RANGE);
    let mut said = |mac, last, xid| {
        let decision = desk.decide(&selects(mac, last, xid), false, 0);
        (decision.answer.is_some(), decision.speaks_for)
    };
    let silent = (false, None);
    for xid in [1, 2] {
        assert_eq!(said(FIXED, 107, xid), silent);
        assert_eq!(said(FIXED, 107, xid), silent);
    }
    assert_eq!(said(FIXED, 107, 2), (true, Some(OTHER)));
    assert_eq!(said(FIXED, 107, 3), silent, "another exchange");
    // Leases that only the other node knows are reported by that node.
    for _ in 0..5 {
        assert_eq!(said(FIXED, 108, 4), silent);
        assert_eq!(said(RANGED, 103, 5), silent);
        assert_eq!(said(STRANGER, 104, 6), silent);
    }
}

#[test]
fn an_address_that_may_be_anothers_is_for_the_client_that_is_known_to_have_it_or_answers_there() {
    let mut desk = desk(UnknownMachinePolicy::Menu, RANGE);
    let renews = |desk: &mut DhcpServer, mac, last| {
        let request = request(
            DhcpMessageType::Request,
            mac,
            claims(Some(last), None, None),
        );
        let decision = desk.decide(&request, false, 0);
        let waits_for = decision.waits_for(&request);
        let verdict = decision.answer.map(|answer| answer.verdict);
        (verdict, waits_for)
    };
    let (given, waits) = ((Some(DhcpReplyType::Yes), None), |last| {
        (None, Some(ip(last)))
    });
    let pool = desk.pool().unwrap();
    pool.claim(RANGED, ip(103), ClientRequestState::Selecting, 0);
    assert_eq!(renews(&mut desk, RANGED, 103), given);
    let pool = desk.pool().unwrap();
    pool.give_up(0);
    pool.take(0, false, 0);
    pool.take(1, false, 0);
    // RANGED is known to have had the address before; STRANGER only claims that.
    assert_eq!(renews(&mut desk, STRANGER, 103), waits(103));
    desk.in_use(ip(103), STRANGER, 0);
    assert_eq!(renews(&mut desk, STRANGER, 103), waits(103));
    assert_eq!(renews(&mut desk, RANGED, 103), given);
    // No client is known to have had the address.
    assert_eq!(renews(&mut desk, STRANGER, 106), waits(106));
    assert!(!desk.in_use(ip(106), STRANGER, 0));
    assert_eq!(renews(&mut desk, RANGED, 106), waits(106));
    assert_eq!(renews(&mut desk, STRANGER, 106), given);
    // The other node withheld all of the part meanwhile.
    let pool = desk.pool().unwrap();
    pool.give_up(0);
    pool.adopt(
        0,
        [103, 106].map(|last| (ip(last), Holder::Unclear(None))),
        AdoptedKnowledge::default(),
        0,
    );
    pool.take(0, true, 0);
    desk.in_use(ip(103), STRANGER, 0);
    assert_eq!(renews(&mut desk, STRANGER, 103), waits(103));
    assert_eq!(renews(&mut desk, RANGED, 103), given);
    // A relay hides the MAC address of the responder.
    let mut far = request(
        DhcpMessageType::Request,
        STRANGER,
        claims(Some(108), None, None),
    );
    far.route.relay = Some(ip(1));
    let decision = desk.decide(&far, false, 0);
    assert_eq!((&decision.answer, decision.waits_for(&far)), (&None, None));
    // A node that is up reports the owner: an ARP reply proves nothing.
    let pool = desk.pool().unwrap();
    pool.give_up(0);
    pool.take_as(0, 0, |_| crate::dhcp::pool::AddressKnowledge::Before);
    pool.set_known_elsewhere(0, true);
    for _ in 0..2 {
        assert_eq!(renews(&mut desk, STRANGER, 102), (None, None));
        desk.in_use(ip(102), STRANGER, 0);
    }
    desk.pool().unwrap().set_known_elsewhere(0, false);
    assert_eq!(renews(&mut desk, STRANGER, 102), waits(102));
}

#[test]
fn a_client_that_declines_whatever_it_gets_does_not_empty_the_range() {
    let mut desk = desk(UnknownMachinePolicy::Menu, RANGE);
    let free = desk.pool().unwrap().free();
    let mut probed = 0;
    for now_ms in 0..20 {
        if now_ms == 10 {
            // A reload, or a node that starts or fails.
            let (here, pool) = (desk.here().clone(), desk.pool().cloned());
            let next = DhcpServer::new(lan(UnknownMachinePolicy::Menu, RANGE), here, pool);
            desk = next.following(Some(desk));
        }
        let offer = desk.decide(
            &request(DhcpMessageType::Discover, STRANGER, NOTHING),
            false,
            now_ms,
        );
        let given = offer.answer.and_then(|answer| answer.address?.address);
        let Some(address) = given else { continue };
        let claims = RequestedAddresses {
            wants: Some(address),
            server: Some(SERVER),
            uses: None,
        };
        for kind in [DhcpMessageType::Request, DhcpMessageType::Decline] {
            let decision = desk.decide(&request(kind, STRANGER, claims), false, now_ms);
            // The responder at the address is trusted.
            probed +=
                u32::from(kind == DhcpMessageType::Decline && decision.probe == Some(address));
        }
    }
    assert_eq!(desk.pool().unwrap().count().declined, 2);
    assert_eq!(desk.pool().unwrap().free(), free - 3);
    assert_eq!(probed, 20);
}

/// Builds a lease of 104 by the client identifier 1, and returns the result of a DECLINE by
/// another identifier at a time.
fn declined(id: u8, now_ms: u64) -> (DhcpServer, DhcpDecision) {
    let mut desk = desk(UnknownMachinePolicy::Menu, RANGE);
    let mut takes = request(
        DhcpMessageType::Request,
        STRANGER,
        claims(None, Some(104), Some(SERVER)),
    );
    takes.echo.client = vec![1];
    let wants = claims(None, Some(104), None);
    desk.decide(
        &request(DhcpMessageType::Discover, STRANGER, wants),
        false,
        0,
    );
    let given = desk.decide(&takes, false, 0).answer;
    assert_eq!(given.map(|answer| answer.verdict), Some(DhcpReplyType::Yes));
    let decline = Request {
        kind: DhcpMessageType::Decline,
        echo: EchoedOptions {
            client: vec![id],
            ..EchoedOptions::default()
        },
        ..takes
    };
    let decision = desk.decide(&decline, false, now_ms);
    (desk, decision)
}

#[test]
fn a_decline_in_the_name_of_another_client_takes_no_address_that_is_in_use() {
    let minute_ms = 60_000;
    let renews = |desk: &mut DhcpServer, mac, now_ms| {
        let request = request(DhcpMessageType::Request, mac, claims(Some(104), None, None));
        let answer = desk.decide(&request, false, now_ms).answer;
        answer.map(|answer| answer.verdict)
    };
    let of = |desk: &mut DhcpServer| desk.pool().unwrap().of(STRANGER);
    // Another client identifier cannot decline the address.
    let (mut desk, decision) = declined(2, minute_ms);
    assert!(decision.why.contains("option 61"), "{}", decision.why);
    assert_eq!((decision.probe, of(&mut desk)), (None, Some(ip(104))));
    // The client of the lease responds to ARP.
    let (mut desk, decision) = declined(1, minute_ms);
    assert_eq!((decision.probe, of(&mut desk)), (Some(ip(104)), None));
    assert!(desk.is_kept(ip(104), STRANGER) && !desk.in_use(ip(104), STRANGER, minute_ms));
    assert_eq!(of(&mut desk), Some(ip(104)));
    // The client of the lease renews.
    let (mut desk, _) = declined(1, minute_ms);
    assert_eq!(
        renews(&mut desk, RANGED, minute_ms),
        Some(DhcpReplyType::No)
    );
    assert_eq!(
        renews(&mut desk, STRANGER, minute_ms),
        Some(DhcpReplyType::Yes)
    );
    // No host responds: the client may have the address until its lease ends, an hour from the
    // start.
    let (mut desk, _) = declined(1, minute_ms);
    assert_eq!(
        renews(&mut desk, RANGED, 59 * minute_ms),
        Some(DhcpReplyType::No)
    );
    assert_eq!(renews(&mut desk, RANGED, 62 * minute_ms), None);
    assert!(desk.pool().unwrap().is_unused(ip(104)));
    // Another host responds, which may have sent the DECLINE.
    let (mut desk, _) = declined(1, minute_ms);
    assert!(desk.in_use(ip(104), FIXED, minute_ms));
    assert_eq!(
        renews(&mut desk, RANGED, minute_ms),
        Some(DhcpReplyType::No)
    );
    assert_eq!(
        renews(&mut desk, STRANGER, minute_ms),
        Some(DhcpReplyType::Yes)
    );
}

#[test]
fn a_machine_with_a_lease_that_asks_the_node_which_had_its_part_is_answered_in_its_place() {
    let mut desk = desk(UnknownMachinePolicy::Menu, RANGE);
    let asks = |desk: &mut DhcpServer, mac, claims| {
        let decision = desk.decide(
            &request(DhcpMessageType::Request, mac, claims),
            false,
            1_000,
        );
        let verdict = decision.answer.map(|answer| answer.verdict);
        (verdict, decision.speaks_for)
    };
    let silent = (None, None);
    let selects = claims(None, Some(103), Some(OTHER));
    // A client without a lease is not refused: the other node may have assigned the address.
    assert_eq!(
        [0; 4].map(|_| asks(&mut desk, STRANGER, selects)),
        [silent; 4]
    );
    let pool = desk.pool().unwrap();
    pool.claim(RANGED, ip(103), ClientRequestState::Selecting, 0);
    let yes = (Some(DhcpReplyType::Yes), Some(OTHER));
    let all = [0; 4].map(|_| asks(&mut desk, RANGED, selects));
    assert_eq!(all, [silent, silent, yes, yes]);
    // No client is refused here: neither for an address of the other part, nor after the part has
    // moved to the other node.
    let other_part = claims(None, Some(108), Some(OTHER));
    assert_eq!(
        [0; 4].map(|_| asks(&mut desk, RANGED, other_part)),
        [silent; 4]
    );
    desk.pool().unwrap().give_up(0);
    for claims in [
        selects,
        claims(None, Some(103), Some(SERVER)),
        claims(Some(103), None, None),
        claims(None, Some(103), None),
    ] {
        assert_eq!([0; 4].map(|_| asks(&mut desk, RANGED, claims)), [silent; 4]);
    }
}

#[test]
fn what_cannot_be_a_server_of_the_network_is_none() {
    let servers = [
        Ipv4Addr::new(224, 0, 0, 5),
        Ipv4Addr::BROADCAST,
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::new(10, 77, 0, 1),
        ip(255),
    ];
    for server in servers {
        let mut desk = desk(UnknownMachinePolicy::Menu, RANGE);
        let claims = claims(None, Some(50), Some(server));
        let decision = desk.decide(
            &request(DhcpMessageType::Request, STRANGER, claims),
            false,
            0,
        );
        assert_eq!((decision.answer, decision.other), (None, None), "{server}");
    }
}
