//! A node that is gone is fenced, and its guests start on the other one as soon as it is confirmed
//! off: before its leases have ended.

use crate::cluster_site::SOON;
use crate::guest_site::GuestSite;
use crate::volume_site::other;
use lab::{BusyProcessors, eventually, let_pass};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A site whose nodes power each other off by a program that writes that down.
struct Fenced {
    site: GuestSite,
}

impl Fenced {
    fn new(name: &str) -> Option<Fenced> {
        let fenced = Fenced {
            site: GuestSite::new(name)?,
        };
        let mut text = fenced.site.configuration("");
        for node in ["alpha", "beta"] {
            let program = fenced.program(node);
            let script = format!("#!/bin/sh\necho off >>{}\n", fenced.log(node).display());
            fs::write(&program, script).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
            let section = format!("node {node}\n");
            let with = format!("{section}\tfence exec {}\n", program.display());
            text = text.replace(&section, &with);
        }
        let site = &fenced.site;
        site.machine("alpha").apply(&text, &["--now"]).well();
        let has_method = |node: &str| {
            let words = ["fence", "test", other(node)];
            site.machine(node).command(&words).good
        };
        let all = || has_method("alpha") && has_method("beta");
        assert!(eventually(SOON, all), "{}", site.tell());
        ["alpha", "beta"]
            .into_iter()
            .for_each(|node| site.is_there(node));
        Some(fenced)
    }

    fn program(&self, node: &str) -> PathBuf {
        self.site.volumes.scratch().join(format!("off-{node}"))
    }

    fn log(&self, node: &str) -> PathBuf {
        self.site.volumes.scratch().join(format!("off-{node}.log"))
    }

    /// How often a node was powered off.
    fn offs(&self, node: &str) -> usize {
        let log = fs::read_to_string(self.log(node)).unwrap_or_default();
        log.lines().count()
    }

    /// Takes the power of the node away that has the guest: it starts on the other one.
    fn loses_power(&mut self, node: &str) {
        let to = other(node);
        let (wrote, offs) = (self.site.wrote(node), self.offs(node));
        let home = self.site.home(node);
        let begun = Instant::now();
        let fault = self.site.machine(node).host.power_off().unwrap();
        self.site.volumes.site.machine_mut(node).kill();
        let _ = fs::remove_dir_all(home);
        let started = || self.site.process(to).is_some();
        assert!(eventually(SOON, started), "{}", self.site.tell());
        let started = begun.elapsed();
        self.site.runs_on(to);
        let answers = begun.elapsed();
        println!(
            "{node}: QEMU started at {to} after {started:?}, the guest writes after {answers:?}"
        );
        assert!(
            self.site.began(to).is_some_and(|began| began >= wrote),
            "{}",
            self.site.tell()
        );
        assert_eq!(self.offs(node), offs + 1, "{}", self.site.tell());
        // It comes back, and nobody fences it again.
        fault.heal().unwrap();
        self.site.volumes.site.machine_mut(node).start();
        self.site.is_elsewhere(node);
        self.site.volumes.in_sync();
        self.site.is_there(node);
        assert_eq!(self.offs(node), offs + 1, "{}", self.site.tell());
    }
}

#[test]
fn a_node_without_power_is_fenced_and_its_guest_starts_on_the_other_one() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    let Some(mut fenced) = Fenced::new("guest-fence") else {
        panic!("QEMU or the kernel for guests is not installed");
    };
    fenced.loses_power("alpha");
    // The cluster has what was written, and not by the end of a lease.
    let said = fenced.site.machine("beta").said();
    let off = said.lines().position(|line| line.contains("off confirmed"));
    let started = { said.lines() }.position(|line| line.contains("guest mail: started"));
    assert!(off.is_some() && off < started, "{}", fenced.site.tell());
}

#[test]
fn a_node_that_is_busy_is_not_fenced_and_its_guest_goes_on() {
    if lab::setting("GUEST_FAULTS").is_none() {
        // It takes minutes: `make test-long`.
        return;
    }
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    let Some(fenced) = Fenced::new("guest-busy") else {
        panic!("QEMU or the kernel for guests is not installed");
    };
    let site = &fenced.site;
    let pid = site.process("alpha").expect("it runs");
    let busy = BusyProcessors::start(8).unwrap();
    let_pass(Duration::from_secs(60), "that nobody is fenced");
    drop(busy);
    site.runs_on("alpha");
    assert_eq!(site.process("alpha"), Some(pid), "{}", site.tell());
    let offs = ["alpha", "beta"].map(|node| fenced.offs(node));
    assert_eq!(offs, [0, 0], "{}", site.tell());
    println!(
        "times that it was paused: {}",
        site.machine("alpha").said().matches("paused").count()
    );
}

#[test]
fn ten_nodes_without_power_one_after_the_other() {
    if lab::setting("GUEST_FAULTS").is_none() {
        // It takes minutes: `make test-long`.
        return;
    }
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    let Some(mut fenced) = Fenced::new("guest-fence-ten") else {
        panic!("QEMU or the kernel for guests is not installed");
    };
    for round in 0..10 {
        // A node is fenced again after 5 minutes at the earliest: each role forgets when it ends.
        let node = if round % 2 == 0 { "alpha" } else { "beta" };
        fenced.loses_power(node);
    }
}
