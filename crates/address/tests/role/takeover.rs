//! Tests that another node takes over the address when its owner is killed or stops.

use crate::scene::{LATEST, Scene, VIP, simple};
use lab::{Signal, eventually};

#[test]
fn one_becomes_master_and_the_other_takes_over_when_it_is_killed() {
    lab::skip_unless_root!();
    let scene = Scene::new("takeover");
    let alpha = scene.role(&scene.alpha, &simple(150));
    let beta = scene.role(&scene.beta, &simple(100));
    assert!(scene.comes_to(&scene.alpha, VIP));
    alpha.wait_for("(VI_1) Entering MASTER STATE");
    assert!(scene.leaves(&scene.beta, VIP));
    let knows = |mac: &str| {
        let _ = scene.client.ip(&["neigh", "show"]);
        scene
            .client
            .tcp_connect("10.0.0.100:1".parse().unwrap(), LATEST)
            .is_ok()
            || scene
                .client
                .ip(&["neigh", "show", VIP])
                .unwrap()
                .contains(mac)
    };
    let mac = |host: &lab::LabHost| {
        let shown = host.ip(&["-o", "link", "show", "eth0"]).unwrap();
        let mut words = shown.split_whitespace();
        words.find(|w| *w == "link/ether").unwrap();
        words.next().unwrap().to_owned()
    };
    assert!(knows(&mac(&scene.alpha)));
    // The whole machine fails: its process and its link.
    scene.at_alpha.down().unwrap();
    drop(alpha);
    assert!(scene.comes_to(&scene.beta, VIP), "{:?}", beta.said());
    beta.wait_for("(VI_1) Receive advertisement timeout");
    // The client never asked again: a gratuitous ARP updated its neighbour table.
    let told = || {
        scene
            .client
            .ip(&["neigh", "show", VIP])
            .unwrap()
            .contains(&mac(&scene.beta))
    };
    assert!(eventually(LATEST, told));
}

#[test]
fn a_planned_stop_gives_the_address_away_and_says_so() {
    lab::skip_unless_root!();
    let scene = Scene::new("stop");
    let alpha = scene.role(&scene.alpha, &simple(150));
    let beta = scene.role(&scene.beta, &simple(100));
    assert!(scene.comes_to(&scene.alpha, VIP));
    alpha.order("stop");
    alpha.wait_for("stopped");
    assert!(!scene.has(&scene.alpha, VIP));
    beta.wait_for("(VI_1) Backup received priority 0 advertisement");
    assert!(scene.comes_to(&scene.beta, VIP));
}

#[test]
fn a_role_that_is_killed_and_started_again_goes_on_as_master_without_a_gap() {
    lab::skip_unless_root!();
    let scene = Scene::new("resume");
    let alpha = scene.role(&scene.alpha, &simple(150));
    assert!(scene.comes_to(&scene.alpha, VIP));
    alpha.process.signal(Signal::KILL).unwrap();
    alpha.process.wait(LATEST).unwrap();
    assert!(
        scene.has(&scene.alpha, VIP),
        "nobody was there to take it away"
    );
    let again = scene.role(&scene.alpha, &simple(150));
    assert!(eventually(LATEST, || again.state("VI_1") == "MASTER"));
    assert!(scene.has(&scene.alpha, VIP));
}
