//! Tests guests on the nodes of a cluster: they survive every failure but that of their node, and
//! run in one place.

use crate::cluster::site::SOON;
use crate::guest::site::{GuestSite, cut_power, ends, kill, lives};
use crate::volume::site::{Client, SIZE};
use lab::eventually;

/// Kills a role of a node.
fn kill_role(site: &GuestSite, node: &str, role: &str) {
    let pid = site.machine(node).role(role).expect("it runs");
    kill(Some(pid.as_raw_nonzero().get().unsigned_abs()));
}

#[test]
fn a_guest_outlives_its_role_its_supervisor_and_crashes_of_itself() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    let Some(mut site) = GuestSite::new("guest-life") else {
        panic!("QEMU or the kernel for guests is not installed");
    };
    let pid = site.process("alpha").expect("it runs");
    // The role is killed: the next one finds it.
    kill_role(&site, "alpha", "guest-role");
    let again = || site.process("alpha") == Some(pid);
    assert!(eventually(SOON, again), "{}", site.tell());
    site.runs_on("alpha");
    // The volume role is killed, too: requests wait for the next one.
    kill_role(&site, "alpha", "volume-role");
    site.runs_on("alpha");
    assert_eq!(site.process("alpha"), Some(pid));
    // The supervisor is killed, and another one started.
    site.volumes.site.machine_mut("alpha").kill_supervisor();
    site.volumes.site.machine_mut("alpha").start();
    assert!(
        eventually(SOON, || site.process("alpha") == Some(pid)),
        "{}",
        site.tell()
    );
    site.runs_on("alpha");
    // QEMU itself is killed: the guest is started again on this node, with all that it wrote.
    let wrote = site.wrote("alpha");
    kill(Some(pid));
    let other = || site.process("alpha").is_some_and(|other| other != pid);
    assert!(eventually(SOON, other), "{}", site.tell());
    site.runs_on("alpha");
    assert!(
        site.began("alpha").is_some_and(|began| began >= wrote),
        "{}",
        site.tell()
    );
    assert!(!lives(pid));
}

/// QEMU cannot pause a guest whose requests to its disks wait for the majority.
#[test]
#[ignore = "it takes long: make test-long"]
fn a_guest_that_writes_stands_still_without_a_majority_and_goes_on_with_it() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    let Some(site) = GuestSite::new("guest-majority") else {
        panic!("QEMU or the kernel for guests is not installed");
    };
    let pid = site.process("alpha").expect("it runs");
    let stops = || {
        let said = site.machine("alpha").said();
        said.matches("its process is stopped").count()
    };
    for (round, role_is_killed) in [false, true].into_iter().enumerate() {
        let members = &site.volumes.site;
        let cuts = [("alpha", "beta"), ("alpha", "arbiter"), ("beta", "arbiter")];
        let cuts = cuts.map(|(one, other)| members.cut(one, other));
        assert!(eventually(SOON, || stops() > round), "{}", site.tell());
        if role_is_killed {
            kill_role(&site, "alpha", "guest-role");
            let is_found = || site.process("alpha") == Some(pid);
            assert!(eventually(SOON, is_found), "{}", site.tell());
        }
        assert!(lives(pid) && site.qemu("beta").is_none(), "{}", site.tell());
        drop(cuts);
        site.runs_on("alpha");
        assert_eq!(site.process("alpha"), Some(pid), "{}", site.tell());
        assert_eq!(site.said("alpha").matches("begins with").count(), 1);
    }
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_guest_whose_copy_is_gone_goes_to_the_other_one_and_may_come_back() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    let Some(site) = GuestSite::new("guest-copy-gone") else {
        panic!("QEMU or the kernel for guests is not installed");
    };
    let wrote = site.wrote("alpha");
    let file = site.volumes.file("alpha");
    let away = file.with_extension("away");
    std::fs::rename(&file, &away).unwrap();
    kill_role(&site, "alpha", "volume-role");
    site.runs_on("beta");
    let began = site.began("beta").unwrap_or_default();
    assert!(began >= wrote, "{began} {wrote} {}", site.tell());
    let said = site.machine("alpha").said();
    assert!(
        said.contains("this node has no usable copy of volume mail"),
        "{said}"
    );
    let shown = site.shown("beta");
    for words in ["no copy of volume mail", "no usable copy of volume mail"] {
        assert!(!shown.contains(words), "{shown}");
    }
    // The guest cannot move back, and continues to run on beta.
    let to_alpha = ["guest", "move", "mail", "alpha"];
    site.machine("alpha")
        .command(&to_alpha)
        .refused(&["mail has not moved"]);
    site.runs_on("beta");
    std::fs::rename(&away, &file).unwrap();
    site.volumes.in_sync();
    let moves = || site.machine("alpha").command(&to_alpha).good;
    assert!(eventually(SOON, moves), "{}", site.tell());
    site.runs_on("alpha");
}

