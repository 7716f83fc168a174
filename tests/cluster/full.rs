//! Tests a node whose state disk is full: its control role stays, its leases are renewed, and its
//! guests continue. The node votes again when the disk has space.

use crate::cluster::site::{Machine, SOON, Site, configuration};
use crate::guest::site::GuestSite;
use lab::{FullDisk, eventually, sleep_in_test};
use serde_json::Value;
use std::time::Duration;

/// Size of the disk in bytes: room for a store and little more.
const DISK_BYTES: u64 = 64 << 20;
/// Time for which a disk stays full: many leases, and longer than an earlier pause of a failed
/// role.
const FULL_TIME: Duration = Duration::from_secs(25);
/// Longest time in which a disk without space may still accept entries in place, and a change waits
/// for a majority.
const FILLS: Duration = Duration::from_secs(180);
const LEASED: &str = "10.60.0.101";
const FAILS: [&str; 2] = ["the disk of beta fails", "no space left on the disk"];

/// Stops a machine, and starts it with its state on a disk that can be filled.
fn move_to_disk(machine: &mut Machine) -> FullDisk {
    machine.kill();
    let disk = FullDisk::new(DISK_BYTES).unwrap();
    disk.free_space().unwrap();
    machine.move_state(&disk.path().join("state"));
    machine.start();
    disk
}

/// The configuration with an address that has a lease, preferred on beta.
fn leased(word: &str) -> String {
    let lease = "virtual-ip leased\n\taddress 10.60.0.101/24\n\tinterface eth0\n\tprefer beta alpha\n\tlease\n";
    format!("{}\n{lease}", configuration(word))
}

/// Returns whether alpha reports that the log of this member cannot be written, because its disk is
/// full.
fn shows_full(site: &Site, name: &str) -> bool {
    let full = |status: Value| {
        let members = status["members"].as_array()?;
        let member = members.iter().find(|member| member["name"] == name)?;
        let halted = member["halted"].as_str()?;
        Some(halted.contains("no space left on the disk"))
    };
    let words = format!("the disk of {name} fails");
    let text = site.alpha.command(&["cluster", "status"]).text();
    text.contains(&words) && site.alpha.status().and_then(full) == Some(true)
}

/// Applies versions until the disks of these refuse one, and are shown with it.
#[track_caller]
fn refuse(site: &Site, names: &[&str], text: impl Fn(usize) -> String) {
    let mut number = 0;
    let shown = || {
        number += 1;
        site.alpha.apply(&text(number), &["--now"]);
        names.iter().all(|name| shows_full(site, name))
    };
    assert!(eventually(FILLS, shown), "{}", site.tell());
}

fn epoch(machine: &Machine, name: &str) -> Option<u64> {
    let status = machine.status()?;
    let leases = status["leases"].as_array()?;
    let lease = leases.iter().find(|lease| lease["name"] == name)?;
    lease["epoch"].as_u64()
}

#[test]
fn node_with_a_full_disk_keeps_leases_and_votes_again_later() {
    lab::skip_unless_root!();
    let mut site = Site::new("full-lease");
    site.leader();
    let disk = move_to_disk(&mut site.beta);
    site.leader();
    site.alpha.apply(&leased("two"), &["--now"]).well();
    let only_beta = |site: &Site| site.beta.has(LEASED) && !site.alpha.has(LEASED);
    assert!(eventually(SOON, || only_beta(&site)), "{}", site.tell());
    // The worse case: the member with the full disk leads.
    site.beta.command(&["cluster", "hand-over"]);
    let control = site.beta.control();
    let before = epoch(&site.alpha, "address/leased");
    disk.fill().unwrap();
    // No version is applied, because a version that is accepted without beta would move the address
    // to alpha.
    let shown = || {
        site.alpha.command(&["cluster", "invite"]);
        shows_full(&site, "beta")
    };
    assert!(eventually(FILLS, shown), "{}", site.tell());
    let began = std::time::Instant::now();
    while began.elapsed() < FULL_TIME {
        assert!(only_beta(&site), "{}", site.tell());
        sleep_in_test(Duration::from_millis(200), "a disk stays full");
    }
    assert_eq!(site.beta.control(), control, "{}", site.tell());
    assert_eq!(epoch(&site.alpha, "address/leased"), before);
    // Another member leads, and the state of beta is shown.
    let leads = |status: &Value| status["majority"] == true && status["leader"] != 2;
    assert!(site.alpha.tells(leads), "{}", site.tell());
    assert!(site.beta.tells_words(&FAILS), "{}", site.tell());
    disk.free_space().unwrap();
    site.leader();
    let applied = || site.alpha.apply(&leased("three"), &["--now"]).good;
    assert!(eventually(SOON, applied), "{}", site.tell());
    let serves = || site.serves_everywhere("three");
    assert!(eventually(SOON, serves), "{}", site.tell());
    let words = ["the disk of beta works again"];
    assert!(site.alpha.tells_words(&words), "{}", site.tell());
    assert_eq!(site.beta.control(), control, "{}", site.tell());
    assert_eq!(epoch(&site.alpha, "address/leased"), before);
    assert!(only_beta(&site), "{}", site.tell());
    site.beta.kill();
}

