//! Parses the route lines of `virtual_routes` and `static_routes`, which have the syntax of `ip
//! route`.

use super::address::{WordIterator, find, track_group, unknown};
use super::draft::At;
use super::tables::{PROTOCOL, REALM, SCOPE, TABLE, TOS, plain};
use crate::codes;
use crate::config::{NextHop, Route, RouteKind, Scope};
use crate::dialect::loader::Loader;
use crate::dialect::tree::ConfigStatement;
use crate::dialect::value::bits;
use crate::dialect::words::SourceWord;
use language::Diagnostic;
use language::keyword::Keyword;
use std::net::IpAddr;

/// Maximum number of next hops of a route.
const HOPS_MAX: usize = 256;

/// A route while its line is parsed.
#[derive(Default)]
pub(in crate::dialect) struct RouteDraft {
    route: Route,
    /// True once `nexthop` has started a list of hops: further words apply to the last hop.
    nexthops: bool,
    /// The word that is being parsed.
    word: SourceWord,
}

impl RouteDraft {
    fn hop(&mut self) -> &mut NextHop {
        if self.route.hops.is_empty() {
            self.route.hops.push(NextHop::default());
        }
        let last = self.route.hops.len() - 1;
        &mut self.route.hops[last]
    }
}

/// Parses an option and its values from the words of a route line into the draft.
pub(in crate::dialect) type Build = fn(&mut Loader<'_>, &mut WordIterator<'_>, &mut RouteDraft);

type Row = Keyword<Build>;

const ROUTES: &[&str] = &["virtual_routes", "static_routes"];

