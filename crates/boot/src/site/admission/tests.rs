//! Tests the responses of a node whose version no majority has confirmed, and of a removed
//! member.

use super::super::{NetworkContentSource, SharedNetworkState};
use super::*;
use crate::config::{
    Ipv4Network, Ipv6Config, Ipv6Network, LanConfig, MachineConfig, UnknownMachinePolicy,
};
use crate::content::{ContentSource, FetchClient, FetchProtocol};
use crate::dhcp::desk::{ClusterNodeAddresses, DhcpDecision, DhcpNodeAddresses};
use crate::dhcp::reply::DhcpReplyType;
use crate::dhcp6::desk::Dhcpv6ServerIdentity as Here6;
use crate::dhcp6::option::put;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const CARD: Mac = Mac([2, 0, 0, 0, 0, 7]);
const DISCOVER: u8 = 1;
const REQUEST: u8 = 3;

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn ip6(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, last)
}

/// Creates a node at 10.0.0.2 whose version of the configuration gives 10.0.0.50 to the machine.
fn site(admission: Admission) -> NetworkState {
    let machine = MachineConfig {
        name: "node7".to_owned(),
        address: Some(ip(50)),
        image: "disk".to_owned(),
        once: false,
        power: None,
    };
    let lan = LanConfig {
        machines: [(CARD, machine)].into(),
        unknown: UnknownMachinePolicy::Menu,
        six: Some(Ipv6Config {
            network: Ipv6Network::of(ip6(0), 64),
            range: None,
            lease_s: 3_600,
            machines: [(CARD, ip6(0x50))].into(),
            dns: Vec::new(),
        }),
        ..LanConfig::plain("br0")
    };
    let mut site = NetworkState::new("lan", lan, 1);
    let here = DhcpNodeAddresses {
        address: ip(2),
        network: Ipv4Network::of(ip(0), 24),
        nodes: ClusterNodeAddresses::default(),
    };
    site.set_node_address(Some(here), 0);
    let card = Mac([2, 0, 0, 0, 0, 2]);
    site.set_node_address6(Some(Here6::new(ip6(2), card)), 0);
    site.admit(admission);
    site
}

/// Returns the response to a message of the machine at a time, and the reason.
fn ask(site: &mut NetworkState, kind: u8, wants: u8, server: u8, at_s: u64) -> DhcpDecision {
    let mut bytes = vec![1, 1, 6, 0, 1, 2, 3, 4];
    bytes.resize(28, 0);
    bytes.extend(CARD.0);
    bytes.resize(236, 0);
    bytes.extend([99, 130, 83, 99, 53, 1, kind]);
    for (code, last) in [(50, wants), (54, server)] {
        if last > 0 {
            bytes.extend([code, 4]);
            bytes.extend(ip(last).octets());
        }
    }
    bytes.push(255);
    let (_, decision) = site.decide(&bytes, false, at_s * 1_000).expect("a request");
    decision
}

fn verdict(decision: &DhcpDecision) -> Option<DhcpReplyType> {
    decision.answer.as_ref().map(|answer| answer.verdict)
}

fn discover(site: &mut NetworkState, at_s: u64) -> Option<DhcpReplyType> {
    verdict(&ask(site, DISCOVER, 0, 0, at_s))
}

const STALE: [Admission; 2] = [Admission::Unconfirmed, Admission::Outdated];

#[test]
fn removed_member_answers_nothing() {
    let mut site = site(Admission::Removed);
    for at_s in [0, 4, 12, 28, 60] {
        let decision = ask(&mut site, DISCOVER, 0, 0, at_s);
        assert_eq!(verdict(&decision), None);
        assert!(decision.why.contains("was removed"), "{}", decision.why);
        let decision = ask(&mut site, REQUEST, 50, 2, at_s + 1);
        assert_eq!(verdict(&decision), None);
    }
    let notice = site.notice().expect("a notice");
    assert!(notice.contains("was removed"), "{notice}");
    site.admit(Admission::Admitted);
    assert_eq!(discover(&mut site, 70), Some(DhcpReplyType::Offer));
    assert_eq!(site.notice(), None);
}

#[test]
fn stale_node_answers_a_client_that_nobody_answers() {
    for admission in STALE {
        let mut site = site(admission);
        let answers = [0, 4, 12].map(|at_s| discover(&mut site, at_s));
        assert_eq!(answers, [None, None, Some(DhcpReplyType::Offer)]);
        let decision = ask(&mut site, REQUEST, 50, 2, 13);
        assert_eq!(verdict(&decision), Some(DhcpReplyType::Yes));
        // The loader repeats its request.
        assert_eq!(discover(&mut site, 20), Some(DhcpReplyType::Offer));
        assert!(site.notice().is_some());
    }
}

