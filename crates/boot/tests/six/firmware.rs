//! Tests firmware (OVMF) in QEMU that boots over IPv6, up to its loader's script.

use crate::site::{Ipv6NetworkFixture, ip, with_range};
use boot::config::{Image, LanConfig, MachineConfig, UnknownMachinePolicy};
use boot::mac::Mac;
use lab::{LabHost, LabProcess, ScratchDirectory, eventually, installed, may_run, privileged};
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Timeout of a boot. Long, because the processor of the machine is emulated, other tests run at
/// the same time, and the firmware tries IPv4, too.
const PATIENCE: Duration = Duration::from_secs(600);
const CARD: Mac = Mac([0x52, 0x54, 0, 0, 0, 7]);

/// Switches on a machine whose firmware does not support PXE over these versions of IP.
fn boot(host: &LabHost, scratch: &ScratchDirectory, without: &[&str]) -> LabProcess {
    let variables = scratch.path().join("variables.fd");
    fs::copy("/usr/share/OVMF/OVMF_VARS.fd", &variables).unwrap();
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-nodefaults", "-no-user-config", "-no-reboot"]);
    command.args([
        "-display", "none", "-accel", "tcg", "-boot", "n", "-m", "512",
    ]);
    command.args(["-uuid", "4c4c4544-0035-5110-8033-b7c04f4e4a32"]);
    command.args(["-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no"]);
    let card = format!("virtio-net-pci,netdev=net,mac={CARD},romfile=");
    command.args(["-device", &card]);
    let code = "if=pflash,format=raw,file=/usr/share/OVMF/OVMF_CODE.fd,readonly=on";
    let variables = format!("if=pflash,format=raw,file={}", variables.display());
    command.args(["-drive", code, "-drive", &variables]);
    let console = scratch.path().join("console");
    command.args(["-serial", &format!("file:{}", console.display())]);
    for version in without {
        let name = format!("name=opt/org.tianocore/{version}PXESupport,string=n");
        command.args(["-fw_cfg", &name]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null());
    host.spawn(command).unwrap()
}

fn lan(scratch: &ScratchDirectory) -> LanConfig {
    let mut lan = with_range(0x20);
    let kernel = scratch.write("kernel", [7; 100_000]).unwrap();
    let image = Image::Kernel {
        kernel: kernel.to_owned(),
        initrd: Vec::new(),
        append: String::new(),
        nbd: None,
    };
    lan.images.insert("rescue".to_owned(), image);
    let machine = MachineConfig {
        name: "node7".to_owned(),
        address: None,
        image: "rescue".to_owned(),
        once: false,
        power: None,
    };
    lan.machines.insert(CARD, machine);
    lan.unknown = UnknownMachinePolicy::Ignore;
    let six = lan.six.as_mut().unwrap();
    six.machines.insert(CARD, ip(0x20, 0x107));
    lan
}

fn boots(name: &str, without: &[&str], loader: &str) {
    let needs = privileged().and_then(|()| installed("qemu-system-x86_64"));
    if !may_run(name, needs) {
        return;
    }
    let scratch = ScratchDirectory::new().unwrap();
    let mut site = Ipv6NetworkFixture::new(name, "fd00:20::2/64");
    let host = site.lab.host("machine").unwrap();
    let card = site.lan.attach(&host).unwrap();
    let ip = |words: &[&str]| drop(host.ip(words).unwrap());
    ip(&["link", "add", "br0", "type", "bridge"]);
    ip(&["tuntap", "add", "tap0", "mode", "tap"]);
    for one in [card.name(), "tap0"] {
        ip(&["link", "set", one, "master", "br0", "up"]);
    }
    ip(&["link", "set", "br0", "up"]);
    site.start(lan(&scratch));
    let machine = boot(&host, &scratch, without);
    let steps = [
        "SOLICIT by",
        "REPLY fd00:20::107",
        loader,
        "SOLICIT by iPXE",
        "fetch boot/52-54-00-00-00-07.ipxe by HTTP",
        "fetch boot/52-54-00-00-00-07/rescue/kernel by HTTP -> 100000 bytes",
    ];
    for step in steps {
        let came = eventually(PATIENCE, || site.asked(CARD).contains(step));
        assert!(came, "no `{step}`: {}", site.asked(CARD));
    }
    drop(machine);
}

#[test]
#[ignore = "takes minutes: the firmware is emulated"]
fn firmware_boots_by_pxe_over_ipv6() {
    boots("six-pxe", &["IPv4"], "fetch snponly.efi by TFTP");
}

#[test]
#[ignore = "takes minutes: the firmware is emulated"]
fn firmware_boots_by_http_over_ipv6() {
    boots("six-http", &["IPv4", "IPv6"], "fetch snponly.efi by HTTP");
}