pub(in crate::dialect) static OPTIONS: &[Row] = language::rows! {
    "to <network>" ROUTES,
        |l, w, d| {
            if let Some(word) = w.value(l) {
                destination(l, word, d);
            }
        },
        "to 198.51.100.0/24 via 192.0.2.1",
        "Destination network; the word `to` may be omitted.";
    "src <address>" ROUTES, |l, w, d| d.route.source = w.value(l).and_then(|v| l.address(v)),
        "198.51.100.0/24 via 192.0.2.1 src 192.0.2.10",
        "Preferred source address of this machine on the route.";
    "from <network>" ROUTES, |l, w, d| d.route.from = w.value(l).and_then(|v| network(l, v)),
        "2001:db8:1::/48 from 2001:db8::/32 via fe80::1 dev eth0",
        "Source network of the packets; IPv6 only.";
    "via <address>" ROUTES, via, "198.51.100.0/24 via 192.0.2.1", "The gateway.";
    "gw <address>" ROUTES, via, "198.51.100.0/24 gw 192.0.2.1", "Obsolete form of `via`.";
    "or <address>" ROUTES, or, "198.51.100.0/24 via 192.0.2.1 or 192.0.2.2",
        "A second gateway. Obsolete: write `nexthop via … nexthop via …`.";
    "dev <interface>" ROUTES, device, "198.51.100.0/24 dev eth0", "Interface of the route.";
    "oif <interface>" ROUTES, device, "198.51.100.0/24 oif eth0", "Same as `dev`.";
    "nexthop { via <address> } [dev <interface>] [weight <1-256>] [onlink]" ROUTES,
        |_, _, d| {
            if !std::mem::replace(&mut d.nexthops, true) {
                d.route.hops.clear();
            }
            if d.route.hops.len() < HOPS_MAX {
                d.route.hops.push(NextHop {
                    weight: 1,
                    ..NextHop::default()
                });
            }
        },
        "198.51.100.0/24 nexthop via 192.0.2.1 weight 1 nexthop via 192.0.2.2 weight 2",
        "One of several paths; connections are distributed by weight.";
    "weight <1-256>" ROUTES,
        |l, w, d| {
            if let Some(value) = w.value(l).and_then(|v| l.small(v, 1..=256)) {
                d.hop().weight = value;
            }
        },
        "198.51.100.0/24 nexthop via 192.0.2.1 weight 5",
        "Share of the connections for a path.";
    "onlink" ROUTES, |_, _, d| d.hop().on_link = true,
        "198.51.100.0/24 via 203.0.113.1 dev eth0 onlink",
        "The gateway is directly reachable on the interface, regardless of its network.";
    "scope <scope>" ROUTES,
        |l, w, d| d.route.scope = w.value(l).and_then(|v| l.named_as(v, &SCOPE)).map(Scope),
        "198.51.100.0/24 dev eth0 scope link",
        "Scope of the destination: global, link, host, or a number.";
    "table <number or name>" ROUTES,
        |l, w, d| d.route.table = w.value(l).and_then(|v| l.named(v, &TABLE)),
        "198.51.100.0/24 via 192.0.2.1 table 100", "Routing table for the route.";
    "protocol <number or name>" ROUTES,
        |l, w, d| d.route.protocol = w.value(l).and_then(|v| l.named_as(v, &PROTOCOL)),
        "198.51.100.0/24 via 192.0.2.1 protocol static",
        "Originating routing protocol of the route.";
    "metric <number>" ROUTES, metric, "198.51.100.0/24 via 192.0.2.1 metric 10",
        "Metric; the lowest one of several routes is used.";
    "priority <number>" ROUTES, metric, "198.51.100.0/24 via 192.0.2.1 priority 10",
        "Same as `metric`.";
    "preference <number>" ROUTES, metric, "198.51.100.0/24 via 192.0.2.1 preference 10",
        "Same as `metric`.";
    "tos <number or name>" ROUTES, tos, "198.51.100.0/24 via 192.0.2.1 tos 0x10", "Type of service.";
    "dsfield <number or name>" ROUTES, tos, "198.51.100.0/24 via 192.0.2.1 dsfield 0x10",
        "Same as `tos`.";
    "realms <number>" ROUTES,
        |l, w, d| {
            let realms = w.value(l).and_then(|v| realms(l, v));
            d.hop().realms = realms;
        },
        "198.51.100.0/24 via 192.0.2.1 realms 1/2",
        "The realms of the route, `FROM/TO` or `TO`.";
    "mtu [lock] <bytes>" ROUTES, |l, w, d| number(l, w, d, 2, 1),
        "198.51.100.0/24 via 192.0.2.1 mtu lock 1400",
        "Maximum packet size on the route; `lock` disables path MTU discovery.";
    "window [lock] <bytes>" ROUTES, |l, w, d| number(l, w, d, 3, 1),
        "198.51.100.0/24 via 192.0.2.1 window 65535", "Maximum window to advertise.";
    // Milliseconds are multiplied: the kernel stores round-trip times in eighths of a millisecond,
    // and their variance in quarters.
    "rtt [lock] <milliseconds>" ROUTES, |l, w, d| number(l, w, d, 4, 8),
        "198.51.100.0/24 via 192.0.2.1 rtt 20", "Initial round-trip time estimate.";
    "rttvar [lock] <milliseconds>" ROUTES, |l, w, d| number(l, w, d, 5, 4),
        "198.51.100.0/24 via 192.0.2.1 rttvar 5", "Initial variance of the round-trip time.";
    "ssthresh [lock] <number>" ROUTES, |l, w, d| number(l, w, d, 6, 1),
        "198.51.100.0/24 via 192.0.2.1 ssthresh 100", "Slow start threshold.";
    "cwnd [lock] <number>" ROUTES, |l, w, d| number(l, w, d, 7, 1),
        "198.51.100.0/24 via 192.0.2.1 cwnd lock 100", "Limit of the congestion window.";
    "advmss [lock] <bytes>" ROUTES, |l, w, d| number(l, w, d, 8, 1),
        "198.51.100.0/24 via 192.0.2.1 advmss 1360", "Maximum segment size to advertise.";
    "reordering [lock] <number>" ROUTES, |l, w, d| number(l, w, d, 9, 1),
        "198.51.100.0/24 via 192.0.2.1 reordering 5", "Initial reordering metric.";
    "hoplimit [lock] <1-255>" ROUTES, |l, w, d| number(l, w, d, 10, 1),
        "198.51.100.0/24 via 192.0.2.1 hoplimit 64", "The hop limit of packets.";
    "initcwnd [lock] <number>" ROUTES, |l, w, d| number(l, w, d, 11, 1),
        "198.51.100.0/24 via 192.0.2.1 initcwnd 10", "Initial congestion window, in segments.";
    "rto_min [lock] <milliseconds>" ROUTES, |l, w, d| number(l, w, d, 13, 1),
        "198.51.100.0/24 via 192.0.2.1 rto_min 50", "Minimum retransmission timeout.";
    "initrwnd [lock] <number>" ROUTES, |l, w, d| number(l, w, d, 14, 1),
        "198.51.100.0/24 via 192.0.2.1 initrwnd 10", "Initial receive window, in segments.";
    "quickack [lock] <0 or 1>" ROUTES, |l, w, d| number(l, w, d, 15, 1),
        "198.51.100.0/24 via 192.0.2.1 quickack 1", "Sends acknowledgements at once.";
    "fastopen_no_cookie [lock] <0 or 1>" ROUTES, |l, w, d| number(l, w, d, 17, 1),
        "198.51.100.0/24 via 192.0.2.1 fastopen_no_cookie 1", "TCP Fast Open without a cookie.";
    "features { ecn }" ROUTES,
        |l, w, d| {
            if let Some(bits) = w.value(l).and_then(|v| l.choice(v, &[("ecn", 1)])) {
                d.route.metrics.push((12, bits, false));
            }
        },
        "198.51.100.0/24 via 192.0.2.1 features ecn",
        "Features of the route; the only one is `ecn`.";
    "congctl <name>" ROUTES,
        |l, w, d| {
            if w.peek().is_some_and(|v| v.text == "lock") {
                w.next();
            }
            d.route.congestion = w.value(l).map(|v| v.text.clone());
        },
        "198.51.100.0/24 via 192.0.2.1 congctl cubic",
        "The congestion control of connections on the route.";
    "pref low|medium|high" ROUTES,
        |l, w, d| {
            let all = [("low", 3), ("medium", 0), ("high", 1)];
            d.route.preference = w.value(l).and_then(|v| l.choice(v, &all));
        },
        "2001:db8:1::/48 via fe80::1 dev eth0 pref high",
        "IPv6 router preference.";
    "append" ROUTES, |_, _, d| d.route.append = true, "198.51.100.0/24 via 192.0.2.1 append",
        "Adds the route after existing ones, not before them.";
    "inet6" ROUTES, |_, _, d| d.route.ipv6 = true, "inet6 default dev eth0",
        "Makes the route IPv6, if its addresses do not.";
    "inet" ROUTES, |_, _, d| d.route.ipv6 = false, "inet default dev eth0",
        "Makes the route IPv4, if its addresses do not.";
    "no_track" ROUTES, |_, _, d| d.route.no_track = true, "198.51.100.0/24 via 192.0.2.1 no_track",
        "Ignores the removal of the route by other programs.";
    "track_group <name>" &["static_routes"], |l, w, d| d.route.track_group = track_group(l, w),
        "198.51.100.0/24 via 192.0.2.1 dev eth0",
        "The instances of this group enter FAULT when the route is removed.";
};

