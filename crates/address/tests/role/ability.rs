//! Tests that a node that cannot serve an address leaves it to one that can: the kernel refuses the
//! address, the node's own address is missing, or the cluster has not confirmed the node.

use crate::scene::{LATEST, Scene, VIP, address, config, instance, simple, unicast};
use address::config::{Config, Instance};
use lab::eventually;
use std::net::IpAddr;

const VIP6: &str = "fd00::100";

fn dual(priority: u8) -> Config {
    let mut one = instance("VI_1", 51, priority);
    one.excluded = vec![address("fd00::100/64")];
    config(vec![one])
}

#[test]
fn preferred_node_without_ipv6_leaves_both_addresses_to_a_healthy_one() {
    lab::skip_unless_root!();
    let scene = Scene::new("no-six");
    let beta = scene.role(&scene.beta, &dual(100));
    assert!(scene.comes_to(&scene.beta, VIP) && scene.comes_to(&scene.beta, VIP6));
    scene
        .alpha
        .sysctl("net/ipv6/conf/eth0/disable_ipv6", "1")
        .unwrap();
    let alpha = scene.role(&scene.alpha, &dual(150));
    assert!(eventually(LATEST, || alpha.number("adverts_received") > 10));
    assert_eq!(alpha.state("VI_1"), "BACKUP");
    let fault = alpha.first().words("fault").unwrap_or_default();
    assert!(fault.contains("IPv6 is disabled on eth0"), "{fault}");
    assert!(scene.has(&scene.beta, VIP) && scene.has(&scene.beta, VIP6));
    // Without another node, one address is better than none.
    drop(beta);
    assert!(scene.comes_to(&scene.alpha, VIP));
    let beta = scene.role(&scene.beta, &dual(100));
    assert!(scene.comes_to(&scene.beta, VIP6), "{:?}", beta.said());
    assert!(scene.leaves(&scene.alpha, VIP));
    // Once the preferred node can set both addresses, it owns them again.
    scene
        .alpha
        .sysctl("net/ipv6/conf/eth0/disable_ipv6", "0")
        .unwrap();
    assert!(scene.comes_to(&scene.alpha, VIP6), "{:?}", alpha.said());
    assert!(scene.leaves(&scene.beta, VIP));
}

/// As [`unicast`], from an address that the configuration names.
fn unicast_from(own: &str, peer: &str, priority: u8) -> Instance {
    let mut one = unicast(peer, priority);
    one.source = Some(own.parse::<IpAddr>().unwrap());
    one
}

#[test]
fn unicast_owner_without_its_own_address_loses_the_virtual_one() {
    lab::skip_unless_root!();
    let scene = Scene::new("no-source");
    let alpha = scene.role(
        &scene.alpha,
        &config(vec![unicast_from("10.0.0.1", "10.0.0.2", 150)]),
    );
    let beta = scene.role(
        &scene.beta,
        &config(vec![unicast_from("10.0.0.2", "10.0.0.1", 100)]),
    );
    assert!(scene.comes_to(&scene.alpha, VIP));
    assert!(eventually(LATEST, || beta.state("VI_1") == "BACKUP"));
    scene
        .alpha
        .sysctl("net/ipv4/conf/eth0/promote_secondaries", "1")
        .unwrap();
    scene.at_alpha.remove_address("10.0.0.1/24").unwrap();
    assert!(scene.comes_to(&scene.beta, VIP), "{:?}", beta.said());
    assert!(scene.leaves(&scene.alpha, VIP));
    assert_eq!(alpha.state("VI_1"), "FAULT");
    scene.at_alpha.address("10.0.0.1/24").unwrap();
    assert!(scene.comes_to(&scene.alpha, VIP), "{:?}", alpha.said());
}

#[test]
fn owner_whose_addresses_are_all_deleted_tells_the_others() {
    lab::skip_unless_root!();
    let scene = Scene::new("flushed");
    let alpha = scene.role(&scene.alpha, &simple(150));
    let beta = scene.role(&scene.beta, &simple(100));
    assert!(scene.comes_to(&scene.alpha, VIP));
    scene
        .alpha
        .ip(&["-4", "address", "flush", "dev", "eth0"])
        .unwrap();
    beta.wait_for("(VI_1) Backup received priority 0 advertisement");
    assert!(scene.comes_to(&scene.beta, VIP));
    assert_eq!(alpha.state("VI_1"), "FAULT");
}

#[test]
fn member_takes_from_a_live_owner_only_while_confirmed_and_nothing_once_removed() {
    lab::skip_unless_root!();
    let scene = Scene::new("member");
    let member = |priority| {
        let mut config = simple(priority);
        config.global.is_member = true;
        config
    };
    let beta = scene.role(&scene.beta, &member(100));
    // Without another node, the member serves unconfirmed.
    assert!(scene.comes_to(&scene.beta, VIP));
    let alpha = scene.role(&scene.alpha, &member(150));
    assert!(eventually(LATEST, || alpha.number("adverts_received") > 10));
    assert_eq!(alpha.state("VI_1"), "BACKUP");
    let standing = alpha.first().words("standing").unwrap_or_default();
    assert!(
        standing.starts_with("unconfirmed: no majority"),
        "{standing}"
    );
    alpha.order("member current");
    assert!(scene.comes_to(&scene.alpha, VIP), "{:?}", alpha.said());
    assert!(scene.leaves(&scene.beta, VIP));
    alpha.order("member removed");
    assert!(scene.comes_to(&scene.beta, VIP), "{:?}", beta.said());
    assert_eq!(alpha.state("VI_1"), "FAULT");
    drop(beta);
    assert!(scene.leaves(&scene.alpha, VIP));
}