#[test]
fn a_full_disk_of_the_arbiter_stops_nothing() {
    lab::skip_unless_root!();
    let mut site = Site::new("full-arbiter");
    site.leader();
    let disk = move_to_disk(&mut site.arbiter);
    site.leader();
    let control = site.arbiter.control();
    disk.fill().unwrap();
    refuse(&site, &["arbiter"], |number| {
        configuration(&format!("full{number}"))
    });
    site.alpha.apply(&configuration("two"), &["--now"]).well();
    let serves = || site.serves_everywhere("two");
    assert!(eventually(SOON, serves), "{}", site.tell());
    disk.free_space().unwrap();
    site.leader();
    let words = ["the disk of arbiter works again"];
    assert!(site.alpha.tells_words(&words), "{}", site.tell());
    assert_eq!(site.arbiter.control(), control, "{}", site.tell());
    // The member has caught up and votes again.
    site.beta.kill();
    let applied = || site.alpha.apply(&configuration("three"), &["--now"]).good;
    assert!(eventually(SOON, applied), "{}", site.tell());
    site.arbiter.kill();
}

#[test]
fn full_disks_of_two_members_freeze_changes_until_there_is_room() {
    lab::skip_unless_root!();
    let mut site = Site::new("full-two");
    site.leader();
    let disks = [
        move_to_disk(&mut site.beta),
        move_to_disk(&mut site.arbiter),
    ];
    site.leader();
    let controls = site.machines().map(|machine| machine.control());
    let load = site.load();
    for disk in &disks {
        disk.fill().unwrap();
    }
    refuse(&site, &["beta", "arbiter"], |number| {
        configuration(&format!("full{number}"))
    });
    let said = site.alpha.apply(&configuration("two"), &["--now"]);
    assert!(!said.good, "{said:?}");
    // Status and configuration can be read on all members.
    for machine in site.machines() {
        assert!(machine.status().is_some(), "{}", site.tell());
    }
    let shown = site.alpha.command(&["config", "show"]);
    assert!(shown.good, "{shown:?}");
    for disk in &disks {
        disk.free_space().unwrap();
    }
    site.leader();
    let applied = || site.alpha.apply(&configuration("three"), &["--now"]).good;
    assert!(eventually(SOON, applied), "{}", site.tell());
    let serves = || site.serves_everywhere("three");
    assert!(eventually(SOON, serves), "{}", site.tell());
    assert_eq!(site.machines().map(|machine| machine.control()), controls);
    load.stop().without_a_failure();
    site.beta.kill();
    site.arbiter.kill();
}

#[test]
#[ignore = "it takes long: make test-long"]
fn a_guest_runs_on_where_the_state_disk_is_full() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    let Some(mut site) = GuestSite::new("full-guest") else {
        panic!("QEMU or the kernel for guests is not installed");
    };
    let disk = move_to_disk(&mut site.volumes.site.beta);
    site.is_there("beta");
    site.volumes.in_sync();
    let to_beta = ["guest", "move", "mail", "beta"];
    site.machine("alpha").command(&to_beta).well();
    site.runs_on("beta");
    let (qemu, control) = (site.qemu("beta"), site.machine("beta").control());
    disk.fill().unwrap();
    refuse(&site.volumes.site, &["beta"], |number| {
        format!("{}\n# {number}\n", site.configuration(""))
    });
    let mut wrote = site.wrote("beta");
    let began = std::time::Instant::now();
    while began.elapsed() < FULL_TIME {
        sleep_in_test(Duration::from_secs(5), "a disk stays full");
        let now = site.wrote("beta");
        assert!(now > wrote, "it stands still at {now}: {}", site.tell());
        wrote = now;
    }
    disk.free_space().unwrap();
    site.volumes.site.leader();
    let now = || site.wrote("beta") > wrote + 2;
    assert!(eventually(SOON, now), "{}", site.tell());
    assert_eq!(site.qemu("beta"), qemu, "{}", site.tell());
    assert_eq!(site.machine("beta").control(), control, "{}", site.tell());
    assert_eq!(site.qemu("alpha"), None, "{}", site.tell());
    site.volumes.in_sync();
    site.volumes.site.machine_mut("beta").kill();
}