const KINDS: &[(&str, RouteKind)] = &[
    ("unicast", RouteKind::Unicast),
    ("local", RouteKind::Local),
    ("broadcast", RouteKind::Broadcast),
    ("multicast", RouteKind::Multicast),
    ("anycast", RouteKind::Anycast),
    ("throw", RouteKind::Throw),
    ("unreachable", RouteKind::Unreachable),
    ("prohibit", RouteKind::Prohibit),
    ("blackhole", RouteKind::Blackhole),
    ("nat", RouteKind::Nat),
];

/// Words of `ip route` that are refused as not supported, because the route without them would be a
/// different one.
const NOT_BUILT: &[&str] = &["encap", "ttl-propagate", "expires", "as", "vrf"];

/// Parses the route of a line in the block `place`.
pub(super) fn read(l: &mut Loader<'_>, line: &ConfigStatement, place: &str) -> Option<At<Route>> {
    let first = line.words.first()?;
    let mut draft = RouteDraft::default();
    let text: Vec<&str> = line.words.iter().map(|w| w.text.as_str()).collect();
    draft.route.text = text.join(" ");
    let mut words = WordIterator::new(&line.words);
    let mut placed = false;
    while let Some(word) = words.next() {
        draft.word = word.clone();
        let row = find(OPTIONS, word, place);
        let kind = KINDS.iter().find(|(name, _)| *name == word.text);
        match (row, kind) {
            (Some(row), _) => {
                placed |= word.text == "to";
                (row.build)(l, &mut words, &mut draft);
            }
            (None, Some((_, kind))) if !placed => draft.route.kind = *kind,
            _ if NOT_BUILT.contains(&word.text.as_str()) => {
                let message = format!("'{}' of a route is not supported", word.text);
                l.report(
                    Diagnostic::error(&codes::NOT_BUILT, word.span, message).help(
                        "add the route with a notify script, or in the system's own configuration",
                    ),
                );
                return None;
            }
            _ if !placed => {
                placed = true;
                destination(l, word, &mut draft);
            }
            _ => {
                unknown(l, OPTIONS, word, place, "a route");
                return None;
            }
        }
    }
    finish(l, draft, placed, first.span.to(line.whole()))
}

