//! Tests the memory of the guest role on a node with twenty guests.

use crate::guest::site::{GuestSite, PATIENCE};
use lab::eventually;
use serde_json::Value;
use std::fs;

/// Number of guests on the node.
const GUESTS: usize = 20;
const ROLE_KIB_MAX: u64 = 15 * 1024;

#[test]
#[ignore = "it takes minutes: make test-long"]
fn the_role_takes_less_than_15_mib_with_twenty_guests() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    let Some(site) = GuestSite::new("guest-many") else {
        panic!("QEMU or the kernel for guests is not installed");
    };
    let text = site.configuration("") + &site.idle_guests(GUESTS - 1);
    site.machine("alpha").apply(&text, &["--now"]).well();
    let running = || {
        let said = site.machine("alpha").command(&["guest", "list", "--json"]);
        let report: Value = serde_json::from_str(&said.out).unwrap_or_default();
        let subjects = report["subjects"].as_array().cloned().unwrap_or_default();
        let runs = |one: &&Value| one["kind"] == "guest" && one["state"] == "running";
        subjects.iter().filter(runs).count()
    };
    assert!(
        eventually(4 * PATIENCE, || running() == GUESTS),
        "{} run\n{}",
        running(),
        site.tell()
    );
    // Requests the report about each guest once, as an operator would.
    for number in 1..GUESTS {
        let name = format!("idle{number}");
        site.machine("alpha")
            .command(&["guest", "show", &name])
            .well();
    }
    let role = site
        .machine("alpha")
        .role("guest-role")
        .expect("a guest role runs");
    let status = fs::read_to_string(format!("/proc/{}/status", role.as_raw_nonzero())).unwrap();
    let kib = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let word = line.and_then(|line| line.trim_start_matches(':').split_whitespace().next());
        word.and_then(|word| word.parse().ok()).unwrap_or(0)
    };
    let (own, all) = (kib("RssAnon"), kib("VmRSS"));
    println!("with {GUESTS} guests the role has {own} KiB of its own, {all} KiB with its program");
    assert!(own > 0 && own < ROLE_KIB_MAX, "{status}");
}
