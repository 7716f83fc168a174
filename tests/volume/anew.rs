//! Tests volumes whose copies are not those that the cluster knows: removed and created again, lost
//! with their disk, or in the place of others.

use crate::cluster::site::SOON;
use crate::volume::site::{Client, NODES, VolumeSite, other};
use lab::eventually;
use std::fs;
use std::path::PathBuf;

fn write(volumes: &VolumeSite, node: &str, value: u8) {
    let mut client = Client::connect(&volumes.socket(node)).unwrap();
    client.write(3, &[value; 4096], true).unwrap();
}

#[track_caller]
fn has(volumes: &VolumeSite, value: u8) {
    for node in NODES {
        let mut client = Client::connect(&volumes.socket(node)).unwrap();
        assert_eq!(client.read(3).unwrap(), [value; 4096], "{node}");
    }
}

/// Returns the files of a node's copy.
fn files(volumes: &VolumeSite, node: &str) -> [PathBuf; 2] {
    let file = volumes.file(node);
    [file.with_extension("metadata"), file]
}

#[track_caller]
fn says(volumes: &VolumeSite, node: &str, words: &str) {
    let says = || volumes.shown(node).contains(words);
    assert!(eventually(SOON, says), "not {words:?}: {}", volumes.tell());
}

const ADOPT: [&str; 4] = ["volume", "adopt", "mail", "--yes"];

#[test]
fn a_volume_that_was_removed_and_created_again_begins_when_an_operator_says_so() {
    lab::skip_unless_root!();
    let volumes = VolumeSite::new("volume-again");
    let owner = volumes.in_sync();
    write(&volumes, owner, 1);
    let with = volumes.configuration("");
    let without = with.split("volume mail").next().unwrap();
    volumes.site.alpha.apply(without, &["--now"]).well();
    let gone = || {
        NODES
            .iter()
            .all(|node| volumes.fact(node, "state").is_none())
    };
    assert!(eventually(SOON, gone), "{}", volumes.tell());
    let directory = volumes.backing();
    for node in volumes.site.nodes() {
        let backing = ["--backing", "file", &directory];
        let remove = [&["volume", "remove", "mail", "--yes"][..], &backing].concat();
        node.command(&remove).well();
    }
    volumes.site.alpha.apply(&with, &["--now"]).well();
    for node in volumes.site.nodes() {
        let configured = || node.command(&["volume", "show", "mail"]).good;
        assert!(eventually(SOON, configured), "{}", volumes.tell());
        node.command(&["volume", "create", "mail"]).well();
    }
    for node in NODES {
        says(&volumes, node, "both copies are new and empty");
        says(&volumes, node, "`evenkeel volume adopt mail --yes`");
    }
    assert_eq!(volumes.owner(), None, "{}", volumes.tell());
    volumes.site.beta.command(&ADOPT).well();
    assert_eq!(volumes.in_sync(), "beta");
    has(&volumes, 0);
    write(&volumes, "alpha", 2);
    has(&volumes, 2);
    let again = volumes.site.alpha.command(&ADOPT);
    again.refused(&["beta serves this volume"]);
}

#[test]
#[ignore = "it takes long: make test-long"]
fn an_incomplete_copy_can_continue_after_loss_of_the_complete_one() {
    lab::skip_unless_root!();
    let mut volumes = VolumeSite::new("volume-lost-disk");
    let lost = volumes.in_sync();
    let there = other(lost);
    write(&volumes, lost, 1);
    volumes.site.machine_mut(there).stop();
    volumes.becomes(lost, "serving alone");
    write(&volumes, lost, 2);
    // The disk of the lost node is replaced, and the copy on it created again.
    volumes.site.machine_mut(lost).stop();
    for file in files(&volumes, lost) {
        fs::remove_file(file).unwrap();
    }
    for node in [lost, there] {
        volumes.site.machine_mut(node).start();
    }
    says(&volumes, there, "this copy is not complete");
    let order = ["volume", "serve-alone", "mail", "--yes"];
    let words = [
        "does not have the copy of this node as a complete one",
        "volume adopt mail",
    ];
    volumes.site.machine(there).command(&order).refused(&words);
    let snapshot = ["volume", "snapshot", "mail"];
    let words = ["is not complete", &format!("Take it on {lost}")];
    volumes
        .site
        .machine(there)
        .command(&snapshot)
        .refused(&words);
    let create = ["volume", "create", "mail"];
    volumes.site.machine(lost).command(&create).well();
    says(&volumes, lost, "the complete copy was on this node");
    says(
        &volumes,
        there,
        &format!("the complete copy was that of {lost}"),
    );
    assert_eq!(volumes.owner(), None, "{}", volumes.tell());
    let words = [&*format!("adopt that one, on {there}")];
    volumes.site.machine(lost).command(&ADOPT).refused(&words);
    // The copy on the other node is the only one with data, and is adopted.
    volumes.site.machine(there).command(&ADOPT).well();
    assert_eq!(volumes.in_sync(), there);
    has(&volumes, 1);
    write(&volumes, lost, 3);
    volumes.site.machine_mut(there).stop();
    volumes.becomes(lost, "serving alone");
    volumes.site.machine_mut(there).start();
    volumes.in_sync();
    has(&volumes, 3);
    volumes.holds(Vec::new());
}

