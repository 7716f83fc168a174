//! The program is replaced on the nodes, one after the other, while a guest runs: the guest notices
//! nothing.

use crate::cluster_site::SOON;
use crate::guest_records::{self, Shown};
use crate::guest_site::GuestSite;
use crate::volume_site::{NODES, other};
use lab::eventually;
use std::fs;
use std::path::Path;

/// What the log of a node says of a guest that was touched.
const TOUCHED: [&str; 6] = [
    "guest mail: paused",
    "guest mail: started",
    "guest mail: killed",
    "guest mail: the power button",
    "guest mail: QEMU",
    "has lost its lock file",
];

/// Whether a role runs this program.
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
    let [log, starts] = [
        machine.said().len(),
        site.said(at).matches("begins with").count(),
    ];
    let pid = site.qemu(at);
    let program = site.volumes.install(node);
    machine.command(&["reload"]).well();
    let upgraded = || {
        let roles = ["control-role", "volume-role", "guest-role"];
        let mut roles = roles.iter();
        roles.all(|role| runs_program(site, node, role, &program))
    };
    assert!(eventually(SOON, upgraded), "{}", site.tell());
    // The roles of this program have what they need: the leases, and the other node.
    site.is_there(node);
    site.runs_on(at);
    site.volumes.in_sync();
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
fn a_guest_goes_on_while_the_programs_of_both_nodes_are_replaced() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    let Some(site) = GuestSite::with_programs("guest-upgrade") else {
        panic!("QEMU or the kernel for guests is not installed");
    };
    upgrade(&site, "alpha", "alpha");
    upgrade(&site, "beta", "alpha");
    // What the new programs make together.
    site.machine("beta")
        .command(&["guest", "move", "mail", "beta"])
        .well();
    site.runs_on("beta");
    upgrade(&site, "beta", "beta");
    assert!(site.process(other("beta")).is_none(), "{}", site.tell());
    // One start wrote all of it.
    let mut shown = Shown::new();
    for node in NODES {
        guest_records::hear(&mut shown, &site.said(node)).unwrap();
    }
    for node in NODES {
        let copy = fs::read(site.volumes.file(node)).unwrap();
        let starts = guest_records::check(&copy, &shown).unwrap();
        assert_eq!(starts.len(), 1, "{starts:?}: {}", site.tell());
    }
}
