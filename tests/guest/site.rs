//! Sets up the guest scenarios: the machines of [`crate::volume::site`], and a small guest on the
//! volume that both nodes have.

use crate::cluster::site::{Machine, SOON};
use crate::volume::site::{NODES, VolumeSite, other};
use lab::Image;
use lab::eventually;
use part::status::{GuestReport, GuestState};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// Timeout of a guest, whose processor is emulated beside other tests.
pub const PATIENCE: Duration = Duration::from_secs(240);

pub const PROGRAMS: [&str; 1] = ["busybox"];
pub const MODULES: [&str; 12] = [
    "virtio",
    "virtio_ring",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_blk",
    "failover",
    "net_failover",
    "virtio_net",
    "evdev",
    "button",
    "psmouse",
];

/// A cluster with a guest.
pub struct GuestSite {
    pub volumes: VolumeSite,
    image: Image,
    /// Further words for the kernel of the guest.
    words: &'static str,
}

impl GuestSite {
    /// Starts a cluster whose guest runs on alpha. None if QEMU or a kernel is not installed.
    pub fn new(name: &str) -> Option<GuestSite> {
        GuestSite::slow(name, 0)
    }

    /// Like `new`, with a limit of a migration's bytes per second; zero: no limit.
    pub fn slow(name: &str, bandwidth: u64) -> Option<GuestSite> {
        let variable = format!("EVENKEEL_GUEST_MOVE_BANDWIDTH={bandwidth}");
        GuestSite::begun("", || VolumeSite::with_variable(name, &variable))
    }

    /// Variant of `new` whose guest records each number: see [`crate::guest::records`].
    pub fn recording(name: &str) -> Option<GuestSite> {
        GuestSite::with_words(name, "records")
    }

    /// Variant of `new` whose guest's kernel gets these words, which `guest-counter.sh` knows.
    pub fn with_words(name: &str, words: &'static str) -> Option<GuestSite> {
        GuestSite::begun(words, || VolumeSite::with_variable(name, ""))
    }

    /// Variant of `new` whose processes send noise instead of texts for people.
    pub fn noisy(name: &str) -> Option<GuestSite> {
        GuestSite::begun("", || VolumeSite::with_variable(name, "EVENKEEL_NOISE=1"))
    }

    /// Variant of `recording` whose nodes have a program file each.
    pub fn with_programs(name: &str) -> Option<GuestSite> {
        GuestSite::begun("records", || VolumeSite::with_programs(name, ""))
    }

    fn begun(words: &'static str, volumes: impl FnOnce() -> VolumeSite) -> Option<GuestSite> {
        let image = Image::with(include_bytes!("guest-counter.sh"), &PROGRAMS, &MODULES)?;
        let site = GuestSite {
            volumes: volumes(),
            image,
            words,
        };
        // With both nodes, the guest starts where its lease is granted first.
        let text = site.configuration("");
        let alone = text.replace("prefer alpha beta", "prefer alpha");
        site.volumes.site.alpha.apply(&alone, &["--now"]).well();
        site.runs_on("alpha");
        site.volumes.site.alpha.apply(&text, &["--now"]).well();
        site.runs_on("alpha");
        for node in NODES {
            site.is_there(node);
        }
        Some(site)
    }

    /// Waits until both nodes report that a node accepts guests.
    #[track_caller]
    pub fn is_there(&self, node: &str) {
        let takes = |at: &str| {
            let said = self.machine(at).command(&["guest", "list", "--json"]).out;
            let report: Value = serde_json::from_str(&said).unwrap_or_default();
            let subjects = report["subjects"].as_array().cloned().unwrap_or_default();
            let mut named = subjects.iter().filter(|one| one["name"] == node);
            named.any(|one| one["status"]["state"] == "available")
        };
        let all = || NODES.iter().all(|at| takes(at));
        assert!(
            eventually(SOON, all),
            "{node} is not there: {}",
            self.tell()
        );
    }

    /// Returns the configuration of the nodes, with further lines for the guest.
    pub fn configuration(&self, further: &str) -> String {
        format!(
            "{}\nguest mail\n\tprefer alpha beta\n\tmemory 96m\n\tcpus 1\n\tdisk mail\n\tconsole serial\n\t\
             stop-timeout 120s\n\tboot kernel {} initrd {} append \"console=ttyS0 quiet panic=-1 {}\"\n{further}",
            self.volumes.configuration(""),
            self.image.kernel().display(),
            self.image.initrd().display(),
            self.words,
        )
    }

    /// Returns the sections of idle guests without disks.
    pub fn idle_guests(&self, count: usize) -> String {
        let section = |number: usize| {
            format!(
                "guest idle{number}\n\tprefer alpha\n\tmemory 48m\n\tcpus 1\n\tconsole serial\n\tboot kernel {} \
                 initrd {} append \"console=ttyS0 quiet rdinit=/bin/busybox -- sleep 1000000\"\n",
                self.image.kernel().display(),
                self.image.initrd().display(),
            )
        };
        (1..=count).map(section).collect()
    }

    pub fn machine(&self, node: &str) -> &Machine {
        self.volumes.site.machine(node)
    }

    /// Returns the directory of the guest on a node.
    pub fn home(&self, node: &str) -> PathBuf {
        self.machine(node).runtime().join("guest-mail")
    }

    /// Returns the output of the guest on a node.
    pub fn said(&self, node: &str) -> String {
        let path = self.home(node).join("serial.log");
        String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
    }

    /// Returns the report of a node about the guest.
    pub fn shown(&self, node: &str) -> String {
        self.machine(node)
            .command(&["guest", "show", "mail"])
            .text()
    }

