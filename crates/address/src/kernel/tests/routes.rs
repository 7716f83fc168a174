//! Compares routes added by this crate with those added by `ip`.

use super::super::*;
use super::{KernelHostPair, told, words};
use crate::config::{NextHop, Route, RouteKind, Scope};
use std::net::IpAddr;

fn net(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/').unwrap();
    Some((address.parse().unwrap(), prefix.parse().unwrap()))
}

fn hop(via: &str, interface: &str) -> NextHop {
    NextHop {
        via: (!via.is_empty()).then(|| via.parse().unwrap()),
        interface: (!interface.is_empty()).then(|| interface.to_owned()),
        weight: 1,
        ..NextHop::default()
    }
}

fn to(destination: &str, hops: Vec<NextHop>) -> Route {
    let destination = net(destination);
    let ipv6 = destination.is_some_and(|(a, _)| a.is_ipv6());
    Route {
        ipv6,
        destination,
        hops,
        ..Route::default()
    }
}

fn four() -> Vec<(&'static str, Route)> {
    let gateway = || vec![hop("10.0.1.9", "eth0")];
    vec![
        (
            "10.20.0.0/16 via 10.0.1.9 dev eth0",
            to("10.20.0.0/16", gateway()),
        ),
        (
            "10.21.0.0/16 via 10.0.1.9",
            to("10.21.0.0/16", vec![hop("10.0.1.9", "")]),
        ),
        (
            "10.22.0.0/16 dev eth1",
            to("10.22.0.0/16", vec![hop("", "eth1")]),
        ),
        (
            "default via 10.0.1.9 dev eth0 metric 77",
            Route {
                metric: Some(77),
                hops: gateway(),
                ..Route::default()
            },
        ),
        (
            "10.23.0.0/16 via 10.0.1.9 dev eth0 src 10.0.1.1 table 1000 mtu lock 1400 window 9000",
            Route {
                source: Some("10.0.1.1".parse().unwrap()),
                table: Some(1000),
                metrics: vec![(2, 1400, true), (3, 9000, false)],
                ..to("10.23.0.0/16", gateway())
            },
        ),
        (
            "10.24.0.0/16 nexthop via 10.0.1.9 dev eth0 weight 3 nexthop via 10.0.2.9 dev eth1 weight 256",
            to(
                "10.24.0.0/16",
                vec![
                    NextHop {
                        weight: 3,
                        ..hop("10.0.1.9", "eth0")
                    },
                    NextHop {
                        weight: 256,
                        ..hop("10.0.2.9", "eth1")
                    },
                ],
            ),
        ),
        (
            "10.25.0.0/16 via 172.31.0.1 dev eth0 onlink",
            to(
                "10.25.0.0/16",
                vec![NextHop {
                    on_link: true,
                    ..hop("172.31.0.1", "eth0")
                }],
            ),
        ),
    ]
}

/// Routes without a next hop, to this machine, or with a gateway of the other family.
fn odd() -> Vec<(&'static str, Route)> {
    vec![
        (
            "blackhole 10.26.0.0/16",
            Route {
                kind: RouteKind::Blackhole,
                ..to("10.26.0.0/16", vec![])
            },
        ),
        (
            "unreachable 10.27.0.0/16 metric 5",
            Route {
                kind: RouteKind::Unreachable,
                metric: Some(5),
                ..to("10.27.0.0/16", vec![])
            },
        ),
        (
            "prohibit 10.28.0.0/16 table 99",
            Route {
                kind: RouteKind::Prohibit,
                table: Some(99),
                ..to("10.28.0.0/16", vec![])
            },
        ),
        (
            "throw 10.29.0.0/16 table 99",
            Route {
                kind: RouteKind::Throw,
                table: Some(99),
                ..to("10.29.0.0/16", vec![])
            },
        ),
        (
            "local 10.30.0.1/32 dev eth0",
            Route {
                kind: RouteKind::Local,
                ..to("10.30.0.1/32", vec![hop("", "eth0")])
            },
        ),
        (
            "10.31.0.0/16 via inet6 2001:db8:1::9 dev eth0",
            to("10.31.0.0/16", vec![hop("2001:db8:1::9", "eth0")]),
        ),
    ]
}

fn rare() -> Vec<(&'static str, Route)> {
    let gateway = || vec![hop("10.0.1.9", "eth0")];
    vec![
        (
            "10.40.0.0/16 tos 0x10 via 10.0.1.9 dev eth0 scope link",
            Route {
                tos: Some(0x10),
                scope: Some(Scope(253)),
                ..to("10.40.0.0/16", gateway())
            },
        ),
        (
            "10.41.0.0/16 via 10.0.1.9 dev eth0 realms 5/7 initcwnd 20 congctl reno",
            Route {
                metrics: vec![(11, 20, false)],
                congestion: Some("reno".to_owned()),
                ..to(
                    "10.41.0.0/16",
                    vec![NextHop {
                        realms: Some(5 << 16 | 7),
                        ..hop("10.0.1.9", "eth0")
                    }],
                )
            },
        ),
        (
            "10.42.0.0/16 via 10.0.1.9 dev eth0 rtt 100ms quickack 1 hoplimit 40 advmss 1000",
            Route {
                metrics: vec![
                    (4, 800, false),
                    (8, 1000, false),
                    (10, 40, false),
                    (15, 1, false),
                ],
                ..to("10.42.0.0/16", gateway())
            },
        ),
    ]
}

