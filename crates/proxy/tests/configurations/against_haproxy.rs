//! Loads the same damaged configuration files in HAProxy. A file that HAProxy rejects and
//! Evenkeel accepts silently is a bug, unless the table contains a reason. Without HAProxy 2.6 on
//! the machine, the test reports that and passes.

use crate::corpus::{Sample, load_text, samples};
use crate::mutation::gentle;
use keyword::load::Loaded;
use lab::{Random, setting};
use language::Severity;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

const HAPROXY: &str = "/usr/sbin/haproxy";

/// Number of damaged files if `EVENKEEL_COMPARED` is not set; each starts a process.
const COMPARED: u64 = 150;

/// Messages by which HAProxy rejects something that Evenkeel accepts silently (a part of each
/// message), with the reason.
const JUSTIFIED: &[(&str, &str)] = &[
    (
        "could not resolve address",
        "names are not looked up by this test",
    ),
    ("invalid address", "names are not looked up by this test"),
    (
        "couldn't set 'default-path'",
        "the directory of `default-path` is looked at when a file in it is read",
    ),
];

#[test]
fn files_refused_by_haproxy_always_give_a_diagnostic() {
    if !Path::new(HAPROXY).exists() {
        println!("skipped: {HAPROXY} is not installed");
        return;
    }
    let samples: Vec<Sample> = samples().into_iter().filter(is_accepted).collect();
    let first = setting("EVENKEEL_SEED").unwrap_or(1);
    let count = setting("EVENKEEL_COMPARED").unwrap_or(COMPARED);
    let path = std::env::temp_dir().join(format!("evenkeel-compared-{}.cfg", std::process::id()));
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    for seed in first..first + count {
        let mut random = Random::new(seed);
        let sample = random.pick_ref(&samples);
        let text = gentle(sample, &samples, &mut random);
        let loaded = load_text(&sample.name, &text);
        if loaded.diagnostics.errors() > 0 || warned_anew(sample, &loaded) {
            continue;
        }
        std::fs::write(&path, &text).expect("a place for the mutant");
        let justified = |message: &String| JUSTIFIED.iter().any(|(part, _)| message.contains(part));
        if let Some(message) = refusal(&path).filter(|message| !justified(message)) {
            found
                .entry(format!("{} {message}", sample.name))
                .or_insert(seed);
        }
    }
    let _ = std::fs::remove_file(&path);
    let list: String = found
        .iter()
        .map(|(message, seed)| format!("seed {seed}: {message}\n"))
        .collect();
    assert!(found.is_empty(), "accepted in silence:\n{list}");
}

/// Returns whether both programs accept an undamaged file.
fn is_accepted(sample: &Sample) -> bool {
    let path = std::env::temp_dir().join(format!("evenkeel-accepted-{}.cfg", std::process::id()));
    std::fs::write(&path, &sample.text).expect("a place for the file");
    let refused = refusal(&path);
    let _ = std::fs::remove_file(&path);
    refused.is_none() && load_text(&sample.name, &sample.text).diagnostics.errors() == 0
}

/// Returns whether there is a warning that the undamaged file does not cause.
fn warned_anew(sample: &Sample, loaded: &Loaded) -> bool {
    let warnings = |loaded: &Loaded| {
        let grave = loaded
            .diagnostics
            .iter()
            .filter(|d| d.severity >= Severity::Warning);
        let mut all: Vec<String> = grave.map(|d| d.message.clone()).collect();
        all.sort();
        all
    };
    let before = warnings(&load_text(&sample.name, &sample.text));
    warnings(loaded)
        .iter()
        .any(|message| !before.contains(message))
}

/// Returns the first alert of HAProxy about a file that it rejects.
fn refusal(path: &Path) -> Option<String> {
    let run = Command::new(HAPROXY)
        .arg("-c")
        .arg("-f")
        .arg(path)
        .stdin(Stdio::null())
        .env_clear()
        .output();
    let output = run.expect("haproxy runs");
    // Status 2 means that the file has no listener.
    if output.status.code() != Some(1) {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let alert = text.lines().find(|line| line.starts_with("[ALERT]"))?;
    let message = alert
        .split_once(" : ")
        .map_or(alert, |(_, message)| message);
    Some(message.replace(&*path.to_string_lossy(), "F"))
}
