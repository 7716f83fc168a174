//! Tests that machines with every kind of firmware boot what the configuration says: QEMU with the
//! real firmware and boot loaders.

use crate::boot::site::{BootSite, MAC};
use lab::Firmware;
use std::process::{Command, Stdio};

const LINES: &str = "
\trange 10.20.0.100 10.20.0.109
\timage rescue {boots} of=rescue
\timage worker {boots} of=worker
\tmachine node7 mac 52:54:00:00:00:07 address 10.20.0.107 image rescue";

fn boots(name: &str, firmware: Firmware, further: &str, loader: &str) {
    let Some(site) = BootSite::new(name, &format!("{LINES}\n{further}")) else {
        return;
    };
    site.machine.boot(MAC, firmware).unwrap().boots("of=rescue");
    let why = site.why("node7");
    assert!(
        why.contains("OFFER 10.20.0.107") && why.contains(loader),
        "{why}"
    );
    assert!(why.contains("rescue/initrd0"), "{why}");
}

#[test]
fn a_machine_with_bios_boots_by_http() {
    boots("boot-bios", Firmware::Bios, "", "DISCOVER by iPXE");
}

#[test]
#[ignore = "takes a minute: the firmware is emulated"]
fn a_machine_with_uefi_boots_by_tftp() {
    boots("boot-uefi", Firmware::Uefi, "", "fetch snponly.efi by TFTP");
}

#[test]
#[ignore = "takes a minute: the firmware is emulated"]
fn a_machine_with_uefi_boots_by_http() {
    boots(
        "boot-uefi-http",
        Firmware::UefiHttp,
        "",
        "fetch snponly.efi by HTTP",
    );
}

/// Configuration lines of a machine that gets only an IPv6 address.
const LINES_6: &str = "
\tnetwork6 fd00:20::/64
\timage rescue {boots} of=rescue
\tmachine node7 mac 52:54:00:00:00:07 address6 fd00:20::107 image rescue";

fn boots_over_ipv6(name: &str, firmware: Firmware, loader: &str) {
    let Some(site) = BootSite::new(name, LINES_6) else {
        return;
    };
    site.machine.boot(MAC, firmware).unwrap().boots("of=rescue");
    let why = site.why("node7");
    for words in ["REPLY fd00:20::107", loader, "rescue/initrd0"] {
        assert!(why.contains(words), "no {words}: {why}");
    }
}

#[test]
#[ignore = "takes minutes: the firmware is emulated, and looks for IPv4, too"]
fn a_machine_with_uefi_boots_by_tftp_over_ipv6() {
    boots_over_ipv6("boot-uefi6", Firmware::Uefi6, "fetch snponly.efi by TFTP");
}

#[test]
#[ignore = "takes minutes: the firmware is emulated, and looks for IPv4, too"]
fn a_machine_with_uefi_boots_by_http_over_ipv6() {
    let loader = "fetch snponly.efi by HTTP";
    boots_over_ipv6("boot-uefi6-http", Firmware::UefiHttp6, loader);
}

#[test]
#[ignore = "takes a minute: the firmware is emulated"]
fn a_machine_with_secure_boot_boots_by_shim_and_grub() {
    boots(
        "boot-secure",
        Firmware::Secure,
        "\tsecure-boot yes",
        "fetch grubx64.efi by TFTP",
    );
}

#[test]
#[ignore = "takes a minute: the firmware is emulated"]
fn a_machine_boots_beside_another_dhcp_server() {
    for (name, firmware) in [
        ("boot-proxy", Firmware::Bios),
        ("boot-proxy-uefi", Firmware::Uefi),
    ] {
        let lines = "
\tproxy
\timage rescue {boots} of=rescue
\tmachine node7 mac 52:54:00:00:00:07 image rescue";
        let Some(site) = BootSite::new(name, lines) else {
            return;
        };
        let router = site.lab.host("router").unwrap();
        let card = site.lan.attach(&router).unwrap();
        card.address("10.20.0.1/24").unwrap();
        let mut dnsmasq = Command::new("/usr/sbin/dnsmasq");
        dnsmasq
            .args([
                "--no-daemon",
                "--conf-file=/dev/null",
                "--port=0",
                "--leasefile-ro",
                "--no-ping",
            ])
            .args([
                "--dhcp-range=10.20.0.50,10.20.0.60",
                "--user=root",
                "--pid-file=",
            ])
            .arg(format!("--interface={}", card.name()));
        dnsmasq
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let _dnsmasq = router.spawn(dnsmasq).unwrap();
        site.machine.boot(MAC, firmware).unwrap().boots("of=rescue");
        let why = site.why("node7");
        assert!(why.contains("another server gives it an address"), "{why}");
    }
}

#[test]
#[ignore = "boots four times"]
fn a_line_with_once_boots_its_image_a_single_time() {
    let lines = format!("{LINES} once");
    let Some(site) = BootSite::new("boot-once", &lines) else {
        return;
    };
    let listed = |words: &str| {
        let list = site.command(&["boot", "list"]);
        assert!(list.contains(words), "{list}");
    };
    listed("rescue (once)");
    site.machine
        .boot(MAC, Firmware::Bios)
        .unwrap()
        .boots("of=rescue");
    listed("its disk");
    // A restarted role still knows that the image was booted once.
    site.kill_role();
    site.shows(": answers");
    listed("its disk");
    let order = site.command(&["boot", "once", "node7", "worker"]);
    assert!(order.contains("boots next: worker"), "{order}");
    site.machine
        .boot(MAC, Firmware::Bios)
        .unwrap()
        .boots("of=worker");
    listed("its disk");
    site.command(&["boot", "once", "node7"]);
    site.machine
        .boot(MAC, Firmware::Bios)
        .unwrap()
        .boots("of=rescue");
}

#[test]
#[ignore = "takes a minute: the menu waits"]
fn a_new_machine_waits_until_it_has_a_line() {
    let Some(site) = BootSite::new("boot-enlist", &format!("{LINES}\n\tunknown enlist")) else {
        return;
    };
    let new = "52:54:00:00:00:99";
    let machine = site.machine.boot(new, Firmware::Bios).unwrap();
    site.shows(new);
    let enlisted = site.command(&["boot", "enlist"]);
    assert!(
        enlisted.contains(&format!("mac {new}")) && enlisted.contains("i440FX + PIIX"),
        "{enlisted}"
    );
    let interface = "eth0";
    site.reload(
        interface,
        &format!("{LINES}\n\tunknown enlist\n\tmachine node9 mac {new} image worker"),
    );
    machine.boots("of=worker");
}