#[test]
fn stale_node_leaves_a_client_of_another_server_alone() {
    for admission in STALE {
        let mut site = site(admission);
        for start_s in [0, 20, 40, 60] {
            assert_eq!(discover(&mut site, start_s), None);
            let decision = ask(&mut site, REQUEST, 51, 3, start_s + 1);
            assert_eq!(verdict(&decision), None);
        }
        // The same if the machine repeats its request to the other server.
        for at_s in 70..90 {
            let decision = ask(&mut site, REQUEST, 50, 3, at_s);
            assert_eq!(verdict(&decision), None, "{}", decision.why);
        }
    }
}

#[test]
fn stale_node_refuses_no_lease_of_a_current_node() {
    for admission in STALE {
        let mut site = site(admission);
        // DHCPREQUESTs without a server identifier (renewal, INIT-REBOOT), and with the identifier
        // of this node.
        for (at_s, server) in [(0, 0), (4, 2), (12, 0), (16, 2), (30, 0)] {
            let decision = ask(&mut site, REQUEST, 51, server, at_s);
            assert_eq!(verdict(&decision), None, "{}", decision.why);
        }
        let decision = ask(&mut site, REQUEST, 51, 0, 31);
        assert!(decision.why.contains("no NAK"), "{}", decision.why);
    }
    let mut site = site(Admission::Admitted);
    let decision = ask(&mut site, REQUEST, 51, 2, 0);
    assert_eq!(verdict(&decision), Some(DhcpReplyType::No));
}

#[test]
fn confirmed_node_starts_again_when_its_version_is_replaced() {
    let mut site = site(Admission::Admitted);
    for at_s in [0, 4, 12] {
        assert_eq!(discover(&mut site, at_s), Some(DhcpReplyType::Offer));
    }
    site.admit(Admission::Outdated);
    assert_eq!(discover(&mut site, 13), None);
}

#[test]
fn stale_node_has_scripts_only_for_clients_that_it_answered() {
    let shared = SharedNetworkState::new(site(Admission::Unconfirmed));
    let shelf = NetworkContentSource(shared.clone());
    let script = format!("boot/{CARD}.ipxe");
    let asker = FetchClient {
        address: IpAddr::V4(ip(50)),
        via: FetchProtocol::Http,
    };
    let absent = shelf.find(&script, "", &asker).expect_err("no script");
    assert!(absent.0.contains("no majority"), "{absent}");
    // Uses the clock by which fetches are recorded.
    let now_s = part::report::Moment::now().boottime_ms / 1_000;
    for at_s in [now_s, now_s + 4, now_s + 12] {
        discover(&mut shared.lock(), at_s);
    }
    shelf.find(&script, "", &asker).expect("the script");
    shared.lock().admit(Admission::Removed);
    shelf.find(&script, "", &asker).expect_err("no script");
}

#[test]
fn stale_node_answers_over_ipv6_by_the_same_rule() {
    /// Builds a SOLICIT, or a REQUEST that names a server by the server's MAC address.
    fn message(server: Option<u8>) -> Vec<u8> {
        let kind = if server.is_some() { 3 } else { 1 };
        let mut bytes = vec![kind, 1, 2, 3];
        put(&mut bytes, 1, &[0, 4, 7, 7]);
        if let Some(last) = server {
            put(&mut bytes, 2, &[0, 3, 0, 1, 2, 0, 0, 0, 0, last]);
        }
        let mut data = vec![0; 12];
        if server.is_some() {
            let inside = [&ip6(0x50).octets()[..], &[0; 8]].concat();
            put(&mut data, 5, &inside);
        }
        put(&mut bytes, 3, &data);
        bytes
    }
    let neighbour = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 7);
    let is_answered = |site: &mut NetworkState, server, at_s: u64| {
        let decided = site.decide6(&message(server), neighbour, Some(CARD), at_s * 1_000);
        decided.expect("a request").1.answer.is_some()
    };
    let mut removed = site(Admission::Removed);
    for at_s in [0, 4, 12, 28] {
        assert!(!is_answered(&mut removed, None, at_s));
    }
    let mut stale = site(Admission::Unconfirmed);
    assert!(!is_answered(&mut stale, None, 0));
    assert!(!is_answered(&mut stale, Some(3), 1), "another server");
    let answers = [4, 8, 16].map(|at_s| is_answered(&mut stale, None, at_s));
    assert_eq!(answers, [false, false, true]);
    assert!(is_answered(&mut stale, Some(2), 17));
}
