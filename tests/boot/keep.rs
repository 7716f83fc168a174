//! Tests persistent overlays: the changes of a machine to a common disk survive its boots, a
//! restart of the role and a reload. Only an order discards them. The machine is a host that
//! fetches its script and uses the disk by NBD.

use crate::boot::site::{BootSite, MAC};
use lab::BOOT_MAX;
use lab::{LabHost, ScratchDirectory, eventually};
use std::fs;
use std::process::Command;

const URL: &str = "nbd://10.20.0.2/system";

/// Boots the machine: it requests its address, and fetches its script.
#[track_caller]
fn boots(machine: &LabHost) {
    let mut ask = Command::new("busybox");
    ask.args(["udhcpc", "-f", "-n", "-q", "-i", "eth0", "-s", "/bin/true"]);
    machine.run(ask).unwrap();
    let mut fetch = Command::new("curl");
    fetch.args(["-sf", "http://10.20.0.2:7447/boot/52-54-00-00-00-07.ipxe"]);
    let script = machine.run(fetch).unwrap();
    assert!(script.contains("nbdroot="), "{script}");
}

/// Returns the output of a `qemu-io` command on the disk; empty if the disk cannot be used.
fn disk(machine: &LabHost, command: &str) -> String {
    let mut qemu = Command::new("qemu-io");
    qemu.args([
        "-f",
        "raw",
        "-t",
        "writeback",
        "-c",
        command,
        "-c",
        "flush",
        URL,
    ]);
    machine.run(qemu).unwrap_or_default()
}

/// Waits until the first block has this byte.
#[track_caller]
fn has(site: &BootSite, machine: &LabHost, byte: u8) {
    let command = format!("read -P {byte} 0 4k");
    let is_so = || {
        let said = disk(machine, &command);
        said.contains("read 4096/4096") && !said.contains("verification failed")
    };
    assert!(
        eventually(BOOT_MAX, is_so),
        "{byte}: {}",
        site.command(&["boot", "show"])
    );
}

#[test]
fn changes_that_are_kept_stay_until_an_order_drops_them() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("qemu-io");
    lab::skip_unless_installed!("curl");
    lab::skip_unless_installed!("busybox");
    let scratch = ScratchDirectory::new().unwrap();
    let path = scratch.write("disk", vec![1; 1 << 20]).unwrap();
    let lines = |limit: &str| {
        format!(
            "\tdisk system file {} nbd overlay {} limit {limit} keep\n\
             \timage root kernel /dev/null nbd system\n\
             \tmachine node7 mac 52:54:00:00:00:07 address 10.20.0.107 image root\n",
            path.display(),
            scratch.path().join("overlays").display()
        )
    };
    let Some(site) = BootSite::new("boot-keep", &lines("8k")) else {
        return;
    };
    let machine = site.lab.host("machine").unwrap();
    let card = site.lan.attach(&machine).unwrap();
    let set = ["link", "set", card.name(), "address", MAC];
    machine.ip(&set).unwrap();
    card.address("10.20.0.107/24").unwrap();
    boots(&machine);
    has(&site, &machine, 1);
    assert!(disk(&machine, "write -P 7 0 4k").contains("wrote 4096/4096"));
    boots(&machine);
    has(&site, &machine, 7);
    site.kill_role();
    has(&site, &machine, 7);
    // The overlay is full, reports it, and has space again after a reload.
    disk(&machine, "write -P 8 4k 4k");
    assert!(!disk(&machine, "write -P 9 8k 4k").contains("wrote"));
    site.shows("that of 52:54:00:00:00:07 is full");
    site.reload("eth0", &lines("1m"));
    has(&site, &machine, 7);
    assert!(disk(&machine, "write -P 9 8k 4k").contains("wrote"));
    assert!(fs::read(&path).unwrap() == vec![1; 1 << 20]);
    let dropped = site.command(&["boot", "drop", "node7"]);
    assert!(dropped.contains("has changed of system"), "{dropped}");
    has(&site, &machine, 1);
}
