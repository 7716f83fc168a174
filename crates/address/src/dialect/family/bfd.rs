//! Parses `bfd_instance` blocks: sessions of bidirectional forwarding detection (RFC 5880).

use super::BFD;
use super::draft::put;
use super::script::{missing, named_block};
use crate::codes;
use crate::config::{BfdSession, Weight};
use crate::dialect::keyword::{Row, TOP, block, line, so_anyway};
use crate::dialect::loader::Loader;
use crate::dialect::tree::ConfigStatement;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const INTERVAL_MAX_US: u64 = 4_294_967_000;
const INTERVAL_MIN_US: u64 = 1000;

pub(in crate::dialect) static ROWS: &[Row] = language::rows! {
    "bfd_instance <name> { neighbor_ip … }" &[TOP], block(1, 1, session),
        "bfd_instance peer {\n    neighbor_ip 192.0.2.2\n    source_ip 192.0.2.1\n    min_rx 50\n    min_tx 50\n}",
        "A BFD session (RFC 5880) with a neighbour, to which instances refer in `track_bfd`.";
    "neighbor_ip <address>" &[BFD], line(1, 1, neighbour), "neighbor_ip 192.0.2.2",
        "The neighbour.";
    "neighbour_ip <address>" &[BFD], line(1, 1, neighbour), "neighbour_ip 192.0.2.2",
        "Same as `neighbor_ip`.";
    "source_ip <address>" &[BFD],
        line(1, 1, |l, n| put(Some(l.first_address(n)), &mut l.drafts.bfd, |s| &mut s.source)),
        "source_ip 192.0.2.1", "Source address of its packets, in the neighbour's family.";
    "min_rx <milliseconds>" &[BFD], line(1, 1, |l, n| interval(l, n, |s| &mut s.min_rx)),
        "min_rx 50", "Minimum interval of received packets, by default 10 ms.";
    "min_tx <milliseconds>" &[BFD], line(1, 1, |l, n| interval(l, n, |s| &mut s.min_tx)),
        "min_tx 50", "Interval of sent packets, by default 10 ms.";
    "idle_tx <milliseconds>" &[BFD], line(1, 1, |l, n| interval(l, n, |s| &mut s.idle_tx)),
        "idle_tx 2000", "Interval while the session is down, by default 1000 ms.";
    "multiplier <1-255>" &[BFD],
        line(1, 1, |l, n| put(l.count(n, 1..=255), &mut l.drafts.bfd, |s| &mut s.multiplier)),
        "multiplier 3", "Number of missing packets after which the session is down, by default 5.";
    "passive" &[BFD], line(0, 0, |l, _| put(Some(true), &mut l.drafts.bfd, |s| &mut s.passive)),
        "passive", "Sends nothing until the neighbour does.";
    "ttl <1-255>" &[BFD], line(1, 1, hops), "ttl 255", "TTL of IPv4 packets, by default 255.";
    "hoplimit <1-255>" &[BFD], line(1, 1, hops), "hoplimit 255",
        "Hop limit of IPv6 packets, by default 64.";
    "max_hops <0-255>" &[BFD],
        line(1, 1, |l, n| put(l.count(n, 0..=255), &mut l.drafts.bfd, |s| &mut s.max_hops)),
        "max_hops 1", "Maximum distance of the neighbour in hops; 255 disables the check.";
    "vrrp" &[BFD], so_anyway(0, 0, "sessions are only reported to virtual routers"), "vrrp",
        "Reports the session to virtual routers only. This is always so.";
    "checker" &[BFD], line(0, 0, super::ipvs::concerns_ipvs), "checker",
        "Reports the session to IPVS checks only. Evenkeel has none: the proxy checks its servers itself.";
};

fn session(l: &mut Loader<'_>, node: &ConfigStatement) {
    let new = |name| BfdSession {
        name,
        neighbour: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        source: None,
        min_rx: Duration::from_millis(10),
        min_tx: Duration::from_millis(10),
        idle_tx: Duration::from_secs(1),
        multiplier: 5,
        passive: false,
        ttl: 0,
        max_hops: 0,
        weight: Weight::default(),
    };
    let Some(block) = named_block(l, node, BFD, new, |l| &mut l.drafts.bfd) else {
        return;
    };
    let (session, span) = (block.value, block.span);
    if session.ttl == 0 {
        let ttl = if session.neighbour.is_ipv4() { 255 } else { 64 };
        put(Some(ttl), &mut l.drafts.bfd, |s| &mut s.ttl);
    }
    if session.neighbour.is_unspecified() {
        if !node.nodes().iter().any(|n| n.name().starts_with("neighbo")) {
            missing(l, span, BFD, &session.name, "neighbor_ip");
        }
    } else if session
        .source
        .is_some_and(|s| s.is_ipv4() != session.neighbour.is_ipv4())
    {
        let message = "its source_ip and neighbor_ip are of different families";
        l.error(&codes::BAD_ADDRESS, span, message);
    }
}

fn neighbour(l: &mut Loader<'_>, node: &ConfigStatement) {
    put(l.first_address(node), &mut l.drafts.bfd, |s| {
        &mut s.neighbour
    });
}

fn interval(
    l: &mut Loader<'_>,
    node: &ConfigStatement,
    field: impl FnOnce(&mut BfdSession) -> &mut Duration,
) {
    let word = node.argument();
    let value = word.and_then(|w| l.milliseconds(w, INTERVAL_MIN_US..=INTERVAL_MAX_US));
    put(value, &mut l.drafts.bfd, field);
}

fn hops(l: &mut Loader<'_>, node: &ConfigStatement) {
    put(l.count(node, 1..=255), &mut l.drafts.bfd, |s| &mut s.ttl);
}