fn finish(
    l: &mut Loader<'_>,
    draft: RouteDraft,
    placed: bool,
    span: language::Span,
) -> Option<At<Route>> {
    let mut route = draft.route;
    if !placed {
        let message = "this route has no destination";
        l.report(
            Diagnostic::error(&codes::MISSING_VALUE, span, message)
                .help("write a network, as in 198.51.100.0/24, or 'default'"),
        );
        return None;
    }
    let addresses = route.destination.iter().chain(&route.from).map(|(a, _)| *a);
    let hops = route.hops.iter().filter_map(|h| h.via);
    let all: Vec<IpAddr> = addresses.chain(hops).chain(route.source).collect();
    let six = all.iter().any(IpAddr::is_ipv6);
    // Refuses addresses of both families, except an IPv4 route with an IPv6 gateway.
    let four = route.destination.iter().any(|(a, _)| a.is_ipv4())
        || route.source.is_some_and(|a| a.is_ipv4());
    if six
        && four
        && !route
            .hops
            .iter()
            .any(|h| h.via.is_some_and(|v| v.is_ipv6()))
    {
        let message = "the addresses of this route are of different families";
        l.error(&codes::BAD_ADDRESS, span, message);
        return None;
    }
    route.ipv6 |= six && !four;
    let leads = matches!(
        route.kind,
        RouteKind::Unicast
            | RouteKind::Local
            | RouteKind::Broadcast
            | RouteKind::Multicast
            | RouteKind::Anycast
            | RouteKind::Nat
    );
    let without = route
        .hops
        .iter()
        .all(|h| h.via.is_none() && h.interface.is_none());
    if leads && without && route.kind == RouteKind::Unicast {
        let message = "this route has neither 'via' nor 'dev'";
        l.error(&codes::MISSING_VALUE, span, message);
        return None;
    }
    let tracked = route.hops.iter().any(|h| h.interface.is_some());
    if !tracked && !route.no_track {
        route.no_track = true;
        l.report(
            Diagnostic::warning(
                &codes::NOT_TRACKED,
                span,
                "a route without an interface is not monitored",
            )
            .label("its removal by other programs is not detected")
            .help("add 'dev <interface>', or 'no_track' if that is intended"),
        );
    }
    Some(At { value: route, span })
}

