//! Tests of the systemd units and other files of `packaging`: systemd accepts the units, their
//! commands start, reload and end the program, and their restrictions permit what the roles need.

use crate::harness::{Bench, PATIENCE, evenkeel, run};
use crate::supervised::{Supervised, answers, origin, passes};
use lab::{ScratchDirectory, free_port};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Units that run a proxy.
const PROXIES: [&str; 2] = ["evenkeel.service", "evenkeel-haproxy.service"];
/// Units that run a supervisor.
const SUPERVISORS: [&str; 4] = [
    PROXIES[0],
    PROXIES[1],
    "evenkeel-keepalived.service",
    "evenkeel-cluster.service",
];
/// Units that run every part.
const PLATFORMS: [&str; 2] = ["evenkeel.service", "evenkeel-cluster.service"];

fn packaging(path: &str) -> PathBuf {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging");
    PathBuf::from(root).join(path)
}

fn unit(name: &str) -> PathBuf {
    packaging("systemd").join(name)
}

/// Returns all units with the limits of their exposure, in tenths.
fn exposure_limits() -> Vec<(String, u32)> {
    let text = std::fs::read_to_string(packaging("exposure-limits")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let limits = lines.map(|line| {
        let (name, limit) = line.split_once(' ').unwrap();
        (name.to_owned(), limit.parse().unwrap())
    });
    limits.collect()
}

/// Lines `KEY=VALUE` of a unit, in their order.
struct Unit(Vec<(String, String)>);

impl Unit {
    fn read(name: &str) -> Unit {
        let text = std::fs::read_to_string(unit(name)).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.filter_map(|line| line.split_once('='));
        Unit(
            pairs
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    fn all(&self, key: &str) -> Vec<&str> {
        let these = self.0.iter().filter(|(name, _)| name == key);
        these.map(|(_, value)| value.as_str()).collect()
    }

    /// Returns the variables of the `Environment=` lines.
    fn variables(&self) -> BTreeMap<String, String> {
        let quoted = self.all("Environment").into_iter().flat_map(|line| {
            line.split('"')
                .skip(1)
                .step_by(2)
                .map(|pair| pair.split_once('=').unwrap())
        });
        quoted
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}

/// Splits a command of a unit into words and expands variables, as systemd does.
fn words(command: &str, variables: &BTreeMap<String, String>) -> Vec<String> {
    let mut words = Vec::new();
    for word in command.split(' ') {
        match word.strip_prefix('$') {
            // A variable that is a whole word is split at spaces.
            Some(name) => words.extend(variables[name].split(' ').map(str::to_owned)),
            None => words.push(word.to_owned()),
        }
    }
    words
}

fn heard(manager: &UnixDatagram, begin: &str) {
    let mut bytes = [0; 4096];
    loop {
        let length = manager.recv(&mut bytes).unwrap();
        if bytes[..length].starts_with(begin.as_bytes()) {
            return;
        }
    }
}

#[test]
fn the_commands_of_the_units_start_reload_and_end_a_proxy() {
    for name in PROXIES {
        let bench = Bench::new();
        let at = |file: &str| bench.scratch.path().join(file).display().to_string();
        let port = free_port().unwrap();
        bench.file("a.cfg", &passes("", &[port], origin("one")));
        let unit = Unit::read(name);
        let mut variables = unit.variables();
        // Paths of this machine are replaced.
        let places = [
            ("/etc/evenkeel/evenkeel.cfg", at("a.cfg")),
            ("/etc/haproxy/haproxy.cfg", at("a.cfg")),
            ("/run/haproxy.pid", at("own.pid")),
            ("/run/haproxy-master.sock", at("master.sock")),
        ];
        let here = |text: &str| {
            let all = places.iter();
            all.fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
        };
        variables
            .values_mut()
            .for_each(|value| *value = here(value));
        for check in unit.all("ExecStartPre") {
            let line = words(check, &variables);
            assert_eq!(line[0], "/usr/bin/evenkeel");
            let outcome = run(evenkeel(), bench.scratch.path(), &line[1..]);
            assert_eq!(outcome.code(), Some(0), "{check}: {}", outcome.stderr);
        }
        let manager = UnixDatagram::bind(at("notify")).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let [start] = unit.all("ExecStart")[..] else {
            panic!("{name}: one start");
        };
        let line = words(&here(start), &variables);
        assert_eq!(line[0], "/usr/bin/evenkeel");
        let supervised = Supervised::start_with(
            evenkeel(),
            bench.scratch.path(),
            &line[1..],
            &[("NOTIFY_SOCKET", &at("notify"))],
        );
        heard(&manager, "READY=1");
        assert!(answers(port, "one"), "{name}");
        bench.file("a.cfg", &passes("", &[port], origin("two")));
        variables.insert("MAINPID".into(), supervised.pid.to_string());
        for reload in unit.all("ExecReload") {
            let line = words(reload, &variables);
            let program = match line[0].as_str() {
                "/usr/bin/evenkeel" => evenkeel().to_owned(),
                other => PathBuf::from(other),
            };
            let outcome = run(&program, bench.scratch.path(), &line[1..]);
            assert_eq!(outcome.code(), Some(0), "{reload}: {}", outcome.stderr);
        }
        heard(&manager, "RELOADING=1");
        heard(&manager, "READY=1");
        assert!(answers(port, "two"), "{name}");
        assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0), "{name}");
    }
}

#[test]
fn a_killed_supervisor_is_started_again_and_leaves_its_roles_alone() {
    for name in SUPERVISORS {
        let unit = Unit::read(name);
        for (key, value) in [
            ("Type", "notify"),
            ("KillMode", "process"),
            ("Restart", "always"),
            ("RuntimeDirectory", "evenkeel"),
            ("RuntimeDirectoryMode", "0700"),
            ("RuntimeDirectoryPreserve", "yes"),
            // A guest or role that runs out of memory must not stop the others.
            ("OOMPolicy", "continue"),
        ] {
            assert_eq!(unit.all(key), [value], "{name}: {key}");
        }
    }
}

#[test]
fn systemd_finds_nothing_to_complain_about() {
    let there = lab::installed("systemd-analyze");
    if !lab::may_run("systemd-analyze verifies the units", there) {
        return;
    }
    let bench = Bench::new();
    for (name, _) in exposure_limits() {
        let text = std::fs::read_to_string(unit(&name)).unwrap();
        let binary = evenkeel().display().to_string();
        let file = bench.file(&name, &text.replace("/usr/bin/evenkeel", &binary));
        let outcome = Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
        assert!(outcome.status.success(), "{name}: {said}");
        assert!(!said.contains(&name), "{said}");
    }
}

#[test]
fn exposure_of_each_unit_is_below_its_limit() {
    let there = lab::installed("systemd-analyze");
    if !lab::may_run("systemd-analyze computes the exposure of the units", there) {
        return;
    }
    let limits = exposure_limits();
    for entry in std::fs::read_dir(unit("")).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let is_listed = limits.iter().any(|(name, _)| *name == file);
        assert!(is_listed, "{file} has no limit");
    }
    for (name, limit) in limits {
        let outcome = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager"])
            .arg(format!("--threshold={limit}"))
            .arg(unit(&name))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&outcome.stdout);
        let result = said.lines().rfind(|line| line.contains(&name));
        assert!(result.is_some(), "{name}: {said}");
        assert!(outcome.status.success(), "limit {limit}: {result:?}");
    }
}

