//! Tests the automatic recovery of the address role: from deleted addresses, addresses that another
//! machine uses, leftovers of a killed process, and interfaces that vanish and return.

use crate::scene::{LATEST, Scene, VIP, config, hears_adverts, instance, simple};
use lab::{Signal, eventually};
use std::time::Duration;

#[test]
fn an_address_that_somebody_deletes_is_put_back_and_said_and_nobody_else_takes_over() {
    lab::skip_unless_root!();
    let scene = Scene::new("deleted");
    let alpha = scene.role(&scene.alpha, &simple(150));
    let beta = scene.role(&scene.beta, &simple(100));
    assert!(scene.comes_to(&scene.alpha, VIP));
    scene.at_alpha.remove_address("10.0.0.100/24").unwrap();
    alpha.wait_for("Netlink reflector reports IP 10.0.0.100 removed from eth0");
    assert!(scene.comes_to(&scene.alpha, VIP));
    assert!(eventually(LATEST, || alpha.number("restored") == 1));
    assert_eq!(alpha.state("VI_1"), "MASTER");
    assert_eq!(beta.count("Entering MASTER"), 0);
}

#[test]
fn a_master_sends_adverts_while_its_loop_waits_for_the_kernel_for_five_seconds() {
    lab::skip_unless_root!();
    let scene = Scene::new("stalled");
    let alpha = scene.role(&scene.alpha, &simple(150));
    let beta = scene.role(&scene.beta, &simple(100));
    assert!(scene.comes_to(&scene.alpha, VIP));
    hears_adverts(&beta, 1);
    let stall = scene.stall(&scene.alpha);
    std::fs::write(&stall, "").unwrap();
    let before = alpha.count("setting VIPs");
    scene.at_alpha.remove_address("10.0.0.100/24").unwrap();
    assert!(eventually(LATEST, || alpha.count("setting VIPs") > before));
    // At an interval of 125 ms.
    hears_adverts(&beta, 40);
    assert_eq!(beta.count("Entering MASTER"), 0);
    std::fs::remove_file(&stall).unwrap();
    hears_adverts(&beta, 20);
    assert_eq!(alpha.state("VI_1"), "MASTER");
    assert_eq!(alpha.count("Entering MASTER"), 1, "{:?}", alpha.said());
    assert_eq!(beta.count("Entering MASTER"), 0);
    assert!(!alpha.says("frozen"), "{:?}", alpha.said());
    // Adverts from the thread are counted, too. The order of the reads matters: alpha's loop
    // updates its counter only when it turns, and adverts continue meanwhile.
    let heard = beta.number("adverts_received");
    let counted = || alpha.number("adverts_sent") >= heard;
    assert!(eventually(LATEST, counted), "{heard}");
}

#[test]
fn a_third_machine_that_uses_the_address_is_seen_and_said() {
    lab::skip_unless_root!();
    let scene = Scene::new("conflict");
    let alpha = scene.role(&scene.alpha, &simple(150));
    assert!(scene.comes_to(&scene.alpha, VIP));
    alpha.wait_for("Sending gratuitous ARP");
    // A third machine with the same address sends traffic from it.
    let ip = |words: &[&str]| scene.beta.ip(words);
    ip(&["address", "add", "10.0.0.100/24", "dev", "eth0"]).unwrap();
    let socket = scene
        .beta
        .udp_bind("10.0.0.100:0".parse().unwrap())
        .unwrap();
    let asks = || {
        let _ = scene.beta.ip(&["neigh", "flush", "all"]);
        let _ = socket.send_to(b"x", "10.0.0.9:9");
        alpha.number("conflicts") > 0
    };
    assert!(eventually(LATEST, asks), "{}", alpha.said().join("\n"));
    let announced = alpha.number("announcements");
    assert!(announced < 200, "it defends itself, bounded: {announced}");
    assert_eq!(alpha.state("VI_1"), "MASTER");
}

