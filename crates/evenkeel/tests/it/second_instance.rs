//! Tests of a second instance on one machine: a node of a cluster must be the only instance.
//! Elsewhere two instances share no listener, address, guest or volume, except under HAProxy's
//! name.

use crate::harness::{CommandOutput, PATIENCE, evenkeel, run, run_with};
use crate::supervised::{Supervised, answers, lives, origin, passes, roles_of};
use lab::{ScratchDirectory, eventually, free_port};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Machine with the state directory of a node, and a configuration file that runs without a
/// cluster.
struct ClusterMachineFixture {
    scratch: ScratchDirectory,
    port: u16,
}

const NODE: [&str; 3] = ["run", "--state", "state"];
const FILE: [&str; 3] = ["run", "-f", "a.cfg"];
const ELSEWHERE: [(&str, &str); 1] = [("EVENKEEL_RUNTIME_DIRECTORY", "elsewhere")];

impl ClusterMachineFixture {
    fn new() -> ClusterMachineFixture {
        lab::enter_own_network();
        let scratch = ScratchDirectory::new().unwrap();
        let listen = format!("127.0.0.1:{}", free_port().unwrap());
        let words = [
            "cluster", "init", "shop", "--name", "a", "--listen", &listen, "--state", "state",
        ];
        let created = run(evenkeel(), scratch.path(), words);
        assert_eq!(created.code(), Some(0), "{}", created.stderr);
        let port = free_port().unwrap();
        let text = passes("", &[port], origin("one"));
        scratch.write("a.cfg", text).unwrap();
        let keepalived = "vrrp_instance V {\n interface lo\n virtual_router_id 9\n priority 9\n \
                          virtual_ipaddress {\n 127.0.9.9/32\n }\n}\n";
        scratch.write("k.conf", keepalived).unwrap();
        ClusterMachineFixture { scratch, port }
    }

    fn start(&self, words: &[&str]) -> Supervised {
        Supervised::start(evenkeel(), self.scratch.path(), words)
    }

    fn run(&self, words: &[&str]) -> CommandOutput {
        run(evenkeel(), self.scratch.path(), words)
    }

    /// Runs a command with another runtime directory.
    fn run_elsewhere(&self, words: &[&str]) -> CommandOutput {
        run_with(evenkeel(), self.scratch.path(), words, &ELSEWHERE)
    }

    fn node(&self) -> Supervised {
        let node = self.start(&NODE);
        let runs = || node.has_said("has not accepted a version yet");
        assert!(eventually(PATIENCE, runs));
        node
    }

    /// Checks that a start is refused with a reason, with this runtime directory and with another
    /// one.
    fn is_refused(&self, words: &[&str], reason: &str) {
        for outcome in [self.run(words), self.run_elsewhere(words)] {
            // Requires no message of keepalived, which writes it to its log only.
            let said = outcome.stderr.contains(reason) || words[0] == "keepalived";
            assert!(said, "{words:?}: {}", outcome.stderr);
            assert_ne!(outcome.code(), Some(0), "{words:?}: {}", outcome.stderr);
        }
    }
}