    /// Returns the typed status of the guest in the report of a node.
    pub fn status(&self, node: &str) -> GuestReport {
        let said = self.machine(node).command(&["status", "guest", "--json"]);
        let reports: Value = serde_json::from_str(&said.out).unwrap_or_default();
        let subjects = reports[0]["subjects"].as_array().cloned();
        let mut subjects = subjects.unwrap_or_default().into_iter();
        let guest = subjects.find(|one| one["kind"] == "guest" && one["name"] == "mail");
        let status = guest.and_then(|one| serde_json::from_value(one["status"].clone()).ok());
        status.unwrap_or_default()
    }

    /// Returns whether a node reports that the guest runs there.
    fn is_running(&self, node: &str) -> bool {
        let status = self.status(node);
        status.state == GuestState::Running && status.node == node
    }

    /// Returns a fact that a node shows about the guest.
    pub fn fact(&self, node: &str, name: &str) -> Option<String> {
        let text = self.shown(node);
        let mut lines = text.lines();
        let line = lines.find_map(|line| line.trim().strip_prefix(&format!("{name}: ")));
        line.map(str::to_owned)
    }

    /// Returns the process ID of the guest's QEMU, as a node shows it.
    pub fn process(&self, node: &str) -> Option<u32> {
        self.fact(node, "process")?
            .parse()
            .ok()
            .filter(|pid| *pid > 0)
    }

    /// Returns the last number that the guest wrote on a node.
    pub fn wrote(&self, node: &str) -> u64 {
        let said = self.said(node);
        let numbers = said
            .lines()
            .filter_map(|line| line.split("guest: wrote ").nth(1));
        numbers
            .filter_map(|number| number.trim().parse().ok())
            .next_back()
            .unwrap_or(0)
    }

    /// Returns the number with which the guest's last start on a node began.
    pub fn began(&self, node: &str) -> Option<u64> {
        let said = self.said(node);
        let numbers = said
            .lines()
            .filter_map(|line| line.split("guest: begins with ").nth(1));
        numbers
            .filter_map(|number| number.trim().parse().ok())
            .next_back()
    }

    /// Returns the process ID of the guest's QEMU on a node by its lock file, without a request to
    /// a role.
    pub fn qemu(&self, node: &str) -> Option<u32> {
        let lock = fs::read_to_string(self.home(node).join("lock")).ok()?;
        let pid = lock.trim().parse().ok()?;
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        (lives(pid) && line.contains("qemu")).then_some(pid)
    }

    /// Returns the node on which the guest runs, if there is exactly one.
    pub fn runs(&self) -> Option<&'static str> {
        let running = |node: &&str| self.is_running(node);
        let all: Vec<&str> = NODES.into_iter().filter(running).collect();
        match all[..] {
            ["alpha"] => Some("alpha"),
            ["beta"] => Some("beta"),
            _ => None,
        }
    }

    /// Waits until the guest runs on exactly one node and has written more than `wrote`; returns
    /// the node.
    #[track_caller]
    pub fn goes_on(&self, wrote: u64) -> &'static str {
        let goes = || self.runs().is_some_and(|node| self.wrote(node) > wrote);
        assert!(eventually(PATIENCE, goes), "{}", self.tell());
        let node = self.runs().expect("it runs");
        let alone = || self.qemu(other(node)).is_none();
        assert!(eventually(SOON, alone), "{}", self.tell());
        node
    }

    /// Waits until the guest runs on a node, and writes.
    #[track_caller]
    pub fn runs_on(&self, node: &str) {
        let before = self.wrote(node);
        let writes = || self.is_running(node) && self.wrote(node) > before;
        assert!(eventually(PATIENCE, writes), "{}", self.tell());
        assert!(self.qemu(other(node)).is_none(), "{}", self.tell());
    }

    /// Waits until a node shows that the guest runs on the other node.
    #[track_caller]
    pub fn is_elsewhere(&self, node: &str) {
        let is = || {
            let status = self.status(node);
            status.state == GuestState::Elsewhere && status.node == other(node)
        };
        assert!(eventually(PATIENCE, is), "{}", self.tell());
    }

    pub fn tell(&self) -> String {
        let of = |node: &str| {
            let said = self.machine(node).said();
            let lines: Vec<&str> = said.lines().collect();
            let from = lines.len().saturating_sub(40);
            format!(
                "== {node}\n{}\n{}\n{}\n{}\n{}\n",
                self.machine(node).command(&["guest", "list"]).text(),
                self.shown(node),
                self.machine(node).command(&["volume", "list"]).text(),
                lines[from..].join("\n"),
                self.said(node)
                    .lines()
                    .rev()
                    .take(5)
                    .collect::<Vec<_>>()
                    .join("\n"),
            )
        };
        NODES.map(of).concat()
    }
}

pub fn lives(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = status
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

/// Waits until a process has ended.
#[track_caller]
pub fn ends(pid: u32) {
    assert!(eventually(SOON, || !lives(pid)), "process {pid} lives");
}

/// Kills all processes of a machine, as if its power were cut.
pub fn cut_power(site: &mut GuestSite, node: &str) {
    let runtime = site.machine(node).runtime();
    let pid = site.qemu(node);
    site.volumes.site.machine_mut(node).kill();
    kill(pid);
    // Files in memory are lost with the power.
    for entry in fs::read_dir(runtime).unwrap().flatten() {
        let path = entry.path();
        // The entry may be a directory or another file.
        let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
    }
}

pub fn kill(pid: Option<u32>) {
    let pid = pid.and_then(|pid| i32::try_from(pid).ok());
    let pid = pid.and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}
