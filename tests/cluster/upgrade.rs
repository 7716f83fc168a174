//! Tests `evenkeel cluster upgrade` during service: one node at a time, and only in a complete
//! cluster.

use crate::cluster::site::{SOON, Site, VIP};
use crate::program::binary;
use lab::eventually;
use std::thread;

const MEMBERS: [&str; 3] = ["alpha", "beta", "arbiter"];

#[test]
fn members_upgrade_one_at_a_time_without_failed_requests() {
    lab::skip_unless_root!();
    let mut site = Site::empty("upgrade");
    for name in MEMBERS {
        site.machine_mut(name).install();
    }
    site.found();
    site.begin();
    site.leader();
    let nothing = site.alpha.command(&["cluster", "upgrade"]).well();
    assert!(
        nothing
            .text()
            .contains("all members that are reachable run"),
        "{}",
        nothing.text()
    );
    for name in MEMBERS {
        site.machine_mut(name).install();
    }
    let check = site
        .alpha
        .command(&["cluster", "upgrade", "--check"])
        .well();
    assert!(
        check.text().contains("a newer one is installed"),
        "{}",
        check.text()
    );
    let before = site.alpha.processes().expect("it runs");

    // All members get the order at the same time, as from a tool that manages many machines.
    let load = site.load();
    thread::scope(|scope| {
        let upgrade = |name| {
            let machine = site.machine(name);
            scope.spawn(move || machine.command(&["cluster", "upgrade"]))
        };
        for done in MEMBERS.map(upgrade) {
            let said = done.join().unwrap().well();
            assert!(said.text().contains("is complete"), "{}", said.text());
        }
    });
    for name in MEMBERS {
        assert!(
            site.machine(name).runs_what_is_installed(),
            "{}",
            site.tell()
        );
    }
    let after = site.alpha.processes().expect("it runs");
    assert_eq!(after.0, before.0, "the same supervisor continues");
    assert_ne!(after.1, before.1, "another proxy serves");
    load.stop().without_a_failure();
    site.leader();
    assert!(site.alpha.has(VIP), "{}", site.tell());
}

#[test]
fn upgrade_waits_for_an_absent_member() {
    lab::skip_unless_root!();
    let mut site = Site::empty("upgrade-absent");
    for name in MEMBERS {
        site.machine_mut(name).install();
    }
    site.found();
    site.begin();
    site.leader();
    site.beta.install();
    site.arbiter.kill();
    let check = || site.beta.command(&["cluster", "upgrade", "--check"]).text();
    let arbiter_is_away = || check().contains("arbiter is not reachable");
    assert!(
        eventually(SOON, arbiter_is_away),
        "{}{}",
        check(),
        site.tell()
    );
    let before = site.beta.processes();
    site.beta
        .command(&["cluster", "upgrade", "--wait", "1s"])
        .refused(&["arbiter is not reachable"]);
    assert_eq!(site.beta.processes(), before, "nothing was replaced");
    // The command of another program would not know which version it installs.
    site.alpha
        .command_of(binary(), &["cluster", "upgrade"])
        .refused(&["cluster upgrade`"]);
    // The command waits, and continues when the member is back.
    let (beta, arbiter) = (&site.beta, &mut site.arbiter);
    thread::scope(|scope| {
        let upgrade = scope.spawn(|| beta.command(&["cluster", "upgrade"]));
        arbiter.start();
        upgrade.join().unwrap().well();
    });
    assert!(site.beta.runs_what_is_installed(), "{}", site.tell());
}
