//! Tests that a machine continues at the other node when a node dies while it boots the machine, or
//! while the machine runs from one of its disks. In each scenario only alpha receives the packets
//! of the machine, until it dies in a phase that its record of the machine's requests (`evenkeel
//! boot why`) shows.

use crate::boot::cluster::{Pair, boots};
use crate::boot::site::{MAC, image};
use crate::cluster::site::VIP;
use lab::Image;
use lab::{BOOT_MAX, Booting, Firmware, boot_disk};
use lab::{
    FirewallBlock, InjectedFault, PacketFilter, ScratchDirectory, TransportProtocol, eventually,
};
use std::fs::File;
use std::process::Command;

/// Configuration lines in addition to those of the site.
const LINES: &str = "
boot lan
\tinterface eth0
\ton alpha leases {alpha}
\ton beta leases {beta}
\tmachine node7 mac 52:54:00:00:00:07 address 10.60.0.107 image root
";

/// Reads a sector by the BIOS, again and again: a dot on the serial port for each, `E` for an
/// error.
const BOOT_SECTOR: &[u8] = &[
    0xfb, // sti
    0x31, 0xc0, // xor ax, ax
    0x8e, 0xd8, // mov ds, ax
    0x8e, 0xc0, // mov es, ax
    0xb2, 0x80, // mov dl, 80h: the first disk
    0xbb, 0x00, 0x7e, // mov bx, 7e00h
    0xb8, 0x01, 0x02, // mov ax, 0201h: read one sector
    0xb9, 0x02, 0x00, // mov cx, 2: cylinder 0, the second one
    0xb6, 0x00, // mov dh, 0
    0xcd, 0x13, // int 13h
    0xb0, 0x2e, // mov al, '.'
    0x73, 0x02, // jnc +2
    0xb0, 0x45, // mov al, 'E'
    0xba, 0xf8, 0x03, // mov dx, 3f8h: the serial port
    0xee, // out dx, al
    0xeb, 0xe5, // jmp -27: mov dl, 80h
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Death {
    /// All its processes are killed: its kernel ends connections.
    Killed,
    /// The node loses its power, and is silent from then on.
    PowerOff,
}

/// A cluster in which only alpha receives the machine's packets, until alpha dies.
struct KillScenario {
    pair: Pair,
    /// Beta receives no packets of the machine while this exists.
    deaf: Option<InjectedFault>,
    /// Alpha is switched off while this exists.
    off: Option<InjectedFault>,
}

impl KillScenario {
    fn new(name: &str, lines: &str) -> KillScenario {
        let pair = Pair::with(name, &(LINES.to_owned() + lines));
        let site = &pair.site;
        let deaf = site.lan.one_way(&site.beta.host, pair.machine.host());
        KillScenario {
            deaf: Some(deaf.unwrap()),
            off: None,
            pair,
        }
    }

    fn boot(&self, firmware: Firmware) -> Booting {
        self.pair.machine.boot(MAC, firmware).unwrap()
    }

    fn why(&self, node: &str) -> String {
        let node = self.pair.site.machine(node);
        node.command(&["boot", "why", "node7"]).text()
    }

    /// Waits until a node's record of the machine has these words.
    #[track_caller]
    fn sees(&self, node: &str, words: &str, machine: &Booting) {
        assert!(
            eventually(BOOT_MAX, || self.why(node).contains(words)),
            "no `{words}` at {node}: {}\n{}",
            self.why(node),
            machine.console_output()
        );
    }

    /// Kills alpha or powers it off; from then on beta receives the machine's packets.
    fn dies(&mut self, death: Death) {
        match death {
            Death::Killed => self.pair.site.alpha.kill(),
            Death::PowerOff => self.off = Some(self.pair.site.alpha.host.power_off().unwrap()),
        }
        self.deaf = None;
    }

    /// Drops packets to alpha that match a rule of nftables.
    fn loses(&self, rule: &str) {
        let rules = format!(
            "table inet loses {{ chain in {{ type filter hook prerouting priority -300; {rule}; }}; }}"
        );
        let mut nft = Command::new("nft");
        nft.arg(rules);
        self.pair.site.alpha.host.run(nft).unwrap();
    }

    /// Waits until alpha has lost a packet.
    #[track_caller]
    fn has_lost(&self) {
        let listed = || {
            let mut nft = Command::new("nft");
            nft.args(["list", "table", "inet", "loses"]);
            self.pair.site.alpha.host.run(nft).unwrap()
        };
        let lost = || listed().contains("packets") && !listed().contains("packets 0 ");
        assert!(eventually(BOOT_MAX, lost), "{}", listed());
    }

    /// Blocks the port at which alpha serves files by HTTP.
    fn without_http(&self) -> FirewallBlock {
        let filter = PacketFilter::all().port(TransportProtocol::Tcp, 7447);
        self.pair.site.alpha.host.block(&filter).unwrap()
    }

    /// Waits until the machine has booted, and checks that beta served its kernel.
    #[track_caller]
    fn boots_from_beta(&self, machine: &Booting) {
        machine.boots("of=root");
        let why = self.why("beta");
        assert!(why.contains("root/kernel by HTTP"), "{why}");
    }
}

/// Returns the line of an image so large that a machine fetches it for some seconds.
fn large(image: &Image, scratch: &ScratchDirectory) -> String {
    let path = scratch.path().join("zeroes");
    // The kernel skips zeroes behind its initial RAM disk.
    File::create(&path).unwrap().set_len(48 << 20).unwrap();
    let more = format!("initrd {}", path.display());
    format!("\timage root {} of=root\n", boots(image, &more))
}

fn small(image: &Image) -> String {
    format!("\timage root {} of=root\n", boots(image, ""))
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_node_with_a_virtual_address_dies_between_its_ack_and_the_script() {
    let Some(image) = image() else {
        return;
    };
    let lines = format!("\tserver {VIP}\n{}", small(&image));
    let mut scene = KillScenario::new("kills-ack", &lines);
    let _lost = scene.without_http();
    let machine = scene.boot(Firmware::Bios);
    scene.sees("alpha", "ACK", &machine);
    scene.dies(Death::PowerOff);
    scene.boots_from_beta(&machine);
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_node_dies_in_the_middle_of_a_loader_by_tftp() {
    let Some(image) = image() else {
        return;
    };
    let mut scene = KillScenario::new("kills-tftp", &small(&image));
    // The quota lets the acknowledgements of some blocks pass, at 32 bytes each.
    scene.loses("udp dport 32768-65535 quota over 1000 bytes counter drop");
    let machine = scene.boot(Firmware::Uefi);
    scene.has_lost();
    scene.dies(Death::PowerOff);
    scene.boots_from_beta(&machine);
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_node_dies_between_its_offer_and_its_ack() {
    let Some(image) = image() else {
        return;
    };
    let mut scene = KillScenario::new("kills-offer", &small(&image));
    let nft = |rules: &str| {
        let mut nft = Command::new("nft");
        nft.arg(rules);
        scene.pair.machine.host().run(nft).unwrap();
    };
    // The REQUEST of the machine is longer than its DISCOVER, so only the REQUEST is dropped.
    nft(
        "table bridge lost { chain out { type filter hook forward priority 0; udp dport 67 udp length > 412 drop; }; }",
    );
    let machine = scene.boot(Firmware::Bios);
    scene.sees("alpha", "OFFER", &machine);
    nft("delete table bridge lost");
    scene.dies(Death::PowerOff);
    scene.boots_from_beta(&machine);
}

/// Lets alpha die while the machine fetches the last file.
fn dies_in_http(name: &str, death: Death) {
    let Some(image) = image() else {
        return;
    };
    let scratch = ScratchDirectory::new().unwrap();
    let mut scene = KillScenario::new(name, &large(&image, &scratch));
    let machine = scene.boot(Firmware::Bios);
    scene.sees("alpha", "root/initrd0 by HTTP", &machine);
    scene.dies(death);
    scene.boots_from_beta(&machine);
    let why = scene.why("beta");
    assert!(
        why.contains("root/initrd1 by HTTP -> 50331648 bytes"),
        "{why}"
    );
}

#[test]
fn a_machine_whose_node_is_killed_in_the_middle_of_a_file_boots_from_the_other_node() {
    dies_in_http("kills-http", Death::Killed);
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_machine_whose_node_loses_its_power_in_the_middle_of_a_file_boots_from_the_other_node() {
    dies_in_http("kills-http-off", Death::PowerOff);
}

/// Creates a disk whose boot sector reads forever; returns its configuration line.
fn disk(scratch: &ScratchDirectory) -> String {
    let path = scratch.write("disk", boot_disk(BOOT_SECTOR)).unwrap();
    format!("disk system file {} ro", path.display())
}

/// Waits until a machine has read its disk some more times.
#[track_caller]
fn reads(machine: &Booting) {
    let count = || {
        machine
            .console_output()
            .bytes()
            .filter(|byte| *byte == b'.')
            .count()
    };
    let before = count();
    assert!(
        eventually(BOOT_MAX, || count() > before + 100),
        "{before} reads, then {}: {}",
        count(),
        machine.console_output()
    );
}

/// Lets alpha die while a machine runs from a disk that both nodes serve.
fn dies_with_a_disk(name: &str, by: &str, lines: &str, death: Death) {
    let scratch = ScratchDirectory::new().unwrap();
    let mut scene = KillScenario::new(name, &lines.replace("{disk}", &disk(&scratch)));
    let machine = scene.boot(Firmware::Bios);
    scene.sees("alpha", "by HTTP", &machine);
    let runs = || machine.console_output().contains("..........");
    assert!(
        eventually(BOOT_MAX, runs),
        "{by}: {}",
        machine.console_output()
    );
    scene.dies(death);
    reads(&machine);
    reads(&machine);
    assert!(
        !machine.console_output().contains('E'),
        "{by}: {}",
        machine.console_output()
    );
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn iscsi_machine_continues_at_the_virtual_address() {
    for (name, death) in [
        ("iscsi-kill", Death::Killed),
        ("iscsi-off", Death::PowerOff),
    ] {
        let lines = format!("\tserver {VIP}\n\t{{disk}} iscsi\n\timage root iscsi system\n");
        dies_with_a_disk(&format!("kills-{name}"), "iSCSI", &lines, death);
    }
}
