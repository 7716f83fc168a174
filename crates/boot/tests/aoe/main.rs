//! Tests disks over Ethernet with real clients: aoetools, and a diskless machine whose firmware
//! (iPXE) boots one.

use boot::aoe::Server;
use boot::aoe::frame::AoeAddress;
use boot::aoe::server::AoeDiskConfig;
use boot::disk::{BootCounts, Storage};
use lab::{Lab, LabHost, LabProcess, ScratchDirectory, eventually, printing_boot_disk};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Long, because the processor of the machine is emulated, and other tests run at the same time.
const PATIENCE: Duration = Duration::from_secs(240);
const IPXE: &str = "/usr/lib/ipxe/ipxe.lkrn";
/// Text that the disk prints on the serial port.
const WORDS: &[u8] = b"this disk came over Ethernet\r\n\0";

/// Node that serves a file as e0.1, and a client.
struct Ether {
    server: Server,
    client: LabHost,
    card: String,
    scratch: ScratchDirectory,
    _lab: Lab,
}

impl Ether {
    fn new(name: &str) -> Ether {
        let lab = Lab::new(name).unwrap();
        let lan = lab.switch("lan").unwrap();
        let (node, client) = (lab.host("node").unwrap(), lab.host("client").unwrap());
        let at = lan.attach(&node).unwrap();
        let card = lan.attach(&client).unwrap().name().to_owned();
        let scratch = ScratchDirectory::new().unwrap();
        let path = scratch.write("disk", printing_boot_disk(WORDS)).unwrap();
        let served = AoeDiskConfig {
            target: AoeAddress { shelf: 0, slot: 1 },
            overlays: None,
            storage: Storage::File {
                path,
                is_read_only: false,
                user: "lan.system".to_owned(),
            },
        };
        let mut server = Server::new(|| Ok(()), BootCounts::default()).unwrap();
        // Threads stay in the network namespace in which they are started.
        node.enter(|| server.change(at.name(), [("system".to_owned(), served)].into()))
            .unwrap();
        let ether = Ether {
            server,
            client,
            card,
            scratch,
            _lab: lab,
        };
        let is_served = || ether.server.disk_statuses()[0].trouble.is_none();
        assert!(
            eventually(PATIENCE, is_served),
            "{:?}",
            ether.server.disk_statuses()
        );
        ether
    }

    /// Switches on a machine whose firmware boots the disk.
    fn boot(&self, output: &Path) -> LabProcess {
        let script = "#!ipxe\nifopen net0\nsanboot aoe:e0.1\n";
        let script = self.scratch.write("script.ipxe", script).unwrap();
        let ip = |words: &[&str]| drop(self.client.ip(words).unwrap());
        ip(&["link", "add", "br0", "type", "bridge"]);
        ip(&["tuntap", "add", "tap0", "mode", "tap"]);
        for one in [&self.card, "tap0"] {
            ip(&["link", "set", one, "master", "br0", "up"]);
        }
        ip(&["link", "set", "br0", "up"]);
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args(["-nodefaults", "-no-user-config", "-no-reboot", "-m", "128"])
            .args(["-display", "none", "-accel", "tcg", "-kernel", IPXE])
            .arg("-initrd")
            .arg(script)
            .args(["-serial", &format!("file:{}", output.display())])
            .args(["-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no"])
            .args(["-device", "virtio-net-pci,netdev=net,romfile="])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.client.spawn(command).unwrap()
    }
}

#[test]
fn aoetools_find_the_disk_and_what_it_is() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("aoeping");
    let ether = Ether::new("aoe-tools");
    let mut command = Command::new("aoeping");
    command.args(["-s", "30", "-I", "0", "1", &ether.card]);
    let said = ether.client.run(command).unwrap();
    assert!(said.contains("Evenkeel AoE"), "{said}");
}

#[test]
fn a_machine_without_a_disk_boots_one_over_ethernet() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-system-x86_64");
    if !Path::new(IPXE).exists() {
        return;
    }
    let ether = Ether::new("aoe-boot");
    let output = ether.scratch.path().join("console");
    let machine = ether.boot(&output);
    let said = || String::from_utf8_lossy(&fs::read(&output).unwrap_or_default()).into_owned();
    let words = String::from_utf8_lossy(&WORDS[..WORDS.len() - 1]);
    let booted = || said().contains(&*words) || machine.exit().is_some();
    assert!(
        eventually(PATIENCE, booted),
        "{}\n{:?}",
        said(),
        ether.server.disk_statuses()
    );
    assert!(said().contains(&*words), "{}", said());
    // The data that the machine wrote is in the file.
    let disk = fs::read(ether.scratch.path().join("disk")).unwrap();
    assert_eq!(disk[1024..1536], disk[512..1024]);
}