/// The first available node has the older copy: it must not keep the guest until the copy is
/// filled.
#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_guest_goes_to_the_complete_copy_where_the_node_with_the_older_one_came_first() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    let Some(mut site) = GuestSite::new("guest-older-copy") else {
        panic!("QEMU or the kernel for guests is not installed");
    };
    // At this rate, beta needs half a minute or more to receive the blocks that it lacks.
    let text = site.configuration("volume-defaults\n\tresync-rate 1m\n");
    site.machine("alpha").apply(&text, &["--now"]).well();
    site.runs_on("alpha");
    cut_power(&mut site, "beta");
    site.volumes.becomes("alpha", "serving alone");
    site.machine("alpha")
        .command(&["guest", "stop", "mail"])
        .well();
    let mut client = Client::connect(&site.volumes.socket("alpha")).unwrap();
    for mebibyte in 1..SIZE >> 20 {
        client.write(mebibyte * 256, &[7; 1 << 20], false).unwrap();
    }
    client.flush().unwrap();
    drop(client);
    site.machine("alpha")
        .command(&["guest", "start", "mail"])
        .well();
    site.runs_on("alpha");
    let wrote = site.wrote("alpha");
    cut_power(&mut site, "alpha");
    site.volumes.site.machine_mut("beta").start();
    let waits = || site.shown("beta").contains("volume mail: ");
    assert!(eventually(SOON, waits), "{}", site.tell());
    site.volumes.site.machine_mut("alpha").start();
    site.runs_on("alpha");
    let began = site.began("alpha").unwrap_or_default();
    assert!(began >= wrote, "{began} {wrote} {}", site.tell());
    // The guest may move to beta again.
    site.volumes.in_sync();
    let may = || !site.shown("alpha").contains("no copy of volume mail");
    assert!(eventually(SOON, may), "{}", site.tell());
}

