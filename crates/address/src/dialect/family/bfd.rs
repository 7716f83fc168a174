//! `bfd_instance`: sessions of bidirectional forwarding detection.

use super::BFD;
use super::draft::put;
use super::script::named;
use crate::codes;
use crate::config::{BfdSession, Weight};
use crate::dialect::keyword::{Row, TOP, block, line, so_anyway};
use crate::dialect::loader::Loader;
use crate::dialect::tree::ConfigStatement;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const INTERVAL_MAX_US: u64 = 4_294_967_000;
const INTERVAL_MIN_US: u64 = 1000;

pub(in crate::dialect) static ROWS: &[Row] = &[
    Row {
        places: &[TOP],
        syntax: "bfd_instance <name> { neighbor_ip … }",
        doc: "A BFD session (RFC 5880) with a neighbour, to which instances refer in `track_bfd`.",
        example: "bfd_instance peer {\n    neighbor_ip 192.0.2.2\n    source_ip 192.0.2.1\n    min_rx 50\n    min_tx 50\n}",
        build: block(1, 1, session),
    },
    Row {
        places: &[BFD],
        syntax: "neighbor_ip <address>",
        doc: "The neighbour.",
        example: "neighbor_ip 192.0.2.2",
        build: line(1, 1, neighbour),
    },
    Row {
        places: &[BFD],
        syntax: "neighbour_ip <address>",
        doc: "Same as `neighbor_ip`.",
        example: "neighbour_ip 192.0.2.2",
        build: line(1, 1, neighbour),
    },
    Row {
        places: &[BFD],
        syntax: "source_ip <address>",
        doc: "Source address of its packets, in the neighbour's family.",
        example: "source_ip 192.0.2.1",
        build: line(1, 1, |l, n| {
            let found = n.argument().and_then(|w| l.address(w));
            put(&mut l.drafts.bfd, Some(found), |s| &mut s.source);
        }),
    },
    Row {
        places: &[BFD],
        syntax: "min_rx <milliseconds>",
        doc: "Minimum interval of received packets, by default 10 ms.",
        example: "min_rx 50",
        build: line(1, 1, |l, n| interval(l, n, |s| &mut s.min_rx)),
    },
    Row {
        places: &[BFD],
        syntax: "min_tx <milliseconds>",
        doc: "Interval of sent packets, by default 10 ms.",
        example: "min_tx 50",
        build: line(1, 1, |l, n| interval(l, n, |s| &mut s.min_tx)),
    },
    Row {
        places: &[BFD],
        syntax: "idle_tx <milliseconds>",
        doc: "Interval while the session is down, by default 1000 ms.",
        example: "idle_tx 2000",
        build: line(1, 1, |l, n| interval(l, n, |s| &mut s.idle_tx)),
    },
    Row {
        places: &[BFD],
        syntax: "multiplier <1-255>",
        doc: "Number of missing packets after which the session is down, by default 5.",
        example: "multiplier 3",
        build: line(1, 1, |l, n| {
            let value = l.count(n, 1..=255);
            put(&mut l.drafts.bfd, value, |s| &mut s.multiplier);
        }),
    },
    Row {
        places: &[BFD],
        syntax: "passive",
        doc: "Sends nothing until the neighbour does.",
        example: "passive",
        build: line(0, 0, |l, _| {
            put(&mut l.drafts.bfd, Some(true), |s| &mut s.passive)
        }),
    },
    Row {
        places: &[BFD],
        syntax: "ttl <1-255>",
        doc: "TTL of IPv4 packets, by default 255.",
        example: "ttl 255",
        build: line(1, 1, hops),
    },
    Row {
        places: &[BFD],
        syntax: "hoplimit <1-255>",
        doc: "Hop limit of IPv6 packets, by default 64.",
        example: "hoplimit 255",
        build: line(1, 1, hops),
    },
    Row {
        places: &[BFD],
        syntax: "max_hops <0-255>",
        doc: "Maximum distance of the neighbour in hops; 255 disables the check.",
        example: "max_hops 1",
        build: line(1, 1, |l, n| {
            let value = l.count(n, 0..=255);
            put(&mut l.drafts.bfd, value, |s| &mut s.max_hops);
        }),
    },
    Row {
        places: &[BFD],
        syntax: "vrrp",
        doc: "Reports the session to virtual routers only. This is always so.",
        example: "vrrp",
        build: so_anyway(0, 0, "sessions are only reported to virtual routers"),
    },
    Row {
        places: &[BFD],
        syntax: "checker",
        doc: "Reports the session to IPVS checks only. Evenkeel has none: the proxy checks its servers itself.",
        example: "checker",
        build: line(0, 0, super::ipvs::concerns_ipvs),
    },
];

fn session(l: &mut Loader<'_>, node: &ConfigStatement) {
    let draft = named(l, node, "bfd_instance", |name| BfdSession {
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
    });
    let Some(draft) = draft else { return };
    l.drafts.bfd.push(draft);
    l.children(BFD, node);
    let Some(at) = l.drafts.bfd.last_mut() else {
        return;
    };
    if at.value.ttl == 0 {
        at.value.ttl = if at.value.neighbour.is_ipv4() {
            255
        } else {
            64
        };
    }
    let (session, span) = (at.value.clone(), at.span);
    if session.neighbour.is_unspecified() {
        let named = node.nodes().iter().any(|n| n.name().starts_with("neighbo"));
        if !named {
            let message = format!("'bfd_instance {}' has no 'neighbor_ip'", session.name);
            l.error(&codes::MISSING_VALUE, span, message);
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
    let value = node.argument().and_then(|w| l.address(w));
    put(&mut l.drafts.bfd, value, |s| &mut s.neighbour);
}

fn interval(
    l: &mut Loader<'_>,
    node: &ConfigStatement,
    field: impl FnOnce(&mut BfdSession) -> &mut Duration,
) {
    let value = l.at(node, |l, w| {
        l.milliseconds(w, INTERVAL_MIN_US..=INTERVAL_MAX_US)
    });
    put(&mut l.drafts.bfd, value.map(|at| at.value), field);
}

fn hops(l: &mut Loader<'_>, node: &ConfigStatement) {
    let value = l.count(node, 1..=255);
    put(&mut l.drafts.bfd, value, |s| &mut s.ttl);
}
