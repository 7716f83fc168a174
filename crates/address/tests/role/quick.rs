//! Tests takeovers with advert intervals of hundredths of a second: a dead owner is replaced soon,
//! and busy processors cause no takeover.

use crate::scene::{LATEST, Scene, VIP, simple};
use address::config::Config;
use lab::{Signal, eventually};
use std::process::Command;
use std::time::Duration;

fn quick(priority: u8) -> Config {
    let mut c = simple(priority);
    c.instances[0].options.advert_interval = Duration::from_millis(10);
    c
}

#[test]
fn a_machine_that_dies_with_its_link_is_followed_soon_and_a_silent_one_is_asked_first() {
    lab::skip_unless_root!();
    let scene = Scene::new("quick");
    let alpha = scene.role(&scene.alpha, &quick(150));
    let beta = scene.role(&scene.beta, &quick(100));
    assert!(scene.comes_to(&scene.alpha, VIP));
    assert!(eventually(LATEST, || beta.state("VI_1") == "BACKUP"));
    let granted = beta
        .report()
        .of_kind("router")
        .next()
        .unwrap()
        .words("granted");
    assert!(granted.unwrap().contains("SCHED_RR 50"));
    // The kernel of a frozen process still answers, so silence alone does not trigger the takeover
    // at once.
    alpha.process.signal(Signal::STOP).unwrap();
    assert!(
        scene.comes_to(&scene.beta, VIP),
        "{}",
        beta.said().join("\n")
    );
    let why = beta.first().why;
    assert!(
        why.contains("although the owner's kernel responded"),
        "{why}"
    );
    alpha.process.signal(Signal::CONT).unwrap();
    assert!(scene.leaves(&scene.beta, VIP));
    assert!(scene.comes_to(&scene.alpha, VIP));
    // With the link down, no node answers.
    scene.at_alpha.down().unwrap();
    drop(alpha);
    assert!(scene.comes_to(&scene.beta, VIP));
    let why = beta.first().why;
    assert!(
        why.contains("no advert received for") && !why.contains("kernel"),
        "{why}"
    );
}

#[test]
fn busy_processors_make_nobody_take_over() {
    lab::skip_unless_root!();
    let scene = Scene::new("busy");
    let alpha = scene.role(&scene.alpha, &quick(150));
    let beta = scene.role(&scene.beta, &quick(100));
    assert!(scene.comes_to(&scene.alpha, VIP));
    assert!(eventually(LATEST, || beta.state("VI_1") == "BACKUP"));
    let before = beta.count("Entering MASTER");
    let busy: Vec<_> = (0..8)
        .map(|_| {
            let mut command = Command::new("sh");
            command.args(["-c", "while :; do :; done"]);
            scene.client.spawn(command).unwrap()
        })
        .collect();
    lab::sleep_in_test(Duration::from_secs(4), "a load lasts");
    drop(busy);
    assert_eq!(
        beta.count("Entering MASTER"),
        before,
        "{}",
        beta.said().join("\n")
    );
    assert_eq!(alpha.state("VI_1"), "MASTER");
}