#[test]
#[ignore = "a machine that is too slow for it starts the guest elsewhere: make test-long"]
fn a_guest_outlives_a_restart_of_the_program() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    let Some(mut site) = GuestSite::new("guest-restart") else {
        panic!("QEMU or the kernel for guests is not installed");
    };
    let pid = site.process("alpha").expect("it runs");
    site.volumes.site.machine_mut("alpha").stop();
    assert!(lives(pid), "{}", site.tell());
    site.volumes.site.machine_mut("alpha").start();
    let again = || site.process("alpha") == Some(pid);
    assert!(eventually(SOON, again), "{}", site.tell());
    site.runs_on("alpha");
    assert_eq!(site.process("alpha"), Some(pid), "{}", site.tell());
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn an_operator_stops_starts_and_moves_a_guest() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    let Some(site) = GuestSite::new("guest-orders") else {
        panic!("QEMU or the kernel for guests is not installed");
    };
    // The tests in `migration.rs` move running guests.
    let text = site.configuration("\tmigrate cold\n");
    site.machine("alpha").apply(&text, &["--now"]).well();
    let pid = site.process("alpha").expect("it runs");
    // An order goes to the node that has the guest.
    site.machine("beta")
        .command(&["guest", "stop", "mail"])
        .well();
    ends(pid);
    assert!(
        site.shown("alpha").contains("an operator stopped it"),
        "{}",
        site.tell()
    );
    // The guest stays stopped, on each node.
    site.machine("beta")
        .command(&["guest", "start", "nothing"])
        .refused(&["no guest 'nothing'"]);
    site.machine("alpha")
        .command(&["guest", "start", "mail"])
        .well();
    site.runs_on("alpha");
    let wrote = site.wrote("alpha");
    site.machine("alpha")
        .command(&["guest", "move", "mail", "gamma"])
        .refused(&["names alpha, beta"]);
    site.machine("beta")
        .command(&["guest", "move", "mail", "alpha"])
        .refused(&["is already on alpha"]);
    site.machine("beta")
        .command(&["guest", "move", "mail", "beta"])
        .well();
    site.runs_on("beta");
    assert!(
        site.began("beta").is_some_and(|began| began >= wrote),
        "{}",
        site.tell()
    );
    site.machine("alpha")
        .command(&["node", "drain", "gamma"])
        .refused(&["no guest may run on node 'gamma'"]);
    let drain = site.machine("alpha").command(&["node", "drain", "beta"]);
    drain.well();
    site.runs_on("alpha");
    site.machine("beta").command(&["node", "fill"]).well();
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_guest_starts_on_the_other_node_when_its_node_loses_power() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    let Some(mut site) = GuestSite::new("guest-power") else {
        panic!("QEMU or the kernel for guests is not installed");
    };
    let wrote = site.wrote("alpha");
    cut_power(&mut site, "alpha");
    site.runs_on("beta");
    assert!(
        site.began("beta").is_some_and(|began| began >= wrote),
        "{}",
        site.tell()
    );
    // Alpha returns, and the guest stays on beta.
    let pid = site.process("beta");
    site.volumes.site.machine_mut("alpha").start();
    site.is_elsewhere("alpha");
    // Each node shows the guest as its own node does, and has its serial output.
    let listed = site.machine("alpha").command(&["guest", "list"]).well().out;
    let line = listed.lines().find(|line| line.starts_with("mail "));
    let words: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
    assert_eq!(words.get(1..3), Some(&["running", "beta"][..]), "{listed}");
    let log = site.machine("alpha").command(&["guest", "log", "mail"]);
    assert!(log.well().out.contains("guest: wrote "), "{}", site.tell());
    site.volumes.in_sync();
    assert_eq!(site.process("beta"), pid, "{}", site.tell());
    assert!(site.process("alpha").is_none(), "{}", site.tell());
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_guest_starts_after_a_power_cut_of_all_machines_whichever_starts_first() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    let Some(mut site) = GuestSite::new("guest-cold") else {
        panic!("QEMU or the kernel for guests is not installed");
    };
    let mut runs = "alpha";
    for order in [
        ["arbiter", "beta", "alpha"],
        ["beta", "alpha", "arbiter"],
        ["alpha", "arbiter", "beta"],
    ] {
        let wrote = site.wrote(runs);
        let off = |name: &str| site.machine(name).host.power_off().unwrap();
        let faults = order.map(off);
        for name in order {
            site.volumes.site.machine_mut(name).kill();
        }
        for node in ["alpha", "beta"] {
            let _ = std::fs::remove_dir_all(site.home(node));
        }
        faults.into_iter().for_each(|fault| fault.heal().unwrap());
        for name in order {
            site.volumes.site.machine_mut(name).start();
        }
        let node = || {
            ["alpha", "beta"]
                .into_iter()
                .find(|node| site.process(node).is_some())
        };
        assert!(
            eventually(SOON, || node().is_some()),
            "{order:?}: {}",
            site.tell()
        );
        runs = node().expect("it runs");
        site.runs_on(runs);
        assert!(
            site.began(runs).is_some_and(|began| began >= wrote),
            "{order:?}: {}",
            site.tell()
        );
        site.volumes.in_sync();
    }
}
