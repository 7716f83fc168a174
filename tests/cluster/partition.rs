//! Tests partitions of every shape under load: the cluster serves what a single machine would have
//! served.

use crate::cluster::site::{Load, Machine, SOON, Site, vip};
use lab::{InjectedFault, LabHost, eventually};
use std::time::Duration;

/// Duration of each shape: several election timeouts.
const SHAPE_TIME: Duration = Duration::from_millis(1500);

/// Cuts the links between members of different groups; the network of clients and servers stays.
fn back_only(site: &Site, groups: &[&[&LabHost]]) -> Vec<InjectedFault> {
    let mut faults = Vec::new();
    for (at, group) in groups.iter().enumerate() {
        for (other_at, other) in groups.iter().enumerate() {
            if at == other_at {
                continue;
            }
            for from in *group {
                for to in *other {
                    faults.push(site.back.one_way(from, to).unwrap());
                }
            }
        }
    }
    faults
}

#[test]
fn no_partition_of_the_members_fails_a_request() {
    lab::skip_unless_root!();
    let site = Site::new("shapes");
    let (a, b, c) = (&site.alpha.host, &site.beta.host, &site.arbiter.host);
    let shapes: [&[&[&LabHost]]; 5] = [
        &[&[a], &[b]],
        &[&[a], &[b, c]],
        &[&[b], &[a, c]],
        &[&[c], &[a, b]],
        &[&[a], &[b], &[c]],
    ];
    let load = site.load();
    for shape in shapes {
        let faults = back_only(&site, shape);
        lab::sleep_in_test(SHAPE_TIME, "a partition lasts");
        drop(faults);
        site.healed();
    }
    // Only in one direction: members that receive nothing, and members from which nothing arrives.
    for (from, to) in [(a, b), (b, a), (a, c), (c, b)] {
        let fault = site.back.one_way(from, to).unwrap();
        lab::sleep_in_test(SHAPE_TIME, "a partition lasts");
        drop(fault);
    }
    site.healed();
    load.stop().without_a_failure();
    site.apply("two").well();
    assert!(
        eventually(SOON, || site.serves_everywhere("two")),
        "{}",
        site.tell()
    );
}

/// Isolates a node with its clients and servers from the other members for a while; returns the
/// clients' load.
fn alone_with_its_clients(site: &Site, node: &Machine) -> Load {
    let others = site
        .machines()
        .into_iter()
        .filter(|m| m.name() != node.name());
    let others: Vec<&LabHost> = others.map(|machine| &machine.host).collect();
    let mine = [&node.host, &site.client, &site.farm];
    let cut = site.lab.partition(&[&mine, &others]).unwrap();
    // The node has the address, whether it had it before or not.
    let serves = eventually(SOON, || site.vip_serves());
    assert!(serves, "{}", site.tell());
    let load = site.load();
    lab::sleep_in_test(SHAPE_TIME, "a partition lasts");
    assert!(site.ask(vip(), "/version").is_ok(), "{}", site.tell());
    drop(cut);
    load
}

#[test]
fn isolated_node_serves_its_clients() {
    lab::skip_unless_root!();
    let site = Site::new("alone");
    for node in site.nodes() {
        let fared = alone_with_its_clients(&site, node);
        site.healed();
        let fared = fared.stop();
        let own = &fared.own[usize::from(node.number) - 1];
        let failed = crate::cluster::site::failed(own);
        assert!(own.len() > 10 && failed.is_empty(), "{failed:?}");
    }
    // Both serve one version, and one has the address. A version is rolled back if its first node
    // takes the address over meanwhile, which it may still do here.
    let is_applied = || site.apply("two").good;
    assert!(eventually(SOON, is_applied), "{}", site.tell());
    assert!(
        eventually(SOON, || site.serves_everywhere("two")),
        "{}",
        site.tell()
    );
    assert!(eventually(SOON, || site.vip_serves()), "{}", site.tell());
}
