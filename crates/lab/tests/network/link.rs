//! Tests cables and switches between hosts: cut and silent cables, routes, and unplugged hosts.

use lab::{Echo, Lab, eventually, exchange};
use std::net::SocketAddr;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(300);
const LATEST: Duration = Duration::from_secs(60);

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

#[test]
fn hosts_on_a_cable_reach_each_other_until_it_is_cut() {
    lab::skip_unless_root!();
    let lab = Lab::new("cable").unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let link = lab.link(&a, &b).unwrap();
    link.a.address("10.1.0.1/24").unwrap();
    link.a.address("fd01::1/64").unwrap();
    link.b.address("10.1.0.2/24").unwrap();
    link.b.address("fd01::2/64").unwrap();
    for address in ["10.1.0.1:7", "[fd01::1]:7"] {
        let echo = Echo::start(&a, at(address)).unwrap();
        let said = exchange(&b, echo.address(), b"hello", LATEST).unwrap();
        assert_eq!(said, b"hello", "{address}");
    }
    let _echo = Echo::start(&a, at("10.1.0.1:7")).unwrap();
    link.down().unwrap();
    assert!(b.tcp_connect(at("10.1.0.1:7"), SOON).is_err());
    link.up().unwrap();
    assert!(eventually(LATEST, || b
        .tcp_connect(at("10.1.0.1:7"), SOON)
        .is_ok()));
}

#[test]
fn a_cable_is_cut_with_or_without_its_carrier_until_the_fault_heals() {
    lab::skip_unless_root!();
    let lab = Lab::new("cuts").unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let link = lab.link(&a, &b).unwrap();
    link.a.address("10.1.1.1/24").unwrap();
    link.b.address("10.1.1.2/24").unwrap();
    let _echo = Echo::start(&a, at("10.1.1.1:7")).unwrap();
    let passes = || b.tcp_connect(at("10.1.1.1:7"), SOON).is_ok();
    let carrier = || link.b.has_carrier();
    assert!(eventually(LATEST, passes));
    let pulled = link.b.pull().unwrap();
    assert!(eventually(LATEST, || !carrier()) && !passes());
    drop(pulled);
    assert!(eventually(LATEST, passes));
    for fault in [
        link.silence().unwrap(),
        link.one_way(&a).unwrap(),
        link.one_way(&b).unwrap(),
    ]
    .into_iter()
    .rev()
    {
        assert!(!passes() && carrier(), "{fault:?}");
        drop(fault);
    }
    assert!(eventually(LATEST, passes));
    let cut = link.cut().unwrap();
    assert!(!passes() && !carrier());
    assert_eq!(lab.faults(), ["the cable between a and b is cut"]);
    cut.heal().unwrap();
    assert!(eventually(LATEST, passes));
}

#[test]
fn a_host_behind_another_is_reached_by_a_route() {
    lab::skip_unless_root!();
    let lab = Lab::new("route").unwrap();
    let (a, router, b) = (
        lab.host("a").unwrap(),
        lab.host("router").unwrap(),
        lab.host("b").unwrap(),
    );
    let (left, right) = (
        lab.link(&a, &router).unwrap(),
        lab.link(&router, &b).unwrap(),
    );
    left.a.address("10.2.1.2/24").unwrap();
    left.b.address("10.2.1.1/24").unwrap();
    right.a.address("10.2.2.1/24").unwrap();
    right.b.address("10.2.2.2/24").unwrap();
    assert_eq!((left.b.name(), right.a.name()), ("eth0", "eth1"));
    router.sysctl("net/ipv4/ip_forward", "1").unwrap();
    a.route("default", "10.2.1.1").unwrap();
    b.route("10.2.1.0/24", "10.2.2.1").unwrap();
    let echo = Echo::start(&b, at("10.2.2.2:7")).unwrap();
    assert_eq!(exchange(&a, echo.address(), b"x", LATEST).unwrap(), b"x");
}

#[test]
fn a_host_that_is_unplugged_from_a_switch_leaves_the_others_connected() {
    lab::skip_unless_root!();
    let lab = Lab::new("switch").unwrap();
    let switch = lab.switch("lan").unwrap();
    let hosts: Vec<_> = ["a", "b", "c"].map(|n| lab.host(n).unwrap()).into();
    let mut interfaces = Vec::new();
    for (n, host) in hosts.iter().enumerate() {
        let interface = switch.attach(host).unwrap();
        interface.address(&format!("10.3.0.{n}/24")).unwrap();
        interfaces.push(interface);
    }
    let echo = Echo::start(&hosts[1], at("10.3.0.1:7")).unwrap();
    let reaches = |n: usize| hosts[n].tcp_connect(echo.address(), SOON).is_ok();
    assert!(eventually(LATEST, || reaches(0) && reaches(2)));
    interfaces[0].unplug().unwrap();
    assert!(!reaches(0));
    assert!(eventually(LATEST, || reaches(2)));
    interfaces[0].plug().unwrap();
    assert!(eventually(LATEST, || reaches(0)));
}
