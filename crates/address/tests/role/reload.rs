//! Tests reloads of the configuration at run time, a successor of the role process, and the
//! hand-over of an address by an operator.

use crate::scene::{LATEST, Scene, VIP, address, config, hears_adverts, instance, patient, simple};
use lab::eventually;

#[test]
fn a_reload_moves_no_address_that_stays_and_changes_the_others_in_place() {
    lab::skip_unless_root!();
    let scene = Scene::new("reload");
    let mut two = patient(simple(150));
    two.instances[0].addresses.push(address("10.0.0.101/24"));
    let alpha = scene.role(&scene.alpha, &two);
    // A node with fewer configured addresses would drop the packets.
    let mut less = patient(simple(100));
    less.instances[0].addresses.push(address("10.0.0.101/24"));
    let beta = scene.role(&scene.beta, &less);
    assert!(scene.comes_to(&scene.alpha, VIP));
    let watch = std::process::Command::new("ip");
    let mut watch = watch;
    let events = scene.scratch.path().join("events");
    watch
        .args(["monitor", "address"])
        .stdout(std::fs::File::create(&events).unwrap());
    let _watching = scene.alpha.spawn(watch).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    let mut other = patient(simple(150));
    other.instances[0].addresses.push(address("10.0.0.102/24"));
    alpha.take(&other);
    assert!(scene.has(&scene.alpha, VIP));
    assert!(scene.has(&scene.alpha, "10.0.0.102"));
    assert!(!scene.has(&scene.alpha, "10.0.0.101"));
    assert_eq!(alpha.state("VI_1"), "MASTER");
    let moved = || std::fs::read_to_string(&events).unwrap();
    assert!(eventually(LATEST, || moved().contains("Deleted")
        && moved().contains("10.0.0.102")));
    let away = moved()
        .lines()
        .any(|l| l.contains("Deleted") && l.contains(&format!("{VIP}/")));
    assert!(!away, "{}", moved());
    assert_eq!(
        alpha.count("Entering MASTER STATE"),
        1,
        "nobody is told that it became master"
    );
    assert_eq!(beta.count("Entering MASTER"), 0);
    assert_eq!(alpha.count("Entering BACKUP STATE"), 1);
}

#[test]
fn an_instance_that_is_no_longer_configured_is_given_away_and_a_new_one_begins() {
    lab::skip_unless_root!();
    let scene = Scene::new("replace");
    let alpha = scene.role(&scene.alpha, &simple(150));
    let beta = scene.role(&scene.beta, &simple(100));
    assert!(scene.comes_to(&scene.alpha, VIP));
    let mut other = instance("VI_2", 52, 150);
    other.addresses = vec![address("10.0.0.102/24")];
    alpha.take(&config(vec![other]));
    assert!(!scene.has(&scene.alpha, VIP));
    assert!(scene.comes_to(&scene.beta, VIP));
    beta.wait_for("Backup received priority 0 advertisement");
    assert!(scene.comes_to(&scene.alpha, "10.0.0.102"));
}

#[test]
fn a_successor_finds_everything_in_place() {
    lab::skip_unless_root!();
    let scene = Scene::new("leave");
    let slow = patient(simple(150));
    let alpha = scene.role(&scene.alpha, &slow);
    assert!(scene.comes_to(&scene.alpha, VIP));
    alpha.order("leave");
    alpha.wait_for("stopped");
    assert!(scene.has(&scene.alpha, VIP));
    let again = scene.role(&scene.alpha, &slow);
    let why = || again.first().why;
    assert!(
        eventually(LATEST, || why().contains("resumed the state")),
        "{}",
        why()
    );
    assert!(scene.has(&scene.alpha, VIP));
    assert_eq!(again.count("Entering"), 0, "{}", again.said().join("\n"));
}

#[test]
fn an_operator_hands_an_address_over_and_it_does_not_come_back_by_itself() {
    lab::skip_unless_root!();
    let scene = Scene::new("handover");
    let alpha = scene.role(&scene.alpha, &simple(150));
    let beta = scene.role(&scene.beta, &simple(100));
    assert!(scene.comes_to(&scene.alpha, VIP));
    assert!(eventually(LATEST, || beta.state("VI_1") == "BACKUP"));
    alpha.order("hand-over VI_1");
    assert!(scene.comes_to(&scene.beta, VIP));
    assert!(scene.leaves(&scene.alpha, VIP));
    hears_adverts(&alpha, 10);
    assert_eq!(beta.state("VI_1"), "MASTER");
    assert_eq!(alpha.state("VI_1"), "BACKUP");
}
