//! Tests the program under the name of the entry point of HAProxy's image.

use crate::harness::{Bench, CommandOutput, evenkeel, run};

/// Runs the entry point with these words.
fn enter(bench: &Bench, words: &[&str]) -> CommandOutput {
    let link = bench.scratch.path().join("docker-entrypoint.sh");
    if !link.exists() {
        std::os::unix::fs::symlink(evenkeel(), &link).unwrap();
    }
    run(&link, bench.scratch.path(), words)
}

#[test]
fn entry_point_adds_the_flags_of_the_image() {
    let bench = Bench::new();
    bench.listening(18993, "");
    for words in [
        &["-c", "-f", "listening.cfg"][..],
        &["haproxy", "-c", "-f", "listening.cfg"],
    ] {
        let output = enter(&bench, words);
        assert_eq!(output.code(), Some(0), "{output:?}");
        assert_eq!(output.stdout, "Configuration file is valid\n");
    }
    let refused = enter(&bench, &["haproxy", "-f", "missing.cfg"]);
    assert_eq!(refused.code(), Some(1), "{refused:?}");
    // The format of a master, which `-W` starts.
    assert!(refused.stderr.contains("missing.cfg"), "{refused:?}");
}

#[test]
fn entry_point_executes_other_programs() {
    let bench = Bench::new();
    let output = enter(&bench, &["sh", "-c", "echo \"$0 $1\"; exit 3", "a", "b"]);
    assert_eq!((output.code(), &*output.stdout), (Some(3), "a b\n"));
    let missing = enter(&bench, &["/nonexistent/program"]);
    assert_eq!(missing.code(), Some(127), "{missing:?}");
    assert!(
        missing.stderr.contains("/nonexistent/program"),
        "{missing:?}"
    );
    let version = enter(&bench, &["evenkeel", "version"]);
    assert!(version.stdout.starts_with("evenkeel "), "{version:?}");
}