#[test]
fn node_of_a_cluster_refuses_second_instances() {
    let machine = ClusterMachineFixture::new();
    let node = machine.node();
    let pid = node.pid.to_string();
    let reason = "this machine is a node of a cluster";
    for words in [
        &FILE[..],
        &["run", "-f", "a.cfg", "--finish", &pid],
        &["haproxy", "-f", "a.cfg"],
        &["haproxy", "-db", "-f", "a.cfg"],
        &["haproxy", "-D", "-p", "h.pid", "-f", "a.cfg"],
        &["haproxy", "-W", "-f", "a.cfg"],
        &["haproxy", "-W", "-D", "-p", "h.pid", "-f", "a.cfg"],
        &["haproxy", "-W", "-f", "a.cfg", "-sf", &pid],
        &[
            "keepalived",
            "-n",
            "-l",
            "-f",
            "k.conf",
            "-p",
            "k.pid",
            "-r",
            "v.pid",
        ],
    ] {
        machine.is_refused(words, reason);
    }
    let refused = machine.run(&NODE);
    let reason = "already serves these files";
    assert!(refused.stderr.contains(reason), "{}", refused.stderr);
    // Repeats this without a usable runtime directory.
    let nowhere = [("EVENKEEL_RUNTIME_DIRECTORY", "/proc/none")];
    for words in [&FILE[..], &["haproxy", "-db", "-f", "a.cfg"]] {
        let refused = run_with(evenkeel(), machine.scratch.path(), words, &nowhere);
        let reason = "this machine is a node of a cluster";
        assert!(refused.stderr.contains(reason), "{}", refused.stderr);
        assert_ne!(refused.code(), Some(0));
    }
    for words in [
        &["haproxy", "-c", "-f", "a.cfg"][..],
        &["haproxy", "-W", "-c", "-f", "a.cfg"],
        &["check", "a.cfg"],
    ] {
        let outcome = machine.run(words);
        assert_eq!(outcome.code(), Some(0), "{words:?}: {}", outcome.stderr);
    }
    assert!(lives(node.pid.as_raw()), "the node was not affected");
    assert_eq!(node.end(Signal::SIGTERM).code(), Some(0));
    // A machine whose node does not run may serve a file.
    let file = machine.start(&FILE);
    assert!(answers(machine.port, "one"));
    assert_eq!(file.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn cluster_node_refuses_to_start_beside_an_instance() {
    let machine = ClusterMachineFixture::new();
    let reason = "a node of a cluster has to be the only instance there";
    let file = machine.start(&FILE);
    assert!(answers(machine.port, "one"));
    machine.is_refused(&NODE, reason);
    // A proxy that continues without its supervisor counts as an instance.
    let role = file.role().unwrap();
    file.signal(Signal::SIGKILL);
    assert!(eventually(PATIENCE, || !lives(file.pid.as_raw())));
    machine.is_refused(&NODE, reason);
    kill(Pid::from_raw(role), Signal::SIGTERM).unwrap();
    assert!(eventually(PATIENCE, || !lives(role)));
    // Starts a background process without a supervisor, which also counts as an instance.
    let started = machine.run(&["haproxy", "-D", "-p", "h.pid", "-f", "a.cfg"]);
    assert_eq!(started.code(), Some(0), "{}", started.stderr);
    machine.is_refused(&NODE, reason);
    let pid = || std::fs::read_to_string(machine.scratch.path().join("h.pid")).unwrap();
    let first = pid();
    let next = [
        "haproxy",
        "-D",
        "-p",
        "h.pid",
        "-f",
        "a.cfg",
        "-sf",
        first.trim(),
    ];
    assert_eq!(machine.run(&next).code(), Some(0));
    let first: i32 = first.trim().parse().unwrap();
    assert!(eventually(PATIENCE, || !lives(first)));
    assert!(answers(machine.port, "one"));
    machine.is_refused(&NODE, reason);
    let second: i32 = pid().trim().parse().unwrap();
    kill(Pid::from_raw(second), Signal::SIGTERM).unwrap();
    assert!(eventually(PATIENCE, || !lives(second)));
    assert_eq!(machine.node().end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn only_one_of_a_node_and_an_instance_runs() {
    let machine = ClusterMachineFixture::new();
    for _ in 0..3 {
        let both = [machine.start(&NODE), machine.start(&FILE)];
        let ended = |one: &Supervised| !lives(one.pid.as_raw());
        assert!(eventually(PATIENCE, || both.iter().any(ended)));
        let runs = both.into_iter().find(|one| !ended(one));
        let runs = runs.expect("one of them runs");
        assert!(eventually(PATIENCE, || runs.reads_signals()));
        assert_eq!(runs.end(Signal::SIGTERM).code(), Some(0));
        assert!(eventually(PATIENCE, || {
            roles_of(machine.scratch.path()).is_empty()
        }));
    }
}

#[test]
fn runtime_directory_of_a_second_instance_makes_no_difference() {
    let scratch = ScratchDirectory::new().unwrap();
    let port = free_port().unwrap();
    scratch
        .write("a.cfg", passes("", &[port], origin("one")))
        .unwrap();
    let first = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "one"));
    let refused = run_with(evenkeel(), scratch.path(), FILE, &ELSEWHERE);
    let words = format!("the address 127.0.0.1:{port} is in use by process");
    assert!(refused.stderr.contains(&words), "{}", refused.stderr);
    assert_eq!(refused.code(), Some(1));
    assert_eq!(first.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn files_that_share_a_listener_or_volume_do_not_run_together() {
    let scratch = ScratchDirectory::new().unwrap();
    let (port, other) = (free_port().unwrap(), free_port().unwrap());
    let directory = scratch.path().join("volumes");
    std::fs::create_dir(&directory).unwrap();
    let volume = |name: &str| {
        let directory = directory.display();
        format!("volume {name}\n    size 1m\n    backing file {directory}\n")
    };
    let proxy = |port| passes("", &[port], origin("one"));
    scratch.write("a.cfg", proxy(port) + &volume("x")).unwrap();
    scratch.write("b.cfg", proxy(port)).unwrap();
    scratch.write("c.cfg", proxy(other) + &volume("x")).unwrap();
    let create = |name| {
        let words = ["volume", "create", name, "--from", "a.cfg"];
        run(evenkeel(), scratch.path(), words)
    };
    assert_eq!(create("x").code(), Some(0), "{}", create("x").stderr);
    let first = Supervised::run(&scratch, "a.cfg");
    assert!(answers(port, "one"));
    for (file, resource) in [
        ("b.cfg", format!("the address 127.0.0.1:{port}")),
        ("c.cfg", "the volume 'x'".to_owned()),
    ] {
        let refused = run(evenkeel(), scratch.path(), ["run", "-f", file]);
        assert_eq!(refused.code(), Some(1), "{}", refused.stderr);
        let words = format!("{resource} is in use by process {} (evenkeel)", first.pid);
        assert!(refused.stderr.contains(&words), "{}", refused.stderr);
    }
    // Without the shared resource both run, and a reload does not get it either.
    scratch.write("c.cfg", proxy(other)).unwrap();
    let second = Supervised::run(&scratch, "c.cfg");
    assert!(answers(other, "one"));
    scratch.write("c.cfg", proxy(other) + &volume("x")).unwrap();
    let reload = second.reload();
    assert_eq!(reload.code(), Some(1), "{}", reload.stderr);
    assert!(
        reload
            .stderr
            .contains("the volume 'x' is in use by process"),
        "{}",
        reload.stderr
    );
    // A resource that the first instance releases is available to the second.
    scratch.write("a.cfg", proxy(port)).unwrap();
    assert_eq!(first.reload().code(), Some(0));
    let reload = second.reload();
    assert_eq!(reload.code(), Some(0), "{}", reload.stderr);
    assert_eq!(second.end(Signal::SIGTERM).code(), Some(0));
    assert_eq!(first.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn haproxy_files_run_together_also_with_the_same_listener() {
    let scratch = ScratchDirectory::new().unwrap();
    let (port, other) = (free_port().unwrap(), free_port().unwrap());
    let file = |port| passes("", &[port], origin("one"));
    scratch.write("a.cfg", file(port)).unwrap();
    scratch.write("b.cfg", file(other)).unwrap();
    let start = |name| Supervised::start(evenkeel(), scratch.path(), ["haproxy", "-W", "-f", name]);
    let all = [start("a.cfg"), start("b.cfg"), start("a.cfg")];
    assert!(answers(port, "one") && answers(other, "one"));
    for one in all {
        assert!(eventually(PATIENCE, || one.has_said("Loading success")));
        assert_eq!(one.end(Signal::SIGTERM).code(), Some(0));
    }
}
