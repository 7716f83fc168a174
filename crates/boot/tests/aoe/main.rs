//! Tests disks over Ethernet with real clients: aoetools, and a diskless machine whose firmware
//! (iPXE) boots one.

use boot::aoe::Server;
use boot::aoe::frame::AoeAddress;
use boot::aoe::server::AoeDiskConfig;
use boot::disk::{BootCounts, Storage};
use lab::{Lab, LabHost, LabProcess, ScratchDirectory, eventually};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Long, because the processor of the machine is emulated, and other tests run at the same time.
const PATIENCE: Duration = Duration::from_secs(240);
const IPXE: &str = "/usr/lib/ipxe/ipxe.lkrn";
/// Text that the disk prints on the serial port.
const WORDS: &[u8] = b"this disk came over Ethernet\r\n\0";
/// Boot sector that reads the next sector to 0x7e00 by the BIOS, writes it to the sector after
/// that, and prints the text that it reads from there.
const BOOT_SECTOR: &[u8] = &[
    0xfa, // cli
    0x31, 0xc0, // xor ax, ax
    0x8e, 0xd8, // mov ds, ax
    0x8e, 0xc0, // mov es, ax
    0xb2, 0x80, // mov dl, 80h: the first disk
    0xbb, 0x00, 0x7e, // mov bx, 7e00h
    0xb8, 0x01, 0x02, // mov ax, 0201h: read one sector
    0xb9, 0x02, 0x00, // mov cx, 2: cylinder 0, the second one
    0xb6, 0x00, // mov dh, 0
    0xcd, 0x13, // int 13h
    0xb8, 0x01, 0x03, // mov ax, 0301h: write one sector
    0xb9, 0x03, 0x00, // mov cx, 3
    0xcd, 0x13, // int 13h
    0xbb, 0x00, 0x80, // mov bx, 8000h
    0xb8, 0x01, 0x02, // mov ax, 0201h
    0xb9, 0x03, 0x00, // mov cx, 3
    0xcd, 0x13, // int 13h
    0xbe, 0x00, 0x80, // mov si, 8000h
    0xac, // lodsb
    0x84, 0xc0, // test al, al
    0x74, 0x06, // jz +6
    0xba, 0xf8, 0x03, // mov dx, 3f8h: the serial port
    0xee, // out dx, al
    0xeb, 0xf5, // jmp -11
    0xf4, // hlt
    0xeb, 0xfd, // jmp -3
];

fn image() -> Vec<u8> {
    let mut disk = vec![0; 16 << 20];
    disk[..BOOT_SECTOR.len()].copy_from_slice(BOOT_SECTOR);
    // Writes a single partition over the whole disk, from which iPXE derives the geometry (16
    // heads, 63 sectors), and the boot signature.
    disk[446..462].copy_from_slice(&[
        0x80, 0, 2, 0, 0x83, 0x0f, 0x3f, 0x1f, 1, 0, 0, 0, 0xff, 0x7f, 0, 0,
    ]);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk[512..512 + WORDS.len()].copy_from_slice(WORDS);
    disk
}

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
        let path = scratch.write("disk", image()).unwrap();
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