fn destination(l: &mut Loader<'_>, word: &SourceWord, d: &mut RouteDraft) {
    match word.text.as_str() {
        "default" | "any" | "all" => d.route.destination = None,
        "default6" => d.route.ipv6 = true,
        _ => d.route.destination = network(l, word),
    }
}

pub(super) fn network(l: &mut Loader<'_>, word: &SourceWord) -> Option<(IpAddr, u8)> {
    let (address, prefix) = l.network(word)?;
    Some((address, prefix.unwrap_or_else(|| bits(address))))
}

fn via(l: &mut Loader<'_>, words: &mut WordIterator<'_>, d: &mut RouteDraft) {
    if words
        .peek()
        .is_some_and(|w| w.text == "inet" || w.text == "inet6")
    {
        words.next();
    }
    let gateway = words.value(l).and_then(|v| l.address(v));
    d.hop().via = gateway;
}

fn or(l: &mut Loader<'_>, words: &mut WordIterator<'_>, d: &mut RouteDraft) {
    let place = d.word.span;
    l.report(
        Diagnostic::warning(&codes::DEPRECATED, place, "'or' in a route is obsolete")
            .help("write 'nexthop via … nexthop via …'"),
    );
    if words.peek().is_some_and(|w| w.text == "via") {
        words.next();
    }
    let gateway = words.value(l).and_then(|v| l.address(v));
    if let Some(first) = d.route.hops.first_mut() {
        first.weight = first.weight.max(1);
    }
    if d.route.hops.len() < HOPS_MAX {
        d.route.hops.push(NextHop {
            via: gateway,
            weight: 1,
            ..NextHop::default()
        });
    }
}

fn device(l: &mut Loader<'_>, words: &mut WordIterator<'_>, d: &mut RouteDraft) {
    let Some(word) = words.value(l) else { return };
    l.drafts.require_interface(word.at(), "a route");
    let name = word.text.clone();
    if !d.nexthops {
        // Sets the interface of all hops: a single interface after `via … or …` applies to both.
        for hop in &mut d.route.hops {
            hop.interface = Some(name.clone());
        }
    }
    d.hop().interface = Some(name);
}

fn metric(l: &mut Loader<'_>, words: &mut WordIterator<'_>, d: &mut RouteDraft) {
    d.route.metric = words
        .value(l)
        .and_then(|v| l.small(v, 0..=i64::from(u32::MAX)));
}

fn tos(l: &mut Loader<'_>, words: &mut WordIterator<'_>, d: &mut RouteDraft) {
    d.route.tos = words.value(l).and_then(|v| l.named_as(v, &TOS));
}

fn number(
    l: &mut Loader<'_>,
    words: &mut WordIterator<'_>,
    d: &mut RouteDraft,
    metric: u16,
    factor: u32,
) {
    let locked = words.peek().is_some_and(|w| w.text == "lock");
    if locked {
        words.next();
    }
    let Some(word) = words.value(l) else { return };
    // Strips the unit of times: newer versions of `ip route` write `20ms`; without a unit, the
    // number means milliseconds, too.
    let digits = if factor > 1 || metric == 13 {
        word.text.strip_suffix("ms").unwrap_or(&word.text)
    } else {
        &word.text
    };
    match plain(digits).and_then(|n| n.checked_mul(factor)) {
        Some(value) => d.route.metrics.push((metric, value, locked)),
        None => {
            let message = format!("'{}' is not a number", word.text);
            l.error(&codes::BAD_VALUE, word.span, message);
        }
    }
}

/// Parses `FROM/TO` or `TO`, and packs the realms into one number as the kernel does.
pub(super) fn realms(l: &mut Loader<'_>, word: &SourceWord) -> Option<u32> {
    let part = |text: &str| SourceWord {
        text: text.to_owned(),
        ..word.clone()
    };
    match word.text.split_once('/') {
        Some((from, to)) => {
            let from = l.named(&part(from), &REALM)?;
            let to = l.named(&part(to), &REALM)?;
            Some(from << 16 | to)
        }
        None => l.named(word, &REALM),
    }
}
