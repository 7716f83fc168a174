//! Tests `evenkeel volume verify` on real machines: differences are found while clients write, and
//! each outcome of a verify has a message.

use crate::cluster::site::{SOON, Said};
use crate::volume::site::{Client, NODES, VolumeSite, clients, other};
use lab::eventually;
use rustix::process::{Signal, kill_process};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

/// A block that no client writes.
const QUIET: u64 = 2000;

/// Changes two blocks of a copy directly in its file.
fn corrupt(volumes: &VolumeSite, node: &str) {
    let file = OpenOptions::new().write(true).open(volumes.file(node));
    let file = file.unwrap();
    file.write_all_at(&[0x5a; 8192], QUIET * 4096).unwrap();
    file.sync_all().unwrap();
}

fn verify(volumes: &VolumeSite, node: &str, further: &[&str]) -> Said {
    let words = [&["volume", "verify", "mail"], further].concat();
    volumes.site.machine(node).command(&words)
}

#[test]
fn a_verify_finds_differences_and_repairs_on_request() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::new("volume-verify");
    let owner = volumes.in_sync();
    let writers = clients(&volumes);
    let equal = verify(&volumes, owner, &[]).well();
    assert!(
        equal.text().contains("both copies are equal"),
        "{}",
        equal.text()
    );
    corrupt(&volumes, other(owner));
    let range = "bytes 8192000-8200191 differ";
    let found = verify(&volumes, owner, &[]);
    let words = ["8 KiB differ; nothing was repaired", "nobody can know"];
    found.refused(&words);
    let shown = volumes.shown(owner);
    assert!(shown.contains(range), "{shown}");
    let metrics = ["status", "volume", "--metrics"];
    let metrics = volumes.site.machine(owner).command(&metrics).well().text();
    let differing = "evenkeel_volume_verify_differing_bytes{volume=\"mail\"} 8192";
    assert!(metrics.contains(differing), "{metrics}");
    let repaired = verify(&volumes, owner, &["--repair"]);
    let repaired = repaired.refused(&["8 KiB differ; 8 KiB repaired"]);
    assert!(!repaired.err.contains("error:"), "{}", repaired.err);
    verify(&volumes, owner, &[]).well();
    verify(&volumes, other(owner), &[]).refused(&["does not serve volume 'mail'", owner]);
    verify(&volumes, owner, &["--stop"]).refused(&["no verify of it is running"]);
    writers.iter().for_each(|writer| writer.gets_on(20));
    volumes.holds(writers);
}

/// Returns the configuration with a rate at which a verify takes half a minute.
fn slow(volumes: &VolumeSite) -> String {
    let text = volumes.configuration("");
    let rate = "volume-defaults\n\tresync-rate 1m\n\nvolume mail";
    text.replace("volume mail", rate)
}

/// Runs a verify at the owner, and an action in the middle of it; returns the result of the verify.
fn amid(volumes: &VolumeSite, what: impl FnOnce(&str)) -> Said {
    let owner = volumes.in_sync();
    std::thread::scope(|scope| {
        let verify = scope.spawn(|| verify(volumes, owner, &[]));
        let runs = || volumes.fact(owner, "verify running").as_deref() == Some("1");
        assert!(eventually(SOON, runs), "{}", volumes.tell());
        what(owner);
        verify.join().unwrap()
    })
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_verify_that_cannot_go_on_ends_at_once_with_the_reason() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::new("volume-verify-ends");
    volumes.in_sync();
    let alpha = &volumes.site.alpha;
    alpha.apply(&slow(&volumes), &["--now"]).well();
    let writers = clients(&volumes);
    let command = |node: &str, words: &[&str]| volumes.site.machine(node).command(words);
    let ended = ["the other copy is lost or not in sync", "not complete"];
    let mut cut = None;
    amid(&volumes, |_| cut = Some(volumes.site.cut_direct())).refused(&ended);
    drop(cut);
    let hand_over = ["volume", "hand-over", "mail"];
    let said = amid(&volumes, |owner| drop(command(owner, &hand_over).well()));
    said.refused(&["this node is no longer the owner"]);
    let stopped = amid(&volumes, |owner| {
        verify(&volumes, owner, &[]).refused(&["a verify of it is already running"]);
        verify(&volumes, owner, &["--stop"]).well();
    });
    stopped.refused(&["it was stopped"]);
    let killed = amid(&volumes, |owner| {
        let role = volumes.site.machine(owner).role("volume-role");
        kill_process(role.expect("a role"), Signal::KILL).unwrap();
    });
    killed.refused(&["volume 'mail'"]);
    // A change of the rate does not interrupt the verify.
    let owner = volumes.in_sync();
    let socket = volumes.socket(owner);
    let mut client = Client::connect(&socket).unwrap();
    let before = volumes.configuration("");
    let reloaded = amid(&volumes, |_| drop(alpha.apply(&before, &["--now"]).well()));
    let text = reloaded.well().text();
    assert!(text.contains("both copies are equal"), "{text}");
    client.read(0).unwrap();
    assert_eq!(NODES.len(), writers.len());
    volumes.holds(writers);
}