#[test]
fn guest_role_may_write_to_the_control_group_of_guests() {
    let qemu = Unit::read("evenkeel-qemu.service");
    let [slice] = qemu.all("Slice")[..] else {
        panic!("one slice");
    };
    let path = format!("/sys/fs/cgroup/{slice}/evenkeel-qemu.service");
    let [controllers] = qemu.all("Delegate")[..] else {
        panic!("one delegation");
    };
    assert!(controllers.split(' ').any(|one| one == "memory"));
    // Neither a guest that is killed for its memory nor a stop of the unit ends the others.
    assert_eq!(qemu.all("OOMPolicy"), ["continue"]);
    assert_eq!(qemu.all("KillMode"), ["process"]);
    for name in PLATFORMS {
        let unit = Unit::read(name);
        let variable = format!("EVENKEEL_GUEST_CGROUP={path}");
        assert_eq!(unit.all("Environment"), [&*variable], "{name}");
        assert_eq!(unit.all("ReadWritePaths"), [format!("-{path}")], "{name}");
        for key in ["Wants", "After"] {
            let units = unit.all(key).join(" ");
            let has = units.split(' ').any(|one| one == "evenkeel-qemu.service");
            assert!(has, "{name}: {key}");
        }
    }
}

/// Returns true if a value of a directive permits what the roles need.
type Needs = fn(&str) -> bool;