fn six() -> Vec<(&'static str, Route)> {
    let gateway6 = || vec![hop("2001:db8:1::9", "eth0")];
    vec![
        (
            "2001:db8:20::/48 via 2001:db8:1::9 dev eth0",
            to("2001:db8:20::/48", gateway6()),
        ),
        (
            "2001:db8:21::/48 dev eth1 metric 9 pref high mtu 1400",
            Route {
                metric: Some(9),
                preference: Some(1),
                metrics: vec![(2, 1400, false)],
                ..to("2001:db8:21::/48", vec![hop("", "eth1")])
            },
        ),
        (
            "default from 2001:db8:77::/48 via 2001:db8:1::9 dev eth0",
            Route {
                ipv6: true,
                from: net("2001:db8:77::/48"),
                hops: gateway6(),
                ..Route::default()
            },
        ),
        (
            "2001:db8:22::/48 nexthop via 2001:db8:1::9 dev eth0 nexthop via 2001:db8:2::9 dev eth1 weight 2",
            to(
                "2001:db8:22::/48",
                vec![
                    hop("2001:db8:1::9", "eth0"),
                    NextHop {
                        weight: 2,
                        ..hop("2001:db8:2::9", "eth1")
                    },
                ],
            ),
        ),
        (
            "blackhole 2001:db8:23::/48 table 1234",
            Route {
                kind: RouteKind::Blackhole,
                table: Some(1234),
                ..to("2001:db8:23::/48", vec![])
            },
        ),
    ]
}

fn compare(name: &str, lines: Vec<(&'static str, Route)>) {
    let pair = KernelHostPair::new(name);
    let mut taken = Vec::new();
    for (line, route) in lines {
        let family = if route.ipv6 { "-6" } else { "-4" };
        let mut all = [&[family, "route", "add"], &words(line)[..]].concat();
        let end = all
            .iter()
            .position(|word| *word == "nexthop")
            .unwrap_or(all.len());
        all.splice(end..end, ["protocol", "18"]);
        // An option that this kernel lacks fails for both.
        let theirs = pair.theirs.ip(&all);
        let ours = pair
            .ours
            .enter(|| Kernel::open().unwrap().add_route(&route));
        assert_eq!(theirs.is_ok(), ours.is_ok(), "{line}: {theirs:?}, {ours:?}");
        if ours.is_ok() {
            taken.push((line, route));
        }
    }
    assert!(taken.len() >= 6, "most must be possible: {taken:?}");
    for family in ["-4", "-6"] {
        let show = [family, "route", "show", "table", "all"];
        assert_eq!(told(&pair.ours, &show), told(&pair.theirs, &show));
    }
    pair.ours.enter(|| {
        let mut kernel = Kernel::open().unwrap();
        let routes: Vec<_> = taken.iter().map(|(_, route)| route.clone()).collect();
        let seen = kernel.routes().unwrap();
        for (line, route) in &taken {
            assert!(
                seen.iter().any(|s| s.is(route)),
                "{line} is not among {seen:#?}"
            );
        }
        let all = |results: Vec<Result<Ack, KernelError>>, outcome| {
            for (result, (line, _)) in results.into_iter().zip(&taken) {
                assert_eq!(result.unwrap(), outcome, "{line}");
            }
        };
        all(kernel.add_routes(&routes), Ack::Already);
        let mut monitor = Monitor::open(true).unwrap();
        all(kernel.remove_routes(&routes), Ack::Done);
        all(kernel.remove_routes(&routes), Ack::Already);
        let gone = std::iter::from_fn(|| monitor.next_change());
        let gone: Vec<_> = gone
            .filter(|c| matches!(c, KernelChange::RouteRemoved(_)))
            .collect();
        assert!(gone.len() >= routes.len(), "{gone:#?}");
        let seen = kernel.routes().unwrap();
        assert!(
            !taken
                .iter()
                .any(|(_, route)| seen.iter().any(|s| s.is(route)))
        );
    });
}

#[test]
fn routes_that_we_add_look_as_those_that_ip_adds() {
    lab::skip_unless_root!();
    compare("kernel-route4", [four(), odd()].concat());
}

#[test]
fn rare_routes_and_those_of_ipv6_look_as_those_that_ip_adds() {
    lab::skip_unless_root!();
    compare("kernel-route6", [rare(), six()].concat());
}

#[test]
fn a_route_of_somebody_else_is_not_replaced_and_one_of_ours_is() {
    lab::skip_unless_root!();
    let pair = KernelHostPair::new("kernel-foreign");
    let theirs = ["route", "add", "10.20.0.0/16", "via", "10.0.1.8"];
    pair.ours.ip(&theirs).unwrap();
    pair.ours.enter(|| {
        let mut kernel = Kernel::open().unwrap();
        let foreign = to("10.20.0.0/16", vec![hop("10.0.1.9", "eth0")]);
        let first = to("10.21.0.0/16", vec![hop("10.0.1.9", "eth0")]);
        let second = to("10.21.0.0/16", vec![hop("10.0.1.7", "eth0")]);
        let results = kernel.add_routes(&[foreign.clone(), first.clone()]);
        assert!(matches!(&results[0], Err(error) if error.is(rustix::io::Errno::EXIST)));
        assert!(matches!(results[1], Ok(Ack::Done)));
        assert_eq!(kernel.add_route(&second).unwrap(), Ack::Done);
        let seen = kernel.routes().unwrap();
        assert!(seen.iter().any(|s| s.is(&second)) && !seen.iter().any(|s| s.is(&first)));
        assert!(!seen.iter().any(|s| s.is(&foreign)));
        let nowhere = to("10.22.0.0/16", vec![hop("10.0.1.9", "gone0")]);
        assert!(matches!(
            kernel.add_route(&nowhere),
            Err(KernelError::NoInterface(_))
        ));
        assert_eq!(kernel.remove_route(&nowhere).unwrap(), Ack::Already);
    });
}