#[test]
fn what_a_killed_process_left_is_taken_away_by_the_next_one_when_another_has_it() {
    lab::skip_unless_root!();
    let scene = Scene::new("left");
    let alpha = scene.role(&scene.alpha, &simple(150));
    assert!(scene.comes_to(&scene.alpha, VIP));
    alpha.process.signal(Signal::KILL).unwrap();
    alpha.process.wait(LATEST).unwrap();
    // Another node takes over meanwhile, with a priority that the old one cannot exceed.
    let _beta = scene.role(&scene.beta, &simple(200));
    assert!(scene.comes_to(&scene.beta, VIP));
    assert!(scene.has(&scene.alpha, VIP));
    let again = scene.role(&scene.alpha, &simple(150));
    assert!(scene.leaves(&scene.alpha, VIP));
    assert!(eventually(LATEST, || again.state("VI_1") == "BACKUP"));
}

#[test]
fn an_address_of_an_instance_that_is_no_more_is_taken_away_at_the_start() {
    lab::skip_unless_root!();
    let scene = Scene::new("gone");
    let alpha = scene.role(&scene.alpha, &simple(150));
    assert!(scene.comes_to(&scene.alpha, VIP));
    alpha.process.signal(Signal::KILL).unwrap();
    alpha.process.wait(LATEST).unwrap();
    let mut other = instance("VI_2", 52, 150);
    other.addresses[0].address = "10.0.0.102".parse().unwrap();
    let _again = scene.role(&scene.alpha, &config(vec![other]));
    assert!(!scene.has(&scene.alpha, VIP));
    assert!(scene.comes_to(&scene.alpha, "10.0.0.102"));
}

#[test]
fn with_a_lifetime_the_address_vanishes_after_a_kill_and_stays_while_the_role_lives() {
    lab::skip_unless_root!();
    let scene = Scene::new("lifetime");
    let mut mortal = simple(150);
    mortal.instances[0].lifetime = Some(Duration::from_secs(2));
    let alpha = scene.role(&scene.alpha, &mortal);
    assert!(scene.comes_to(&scene.alpha, VIP));
    let line = scene.alpha.ip(&["address", "show"]).unwrap();
    assert!(
        line.contains("valid_lft 2sec") || line.contains("valid_lft 1sec"),
        "{line}"
    );
    lab::sleep_in_test(Duration::from_secs(3), "a lifetime of 2 s passes");
    assert!(scene.has(&scene.alpha, VIP), "it was renewed");
    assert_eq!(alpha.number("restored"), 0);
    alpha.process.signal(Signal::KILL).unwrap();
    assert!(scene.leaves(&scene.alpha, VIP));
}

#[test]
fn a_link_that_is_cut_is_a_fault_and_its_return_is_not() {
    lab::skip_unless_root!();
    let scene = Scene::new("cut");
    let alpha = scene.role(&scene.alpha, &simple(150));
    let beta = scene.role(&scene.beta, &simple(100));
    assert!(scene.comes_to(&scene.alpha, VIP));
    scene.at_alpha.unplug().unwrap();
    alpha.wait_for("Netlink reports eth0 down");
    alpha.wait_for("(VI_1) Entering FAULT STATE");
    assert!(scene.leaves(&scene.alpha, VIP));
    assert!(scene.comes_to(&scene.beta, VIP));
    assert_eq!(
        alpha.first().words("fault").unwrap(),
        "interface eth0 is down"
    );
    scene.at_alpha.plug().unwrap();
    assert!(scene.comes_to(&scene.alpha, VIP));
    assert!(scene.leaves(&scene.beta, VIP), "{:?}", beta.said());
}

