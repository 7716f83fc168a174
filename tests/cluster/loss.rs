//! Tests the loss of the control plane: traffic and addresses continue, the status names what is
//! frozen, and everything resumes by itself.

use crate::cluster::site::{SOON, Site, VIP, configuration};
use lab::{FullDisk, eventually};
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::time::Duration;

const SOME_TIME: Duration = Duration::from_millis(1500);

#[test]
fn killed_control_roles_fail_no_request_and_recover() {
    lab::skip_unless_root!();
    let site = Site::new("control");
    site.leader();
    let load = site.load();
    let before: Vec<_> = site.machines().map(|m| m.control().unwrap()).into();
    for machine in site.machines() {
        machine.kill_control();
    }
    let anew = || {
        let now = site.machines().map(|machine| machine.control());
        let pairs = now.iter().zip(&before);
        pairs
            .clone()
            .all(|(now, before)| now.is_some_and(|now| now != *before))
    };
    assert!(eventually(SOON, anew), "{}", site.tell());
    site.leader();
    site.apply("two").well();
    assert!(
        eventually(SOON, || site.serves_everywhere("two")),
        "{}",
        site.tell()
    );
    load.stop().without_a_failure();
}

#[test]
fn traffic_continues_without_a_majority_and_changes_are_refused() {
    lab::skip_unless_root!();
    let mut site = Site::new("minority");
    site.leader();
    site.beta.kill();
    site.arbiter.kill();
    let frozen = [
        "frozen",
        "1 of 3 members are reachable and 2 are needed",
        "traffic",
    ];
    assert!(site.alpha.tells_words(&frozen), "{}", site.tell());
    assert!(eventually(SOON, || site.vip_serves()), "{}", site.tell());
    let load = site.load();
    let said = site.apply("two");
    assert!(!said.good, "{said:?}");
    lab::sleep_in_test(SOME_TIME, "a loss lasts");
    let own = &load.stop().own[0];
    let failed = crate::cluster::site::failed(own);
    assert!(own.len() > 10 && failed.is_empty(), "{failed:?}");
    assert!(site.serves(&site.alpha, "one"), "{}", site.tell());
    site.beta.start();
    site.arbiter.start();
    site.leader();
    site.apply("three").well();
    assert!(
        eventually(SOON, || site.serves_everywhere("three")),
        "{}",
        site.tell()
    );
}

#[test]
fn lone_node_serves_its_last_accepted_version() {
    lab::skip_unless_root!();
    let mut site = Site::new("starts-alone");
    for name in ["alpha", "beta", "arbiter"] {
        site.machine_mut(name).kill();
    }
    site.alpha.start();
    assert!(
        eventually(SOON, || site.serves(&site.alpha, "one")),
        "{}",
        site.tell()
    );
    assert!(
        site.alpha
            .tells(|s| s["configuration"]["by_itself"] == true),
        "{}",
        site.tell()
    );
    let words = ["serves the version that it accepted last"];
    assert!(site.alpha.tells_words(&words), "{}", site.tell());
    // The majority is lost for good.
    site.alpha.stop();
    // Without `--yes`, the command explains the effect and changes nothing.
    let recover = ["cluster", "recover", "--alone"];
    site.alpha
        .command(&recover)
        .refused(&["nothing was changed"]);
    let recover = ["cluster", "recover", "--alone", "--yes"];
    site.alpha.command(&recover).well();
    site.alpha.start();
    let alone = |status: &serde_json::Value| {
        let members = status["members"].as_array().map(Vec::len);
        status["majority"] == true && members == Some(1)
    };
    assert!(site.alpha.tells(alone), "{}", site.tell());
    site.apply("two").well();
    // The node rolls back for a moment if it has to take over its address at that time.
    let serves = || site.serves(&site.alpha, "two");
    assert!(eventually(SOON, serves), "{}", site.tell());
}

#[test]
fn corrupt_store_is_reported_and_recovers() {
    lab::skip_unless_root!();
    let mut site = Site::new("corrupt");
    site.leader();
    site.beta.kill();
    let store = site.beta.state().join("store.redb");
    let mut file = fs::File::options().write(true).open(&store).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(&[0xa5; 64 * 1024]).unwrap();
    drop(file);
    site.alpha.apply(&configuration("two"), &["--now"]).well();
    site.beta.start();
    let words = ["the log of beta was lost (the store is damaged"];
    assert!(site.alpha.tells_words(&words), "{}", site.tell());
    site.leader();
    assert!(
        eventually(SOON, || site.serves_everywhere("two")),
        "{}",
        site.tell()
    );
}

