//! Tests that a configuration can be loaded again from its recording alone, with the same
//! result and the same diagnostics, whatever the file.

use crate::corpus::{Sample, load_text, of_directory, samples};
use crate::mutation::mutant;
use configuration::Recording;
use keyword::load::{Loaded, replay};
use lab::{Random, setting};
use model::log;
use proxy::listener;
use std::path::Path;

/// Number of mutants without `EVENKEEL_MUTANTS`.
const MUTANTS: u64 = 300;

/// Returns the lines of a loaded configuration, sorted: two configurations are equal if these are.
fn tree(loaded: &Loaded) -> Vec<String> {
    let text = format!("{:#?}", loaded.config);
    // Each state has its own number in the process.
    let of_tree = |line: &&str| !line.trim_start().starts_with("uid: ");
    let lines = text.lines().filter(of_tree);
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

/// Returns everything in a configuration whose order decides which descriptor is assigned to it.
fn order(loaded: &Loaded) -> Option<String> {
    let config = loaded.config.as_ref()?;
    let binds: Vec<_> = listener::wanted(config)
        .map(|(proxy, bind)| {
            let proxy = config.proxy(proxy);
            (&proxy.name, &proxy.binds[bind as usize].address)
        })
        .collect();
    let sockets = &config.global.stats_sockets;
    Some(format!("{binds:?} {sockets:?} {:?}", log::targets(config)))
}

fn told(loaded: &Loaded) -> String {
    format!("{:?}", loaded.diagnostics)
}

/// Returns a difference between a load and its repetition from the encoded recording; None if
/// there is none.
fn difference(loaded: &Loaded) -> Option<String> {
    let bytes = loaded.recording.encode();
    let decoded = match Recording::decode(&bytes) {
        Ok(decoded) => decoded,
        Err(error) => return Some(error.to_string()),
    };
    let again = replay(decoded);
    if told(loaded) != told(&again) {
        return Some(format!("{}\n!=\n{}", told(loaded), told(&again)));
    }
    if tree(loaded) != tree(&again) {
        return Some("another tree".to_owned());
    }
    if order(loaded) != order(&again) {
        return Some("another order of sockets".to_owned());
    }
    (again.recording != loaded.recording).then(|| "another recording".to_owned())
}

#[test]
fn whole_files_are_replayed_to_the_same_tree_and_diagnostics() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut trees = 0;
    for Sample { name, text } in samples().into_iter().chain(of_directory(&examples)) {
        let loaded = load_text(&name, &text);
        assert_eq!(difference(&loaded), None, "{name}");
        trees += usize::from(loaded.config.is_some());
    }
    assert!(trees > 3, "only {trees} files load");
}

#[test]
fn damaged_files_are_replayed_to_the_same_diagnostics() {
    let samples = samples();
    let first = setting("EVENKEEL_SEED").unwrap_or(1);
    for seed in first..first + setting("EVENKEEL_MUTANTS").unwrap_or(MUTANTS) {
        let mut random = Random::new(seed);
        let sample = random.pick_ref(&samples);
        let loaded = load_text("mutant.cfg", &mutant(sample, &samples, &mut random));
        assert_eq!(difference(&loaded), None, "EVENKEEL_SEED={seed}");
    }
}
