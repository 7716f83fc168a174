//! Tests partitions between groups of hosts.

use lab::{Echo, Lab, LabError, LabHost, Weather};
use std::net::SocketAddr;
use std::time::Duration;

const LATEST: Duration = Duration::from_secs(10);
/// Timeout of a connection that is expected to fail.
const VAIN: Duration = Duration::from_millis(400);

/// Starts an echo on each host.
fn echoes(hosts: &[&LabHost]) -> Vec<Echo> {
    let any = "0.0.0.0:7".parse().unwrap();
    let start = |host: &&LabHost| Echo::start(*host, any).unwrap();
    hosts.iter().map(start).collect()
}

fn reaches(from: &LabHost, to: &str, wanted: bool) -> bool {
    let address: SocketAddr = format!("{to}:7").parse().unwrap();
    let patience = if wanted { LATEST } else { VAIN };
    from.tcp_connect(address, patience).is_ok()
}

#[test]
fn partition_separates_only_its_groups() {
    lab::skip_unless_root!();
    let lab = Lab::new("parts").unwrap();
    let switch = lab.switch("lan").unwrap();
    let hosts = ["a", "b", "c", "d"].map(|name| lab.host(name).unwrap());
    for (n, host) in hosts.iter().enumerate() {
        let address = format!("10.5.0.{n}/24");
        switch.attach(host).unwrap().address(&address).unwrap();
    }
    let [a, b, c, d] = &hosts;
    let _echoes = echoes(&[a, b, c, d]);
    let at = |n: usize| format!("10.5.0.{n}");
    let all = || {
        let mut seen = Vec::new();
        for (from, host) in hosts.iter().enumerate() {
            for to in (0..4).filter(|to| *to != from) {
                // The fourth host is in no group.
                let parted = !lab.faults().is_empty() && from != 3 && to != 3;
                let wanted = !parted || (from + to == 3);
                seen.push(reaches(host, &at(to), wanted) == wanted);
            }
        }
        seen.iter().all(|fits| *fits)
    };
    assert!(all());
    // {a} | {b, c}: 1 + 2 is the only pair within a group.
    let cut = lab.partition(&[&[a], &[b, c]]).unwrap();
    assert!(all());
    assert_eq!(lab.faults(), ["partition a | b+c"]);
    cut.heal().unwrap();
    assert!(all());
    let one_way = switch.one_way(a, b).unwrap();
    assert!(!reaches(a, &at(1), false) && reaches(c, &at(1), true));
    drop(one_way);
    assert!(reaches(a, &at(1), true));
}

#[test]
fn a_partition_closes_cables_and_wires_between_its_groups() {
    lab::skip_unless_root!();
    let lab = Lab::new("cables").unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| lab.host(name).unwrap());
    let cable = lab.link(&a, &b).unwrap();
    cable.a.address("10.6.0.1/24").unwrap();
    cable.b.address("10.6.0.2/24").unwrap();
    let wire = lab.connect_impaired(&b, &c, Weather::FINE).unwrap();
    wire.a.address("10.6.1.2/24").unwrap();
    wire.b.address("10.6.1.3/24").unwrap();
    let _echoes = echoes(&[&a, &b, &c]);
    let both = |wanted: (bool, bool)| {
        (
            reaches(&a, "10.6.0.2", wanted.0),
            reaches(&b, "10.6.1.3", wanted.1),
        ) == wanted
    };
    assert!(both((true, true)));
    let first = lab.partition(&[&[&a], &[&b, &c]]).unwrap();
    assert!(both((false, true)));
    let second = lab.partition(&[&[&a, &b], &[&c]]).unwrap();
    assert!(both((false, false)));
    drop(first);
    assert!(both((true, false)));
    drop(second);
    assert!(both((true, true)));
    let apart = lab.partition(&[&[&a], &[&c]]);
    assert!(matches!(apart, Err(LabError::NothingToCut(what)) if what == "a | c"));
}