#[test]
fn emptied_store_causes_no_split_history() {
    lab::skip_unless_root!();
    let mut site = Site::new("empty");
    site.leader();
    let set = site.beta.state().join("accepted.set");
    let before = fs::read(&set).unwrap_or_default();
    site.arbiter.kill();
    let applied = || site.apply("two").good;
    assert!(eventually(SOON, applied), "{}", site.tell());
    assert!(
        eventually(SOON, || site.serves_everywhere("two")),
        "{}",
        site.tell()
    );
    // The version is served first and accepted then.
    let changed = || {
        let kept = fs::read(&set).unwrap_or_default();
        site.beta.accepted() == Some(2) && kept != before
    };
    assert!(eventually(SOON, changed), "{}", site.tell());
    let kept = fs::read(&set).unwrap();
    site.alpha.kill();
    site.beta.kill();
    let store = site.beta.state().join("store.redb");
    let file = fs::File::options().write(true).open(&store).unwrap();
    file.set_len(0).unwrap();
    drop(file);
    site.beta.start();
    site.arbiter.start();
    let words = ["beta: the store is empty; it is not a voter"];
    assert!(site.beta.tells_words(&words), "{}", site.tell());
    let words = ["beta: the store is empty; it is not a voter"];
    assert!(site.arbiter.tells_words(&words), "{}", site.tell());
    // Waits longer than several elections take.
    lab::sleep_in_test(SOME_TIME, "a loss lasts");
    for member in [&site.beta, &site.arbiter] {
        let frozen = |status: &serde_json::Value| status["majority"] == false;
        assert!(member.tells(frozen), "{}", site.tell());
    }
    assert_eq!(fs::read(&set).unwrap(), kept);
    assert!(site.ask(site.beta.service(), "/version").is_ok());
    site.alpha.start();
    site.leader();
    let words = ["the log of beta was lost (the store is empty)"];
    assert!(site.alpha.tells_words(&words), "{}", site.tell());
    assert!(
        eventually(SOON, || site.serves_everywhere("two")),
        "{}",
        site.tell()
    );
    let applied = || site.apply("three").good;
    assert!(eventually(SOON, applied), "{}", site.tell());
    assert!(
        eventually(SOON, || site.serves_everywhere("three")),
        "{}",
        site.tell()
    );
}

#[test]
#[ignore = "it takes long: make test-long"]
fn a_full_disk_stops_changes_and_not_traffic() {
    lab::skip_unless_root!();
    /// Size of the disk in bytes: room for a store and little more.
    const DISK_BYTES: u64 = 64 << 20;
    let mut site = Site::new("full");
    site.leader();
    site.beta.kill();
    let disk = FullDisk::new(DISK_BYTES).unwrap();
    disk.free_space().unwrap();
    site.beta.move_state(&disk.path().join("state"));
    site.beta.start();
    site.leader();
    let load = site.load();
    disk.fill().unwrap();
    // The others are a majority.
    site.alpha.apply(&configuration("two"), &["--now"]);
    lab::sleep_in_test(SOME_TIME, "a loss lasts");
    assert!(site.ask(site.beta.service(), "/").is_ok());
    disk.free_space().unwrap();
    site.leader();
    // Applies the next version once the one that waited for beta is decided.
    let applied = || site.apply("three").good;
    assert!(eventually(SOON, applied), "{}", site.tell());
    // Frequent requests for the status, as by a console, do not delay beta.
    let serves = || {
        site.beta.command(&["status", "cluster"]);
        site.serves_everywhere("three")
    };
    assert!(eventually(SOON, serves), "{}", site.tell());
    load.stop().without_a_failure();
    site.beta.kill();
}

const LEASED: &str = "10.60.0.101";

#[test]
fn only_leased_addresses_end_with_their_lease() {
    lab::skip_unless_root!();
    let mut site = Site::new("leased");
    site.leader();
    let lease = "virtual-ip leased\n\taddress 10.60.0.101/24\n\tinterface eth0\n\tprefer alpha beta\n\tlease\n";
    let text = format!("{}\n{lease}", configuration("two"));
    site.alpha.apply(&text, &["--now"]).well();
    // The preferred node has the address, regardless of which one started first.
    let only_alpha = |site: &Site| site.alpha.has(LEASED) && !site.beta.has(LEASED);
    assert!(eventually(SOON, || only_alpha(&site)), "{}", site.tell());
    let hand_over = ["address", "hand-over", "leased"];
    site.alpha.command(&hand_over).well();
    let only_beta = |site: &Site| site.beta.has(LEASED) && !site.alpha.has(LEASED);
    assert!(eventually(SOON, || only_beta(&site)), "{}", site.tell());
    // The address may be handed back.
    site.beta.command(&hand_over).well();
    assert!(eventually(SOON, || only_alpha(&site)), "{}", site.tell());
    site.alpha.command(&hand_over).well();
    assert!(eventually(SOON, || only_beta(&site)), "{}", site.tell());
    site.beta.kill();
    assert!(eventually(SOON, || only_alpha(&site)), "{}", site.tell());
    site.arbiter.kill();
    assert!(
        eventually(SOON, || !site.alpha.has(LEASED)),
        "{}",
        site.tell()
    );
    assert!(site.alpha.has(VIP) && site.vip_serves(), "{}", site.tell());
    site.beta.start();
    site.arbiter.start();
    site.leader();
    assert!(eventually(SOON, || only_alpha(&site)), "{}", site.tell());
}
