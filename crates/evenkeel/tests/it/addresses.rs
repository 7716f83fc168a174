//! Tests of the address role under its supervisor: its life cycle, its status, adoption and
//! upgrade, and the kernel's addresses when processes die, change and stop.

use crate::harness::{CommandOutput, PATIENCE, evenkeel, run};
use crate::supervised::{Supervised, lives, passes, roles_of};
use lab::{Lab, LabHost, ScratchDirectory, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::TcpStream;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::Command;

pub const VIP: &str = "10.0.0.9";

pub struct AddressFixture {
    pub host: LabHost,
    pub scratch: ScratchDirectory,
    _lab: Lab,
}

impl AddressFixture {
    pub fn new(name: &str) -> AddressFixture {
        let lab = Lab::new(name).unwrap();
        let host = lab.host("one").unwrap();
        let add = ["link", "add", "v0", "type", "veth", "peer", "name", "v1"];
        host.ip(&add).unwrap();
        host.ip(&["link", "set", "lo", "up"]).unwrap();
        host.ip(&["link", "set", "v0", "up"]).unwrap();
        host.ip(&["link", "set", "v1", "up"]).unwrap();
        host.ip(&["addr", "add", "10.0.0.1/24", "dev", "v0"])
            .unwrap();
        let scratch = ScratchDirectory::new().unwrap();
        scratch.write("k.conf", keepalived(150, VIP)).unwrap();
        let _lab = lab;
        AddressFixture {
            host,
            scratch,
            _lab,
        }
    }

    pub fn start(&self, words: &[&str]) -> Supervised {
        let directory = self.scratch.path();
        self.host
            .enter(|| Supervised::start(evenkeel(), directory, words.iter().copied()))
    }

    pub fn run(&self, words: &[&str]) -> CommandOutput {
        let directory = self.scratch.path();
        self.host.enter(|| run(evenkeel(), directory, words))
    }

    pub fn has(&self, address: &str) -> bool {
        let shown = self.host.ip(&["-o", "addr", "show"]).unwrap();
        shown.contains(&format!("inet {address}/"))
    }

    pub fn comes(&self, address: &str) {
        let here = eventually(PATIENCE, || self.has(address));
        assert!(here, "{address} did not come");
    }
}

fn keepalived(priority: u8, address: &str) -> String {
    format!(
        "vrrp_instance VI_1 {{\n interface v0\n virtual_router_id 51\n priority {priority}\n advert_int 0.1\n \
         version 3\n virtual_ipaddress {{\n {address}/24\n }}\n}}\n"
    )
}

pub fn address_roles(directory: &Path) -> Vec<i32> {
    roles_called("evenkeel: address", directory)
}

fn roles_called(title: &str, directory: &Path) -> Vec<i32> {
    let is_role = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(title.as_bytes())
    };
    roles_of(directory).into_iter().filter(is_role).collect()
}