#[test]
fn each_protection_of_a_platform_leaves_every_role_what_it_needs() {
    let needs: [(&str, &str, Needs); 6] = [
        ("an empty network for QEMU", "RestrictNamespaces", |value| {
            value.split(' ').any(|one| one == "net")
        }),
        (
            "code that QEMU without KVM translates",
            "MemoryDenyWriteExecute",
            |value| value == "no",
        ),
        ("virtual MAC addresses", "ProtectKernelTunables", |value| {
            value == "no"
        }),
        (
            "addresses, DHCP and neighbours",
            "RestrictAddressFamilies",
            |value| {
                let all = ["AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET"];
                all.iter()
                    .all(|one| value.split(' ').any(|family| family == *one))
            },
        ),
        // The following directives hide devices that roles need: KVM, disks of volumes, the
        // watchdog.
        ("devices", "PrivateDevices", |value| value == "no"),
        ("devices", "ProtectClock", |value| value == "no"),
    ];
    for name in PLATFORMS {
        let unit = Unit::read(name);
        for (need, directive, is_enough) in &needs {
            for value in unit.all(directive) {
                assert!(
                    is_enough(value),
                    "{name}: {directive}={value} takes away {need}"
                );
            }
        }
        assert!(unit.all("DeviceAllow").is_empty(), "{name}");
        let bounding = unit.all("CapabilityBoundingSet").join(" ");
        for capability in [
            "NET_ADMIN",
            "NET_RAW",
            "NET_BIND_SERVICE",
            "SYS_ADMIN",
            "SETUID",
            "SETGID",
            "SETPCAP",
            "CHOWN",
            "FOWNER",
            "DAC_OVERRIDE",
            "KILL",
            "SYS_NICE",
            "IPC_LOCK",
            "SYS_PTRACE",
        ] {
            let capability = format!("CAP_{capability}");
            let has = bounding.split(' ').any(|one| one == capability);
            assert!(has, "{name}: {capability}");
        }
        assert!(
            !bounding.contains("SYS_TIME") && !bounding.contains("SYS_MODULE"),
            "{name}"
        );
    }
}

#[test]
fn node_of_a_cluster_stops_the_other_services() {
    let conflicts = Unit::read("evenkeel-cluster.service")
        .all("Conflicts")
        .join(" ");
    for other in ["evenkeel", "evenkeel-haproxy", "evenkeel-keepalived"] {
        let other = format!("{other}.service");
        assert!(conflicts.split(' ').any(|one| one == other), "{other}");
    }
}

#[test]
fn everything_that_a_machine_needs_is_installed() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let scratch = ScratchDirectory::new().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let variable = |name: &str, value: &Path| format!("{name}={}", value.display());
    let program = Path::new(env!("CARGO_BIN_EXE_evenkeel"));
    let made = Command::new("make")
        .current_dir(root)
        .args(["--silent", "install-files", "PREFIX=/usr"])
        .arg(variable("DESTDIR", &at("installed")))
        .arg(variable("pages", &at("pages")))
        .arg(variable("built", program))
        .arg(variable("writer", program))
        // The tests may run below another make.
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let is_installed = |path: &str| at("installed").join(path).is_file();
    for path in [
        "usr/bin/evenkeel",
        "usr/share/man/man1/evenkeel.1",
        "usr/share/bash-completion/completions/evenkeel",
        "usr/share/doc/evenkeel/LICENSE",
        "usr/share/doc/evenkeel/index.html",
        "usr/share/doc/evenkeel/install.md",
        "usr/share/doc/evenkeel/pictures/console-overview-1400-dark.png",
    ] {
        assert!(is_installed(path), "{path}");
    }
    for (source, target) in [
        ("examples", "usr/share/doc/evenkeel/examples"),
        ("packaging/systemd", "usr/lib/systemd/system"),
        ("packaging/sysusers.d", "usr/lib/sysusers.d"),
        ("packaging/tmpfiles.d", "usr/lib/tmpfiles.d"),
    ] {
        for entry in std::fs::read_dir(format!("{root}/{source}")).unwrap() {
            let file = entry.unwrap().file_name().into_string().unwrap();
            let is_wanted = match source {
                "examples" => file.ends_with(".cfg"),
                // The package of the arbiter installs its own unit.
                _ => file != "evenkeel-arbiter.service",
            };
            assert!(
                !is_wanted || is_installed(&format!("{target}/{file}")),
                "{source}/{file}"
            );
        }
    }
    // Every user that a process becomes is created by systemd-sysusers.
    let users = std::fs::read_to_string(format!("{root}/packaging/sysusers.d/evenkeel.conf"));
    let users = users.unwrap();
    for user in ["proxy", "checks", "console", "farm", "route"] {
        let line = format!("u evenkeel-{user} ");
        assert!(users.lines().any(|one| one.starts_with(&line)), "{user}");
    }
}
