//! Tests that the program is replaced on the nodes, one after the other, while a guest continues,
//! and is neither paused nor restarted.

use crate::cluster::site::SOON;
use crate::guest::records::{self, Shown};
use crate::guest::site::GuestSite;
use crate::guest::ticks;
use crate::volume::site::{NODES, other};
use lab::eventually;
use std::fs;
use std::path::Path;
use std::time::Instant;

/// Log messages of a node about a guest that was touched.
const TOUCHED: [&str; 6] = [
    "guest mail: paused",
    "guest mail: started",
    "guest mail: killed",
    "guest mail: the power button",
    "guest mail: QEMU",
    "has lost its lock file",
];

/// Longest wait of a guest for its disk while the program of a node is replaced, in ticks, of which
/// there are about ten a second: the volume role ends, and the next one starts.
const WAIT_TICKS_MAX: usize = 20;

/// Further sections of the nodes: the old proxy continues for some seconds.
const TRAFFIC: &str = "
defaults
\tmode http
\ttimeout connect 2s
\ttimeout client 20s
\ttimeout server 20s

frontend www
\tbind :80
\tdefault_backend farm

backend farm
\tserver one 10.60.0.181:80 check inter 200ms
";

/// Returns whether a role runs this program.
fn runs_program(site: &GuestSite, node: &str, role: &str, program: &Path) -> bool {
    let pid = site.machine(node).role(role);
    pid.is_some_and(|pid| {
        let path = format!("/proc/{}/exe", pid.as_raw_nonzero());
        fs::read_link(path).is_ok_and(|found| found == program)
    })
}

/// Replaces the program of a node, and waits until all of its roles run it and the guest writes.
fn upgrade(site: &GuestSite, node: &str, at: &str) {
    let machine = site.machine(node);
    let (log, console) = (machine.said().len(), site.said(at).len());
    let starts = site.said(at).matches("begins with").count();
    let pid = site.qemu(at);
    let (leader, _) = site.volumes.site.leader();
    let program = site.volumes.install(node);
    let begun = Instant::now();
    machine.command(&["reload"]).well();
    let mut times = vec![("reload", begun.elapsed())];
    for role in ["proxy-role", "control-role", "volume-role", "guest-role"] {
        let upgraded = || runs_program(site, node, role, &program);
        assert!(eventually(SOON, upgraded), "{role}: {}", site.tell());
        times.push((role, begun.elapsed()));
    }
    // The roles of this program have what they need: the leases, and the other node.
    site.is_there(node);
    times.push(("leases", begun.elapsed()));
    site.runs_on(at);
    site.volumes.in_sync();
    let waited = ticks::longest_wait(site.said(at).get(console..).unwrap_or_default());
    println!(
        "{node}, where {leader} leads: {times:?}; the guest waited for its disk for {waited} ticks"
    );
    assert!(waited <= WAIT_TICKS_MAX, "{waited} ticks: {}", site.tell());
    assert_eq!(site.qemu(at), pid, "{}", site.tell());
    let said = machine.said();
    let new = said.get(log..).unwrap_or_default();
    let touched = new
        .lines()
        .find(|line| TOUCHED.iter().any(|word| line.contains(word)));
    assert_eq!(touched, None, "{node}\n{}", site.tell());
    let again = site.said(at).matches("begins with").count();
    assert_eq!(again, starts, "it has started again: {}", site.tell());
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_guest_goes_on_while_the_programs_of_both_nodes_are_replaced() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    let Some(site) = GuestSite::with_programs("guest-upgrade") else {
        panic!("QEMU or the kernel for guests is not installed");
    };
    site.machine("alpha")
        .apply(&site.configuration(TRAFFIC), &["--now"])
        .well();
    upgrade(&site, "alpha", "alpha");
    upgrade(&site, "beta", "alpha");
    // The new programs move the guest with each other.
    site.machine("beta")
        .command(&["guest", "move", "mail", "beta"])
        .well();
    site.runs_on("beta");
    upgrade(&site, "beta", "beta");
    assert!(site.process(other("beta")).is_none(), "{}", site.tell());
    // A single start of the guest wrote all records.
    let mut shown = Shown::new();
    for node in NODES {
        records::hear(&mut shown, &site.said(node)).unwrap();
    }
    for node in NODES {
        let copy = fs::read(site.volumes.file(node)).unwrap();
        let starts = records::check(&copy, &shown).unwrap();
        assert_eq!(starts.len(), 1, "{starts:?}: {}", site.tell());
    }
}
