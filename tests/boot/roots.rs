//! Tests machines whose root is on a node: by iSCSI, by NBD, and as copies that exist until the
//! next boot.

use crate::boot::site::{BootSite, MAC};
use lab::Image;
use lab::{BOOT_MAX, Firmware, printing_boot_disk};
use lab::{ScratchDirectory, eventually};
use std::fs;
use std::path::Path;
use std::process::Command;

const RANGE: &str = "\trange 10.20.0.100 10.20.0.109\n";
const MACHINE: &str = "\tmachine node7 mac 52:54:00:00:00:07 address 10.20.0.107 image root\n";
/// Output of the boot disk on the serial port.
const WORDS: &[u8] = b"this disk came over the network\r\nbooted: by its boot sector\r\n\0";

#[test]
fn a_machine_with_bios_boots_a_disk_by_iscsi() {
    let scratch = ScratchDirectory::new().unwrap();
    let path = scratch.write("disk", printing_boot_disk(WORDS)).unwrap();
    let lines = format!(
        "{RANGE}\tdisk system file {} iscsi\n\timage root iscsi system\n{MACHINE}",
        path.display()
    );
    let Some(site) = BootSite::new("roots-iscsi", &lines) else {
        return;
    };
    site.shows("system (iqn.2026-01.org.evenkeel:lan.system): served");
    let machine = site.machine.boot(MAC, Firmware::Bios).unwrap();
    machine.boots("by its boot sector");
    // The data that the machine wrote is in the file.
    let disk = fs::read(path).unwrap();
    assert_eq!(disk[1024..1536], disk[512..1024]);
    site.shows("served, 1 connection");
    let list = site.command(&["boot", "show"]);
    assert!(!list.contains("not served"), "{list}");
}

#[test]
#[ignore = "boots twice"]
fn a_disk_with_an_overlay_is_as_it_was_at_each_boot() {
    let scratch = ScratchDirectory::new().unwrap();
    let content = printing_boot_disk(WORDS);
    let path = scratch.write("disk", &content).unwrap();
    for by in ["iscsi", "aoe"] {
        let number = if by == "aoe" { "aoe 0.1" } else { "iscsi" };
        let lines = format!(
            "{RANGE}\tdisk system file {} {number} overlay {} limit 1m\n\timage root {by} system\n{MACHINE}",
            path.display(),
            scratch.path().join(by).display()
        );
        let Some(site) = BootSite::new(&format!("roots-over-{by}"), &lines) else {
            return;
        };
        for _ in 0..2 {
            let machine = site.machine.boot(MAC, Firmware::Bios).unwrap();
            machine.boots("by its boot sector");
            // A single block was changed, only in the overlay.
            site.shows("1 overlay with 4 KiB");
            assert!(fs::read(&path).unwrap() == content);
        }
    }
}

/// Drivers of the machine, each behind those that it needs; some kernels have some of them built
/// in.
const MODULES: [&str; 9] = [
    "virtio",
    "virtio_ring",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
    "nbd",
];

/// An initial RAM disk with the script of package nbd-client, and a root with these words.
struct NbdRoot {
    image: Image,
    scratch: ScratchDirectory,
}

impl NbdRoot {
    fn new() -> Option<NbdRoot> {
        let script = Path::new("/usr/share/initramfs-tools/scripts/local-top/nbd");
        if !script.exists() {
            return None;
        }
        let scratch = ScratchDirectory::new().unwrap();
        // The script includes this, which the first process has defined.
        let script = fs::read_to_string(script).unwrap();
        let script = script.replace(". /scripts/functions", ":");
        let leased = "#!/bin/busybox sh\n[ \"$1\" = bound ] || exit 0\n\
            /bin/busybox ip addr add $ip/$mask dev $interface\n";
        let files = [
            ("bin/local-top-nbd", script.as_bytes()),
            ("bin/leased", leased.as_bytes()),
        ];
        let image = Image::with_files(
            include_bytes!("boot-nbd-init.sh"),
            &["busybox", "nbd-client"],
            &MODULES,
            &files,
        )?;
        Some(NbdRoot { image, scratch })
    }

    /// Creates a file system with these files; returns its path.
    fn root(&self, files: &[(&str, &str)]) -> std::path::PathBuf {
        let tree = self.scratch.path().join("tree");
        fs::create_dir_all(&tree).unwrap();
        for (name, content) in files {
            fs::write(tree.join(name), content).unwrap();
        }
        let path = self.scratch.write("root.img", vec![0; 32 << 20]).unwrap();
        let mut command = Command::new("/sbin/mkfs.ext4");
        command.args(["-q", "-F", "-d"]).arg(&tree).arg(&path);
        assert!(command.status().unwrap().success());
        path
    }

