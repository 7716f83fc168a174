//! Tests that a lost node is fenced. Its guests start on the other node as soon as it is confirmed
//! off, before its leases have expired.

use crate::cluster::site::SOON;
use crate::guest::site::{GuestSite, cut_power};
use crate::volume::site::{NODES, other};
use guest::agreement::FENCED_VALID_MS;
use lab::{BusyProcessors, Controller, InjectedFault, eventually, sleep_in_test};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Method by which nodes are powered off.
enum Means {
    /// A program that records the calls.
    Program,
    /// The management controllers of the nodes, alpha's first.
    Controllers(Vec<Controller>),
}

/// A site whose nodes power each other off.
struct Fenced {
    site: GuestSite,
    means: Means,
}

impl Fenced {
    fn new(name: &str) -> Option<Fenced> {
        let site = GuestSite::new(name)?;
        Some(Fenced::begun(site, Means::Program))
    }

    /// Creates a site with management controllers on the network of the nodes.
    fn with_controllers(name: &str) -> Option<Fenced> {
        let site = GuestSite::new(name)?;
        let farm = &site.volumes.site.farm;
        let start = |port| Controller::start(farm, ([10, 60, 0, 181], port).into()).unwrap();
        let controllers = [6230, 6231].map(start).into();
        Some(Fenced::begun(site, Means::Controllers(controllers)))
    }

    fn begun(site: GuestSite, means: Means) -> Fenced {
        let fenced = Fenced { site, means };
        let mut text = fenced.site.configuration("");
        for node in NODES {
            let section = format!("node {node}\n");
            let with = format!("{section}\tfence {}\n", fenced.method(node));
            text = text.replace(&section, &with);
        }
        let site = &fenced.site;
        site.machine("alpha").apply(&text, &["--now"]).well();
        let has_method = |node: &str| {
            let words = ["fence", "test", other(node)];
            site.machine(node).command(&words).good
        };
        let all = || NODES.into_iter().all(has_method);
        assert!(eventually(SOON, all), "{}", site.tell());
        NODES.into_iter().for_each(|node| site.is_there(node));
        // The leases of the nodes are shorter once the longer ones have ended.
        let is_shorter = |status: &Value| {
            let leases = status["leases"].as_array().into_iter().flatten();
            let of_nodes = |lease: &&Value| {
                lease["name"]
                    .as_str()
                    .is_some_and(|name| name.starts_with("guest/@"))
            };
            let mut of_nodes = leases.filter(of_nodes).peekable();
            of_nodes.peek().is_some() && of_nodes.all(|lease| lease["valid_ms"] == FENCED_VALID_MS)
        };
        assert!(site.machine("alpha").tells(is_shorter), "{}", site.tell());
        fenced
    }

    fn controller(&self, node: &str) -> Option<&Controller> {
        let at = NODES.into_iter().position(|one| one == node)?;
        match &self.means {
            Means::Program => None,
            Means::Controllers(controllers) => controllers.get(at),
        }
    }

    /// Returns the words after `fence` in the line of a node.
    fn method(&self, node: &str) -> String {
        if let Some(controller) = self.controller(node) {
            let (at, password) = (controller.address(), controller.password());
            let user = Controller::USER;
            return format!(
                "ipmi {at} user {user} password-file {} cipher 3",
                password.display()
            );
        }
        let program = self.site.volumes.scratch().join(format!("off-{node}"));
        let script = format!("#!/bin/sh\necho off >>{}\n", self.log(node).display());
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        format!("exec {}", program.display())
    }

    fn log(&self, node: &str) -> PathBuf {
        self.site.volumes.scratch().join(format!("off-{node}.log"))
    }

    /// Returns how often a node was powered off.
    fn offs(&self, node: &str) -> usize {
        if let Some(controller) = self.controller(node) {
            return controller.power_off_count();
        }
        let log = fs::read_to_string(self.log(node)).unwrap_or_default();
        log.lines().count()
    }

    /// Returns how often the guest was started on a node, by the node's log: a command there waits
    /// for the other node, which may not respond.
    fn starts(&self, node: &str) -> usize {
        let said = self.site.machine(node).said();
        said.matches("guest mail: started, as process").count()
    }

    /// Powers a node off, and cuts its network at the same moment.
    fn goes_off(&mut self, node: &str) -> InjectedFault {
        let fault = self.site.machine(node).host.power_off().unwrap();
        cut_power(&mut self.site, node);
        fault
    }

