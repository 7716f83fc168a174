//! Performs the migrations of `ping` by hand, for comparison: two QEMU processes that share one NBD
//! export, without a cluster, leases, TLS and a second copy.

use crate::guest::ping::{Ping, bridge};
use crate::guest::site::{MODULES, PROGRAMS};
use guest::migration::source::STANDSTILL_MS;
use lab::Image;
use lab::{Lab, LabHost, LabProcess, ScratchDirectory, Switch, eventually};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(240);

/// A guest that is moved by hand.
pub struct ByHand {
    /// Index of the host, and the QEMU process that runs the guest.
    runs: (usize, LabProcess),
    started: usize,
    image: Image,
    scratch: ScratchDirectory,
    _export: LabProcess,
    hosts: [LabHost; 2],
    pub caller: LabHost,
    _switch: Switch,
    _lab: Lab,
}

impl ByHand {
    /// Starts a guest on the first host; None if QEMU or a kernel is not installed.
    pub fn new() -> Option<ByHand> {
        let image = Image::with(include_bytes!("guest-counter.sh"), &PROGRAMS, &MODULES)?;
        let lab = Lab::new("guest-hand").unwrap();
        let switch = lab.switch("guests").unwrap();
        let hosts = ["alpha", "beta"].map(|name| {
            let host = lab.host(name).unwrap();
            bridge(&host, &switch);
            host.ip(&["tuntap", "add", "tap0", "mode", "tap"]).unwrap();
            host.ip(&["link", "set", "tap0", "master", "br0", "up"])
                .unwrap();
            host
        });
        let caller = lab.host("caller").unwrap();
        switch
            .attach(&caller)
            .unwrap()
            .address("192.0.2.1/24")
            .unwrap();
        let scratch = ScratchDirectory::new().unwrap();
        let disk = scratch.path().join("disk");
        std::fs::File::create(&disk)
            .unwrap()
            .set_len(64 << 20)
            .unwrap();
        let mut export = Command::new("qemu-nbd");
        export.args([
            "--format=raw",
            "--persistent",
            "--shared=2",
            "--cache=none",
            "--socket",
        ]);
        export.arg(scratch.path().join("nbd")).arg(disk);
        let export = hosts[0].spawn(export).unwrap();
        let socket = scratch.path().join("nbd");
        assert!(eventually(SOON, || socket.exists()));
        let runs = (0, start(&hosts[0], &image, &scratch, 0, false));
        Some(ByHand {
            runs,
            started: 1,
            image,
            scratch,
            _export: export,
            hosts,
            caller,
            _switch: switch,
            _lab: lab,
        })
    }

    /// Moves the guest to the other host.
    pub fn move_it(&mut self) {
        let (from, number) = (self.runs.0, self.started);
        let to = 1 - from;
        self.started += 1;
        let next = start(&self.hosts[to], &self.image, &self.scratch, number, true);
        let mut source = Qmp::connect(self.path("qmp", number - 1));
        let parameters = json!({"downtime-limit": STANDSTILL_MS, "max-bandwidth": 0});
        source.order("migrate-set-parameters", parameters);
        let path = self.path("incoming", number);
        assert!(eventually(SOON, || path.exists()));
        source.order(
            "migrate",
            json!({"uri": format!("unix:{}", path.display())}),
        );
        let is_over = || source.order("query-migrate", json!({}))["status"] == "completed";
        assert!(eventually(SOON, is_over));
        self.runs = (to, next);
    }

    fn path(&self, what: &str, number: usize) -> PathBuf {
        self.scratch.path().join(format!("{what}{number}"))
    }
}

/// Starts the QEMU of this number, as the guest role does, but for what needs its directory.
fn start(
    host: &LabHost,
    image: &Image,
    scratch: &ScratchDirectory,
    number: usize,
    arrives: bool,
) -> LabProcess {
    let at = |what: &str| {
        scratch
            .path()
            .join(format!("{what}{number}"))
            .display()
            .to_string()
    };
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args([
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-vga",
        "none",
    ]);
    qemu.args([
        "-machine",
        "q35,accel=tcg,vmport=off",
        "-cpu",
        "qemu64",
        "-smp",
        "1",
    ]);
    qemu.args(["-m", &format!("{}K", (96 << 10) - 8)]);
    qemu.args([
        "-device",
        "virtio-rng-pci",
        "-serial",
        &format!("file:{}", at("serial")),
    ]);
    qemu.args(["-qmp", &format!("unix:{},server=on,wait=off", at("qmp"))]);
    let nbd = scratch.path().join("nbd");
    let disk = format!(
        "driver=nbd,node-name=disk,server.type=unix,server.path={},cache.direct=on",
        nbd.display()
    );
    qemu.args(["-blockdev", &disk, "-device", "virtio-blk-pci,drive=disk"]);
    qemu.args(["-netdev", "tap,id=card,ifname=tap0,script=no,downscript=no"]);
    qemu.args([
        "-device",
        "virtio-net-pci,netdev=card,mac=52:54:00:12:34:56,romfile=",
    ]);
    qemu.arg("-kernel")
        .arg(image.kernel())
        .arg("-initrd")
        .arg(image.initrd());
    qemu.args([
        "-append",
        "console=ttyS0 quiet panic=-1 address=192.0.2.25/24",
    ]);
    if arrives {
        qemu.args(["-incoming", &format!("unix:{}", at("incoming"))]);
    }
    qemu.stdin(Stdio::null()).stdout(Stdio::null());
    let process = host.spawn(qemu).unwrap();
    assert!(eventually(SOON, || UnixStream::connect(at("qmp")).is_ok()));
    process
}

/// Connection to the monitor of a QEMU process.
struct Qmp(BufReader<UnixStream>);

impl Qmp {
    fn connect(path: PathBuf) -> Qmp {
        let mut qmp = Qmp(BufReader::new(UnixStream::connect(path).unwrap()));
        qmp.order("qmp_capabilities", json!({}));
        qmp
    }

    /// Sends a command, and returns its result.
    fn order(&mut self, word: &str, arguments: Value) -> Value {
        let order = json!({"execute": word, "arguments": arguments});
        writeln!(self.0.get_mut(), "{order}").unwrap();
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "QEMU has ended");
            let mut said: Value = serde_json::from_str(&line).unwrap();
            assert!(said.get("error").is_none(), "{word}: {line}");
            if said.get("return").is_some() {
                return said["return"].take();
            }
        }
    }
}

/// Returns the longest gap in each of that many migrations.
pub fn gaps(moves: usize) -> Option<Vec<Duration>> {
    let mut hand = ByHand::new()?;
    let ping = Ping::start(&hand.caller);
    ping.responses(1000, || "by hand".to_owned());
    ping.stop();
    let gaps = (0..moves).map(|_| {
        let ping = Ping::start(&hand.caller);
        ping.responses(20, || "by hand".to_owned());
        hand.move_it();
        ping.responses(200, || "by hand".to_owned());
        ping.stop()
    });
    Some(gaps.collect())
}
