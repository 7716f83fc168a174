//! Tests the program of the package `evenkeel-arbiter` between two nodes that run the complete one.
//! `EVENKEEL_ARBITER_PROGRAM` names a finished build, such as the static one of a release; without
//! it, the program is built with the tests, so its size is not that of the package.

use crate::cluster::site::{SECRET, SOON, Site, holds};
use crate::program;
use lab::{ScratchDirectory, anonymous_memory, eventually};
use std::fs;
use std::path::{Path, PathBuf};

/// Largest memory of an arbiter, bytes, as docs/cluster.md states it.
const MEMORY_MAX: u64 = 20 << 20;
/// Largest program file, bytes, as docs/install.md states it.
const SIZE_MAX: u64 = 14 << 20;

/// Returns the program of an arbiter, and whether it is a finished one.
fn arbiter() -> (PathBuf, bool) {
    match std::env::var_os("EVENKEEL_ARBITER_PROGRAM") {
        Some(path) => (path.into(), true),
        None => (program::build("evenkeel-arbiter"), false),
    }
}

/// Installs the program of an arbiter at a path, as a package would.
fn install(at: &Path) {
    let new = at.with_extension("new");
    fs::copy(arbiter().0, &new).unwrap();
    fs::rename(&new, at).unwrap();
}

/// Returns the anonymous memory of both processes of the arbiter, in bytes.
fn memory(site: &Site) -> u64 {
    let processes = [site.arbiter.supervisor(), site.arbiter.control()];
    let processes = processes.map(|process| process.unwrap().as_raw_nonzero().get());
    processes
        .map(|process| anonymous_memory(process).unwrap())
        .iter()
        .sum()
}

#[test]
fn small_arbiter_keeps_the_majority_of_two_nodes() {
    lab::skip_unless_root!();
    let scratch = ScratchDirectory::new().unwrap();
    let place = scratch.path().join("evenkeel");
    install(&place);
    let mut site = Site::empty("small-arbiter");
    site.arbiter.set_program(&place);
    site.found();
    site.begin();
    let (built, is_finished) = arbiter();
    let (size, used) = (fs::metadata(built).unwrap().len(), memory(&site));
    println!("arbiter: program {size} bytes, anonymous memory {used} bytes");
    if is_finished {
        assert!(size <= SIZE_MAX, "{size} bytes");
        assert!(used <= MEMORY_MAX, "{used} bytes");
    }

    // Without beta, alpha and the arbiter are two of three members, so changes stay possible.
    site.beta.kill();
    let apply = |site: &Site, word: &str| {
        // Repeated, because a new leader may be chosen first.
        let applied = || site.apply(word).good;
        assert!(eventually(SOON, applied), "{}", site.tell());
    };
    apply(&site, "two");
    let on_alpha = |word| site.serves(&site.alpha, word);
    assert!(eventually(SOON, || on_alpha("two")), "{}", site.tell());
    site.beta.start();
    site.leader();
    assert!(
        eventually(SOON, || site.serves_everywhere("two")),
        "{}",
        site.tell()
    );

    // Without the arbiter, the nodes are two of three members, and no request fails.
    let load = site.load();
    site.arbiter.kill();
    apply(&site, "three");
    site.arbiter.start();
    site.leader();
    let before = site.arbiter.control();
    site.arbiter.kill_control();
    let is_new = || {
        site.arbiter
            .control()
            .is_some_and(|now| Some(now) != before)
    };
    assert!(eventually(SOON, is_new), "{}", site.tell());
    site.leader();
    load.stop().without_a_failure();
    let stored = |text: &str| holds(&site.arbiter.state(), text.as_bytes());
    assert!(!stored(SECRET) && stored("shop"), "{}", site.tell());
    site.healed();
}

#[test]
fn small_arbiter_is_upgraded_in_place_and_exchanged_for_the_complete_program() {
    lab::skip_unless_root!();
    let scratch = ScratchDirectory::new().unwrap();
    let place = scratch.path().join("evenkeel");
    install(&place);
    let mut site = Site::empty("small-upgrade");
    site.arbiter.set_program(&place);
    site.found();
    let supervisor = site.arbiter.supervisor();

    // An upgrade of the package replaces the file and reloads.
    install(&place);
    site.arbiter.command(&["reload"]).well();
    let is_new = || site.arbiter.runs_what_is_installed();
    assert!(eventually(SOON, is_new), "{}", site.tell());
    assert_eq!(site.arbiter.supervisor(), supervisor);
    site.leader();

    // The other package continues with the same state, in both directions.
    for program in [program::binary(), place.as_path()] {
        site.arbiter.stop();
        site.arbiter.set_program(program);
        site.arbiter.start();
        site.leader();
    }
    site.begin();
    site.healed();
}

#[test]
fn small_arbiter_refuses_what_nodes_do() {
    lab::skip_unless_root!();
    let (program, _) = arbiter();
    let mut site = Site::empty("small-refusals");
    site.arbiter.set_program(&program);
    let refusal = "install the package evenkeel instead of evenkeel-arbiter";
    for words in [
        &["run", "-f", "site.cfg"][..],
        &["run", "site.cfg"],
        &["cluster", "init", "shop"],
        &["cluster", "join", "EK1-x"],
    ] {
        site.arbiter.command(words).refused(&[refusal]);
    }
    let state = site.arbiter.state();
    let run = ["run", "--state", state.to_str().unwrap()];
    site.arbiter
        .command(&run)
        .refused(&["evenkeel arbiter join TOKEN"]);
    // The state of a node is not that of an arbiter.
    site.arbiter.set_program(program::binary());
    site.arbiter
        .command(&["cluster", "init", "shop", "--name", "tie"])
        .well();
    site.arbiter.set_program(&program);
    site.arbiter
        .command(&run)
        .refused(&["this machine is the node 'tie'", refusal]);
}
