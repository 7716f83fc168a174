//! Tests that a healthy node keeps its full priority for virtual addresses after upgrades of the
//! binary and after killed supervisors, proxies and address roles, in every order; and that a node
//! whose proxy or farm fails loses it.

use crate::addresses::{AddressFixture, VIP, address_roles, end};
use crate::harness::{CommandOutput, PATIENCE, evenkeel};
use crate::supervised::{Supervised, lives, roles_of};
use crate::upgrade::copy;
use lab::eventually;
use lab::pki::{Authority, Leaf};
use nix::sys::signal::Signal;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Priority of a healthy node of two, in an advert.
const HEALTHY: &str = "\"priority\":220,";
/// Priority of a node that can serve nothing.
const UNFIT: &str = "\"priority\":60,";

fn file(status: u16) -> String {
    format!(
        "node one\n address 10.0.0.1\nnode two\n address 10.0.0.2\n\
         virtual-ip web\n address {VIP}/24\n interface v0\n prefer one two\n failover 1s\n\
         defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
         frontend web\n bind {VIP}:8080\n http-request return status {status}\n"
    )
}

struct AddressTestNode {
    bed: AddressFixture,
    program: PathBuf,
}

impl AddressTestNode {
    fn new(name: &str) -> AddressTestNode {
        let bed = AddressFixture::new(name);
        bed.scratch.write("n.cfg", file(200)).unwrap();
        let program = bed.scratch.path().join("evenkeel");
        copy(evenkeel(), &program);
        AddressTestNode { bed, program }
    }

    fn directory(&self) -> &Path {
        self.bed.scratch.path()
    }

    fn start(&self) -> Supervised {
        let words = ["run", "-f", "n.cfg"];
        let enter = || Supervised::start(&self.program, self.directory(), words);
        self.bed.host.enter(enter)
    }

    fn status(&self) -> String {
        self.bed.run(&["address", "--json"]).stdout
    }

    /// Checks that the node becomes healthy, and stays healthy for several further polls.
    fn is_healthy(&self) {
        let healthy = eventually(PATIENCE, || {
            let status = self.status();
            status.contains(HEALTHY) && status.contains("\"state\":\"MASTER\"")
        });
        assert!(
            healthy,
            "{} {}",
            self.status(),
            self.bed.run(&["address"]).stdout
        );
    }

    /// Checks that no log message reports the node as unhealthy.
    fn was_always_fit(&self, outcome: &CommandOutput) {
        assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
        let said = &outcome.stderr;
        assert!(!said.contains("cannot be served"), "{said}");
    }

    fn replace(&self, put: impl FnOnce(&Path)) {
        let new = self.directory().join("new");
        put(&new);
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(&new, &self.program).unwrap();
    }

    /// Reloads with another program of the same kind, and waits until all processes run it.
    fn upgrade(&self, supervised: &Supervised) {
        let address = address_roles(self.directory());
        self.replace(|new| copy(evenkeel(), new));
        let outcome = self.bed.run(&["reload"]);
        assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
        let followed = eventually(PATIENCE, || {
            assert!(self.bed.has(VIP));
            let now = address_roles(self.directory());
            now.len() == 1 && now != address
        });
        assert!(followed, "{:?}", address_roles(self.directory()));
        let alone = || supervised.children().len() == 2;
        assert!(eventually(PATIENCE, alone), "{:?}", supervised.children());
    }

    fn kill_proxy(&self) {
        let proxy = self.proxy();
        end(proxy);
        assert!(eventually(PATIENCE, || self
            .proxies()
            .iter()
            .any(|one| *one != proxy)));
    }

    fn proxies(&self) -> Vec<i32> {
        let is_proxy = |pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.starts_with(b"evenkeel: proxy")
        };
        roles_of(self.directory())
            .into_iter()
            .filter(is_proxy)
            .collect()
    }

    fn proxy(&self) -> i32 {
        let [proxy] = self.proxies()[..] else {
            panic!("one proxy: {:?}", self.proxies());
        };
        proxy
    }

    /// Kills the supervisor, and starts the same command again, which adopts both roles.
    fn take_over(&self, before: &Supervised) -> Supervised {
        let roles = roles_of(self.directory());
        before.signal(Signal::SIGKILL);
        assert!(eventually(PATIENCE, || !lives(before.pid.as_raw())));
        let next = self.start();
        let pid = next.pid.to_string();
        let knows = || {
            let shown = self.bed.run(&["address", "--json", "--pid", &pid]).stdout;
            shown.contains("\"state\":\"MASTER\"")
        };
        assert!(eventually(PATIENCE, knows));
        // The loader reads the files at the same time.
        let same = || roles_of(self.directory()) == roles;
        assert!(eventually(PATIENCE, same), "the same processes");
        next
    }
}