    fn boots(&self) -> String {
        format!(
            "kernel {} initrd {} nbd system append console=ttyS0 quiet panic=-1",
            self.image.kernel().display(),
            self.image.initrd().display()
        )
    }
}

#[test]
#[ignore = "boots twice"]
fn the_initial_ram_disk_of_debian_finds_its_root_by_nbd() {
    lab::skip_unless_installed!("nbd-client");
    let Some(nbd) = NbdRoot::new() else {
        return;
    };
    let path = nbd.root(&[("words", "this root came by NBD\n")]);
    let lines = format!(
        "{RANGE}\tdisk system file {} nbd\n\timage root {}\n{MACHINE}",
        path.display(),
        nbd.boots()
    );
    let Some(site) = BootSite::new("roots-nbd", &lines) else {
        return;
    };
    for count in 1..=2 {
        let machine = site.machine.boot(MAC, Firmware::Bios).unwrap();
        machine.boots("root=/dev/nbd0 nbdroot=10.20.0.2:10809/system ip=dhcp");
        let said = machine.console_output();
        assert!(said.contains("this root came by NBD"), "{said}");
        assert!(
            said.contains(&format!("boots of this root: {count}")),
            "{said}"
        );
    }
}

/// The volume of a node, which no other part uses.
#[test]
fn a_volume_that_only_a_boot_section_names_is_served() {
    lab::skip_unless_installed!("nbdinfo");
    let scratch = ScratchDirectory::new().unwrap();
    let before = format!(
        "volume system\n\tsize 8m\n\tbacking file {}\n",
        scratch.path().display()
    );
    let lines = format!(
        "{RANGE}\tdisk system volume system iscsi nbd open\n\timage root iscsi system\n{MACHINE}"
    );
    let Some(site) = BootSite::with("roots-volume", &before, &lines) else {
        return;
    };
    // The volume has not been created yet.
    site.shows("system (iqn.2026-01.org.evenkeel:lan.system, NBD): not served here");
    site.command(&["volume", "create", "system"]);
    site.shows("system (iqn.2026-01.org.evenkeel:lan.system, NBD): served");
    let client = site.lab.host("client").unwrap();
    site.lan
        .attach(&client)
        .unwrap()
        .address("10.20.0.9/24")
        .unwrap();
    let run = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        command.args(words);
        client.run(command).unwrap()
    };
    let nbd = "nbd://10.20.0.2/system";
    let info = run("nbdinfo", &[nbd]);
    assert!(info.contains("export-size: 8388608"), "{info}");
    // A part of a block that is written by one protocol is read by the other one.
    let iscsi = "iscsi://10.20.0.2/iqn.2026-01.org.evenkeel:lan.system/0";
    run(
        "qemu-io",
        &[
            "-f",
            "raw",
            "-c",
            "write -P 5 512 1024",
            "-c",
            "flush",
            iscsi,
        ],
    );
    let read = run(
        "qemu-io",
        &[
            "-f",
            "raw",
            "-c",
            "read -P 5 512 1024",
            "-c",
            "read -P 0 0 512",
            nbd,
        ],
    );
    assert!(!read.contains("failed"), "{read}");
}

#[test]
#[ignore = "boots a kernel, and waits for its writes"]
fn nbd_root_survives_a_dying_role() {
    lab::skip_unless_installed!("nbd-client");
    let Some(nbd) = NbdRoot::new() else {
        return;
    };
    let path = nbd.root(&[("words", "this root came by NBD\n"), ("stay", "")]);
    let lines = format!(
        "{RANGE}\tdisk system file {} nbd\n\timage root {}\n{MACHINE}",
        path.display(),
        nbd.boots()
    );
    let Some(site) = BootSite::new("roots-nbd-role", &lines) else {
        return;
    };
    let machine = site.machine.boot(MAC, Firmware::Bios).unwrap();
    let count = || {
        let said = machine.console_output();
        let last = said
            .rsplit("count ")
            .find_map(|rest| rest.lines().next()?.parse::<u32>().ok());
        last.unwrap_or(0)
    };
    assert!(
        eventually(BOOT_MAX, || count() >= 2),
        "{}",
        machine.console_output()
    );
    site.kill_role();
    let before = count();
    assert!(
        eventually(BOOT_MAX, || count() >= before + 5),
        "{}",
        machine.console_output()
    );
}
