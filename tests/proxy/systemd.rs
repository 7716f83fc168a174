//! Tests the shipped unit under its own systemd, as process 1 of namespaces: every part runs, and a
//! guest is isolated from the network of the machine.

use lab::{ScratchDirectory, eventually, installed, may_run, privileged};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Time in which the machine must have started everything.
const STARTS: Duration = Duration::from_secs(90);

/// Script that makes a root directory of this machine's programs, with a `/run`, `/etc` and `/var`
/// of its own, and executes systemd in it.
const MACHINE: &str = r#"
set -e
mount --make-rprivate /
mkdir -p "$ROOT"
mount -t tmpfs tmpfs "$ROOT"
for name in usr bin sbin lib lib64; do
    if [ -L /$name ]; then
        cp -a /$name "$ROOT/$name"
    elif [ -d /$name ]; then
        mkdir "$ROOT/$name"
        mount --rbind /$name "$ROOT/$name"
    fi
done
mkdir -p "$ROOT/etc" "$ROOT/run" "$ROOT/tmp" "$ROOT/var/lib/evenkeel/volumes" "$ROOT/proc" "$ROOT/sys" "$ROOT/dev" "$ROOT/mnt"
cp -a /etc/passwd /etc/group /etc/nsswitch.conf /etc/ld.so.cache "$ROOT/etc/"
cp -a /etc/alternatives "$ROOT/etc/" 2>/dev/null || true
mkdir -p "$ROOT/etc/systemd/system" "$ROOT/etc/evenkeel"
echo 0123456789abcdef0123456789abcdef >"$ROOT/etc/machine-id"
mount -t proc proc "$ROOT/proc"
mount --rbind /sys "$ROOT/sys"
mount --rbind /dev "$ROOT/dev"
mount -t tmpfs tmpfs "$ROOT/run"
mount --bind "$SHARED" "$ROOT/mnt"
cp "$SHARED"/units/* "$ROOT/etc/systemd/system/"
cp "$SHARED/site.cfg" "$ROOT/etc/evenkeel/evenkeel.cfg"
exec chroot "$ROOT" env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=test.target --log-target=null --show-status=no
"#;

/// Script that prints the processes of the unit with their networks, and the reports of its parts.
const PROBE: &str = r#"
cd /proc
for process in [0-9]*; do
    line=$(tr '\0' ' ' <$process/cmdline | cut -c1-40)
    case "$line" in
        *qemu-system*|evenkeel:*|/mnt/evenkeel*) echo "process $(readlink $process/ns/net) $line" ;;
    esac
done
/mnt/evenkeel status
echo "state $(systemctl show evenkeel -p ActiveState -p OOMPolicy -p NRestarts | tr '\n' ' ')"
"#;

const SITE: &str = "\
defaults
    mode http
    timeout client 5s
    timeout connect 5s
    timeout server 5s
frontend web
    bind 10.9.0.1:80
    http-request return status 200
virtual-ip www
    address 10.9.0.9/24
    interface br0
    failover 200ms
volume disk
    size 16m
    backing file /var/lib/evenkeel/volumes
guest one
    memory 64m
    cpus 1
    disk disk
console
    bind 127.0.0.1:8600
boot lan
    interface br0
    range 10.9.0.100 10.9.0.119
    image disk disk
    unknown menu
";

/// The unit `probe` writes the probe again and again until its process ends.
const UNITS: [(&str, &str); 3] = [
    ("test.target", "[Unit]\nRequires=probe.service\n"),
    (
        "net.service",
        "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'ip link set lo \
         up; ip link add br0 type bridge; ip link set br0 up; ip addr add 10.9.0.1/24 dev br0'\n",
    ),
    (
        "probe.service",
        "[Unit]\nDefaultDependencies=no\nRequires=net.service\nWants=evenkeel.service\nAfter=net.service \
         evenkeel.service\n[Service]\nExecStart=/bin/sh -c 'while true; do sh /mnt/probe.sh >/mnt/new 2>&1; mv /mnt/new \
         /mnt/state; sleep 0.5; done'\n",
    ),
];

/// A machine with its own process 1, which is ended when this value is dropped.
struct Machine {
    child: Child,
    scratch: ScratchDirectory,
}

impl Machine {
    fn start(unit: &str) -> Machine {
        let scratch = ScratchDirectory::new().unwrap();
        let shared = scratch.path().join("shared");
        fs::create_dir_all(shared.join("units")).unwrap();
        for (name, text) in UNITS {
            fs::write(shared.join("units").join(name), text).unwrap();
        }
        fs::write(shared.join("units/evenkeel.service"), unit).unwrap();
        fs::write(shared.join("site.cfg"), SITE).unwrap();
        fs::write(shared.join("probe.sh"), PROBE).unwrap();
        fs::copy(crate::program::binary(), shared.join("evenkeel")).unwrap();
        let child = Command::new("unshare")
            .args([
                "--mount", "--pid", "--fork", "--uts", "--ipc", "--net", "--cgroup",
            ])
            .args(["--kill-child", "bash", "-c", MACHINE])
            .env("ROOT", scratch.path().join("root"))
            .env("SHARED", &shared)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Machine { child, scratch }
    }

    fn state(&self) -> String {
        fs::read_to_string(self.scratch.path().join("shared/state")).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the shipped unit with another path of the program, and a command that creates the volume
/// before it.
fn unit() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd/evenkeel.service");
    let text = fs::read_to_string(path).unwrap();
    let text = text.replace("/usr/bin/evenkeel", "/mnt/evenkeel");
    let create = "ExecStartPre=/mnt/evenkeel volume create disk --from /etc/evenkeel/evenkeel.cfg";
    text.replace("[Service]\n", &format!("[Service]\n{create}\n"))
}

fn may(test: &str) -> bool {
    let programs = ["systemctl", "unshare", "qemu-system-x86_64", "bash"];
    let needs = programs.iter().fold(privileged(), |needs, program| {
        needs.and_then(|()| installed(program))
    });
    may_run(test, needs)
}

/// Returns the network of each process whose title has this word.
fn networks<'s>(state: &'s str, word: &str) -> Vec<&'s str> {
    let lines = state
        .lines()
        .filter_map(|line| line.strip_prefix("process "));
    let lines = lines.filter_map(|line| line.split_once(' '));
    lines
        .filter(|(_, title)| title.contains(word))
        .map(|(network, _)| network)
        .collect()
}

#[test]
#[ignore = "it takes long: make test-long"]
fn every_part_runs_under_the_shipped_unit() {
    if !may("the unit under systemd") {
        return;
    }
    let machine = Machine::start(&unit());
    let parts = [
        "role proxy: running",
        "role address: running",
        "role volume: running",
        "role guest: running",
        "role boot: running",
        "role console: running",
        "virtual-ip www: MASTER",
        "volume disk: serving",
        "guest one: running",
        "boot-network lan: answers",
        "state ActiveState=active",
    ];
    let runs = || parts.iter().all(|part| machine.state().contains(part));
    assert!(eventually(STARTS, runs), "{}", machine.state());
    let state = machine.state();
    assert!(state.contains("OOMPolicy=continue"), "{state}");
    assert!(state.contains("NRestarts=0"), "{state}");
    let [guest] = networks(&state, "qemu-system")[..] else {
        panic!("one QEMU: {state}");
    };
    let own = networks(&state, "evenkeel: guest");
    assert!(!own.is_empty() && !own.contains(&guest), "{state}");
}

#[test]
#[ignore = "it takes long: make test-long"]
fn guest_does_not_start_in_the_network_of_the_machine() {
    if !may("a unit that takes network namespaces away") {
        return;
    }
    for (from, to) in [
        ("RestrictNamespaces=net", "RestrictNamespaces=yes"),
        ("CapabilityBoundingSet=CAP_SYS_ADMIN\n", ""),
    ] {
        let machine = Machine::start(&unit().replace(from, to));
        let says = || {
            let state = machine.state();
            state.contains("no separate network namespace for QEMU")
                && state.contains("volume disk: serving")
        };
        assert!(eventually(STARTS, says), "{}", machine.state());
        assert!(networks(&machine.state(), "qemu-system").is_empty());
    }
}