pub fn end(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

#[test]
fn address_is_added_at_start_and_removed_at_stop() {
    lab::skip_unless_root!();
    let bed = AddressFixture::new("address-life");
    let supervised = bed.start(&["run", "-f", "k.conf"]);
    bed.comes(VIP);
    let outcome = supervised.end(Signal::SIGTERM);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert!(!bed.has(VIP), "it is given up before the end");
    assert!(address_roles(bed.scratch.path()).is_empty());
    assert_eq!(Supervised::left_behind(bed.scratch.path()), 0);
}

#[test]
fn killed_role_restarts_and_the_address_stays() {
    lab::skip_unless_root!();
    let bed = AddressFixture::new("address-killed");
    let supervised = bed.start(&["run", "-f", "k.conf"]);
    bed.comes(VIP);
    let [role] = address_roles(bed.scratch.path())[..] else {
        panic!("one role");
    };
    end(role);
    let followed = eventually(PATIENCE, || {
        assert!(bed.has(VIP));
        matches!(address_roles(bed.scratch.path())[..], [other] if other != role)
    });
    assert!(followed);
    let owner = || bed.run(&["address"]).stdout.contains("VI_1: MASTER");
    assert!(eventually(PATIENCE, owner), "it goes on as the owner");
    let outcome = supervised.end(Signal::SIGTERM);
    let words = "restarting it at once with its previous state";
    assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
}

#[test]
fn killed_supervisor_leaves_the_role_to_the_next() {
    lab::skip_unless_root!();
    let bed = AddressFixture::new("address-adopted");
    let first = bed.start(&["run", "-f", "k.conf"]);
    bed.comes(VIP);
    let roles = address_roles(bed.scratch.path());
    first.signal(Signal::SIGKILL);
    assert!(eventually(PATIENCE, || !lives(first.pid.as_raw())));
    assert!(bed.has(VIP) && lives(roles[0]));
    // Changes the file, which the next supervisor loads.
    let other = "10.0.0.19";
    let both = keepalived(150, VIP).replace("/24\n", &format!("/24\n {other}/24\n"));
    bed.scratch.write("k.conf", &both).unwrap();
    let second = bed.start(&["run", "-f", "k.conf"]);
    bed.comes(other);
    assert_eq!(address_roles(bed.scratch.path()), roles, "the same process");
    let outcome = second.end(Signal::SIGTERM);
    let words = format!("adopted the address role (process {})", roles[0]);
    assert!(outcome.stderr.contains(&words), "{}", outcome.stderr);
    assert!(!bed.has(VIP) && !bed.has(other));
}

#[test]
fn unchanged_version_of_an_adopted_role_is_not_reported() {
    lab::skip_unless_root!();
    let bed = AddressFixture::new("address-same");
    let proxy = passes("", &[8080], 1);
    bed.scratch.write("a.cfg", proxy).unwrap();
    let words = ["run", "-f", "a.cfg", "k.conf"];
    let first = bed.start(&words);
    bed.comes(VIP);
    first.signal(Signal::SIGKILL);
    assert!(eventually(PATIENCE, || !lives(first.pid.as_raw())));
    let second = bed.start(&words);
    let reloaded = || second.has_said("configuration reloaded");
    assert!(eventually(PATIENCE, reloaded));
    let outcome = second.end(Signal::SIGTERM);
    assert!(
        outcome.stderr.contains("adopted the proxy"),
        "{}",
        outcome.stderr
    );
    assert!(!outcome.stderr.contains(": new"), "{}", outcome.stderr);
}

#[test]
fn reload_applies_differences_and_refuses_a_bad_file() {
    lab::skip_unless_root!();
    let bed = AddressFixture::new("address-reload");
    let supervised = bed.start(&["run", "-f", "k.conf"]);
    bed.comes(VIP);
    let roles = address_roles(bed.scratch.path());
    bed.scratch
        .write("k.conf", "vrrp_instance VI_1 {\n bogus\n")
        .unwrap();
    let outcome = bed.run(&["reload"]);
    assert_eq!(outcome.code(), Some(1), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("E0700"), "{}", outcome.stderr);
    assert!(bed.has(VIP));
    bed.scratch.write("k.conf", keepalived(160, VIP)).unwrap();
    let outcome = bed.run(&["reload"]);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    let told = "~ vrrp_instance VI_1";
    assert!(outcome.stderr.contains(told), "{}", outcome.stderr);
    assert!(bed.has(VIP));
    assert_eq!(address_roles(bed.scratch.path()), roles);
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn status_is_available_as_text_json_and_metrics() {
    lab::skip_unless_root!();
    let bed = AddressFixture::new("address-status");
    let none = bed.run(&["address"]);
    assert_eq!(none.code(), Some(1));
    let supervised = bed.start(&["run", "-f", "k.conf"]);
    bed.comes(VIP);
    let words = bed.run(&["address"]);
    assert!(
        words.stdout.starts_with("virtual-ip VI_1: MASTER for "),
        "{words:?}"
    );
    assert!(words.stdout.contains(VIP) && words.stdout.contains("this machine"));
    let json = bed.run(&["address", "--json"]).stdout;
    assert!(json.contains("\"state\":\"MASTER\""), "{json}");
    let metrics = bed.run(&["address", "metrics"]).stdout;
    let owner = "keepalived_vrrp_state{iname=\"VI_1\",intf=\"v0\",vrid=\"51\",ip_address=\"10.0.0.9/24\"} 2";
    assert!(metrics.contains(owner), "{metrics}");
    // No other node could become the owner.
    let unknown = bed.run(&["address", "hand-over", "nobody"]);
    assert_eq!(unknown.code(), Some(1), "{unknown:?}");
    let named = "is named 'nobody'; there is: VI_1";
    assert!(unknown.stderr.contains(named), "{unknown:?}");
    let alone = bed.run(&["address", "hand-over", "VI_1"]);
    assert_eq!(alone.code(), Some(3), "{alone:?}");
    assert!(
        alone.stderr.contains("VI_1: no other node took over"),
        "{alone:?}"
    );
    assert!(bed.has(VIP), "it keeps the address");
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn proxy_and_address_role_survive_each_other() {
    lab::skip_unless_root!();
    let bed = AddressFixture::new("address-proxy");
    let proxy = "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
                 frontend web\n bind 10.0.0.9:8080\n http-request return status 200\n";
    bed.scratch.write("a.cfg", proxy).unwrap();
    let supervised = bed.start(&["run", "-f", "a.cfg", "k.conf"]);
    bed.comes(VIP);
    let [addresses] = address_roles(bed.scratch.path())[..] else {
        panic!("one role");
    };
    let serves = supervised.role().unwrap();
    end(addresses);
    let other = || matches!(address_roles(bed.scratch.path())[..], [one] if one != addresses);
    assert!(eventually(PATIENCE, other));
    assert!(lives(serves), "the proxy is the same");
    let followed = address_roles(bed.scratch.path());
    end(serves);
    let again = || supervised.role().is_some_and(|role| role != serves);
    assert!(eventually(PATIENCE, again));
    assert_eq!(address_roles(bed.scratch.path()), followed);
    assert!(bed.has(VIP));
    let outcome = supervised.end(Signal::SIGTERM);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert!(!bed.has(VIP));
}

#[test]
fn the_role_holds_only_the_capabilities_that_addresses_need() {
    lab::skip_unless_root!();
    let bed = AddressFixture::new("address-rights");
    let supervised = bed.start(&["run", "-f", "k.conf"]);
    bed.comes(VIP);
    let [role] = address_roles(bed.scratch.path())[..] else {
        panic!("one role");
    };
    let status = std::fs::read_to_string(format!("/proc/{role}/status")).unwrap();
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let held = u64::from_str_radix(held.unwrap().trim(), 16).unwrap();
    // NET_ADMIN, NET_RAW, IPC_LOCK, SYS_NICE.
    assert_eq!(held, 1 << 12 | 1 << 13 | 1 << 14 | 1 << 23, "{held:x}");
    let told = bed.run(&["check", "--privileges", "k.conf"]).stdout;
    for name in [
        "CAP_NET_ADMIN",
        "CAP_NET_RAW",
        "CAP_IPC_LOCK",
        "CAP_SYS_NICE",
    ] {
        assert!(told.contains(name), "{told}");
    }
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn personality_keepalived_has_its_signals_files_and_messages() {
    lab::skip_unless_root!();
    let bed = AddressFixture::new("address-keepalived");
    let words = [
        "keepalived",
        "-nlGD",
        "-f",
        "k.conf",
        "-p",
        "k.pid",
        "-r",
        "v.pid",
    ];
    let supervised = bed.start(&words);
    bed.comes(VIP);
    let pid = |name: &str| -> i32 {
        let text = std::fs::read_to_string(bed.scratch.path().join(name)).unwrap();
        text.trim().parse().unwrap()
    };
    assert_eq!(pid("k.pid"), supervised.pid.as_raw());
    assert_eq!([pid("v.pid")][..], address_roles(bed.scratch.path())[..]);
    let twice = bed.run(&words);
    assert!(
        twice.stderr.contains("daemon is already running"),
        "{twice:?}"
    );
    supervised.signal(Signal::SIGHUP);
    let outcome = supervised.end(Signal::SIGTERM);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    let said = outcome.stderr;
    for line in [
        ": Starting Keepalived v2.2.7 ",
        ": Configuration file k.conf\n",
        ": Starting VRRP child process, pid=",
        ": (VI_1) Entering MASTER STATE\n",
        ": Startup complete\n",
        ": Stopped Keepalived v2.2.7 ",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(!bed.has(VIP));
    assert!(!bed.scratch.path().join("k.pid").exists());
    assert!(!bed.scratch.path().join("v.pid").exists());
}

#[test]
fn keepalived_in_the_background_closes_the_callers_output() {
    lab::skip_unless_root!();
    let bed = AddressFixture::new("address-background");
    let mut command = Command::new("timeout");
    command.arg("60").arg(evenkeel());
    command.args(["keepalived", "-f", "k.conf", "-p", "k.pid", "-r", "v.pid"]);
    command.current_dir(bed.scratch.path());
    let runtime = bed.scratch.path().join("runtime");
    command.env("EVENKEEL_RUNTIME_DIRECTORY", runtime);
    // `output` waits until both streams are closed.
    let output = bed.host.enter(|| command.output().unwrap());
    assert!(output.status.success(), "{output:?}");
    bed.comes(VIP);
    let written = std::fs::read_to_string(bed.scratch.path().join("k.pid")).unwrap();
    let pid = Pid::from_raw(written.trim().parse().unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    assert!(eventually(PATIENCE, || !lives(pid.as_raw()) && !bed.has(VIP)));
}

#[test]
fn replaced_program_gets_its_own_role_and_the_address_stays() {
    lab::skip_unless_root!();
    let bed = AddressFixture::new("address-upgrade");
    let program = bed.scratch.path().join("evenkeel");
    let copy = |to: &Path| {
        // Copies by another process: a parallel test may inherit a descriptor for writing.
        let copied = Command::new("cp").args([evenkeel(), to]).status();
        assert!(copied.unwrap().success());
    };
    copy(&program);
    let words = ["run", "-f", "k.conf"];
    let supervised = bed
        .host
        .enter(|| Supervised::start(&program, bed.scratch.path(), words));
    bed.comes(VIP);
    let [role] = address_roles(bed.scratch.path())[..] else {
        panic!("one role");
    };
    copy(&bed.scratch.path().join("new"));
    std::fs::rename(bed.scratch.path().join("new"), &program).unwrap();
    let outcome = bed.run(&["reload"]);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    let followed = eventually(PATIENCE, || {
        assert!(bed.has(VIP));
        matches!(address_roles(bed.scratch.path())[..], [other] if other != role)
    });
    assert!(followed, "{:?}", address_roles(bed.scratch.path()));
    let owner = || bed.run(&["address"]).stdout.contains("VI_1: MASTER");
    assert!(eventually(PATIENCE, owner));
    let outcome = supervised.end(Signal::SIGTERM);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("the supervisor is now evenkeel"));
    assert!(!bed.has(VIP));
}

#[test]
fn adopted_role_of_another_program_is_replaced() {
    lab::skip_unless_root!();
    let bed = AddressFixture::new("address-adopted");
    let program = bed.scratch.path().join("evenkeel");
    let copied = Command::new("cp").args([evenkeel(), &program]).status();
    assert!(copied.unwrap().success());
    let words = ["run", "-f", "k.conf"];
    let first = bed
        .host
        .enter(|| Supervised::start(&program, bed.scratch.path(), words));
    bed.comes(VIP);
    let [role] = address_roles(bed.scratch.path())[..] else {
        panic!("one role");
    };
    first.signal(Signal::SIGKILL);
    assert!(eventually(PATIENCE, || !lives(first.pid.as_raw())));
    let second = bed.start(&words);
    let followed = eventually(PATIENCE, || {
        assert!(bed.has(VIP));
        matches!(address_roles(bed.scratch.path())[..], [other] if other != role)
    });
    assert!(followed, "{:?}", address_roles(bed.scratch.path()));
    let outcome = second.end(Signal::SIGTERM);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert!(!bed.has(VIP));
}

#[test]
fn an_orphan_whose_part_the_files_no_longer_have_is_adopted_and_ends() {
    lab::skip_unless_root!();
    let bed = AddressFixture::new("address-forgotten");
    let proxy = "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
                 frontend web\n bind 10.0.0.1:8080\n http-request return status 200\n";
    let addresses = "virtual-ip www\n address 10.0.0.9/24\n interface v0\n";
    let both = format!("{proxy}{addresses}");
    for bad in [false, true] {
        bed.scratch.write("a.cfg", &both).unwrap();
        let first = bed.start(&["run", "-f", "a.cfg"]);
        bed.comes(VIP);
        let [role] = address_roles(bed.scratch.path())[..] else {
            panic!("one role");
        };
        first.signal(Signal::SIGKILL);
        assert!(eventually(PATIENCE, || !lives(first.pid.as_raw())));
        let text = if bad {
            format!("{both} adress 10.0.0.10\n")
        } else {
            proxy.to_owned()
        };
        bed.scratch.write("a.cfg", text).unwrap();
        let second = bed.start(&["run", "-f", "a.cfg"]);
        if bad {
            // The running version continues, and the role ends with the supervisor.
            let adopted = || second.has_said("adopted the address role");
            assert!(eventually(PATIENCE, adopted));
            assert!(lives(role) && bed.has(VIP));
        }
        if !bad {
            assert!(eventually(PATIENCE, || !lives(role) && !bed.has(VIP)));
        }
        assert_eq!(second.end(Signal::SIGTERM).code(), Some(0));
        assert!(!lives(role) && !bed.has(VIP));
    }
}

/// Script that listens at the path of an orphaned address role, and sends invalid bytes.
const FOREIGN: &str = "\
import os, socket, sys, time
directory, file = sys.argv[1:]
name = directory + '/4000000.address-role'
listing = open(name + '-of', 'w')
network = os.stat('/proc/self/ns/net').st_ino
print(f'pid 4000000\\nprogram evenkeel\\nnetwork {network}\\nfile {file}', file=listing, flush=True)
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind(name)
listener.listen(8)
while True:
    connection, _ = listener.accept()
    connection.send(b'\\xfe' * 64)
    time.sleep(0.1)
";

#[test]
fn an_address_role_of_a_program_that_cannot_be_understood_is_ended() {
    lab::skip_unless_root!();
    let bed = AddressFixture::new("address-foreign");
    let addresses = "virtual-ip www\n address 10.0.0.9/24\n interface v0\n";
    bed.scratch.write("a.cfg", addresses).unwrap();
    let runtime = bed.scratch.path().join("runtime");
    std::fs::DirBuilder::new().mode(0o700).create(&runtime).ok();
    let file = bed.scratch.path().join("a.cfg");
    let mut command = Command::new("python3");
    command.args(["-c", FOREIGN]).arg(&runtime).arg(&file);
    let mut foreign = bed.host.enter(|| command.spawn()).unwrap();
    let listens = runtime.join("4000000.address-role");
    assert!(eventually(PATIENCE, || listens.exists()));
    let supervised = bed.start(&["run", "-f", "a.cfg"]);
    bed.comes(VIP);
    assert!(supervised.has_said("ended the address role of another program"));
    assert!(!foreign.wait().unwrap().success());
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
    assert!(!bed.has(VIP));
}

#[test]
fn a_reload_exchanges_a_proxy_for_addresses() {
    lab::skip_unless_root!();
    let bed = AddressFixture::new("address-exchange");
    let proxy = "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
                 frontend web\n bind 10.0.0.1:8080\n http-request return status 200\n";
    let addresses = "virtual-ip www\n address 10.0.0.9/24\n interface v0\n";
    bed.scratch.write("a.cfg", proxy).unwrap();
    let supervised = bed.start(&["run", "-f", "a.cfg"]);
    let listens = || {
        bed.host
            .enter(|| TcpStream::connect_timeout(&"10.0.0.1:8080".parse().unwrap(), PATIENCE))
            .is_ok()
    };
    assert!(eventually(PATIENCE, || supervised.has_said("serving on")));
    for _ in 0..2 {
        bed.scratch.write("a.cfg", addresses).unwrap();
        let changed = bed.run(&["reload"]);
        assert_eq!(changed.code(), Some(0), "{}", changed.stderr);
        bed.comes(VIP);
        let proxies = || roles_called("evenkeel: proxy", bed.scratch.path());
        assert!(eventually(PATIENCE, || proxies().is_empty()));
        bed.scratch.write("a.cfg", proxy).unwrap();
        let changed = bed.run(&["reload"]);
        assert_eq!(changed.code(), Some(0), "{}", changed.stderr);
        assert!(eventually(PATIENCE, || listens() && !bed.has(VIP)));
    }
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn orphaned_role_releases_the_address_on_a_signal() {
    lab::skip_unless_root!();
    let bed = AddressFixture::new("address-orphan");
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let supervised = bed.start(&["run", "-f", "k.conf"]);
        bed.comes(VIP);
        let [role] = address_roles(bed.scratch.path())[..] else {
            panic!("one role");
        };
        supervised.signal(Signal::SIGKILL);
        let said = || supervised.has_said("the role continues to serve");
        assert!(eventually(PATIENCE, said));
        kill(Pid::from_raw(role), signal).unwrap();
        assert!(eventually(PATIENCE, || !lives(role)));
        assert!(!bed.has(VIP));
    }
}

#[test]
fn reload_adds_and_removes_a_proxy_beside_addresses() {
    lab::skip_unless_root!();
    let bed = AddressFixture::new("address-brings");
    let nothing = "global\n maxconn 100\n";
    bed.scratch.write("a.cfg", nothing).unwrap();
    let supervised = bed.start(&["run", "-f", "a.cfg", "k.conf"]);
    bed.comes(VIP);
    let addresses = address_roles(bed.scratch.path());
    let proxies = || roles_called("evenkeel: proxy", bed.scratch.path());
    assert!(proxies().is_empty());
    let listens = || {
        bed.host
            .enter(|| TcpStream::connect_timeout(&"10.0.0.9:8080".parse().unwrap(), PATIENCE))
            .is_ok()
    };
    let proxy = "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
                 frontend web\n bind 10.0.0.9:8080\n http-request return status 200\n";
    for round in 0..2 {
        bed.scratch.write("a.cfg", proxy).unwrap();
        let brought = bed.run(&["reload"]);
        assert_eq!(brought.code(), Some(0), "{round}: {}", brought.stderr);
        assert!(
            brought.stderr.contains("serving on 1 address"),
            "{brought:?}"
        );
        assert!(listens() && proxies().len() == 1, "{:?}", proxies());
        // The proxy keeps its version when the files are invalid, and is restarted when it dies.
        bed.scratch
            .write("a.cfg", "frontend web\n bnid :1\n")
            .unwrap();
        assert_eq!(bed.run(&["reload"]).code(), Some(1));
        let [first] = proxies()[..] else {
            panic!("one proxy");
        };
        end(first);
        let follows = || matches!(proxies()[..], [other] if other != first) && listens();
        assert!(eventually(PATIENCE, follows), "{:?}", proxies());
        bed.scratch.write("a.cfg", nothing).unwrap();
        let removed = bed.run(&["reload"]);
        assert_eq!(removed.code(), Some(0), "{round}: {}", removed.stderr);
        assert!(
            removed.stderr.contains("frontend web: removed"),
            "{removed:?}"
        );
        let gone = || proxies().is_empty() && !listens();
        assert!(eventually(PATIENCE, gone), "{:?}", proxies());
        assert!(bed.has(VIP));
        assert_eq!(
            address_roles(bed.scratch.path()),
            addresses,
            "it is the same"
        );
    }
    let outcome = supervised.end(Signal::SIGTERM);
    assert_eq!(outcome.code(), Some(0), "{}", outcome.stderr);
    assert!(!bed.has(VIP));
}

#[test]
fn failed_proxy_start_leaves_addresses_unchanged() {
    lab::skip_unless_root!();
    let bed = AddressFixture::new("address-alone");
    bed.scratch
        .write("a.cfg", "global\n maxconn 100\n")
        .unwrap();
    let supervised = bed.start(&["run", "-f", "a.cfg", "k.conf"]);
    bed.comes(VIP);
    let addresses = address_roles(bed.scratch.path());
    let taken = bed
        .host
        .enter(|| std::net::TcpListener::bind("10.0.0.1:8080"));
    let proxy = "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
                 frontend web\n bind 10.0.0.1:8080\n http-request return status 200\n";
    bed.scratch.write("a.cfg", proxy).unwrap();
    let refused = bed.run(&["reload"]);
    assert_eq!(refused.code(), Some(1), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("nothing was changed"),
        "{refused:?}"
    );
    assert!(roles_called("evenkeel: proxy", bed.scratch.path()).is_empty());
    assert_eq!(address_roles(bed.scratch.path()), addresses);
    drop(taken);
    let brought = bed.run(&["reload"]);
    assert_eq!(brought.code(), Some(0), "{}", brought.stderr);
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
    assert!(!bed.has(VIP) && roles_of(bed.scratch.path()).is_empty());
}

#[test]
fn role_dying_in_a_reload_keeps_its_previous_version() {
    lab::skip_unless_root!();
    let bed = AddressFixture::new("address-dies");
    let proxy = "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
                 frontend web\n bind 10.0.0.1:8080\n http-request return status 200\n";
    bed.scratch.write("a.cfg", proxy).unwrap();
    let supervised = bed.start(&["run", "-f", "a.cfg", "k.conf"]);
    bed.comes(VIP);
    let [role] = address_roles(bed.scratch.path())[..] else {
        panic!("one role");
    };
    kill(Pid::from_raw(role), Signal::SIGSTOP).unwrap();
    // Descriptors wait in the role's sockets only during a change.
    let waiting = || {
        let entries = std::fs::read_dir(format!("/proc/{role}/fdinfo")).unwrap();
        let texts = entries
            .flatten()
            .map(|entry| std::fs::read_to_string(entry.path()));
        let texts: Vec<String> = texts.filter_map(Result::ok).collect();
        let counts = texts.iter().flat_map(|text| text.lines());
        let counts = counts.filter_map(|line| line.strip_prefix("scm_fds:"));
        counts
            .map(|count| count.trim().parse::<u32>().unwrap())
            .sum::<u32>()
    };
    assert_eq!(waiting(), 0);
    bed.scratch
        .write("a.cfg", "global\n maxconn 100\n")
        .unwrap();
    let other = keepalived(150, "10.0.0.10");
    bed.scratch.write("k.conf", other).unwrap();
    let refused = std::thread::scope(|scope| {
        let reload = scope.spawn(|| bed.run(&["reload"]));
        assert!(eventually(PATIENCE, || waiting() > 0));
        end(role);
        reload.join().unwrap()
    });
    assert_eq!(refused.code(), Some(1), "{}", refused.stderr);
    let words = "died while it loaded the change";
    assert!(refused.stderr.contains(words), "{}", refused.stderr);
    let owner = || bed.run(&["address"]).stdout.contains("VI_1: MASTER");
    assert!(eventually(PATIENCE, owner), "it goes on as the owner");
    assert!(bed.has(VIP) && !bed.has("10.0.0.10"));
    let outcome = supervised.end(Signal::SIGTERM);
    assert_eq!(outcome.code(), Some(0));
    // The refused version never ran.
    assert!(!outcome.stderr.contains("10.0.0.10"), "{}", outcome.stderr);
}

#[test]
fn address_follows_the_health_of_an_added_proxy() {
    lab::skip_unless_root!();
    let bed = AddressFixture::new("address-health");
    let addresses = "virtual-ip www\n address 10.0.0.9/24\n interface v0\n prefer one two\n failover 500ms\n\
                     node one\n address 10.0.0.1\nnode two\n address 10.0.0.2\n";
    let alone = format!("global\n maxconn 100\n{addresses}");
    let proxy = "defaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
                 frontend web\n bind 10.0.0.9:8080\n http-request return status 200\n";
    bed.scratch.write("a.cfg", &alone).unwrap();
    let supervised = bed.start(&["run", "-f", "a.cfg"]);
    bed.comes(VIP);
    let shows = |words: &str| {
        let shown = || bed.run(&["address"]).stdout;
        assert!(
            eventually(PATIENCE, || shown().contains(words)),
            "{}",
            shown()
        );
    };
    shows("no proxy reports to this role");
    for _ in 0..2 {
        let both = format!("{alone}{proxy}");
        bed.scratch.write("a.cfg", both).unwrap();
        assert_eq!(bed.run(&["reload"]).code(), Some(0));
        shows("all frontends are available");
        bed.scratch.write("a.cfg", &alone).unwrap();
        assert_eq!(bed.run(&["reload"]).code(), Some(0));
        shows("no proxy reports to this role");
    }
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}
