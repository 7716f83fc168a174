//! Tests that every configuration of `examples/` is formatted and loads without a warning, also in
//! HAProxy where HAProxy has its sections.

use crate::harness::{Bench, evenkeel, run};
use std::path::Path;

/// Warnings about sections that only a cluster runs.
const NO_CLUSTER: [&str; 2] = ["warning[W0812]", "warning[W0860]"];

#[test]
fn every_example_loads_without_a_warning_here_and_in_haproxy() {
    let bench = Bench::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "cfg") {
            continue;
        }
        seen += 1;
        let name = path.to_str().unwrap();
        // Does not resolve names for a pair of machines, whose sections HAProxy lacks as well.
        let text = std::fs::read_to_string(&path).unwrap();
        let has = |section: &str| text.contains(&format!("\n{section} "));
        let pair = has("virtual-ip") || has("guest");
        let mut words = vec!["check", name];
        if pair {
            words.push("--no-resolve");
        }
        let ours = run(evenkeel(), bench.scratch.path(), words);
        assert_eq!(ours.code(), Some(0), "{}", ours.stdout);
        let mut warnings = ours.stdout.lines().filter(|line| line.contains("warning["));
        // Guests and volumes with two copies need a cluster, which a command does not have.
        let needs_cluster =
            |line: &str| has("guest") && NO_CLUSTER.iter().any(|code| line.contains(code));
        let is_good = warnings.all(needs_cluster);
        assert!(is_good, "{}", ours.stdout);
        let formatted = run(evenkeel(), bench.scratch.path(), ["fmt", "--check", name]);
        assert_eq!(formatted.code(), Some(0), "{}", formatted.stdout);
        if pair {
            continue;
        }
        if let Some(theirs) = bench.oracle("examples load in haproxy", ["-c", "-f", name]) {
            assert_eq!(theirs.code(), Some(0), "{}", theirs.stderr);
        }
    }
    assert!(seen >= 3);
}