#[test]
#[ignore = "it takes long: make test-long"]
fn files_of_another_volume_are_not_served() {
    lab::skip_unless_root!();
    let mut volumes = VolumeSite::new("volume-swapped");
    let with = volumes.configuration("");
    let (nodes, mail) = with.split_once("volume mail").unwrap();
    let both = format!("{nodes}volume mail{mail}\nvolume data{mail}");
    volumes.site.alpha.apply(&both, &["--now"]).well();
    for node in volumes.site.nodes() {
        let configured = || node.command(&["volume", "show", "data"]).good;
        assert!(eventually(SOON, configured), "{}", volumes.tell());
        node.command(&["volume", "create", "data"]).well();
    }
    let owner = volumes.in_sync();
    write(&volumes, owner, 1);
    let list = |node| {
        volumes
            .site
            .machine(node)
            .command(&["volume", "list"])
            .text()
    };
    let is_whole = |node| {
        let list = list(node);
        let line = list.lines().find(|line| line.starts_with("data "));
        let mut words = line.unwrap_or("").split_whitespace().skip(1);
        matches!(words.next(), Some("serving" | "copy")) && words.next() == Some("32m")
    };
    let serves = || NODES.into_iter().all(is_whole);
    assert!(
        eventually(SOON, serves),
        "{}{}",
        list("alpha"),
        list("beta")
    );
    let swap = |volumes: &mut VolumeSite| {
        for node in NODES {
            volumes.site.machine_mut(node).stop();
        }
        for node in NODES {
            for file in files(volumes, node) {
                let extension = file.extension().unwrap();
                let theirs = file.with_file_name("data").with_extension(extension);
                let aside = file.with_file_name("aside");
                fs::rename(&file, &aside).unwrap();
                fs::rename(&theirs, &file).unwrap();
                fs::rename(&aside, &theirs).unwrap();
            }
        }
        for node in NODES {
            volumes.site.machine_mut(node).start();
        }
    };
    swap(&mut volumes);
    for node in NODES {
        says(&volumes, node, "not the one that the cluster knows");
        volumes.becomes(node, "refused");
    }
    assert_eq!(volumes.owner(), None, "{}", volumes.tell());
    let discard = ["volume", "resync", "mail", "--discard-mine", "--yes"];
    volumes
        .site
        .alpha
        .command(&discard)
        .refused(&["does not serve"]);
    // Nothing was changed, so all is as before once the files are swapped back.
    swap(&mut volumes);
    volumes.in_sync();
    has(&volumes, 1);
    volumes.holds(Vec::new());
}

/// Exchanges the files of both nodes, which do not run.
fn swap_nodes(volumes: &VolumeSite) {
    let [alpha, beta] = NODES.map(|node| files(volumes, node));
    for (one, other) in alpha.iter().zip(&beta) {
        let aside = one.with_extension("aside");
        fs::copy(one, &aside).unwrap();
        fs::copy(other, one).unwrap();
        fs::copy(&aside, other).unwrap();
        fs::remove_file(&aside).unwrap();
    }
}

#[test]
fn copies_swapped_between_nodes_are_refused_and_kept() {
    lab::skip_unless_root!();
    let mut volumes = VolumeSite::new("volume-nodes-swapped");
    let owner = volumes.in_sync();
    write(&volumes, owner, 1);
    // The copy of the other node misses an acknowledged write.
    volumes.site.machine_mut(other(owner)).stop();
    write(&volumes, owner, 2);
    volumes.site.machine_mut(owner).stop();
    swap_nodes(&volumes);
    for node in NODES {
        volumes.site.machine_mut(node).start();
    }
    for node in NODES {
        says(
            &volumes,
            node,
            &format!(
                "this is the copy of {} instead of that of {node}",
                other(node)
            ),
        );
        volumes.becomes(node, "refused");
    }
    assert_eq!(volumes.owner(), None, "{}", volumes.tell());
    // Nothing was written, so the complete copy serves when it is back.
    for node in NODES {
        volumes.site.machine_mut(node).stop();
    }
    swap_nodes(&volumes);
    for node in NODES {
        volumes.site.machine_mut(node).start();
    }
    volumes.in_sync();
    has(&volumes, 2);
    volumes.holds(Vec::new());
}