#[test]
fn an_interface_that_vanishes_and_returns_is_waited_for() {
    lab::skip_unless_root!();
    let scene = Scene::new("vanish");
    let add = |last: &str| {
        let ip = |words: &[&str]| scene.alpha.ip(words).unwrap();
        ip(&[
            "link", "add", "late0", "type", "veth", "peer", "name", "late1",
        ]);
        for name in ["late0", "late1"] {
            ip(&["link", "set", name, "up"]);
        }
        ip(&["address", "add", last, "dev", "late0"]);
    };
    let mut late = instance("VI_1", 51, 150);
    late.interface = "late0".to_owned();
    late.addresses[0].address = "10.7.0.100".parse().unwrap();
    let alpha = scene.role(&scene.alpha, &config(vec![late]));
    let faults = || alpha.first().words("fault").unwrap_or_default();
    assert_eq!(faults(), "interface late0 does not exist");
    add("10.7.0.1/24");
    assert!(
        scene.comes_to(&scene.alpha, "10.7.0.100"),
        "{}",
        alpha.said().join("\n")
    );
    scene.alpha.ip(&["link", "delete", "late0"]).unwrap();
    assert!(eventually(LATEST, || alpha.state("VI_1") == "FAULT"));
    add("10.7.0.1/24");
    assert!(
        scene.comes_to(&scene.alpha, "10.7.0.100"),
        "{}",
        alpha.said().join("\n")
    );
}

#[test]
fn a_link_that_flaps_is_damped_and_said_once() {
    lab::skip_unless_root!();
    let scene = Scene::new("flap");
    let alpha = scene.role(&scene.alpha, &simple(150));
    assert!(scene.comes_to(&scene.alpha, VIP));
    for _ in 0..8 {
        scene.at_alpha.unplug().unwrap();
        std::thread::sleep(Duration::from_millis(100));
        scene.at_alpha.plug().unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    alpha.wait_for("eth0 is flapping");
    assert!(
        alpha.count("Entering BACKUP STATE") <= 8,
        "{}",
        alpha.said().join("\n")
    );
    assert!(scene.comes_to(&scene.alpha, VIP), "it is believed again");
    assert_eq!(alpha.count("eth0 is flapping"), 1);
}

#[test]
fn a_master_that_was_frozen_gives_way_when_it_wakes_up() {
    lab::skip_unless_root!();
    let scene = Scene::new("frozen");
    let alpha = scene.role(&scene.alpha, &simple(100));
    assert!(scene.comes_to(&scene.alpha, VIP));
    alpha.process.signal(Signal::STOP).unwrap();
    let beta = scene.role(&scene.beta, &simple(150));
    assert!(scene.comes_to(&scene.beta, VIP));
    alpha.process.signal(Signal::CONT).unwrap();
    assert!(
        scene.leaves(&scene.alpha, VIP),
        "{}",
        alpha.said().join("\n")
    );
    assert!(scene.has(&scene.beta, VIP));
    assert_eq!(beta.state("VI_1"), "MASTER");
}

#[test]
fn when_adverts_pass_again_one_owner_stays_and_announces_itself_anew() {
    lab::skip_unless_root!();
    let scene = Scene::new("heal");
    let alpha = scene.role(&scene.alpha, &simple(150));
    let beta = scene.role(&scene.beta, &simple(100));
    assert!(scene.comes_to(&scene.alpha, VIP));
    alpha.wait_for("Sending gratuitous ARP");
    let all = lab::PacketFilter::all();
    let cut = scene.beta.block(&all);
    let Ok(cut) = cut else { return };
    assert!(
        scene.comes_to(&scene.beta, VIP),
        "both have it: they cannot know"
    );
    let before = alpha.count("Sending gratuitous ARP");
    drop(cut);
    assert!(scene.leaves(&scene.beta, VIP));
    assert!(scene.has(&scene.alpha, VIP));
    let more = || alpha.count("Sending gratuitous ARP") > before;
    assert!(eventually(LATEST, more), "{}", alpha.said().join("\n"));
    assert_eq!(beta.state("VI_1"), "BACKUP");
}