#[test]
fn health_survives_upgrades_and_a_dying_proxy() {
    lab::skip_unless_root!();
    let node = AddressTestNode::new("health-upgrade");
    let supervised = node.start();
    node.bed.comes(VIP);
    node.is_healthy();
    for _ in 0..2 {
        node.upgrade(&supervised);
        node.is_healthy();
    }
    node.was_always_fit(&{
        let outcome = node.bed.run(&["address"]);
        assert!(
            outcome.stdout.contains("all frontends are available\n"),
            "{outcome:?}"
        );
        outcome
    });
    node.kill_proxy();
    node.is_healthy();
    // Both processes still use the same memory.
    node.upgrade(&supervised);
    node.is_healthy();
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn an_upgrade_never_makes_a_node_unfit() {
    lab::skip_unless_root!();
    let node = AddressTestNode::new("health-fit");
    let supervised = node.start();
    node.bed.comes(VIP);
    node.is_healthy();
    node.upgrade(&supervised);
    node.is_healthy();
    let supervised = node.take_over(&supervised);
    node.is_healthy();
    node.was_always_fit(&supervised.end(Signal::SIGTERM));
}

#[test]
fn health_survives_adoption_upgrade_and_a_dying_proxy() {
    lab::skip_unless_root!();
    let node = AddressTestNode::new("health-adopted");
    let first = node.start();
    node.bed.comes(VIP);
    node.is_healthy();
    let second = node.take_over(&first);
    node.is_healthy();
    node.kill_proxy();
    node.is_healthy();
    node.upgrade(&second);
    node.is_healthy();
    // Another configuration between the steps.
    node.bed.scratch.write("n.cfg", file(204)).unwrap();
    let outcome = node.bed.run(&["reload"]);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    let third = node.take_over(&second);
    end(address_roles(node.directory())[0]);
    node.is_healthy();
    node.kill_proxy();
    node.is_healthy();
    assert_eq!(third.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn address_role_sees_the_proxy_restarted_after_adoption() {
    lab::skip_unless_root!();
    let node = AddressTestNode::new("health-orphans");
    let first = node.start();
    node.bed.comes(VIP);
    node.is_healthy();
    first.signal(Signal::SIGKILL);
    assert!(eventually(PATIENCE, || !lives(first.pid.as_raw())));
    end(node.proxy());
    assert!(eventually(PATIENCE, || node.proxies().is_empty()));
    let second = node.start();
    node.is_healthy();
    assert_eq!(second.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn next_address_role_sees_a_surviving_proxy() {
    lab::skip_unless_root!();
    let node = AddressTestNode::new("health-outlived");
    let first = node.start();
    node.bed.comes(VIP);
    node.is_healthy();
    let proxy = node.proxy();
    first.signal(Signal::SIGKILL);
    assert!(eventually(PATIENCE, || !lives(first.pid.as_raw())));
    end(address_roles(node.directory())[0]);
    let second = node.start();
    node.is_healthy();
    assert_eq!(node.proxy(), proxy, "adopted");
    assert_eq!(second.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn adopted_address_role_ignores_a_removed_proxy() {
    lab::skip_unless_root!();
    let node = AddressTestNode::new("health-no-proxy");
    let first = node.start();
    node.bed.comes(VIP);
    node.is_healthy();
    first.signal(Signal::SIGKILL);
    assert!(eventually(PATIENCE, || !lives(first.pid.as_raw())));
    let file = file(200);
    let (addresses, _) = file.split_once("defaults").unwrap();
    node.bed.scratch.write("n.cfg", addresses).unwrap();
    let second = node.start();
    assert!(eventually(PATIENCE, || node.proxies().is_empty()));
    node.is_healthy();
    let shown = node.bed.run(&["address"]).stdout;
    assert!(shown.contains("no proxy reports to this role"), "{shown}");
    assert_eq!(second.end(Signal::SIGTERM).code(), Some(0));
}

#[cfg(feature = "farm")]
#[test]
fn node_with_a_failing_farm_is_unfit_with_a_reason() {
    lab::skip_unless_root!();
    let node = AddressTestNode::new("health-farm");
    let leaf = Leaf {
        names: &["desktop.example.org"],
        ..Leaf::default()
    };
    let issued = Authority::new("Test CA").unwrap().issue(&leaf).unwrap();
    let pem = node.bed.scratch.write("farm.pem", issued.bundle()).unwrap();
    let pem = pem.display();
    let key = node.bed.scratch.write("farm.key", [7; 32]).unwrap();
    let key = key.display();
    let file = file(200);
    let (addresses, _) = file.split_once("defaults").unwrap();
    let farm =
        format!("farm office\n bind {VIP}:3389 crt {pem}\n token-key {key}\n host ts1 10.0.0.8\n");
    let file = format!("{addresses}{farm}");
    node.bed.scratch.write("n.cfg", file).unwrap();
    let listens = || TcpListener::bind("0.0.0.0:3389").unwrap();
    let in_the_way = node.bed.host.enter(listens);
    let supervised = node.start();
    node.bed.comes(VIP);
    let shown = || node.bed.run(&["address"]).stdout;
    let is_told = || shown().contains("no frontend is available: the farm role");
    assert!(eventually(PATIENCE, is_told), "{}", shown());
    let words = format!("cannot listen at {VIP}:3389: Address already in use");
    assert!(
        eventually(PATIENCE, || shown().contains(&words)),
        "{}",
        shown()
    );
    assert!(node.status().contains(UNFIT), "{}", node.status());
    drop(in_the_way);
    node.is_healthy();
    let outcome = supervised.end(Signal::SIGTERM);
    assert_eq!(outcome.code(), Some(0));
    assert!(outcome.stderr.contains(&words), "{}", outcome.stderr);
}

#[test]
fn upgrade_to_files_without_addresses_releases_them() {
    lab::skip_unless_root!();
    let node = AddressTestNode::new("health-given-up");
    let supervised = node.start();
    node.bed.comes(VIP);
    node.is_healthy();
    let file = file(200);
    let proxy = &file[file.find("defaults").unwrap()..];
    let proxy = proxy.replace(VIP, "10.0.0.1");
    node.bed.scratch.write("n.cfg", proxy).unwrap();
    node.replace(|new| copy(evenkeel(), new));
    let outcome = node.bed.run(&["reload"]);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    let gone = || address_roles(node.directory()).is_empty() && !node.bed.has(VIP);
    assert!(
        eventually(PATIENCE, gone),
        "{:?}",
        address_roles(node.directory())
    );
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn rolled_back_upgrade_leaves_the_node_healthy() {
    lab::skip_unless_root!();
    let node = AddressTestNode::new("health-failed");
    let supervised = node.start();
    node.bed.comes(VIP);
    node.is_healthy();
    let proxy = node.proxy();
    // The proxy serves long enough to be seen, and dies.
    let real = evenkeel().display();
    let script = format!(
        "#!/bin/sh\ncase \"$2\" in proxy-role) {real} \"$@\" & sleep 1; kill -9 $!; exit 3;; esac\nexec {real} \"$@\"\n"
    );
    let lines = node.bed.scratch.write("lines", script).unwrap();
    node.replace(|new| copy(&lines, new));
    let outcome = node.bed.run(&["reload"]);
    assert_eq!(outcome.code(), Some(1), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("nothing was changed"),
        "{}",
        outcome.stderr
    );
    assert_eq!(node.proxies(), [proxy]);
    node.is_healthy();
    node.upgrade(&supervised);
    node.is_healthy();
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn status_names_the_process_without_a_heartbeat() {
    lab::skip_unless_root!();
    let node = AddressTestNode::new("health-why");
    let supervised = node.start();
    node.bed.comes(VIP);
    node.is_healthy();
    let proxy = nix::unistd::Pid::from_raw(node.proxy());
    nix::sys::signal::kill(proxy, Signal::SIGSTOP).unwrap();
    let said = || {
        let words = node.bed.run(&["address"]).stdout;
        node.status().contains(UNFIT)
            && words.contains("no frontend is available: ")
            && words.contains(&format!(
                "threads of the proxy (process {proxy}) have written no heartbeat"
            ))
    };
    assert!(
        eventually(PATIENCE, said),
        "{}",
        node.bed.run(&["address"]).stdout
    );
    nix::sys::signal::kill(proxy, Signal::SIGCONT).unwrap();
    node.is_healthy();
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}