    /// Powers off the node that has the guest, and checks that the guest starts on the other one.
    /// Returns the times until the guest was started, and until it wrote.
    fn loses_power(&mut self, node: &str) -> [Duration; 2] {
        let to = other(node);
        let (wrote, offs) = (self.site.wrote(node), self.offs(node));
        let before = self.starts(to);
        let begun = Instant::now();
        let fault = self.goes_off(node);
        let started = || self.starts(to) > before;
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
        let list = self.site.machine(to).command(&["guest", "list"]).well();
        let words = format!("node {node}: fenced; fencing: off confirmed by ");
        assert!(list.text().contains(&words), "{}", list.text());
        // The node returns, and is not fenced again.
        if let Some(controller) = self.controller(node) {
            assert!(!controller.is_on());
            controller.switch_on().unwrap();
        }
        fault.heal().unwrap();
        self.site.volumes.site.machine_mut(node).start();
        self.site.is_elsewhere(node);
        self.site.volumes.in_sync();
        self.site.is_there(node);
        assert_eq!(self.offs(node), offs + 1, "{}", self.site.tell());
        [started, answers]
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
    // The guest was started because of the fencing, not because a lease ended.
    let said = fenced.site.machine("beta").said();
    let off = said.lines().position(|line| line.contains("off confirmed"));
    let started = said
        .lines()
        .position(|line| line.contains("guest mail: started"));
    assert!(off.is_some() && off < started, "{}", fenced.site.tell());
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_node_that_fails_again_within_five_minutes_is_not_fenced_again_and_its_guest_does_not_wait_for_it()
 {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    let Some(mut fenced) = Fenced::new("guest-again") else {
        panic!("QEMU or the kernel for guests is not installed");
    };
    fenced.loses_power("alpha");
    let words = ["guest", "move", "mail", "alpha"];
    fenced.site.machine("beta").command(&words).well();
    fenced.site.runs_on("alpha");
    let (wrote, offs) = (fenced.site.wrote("alpha"), fenced.offs("alpha"));
    let before = fenced.starts("beta");
    let begun = Instant::now();
    let _off = fenced.goes_off("alpha");
    let started = || fenced.starts("beta") > before;
    assert!(eventually(SOON, started), "{}", fenced.site.tell());
    println!("QEMU started at beta after {:?}", begun.elapsed());
    fenced.site.runs_on("beta");
    let site = &fenced.site;
    assert!(
        site.began("beta").is_some_and(|began| began >= wrote),
        "{}",
        site.tell()
    );
    let said = site.machine("beta").said();
    let words = "node alpha is gone again: it is not fenced again, since it was fenced less than 5 minutes ago";
    assert!(said.contains(words), "{}", site.tell());
    assert_eq!(fenced.offs("alpha"), offs, "{}", site.tell());
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_node_that_is_busy_is_not_fenced_and_its_guest_goes_on() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    let Some(fenced) = Fenced::new("guest-busy") else {
        panic!("QEMU or the kernel for guests is not installed");
    };
    let site = &fenced.site;
    let pid = site.process("alpha").expect("it runs");
    let busy = BusyProcessors::start(8).unwrap();
    sleep_in_test(Duration::from_secs(60), "that nobody is fenced");
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
#[ignore = "it takes minutes: make test-long"]
fn ten_nodes_without_power_one_after_the_other() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    lab::skip_unless_installed!("ipmi_sim");
    lab::skip_unless_installed!("ipmitool");
    let Some(mut fenced) = Fenced::with_controllers("guest-fence-ten") else {
        panic!("QEMU or the kernel for guests is not installed");
    };
    // A guest role fences the same node again only after 5 minutes. The loop needs no pauses,
    // because the role restarts with its node before that, and does not keep the time.
    let nodes = NODES.into_iter().cycle().take(10);
    let mut took: Vec<[Duration; 2]> = nodes.map(|node| fenced.loses_power(node)).collect();
    for (at, what) in ["QEMU started", "the guest wrote"].into_iter().enumerate() {
        took.sort_by_key(|one| one[at]);
        let [median, worst] = [took[took.len() / 2][at], took[took.len() - 1][at]];
        println!(
            "{what} after {median:?} (median), {worst:?} (worst of {})",
            took.len()
        );
    }
}
