//! Runs `cargo xtask changes` for a short time with our binary alone: changes with different files
//! under load, some of them invalid, disturb no client. The output of that task is not tested here.

use crate::program::{binary, build, root};
use std::process::{Command, Stdio};

/// Number of changes, of which every tenth has an invalid file.
const CHANGES: &str = "25";

/// Runs the task with a personality of Evenkeel; returns whether it succeeded, and its line of
/// JSON.
fn judged(words: &str) -> (bool, serde_json::Value) {
    let right = format!("{} {words}", binary().display());
    let output = Command::new(build("xtask"))
        .current_dir(root())
        .args(["changes", "--case", "reload", "--only", "right"])
        .args(["--rounds", CHANGES, "--right", right.trim_end()])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("the judge runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said.lines().rfind(|line| line.starts_with('{'));
    let value = line.and_then(|line| serde_json::from_str(line).ok());
    (output.status.success(), value.expect("a line of JSON"))
}

fn costs_nothing(words: &str) {
    let (success, value) = judged(words);
    let side = &value["sides"]["right"];
    assert!(success, "it falls short: {side:#}");
    for none in [
        "failed requests",
        "idle connections closed",
        "connections closed with notice",
        "WebSocket breaks",
        "TCP tunnel breaks",
        "counters that fell",
        "requests to the server that is down",
    ] {
        assert_eq!(side["measured"][none], 0, "{none}: {side:#}");
    }
    assert_eq!(side["measured"]["changes"], 25, "{side:#}");
}

#[test]
#[ignore = "it takes long: make test-long"]
fn reloads_as_haproxy_fail_no_request() {
    costs_nothing("");
}

#[test]
fn reloads_as_evenkeel_fail_no_request() {
    costs_nothing("run");
}
