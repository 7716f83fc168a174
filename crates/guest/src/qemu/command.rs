//! Builds the command line of QEMU for a guest (QEMU manual, "System Emulation", "Invocation"). The
//! line is the same on each node, so that a guest can be migrated between them.
//!
//! - QEMU reads no configuration of its own and creates no device that is not named here.
//! - The guest starts paused, and stays paused after a shutdown or a failure, so that the role sees
//!   the reason.
//! - No configured value can become an option: values that QEMU would split are passed as JSON.

use super::external;
use super::home::GuestDirectory;
use super::volume::Sockets;
use crate::config::{Boot, Bus, Console, Disk, Firmware, Guest, Mac, Model, Nic, user_of};
use part::fnv::fnv1a;
use serde_json::{Value, json};
use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

pub const PROGRAM: &str = "qemu-system-x86_64";
/// Time for which QEMU keeps a request that waits for its volume while the volume role restarts,
/// seconds.
const RECONNECT_SECONDS: u32 = 3600;
/// CPU model that each server has supported since 2010, so that a guest can migrate between any
/// two: x86-64-v2 with AES, as other platforms choose.
const PROCESSOR: &str = "qemu64,+aes,+pni,+popcnt,+sse4.1,+sse4.2,+ssse3,enforce=off";
/// Possible paths of the OVMF firmware: the code, and the template of its variables.
const OVMF: &[[&str; 2]] = &[
    [
        "/usr/share/OVMF/OVMF_CODE_4M.fd",
        "/usr/share/OVMF/OVMF_VARS_4M.fd",
    ],
    [
        "/usr/share/OVMF/OVMF_CODE.fd",
        "/usr/share/OVMF/OVMF_VARS.fd",
    ],
    [
        "/usr/share/edk2/ovmf/OVMF_CODE.fd",
        "/usr/share/edk2/ovmf/OVMF_VARS.fd",
    ],
    [
        "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
        "/usr/share/edk2/x64/OVMF_VARS.4m.fd",
    ],
];

#[derive(Debug)]
pub struct StartParameters<'a> {
    pub name: &'a str,
    pub guest: &'a Guest,
    pub home: &'a GuestDirectory,
    pub volumes: &'a Sockets,
    /// Option with which QEMU changes to the user of the guest.
    pub user: Option<(&'static str, String)>,
    pub taps: &'a [RawFd],
    pub has_kvm: bool,
    pub arrives: bool,
}

pub fn ovmf() -> Option<[PathBuf; 2]> {
    let there = OVMF
        .iter()
        .find(|pair| pair.iter().all(|path| Path::new(path).exists()));
    there.map(|pair| pair.map(PathBuf::from))
}

#[derive(Debug, Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn flag(&mut self, name: &str) {
        self.0.push(name.into());
    }

    fn set(&mut self, name: &str, value: impl AsRef<OsStr>) {
        self.0.push(name.into());
        self.0.push(value.as_ref().to_owned());
    }

    fn json(&mut self, name: &str, value: &Value) {
        self.set(name, value.to_string());
    }

    fn socket(&mut self, id: &str, path: &Path) {
        self.set("-chardev", listening(id, path));
    }
}

fn listening(id: &str, path: &Path) -> String {
    format!("socket,id={id},server=on,wait=off,path={}", doubled(path))
}

pub(super) fn mark(home: &GuestDirectory) -> String {
    listening("monitor", &home.monitor())
}

/// Doubles commas, as values in QEMU's comma-separated lists need.
fn doubled(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

pub fn arguments(start: &StartParameters<'_>) -> Vec<OsString> {
    let mut all = Arguments::default();
    machine(&mut all, start);
    sockets(&mut all, start.home);
    console(&mut all, start);
    for controller in controllers(start.guest) {
        all.json("-device", &controller);
    }
    for (at, disk) in start.guest.disks.iter().enumerate() {
        a_disk(&mut all, start, at, disk);
    }
    for (at, (nic, tap)) in start.guest.nics.iter().zip(start.taps).enumerate() {
        a_nic(&mut all, start.guest, at, nic, *tap);
    }
    boot(&mut all, start);
    all.0
}

fn machine(all: &mut Arguments, start: &StartParameters<'_>) {
    let guest = start.guest;
    all.flag("-nodefaults");
    all.flag("-no-user-config");
    all.set("-name", format!("guest={},debug-threads=on", start.name));
    let accelerator = if start.has_kvm { "kvm" } else { "tcg" };
    all.set(
        "-machine",
        format!("q35,accel={accelerator},vmport=off,dump-guest-core=off"),
    );
    all.set("-cpu", PROCESSOR);
    all.set("-smp", format!("{},sockets=1", guest.cpus));
    let kib = memory_kib(guest.memory_bytes, start.has_kvm);
    all.set("-m", format!("{kib}K"));
    all.set("-uuid", uuid(start.name));
    all.set("-rtc", "base=utc,driftfix=slew");
    // Starts the guest paused, until the role continues it, also after a shutdown.
    all.flag("-S");
    all.set("-action", "shutdown=pause,panic=pause,watchdog=reset");
    // QEMU's own filter would kill QEMU when it changes its user. After the change it has no right
    // to change its user again.
    let elevates = match &start.user {
        Some((option, value)) => {
            all.set(option, value);
            "allow"
        }
        None => "deny",
    };
    all.set(
        "-sandbox",
        format!("on,obsolete=deny,elevateprivileges={elevates},spawn=deny,resourcecontrol=deny"),
    );
    all.set("-device", "virtio-rng-pci");
    all.set("-device", "pvpanic");
    if start.arrives {
        all.set("-incoming", "defer");
    }
    if guest.firmware == Firmware::Uefi {
        // Uses a path that is valid for the changed user, because QEMU opens the file again after a
        // migration.
        let variables = start.home.for_qemu(&start.home.variables());
        if let Some([code, _]) = ovmf() {
            all.set(
                "-drive",
                format!(
                    "if=pflash,unit=0,format=raw,readonly=on,file={}",
                    doubled(&code)
                ),
            );
        }
        all.set(
            "-drive",
            format!("if=pflash,unit=1,format=raw,file={}", doubled(&variables)),
        );
    }
}

/// Returns the memory size in KiB. QEMU before 9.0 misses memory writes of an emulated guest
/// during a migration, and so corrupts the guest, if the memory is a multiple of 256 KiB (fixed by
/// QEMU commit 03bfc2188f). An emulated guest therefore gets 8 KiB less.
fn memory_kib(bytes: u64, has_kvm: bool) -> u64 {
    let less = if has_kvm { 0 } else { 8 };
    (bytes >> 10).saturating_sub(less)
}

/// Returns the UUID of a guest. It is the same on each node, so a migrated guest keeps it.
fn uuid(name: &str) -> String {
    let half = |first: u8| fnv1a(std::iter::once(first).chain(name.bytes()));
    let (high, low) = (half(1), half(2));
    // Marks the UUID as version 8, a custom form (RFC 9562, section 5.8).
    let high = (high & !0xf000) | 0x8000;
    let low = (low & !(0b11 << 62)) | (0b10 << 62);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

fn sockets(all: &mut Arguments, home: &GuestDirectory) {
    all.set("-chardev", mark(home));
    all.set("-mon", "chardev=monitor,mode=control");
    // Makes QEMU append to the log, so that the role can truncate the file.
    let log = doubled(&home.log());
    let socket = doubled(&home.serial());
    all.set(
        "-chardev",
        format!("socket,id=serial,server=on,wait=off,path={socket},logfile={log},logappend=on"),
    );
    all.set("-serial", "chardev:serial");
    all.socket("agent", &home.agent());
    all.set("-device", "virtio-serial-pci");
    all.set(
        "-device",
        "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
    );
}

fn console(all: &mut Arguments, start: &StartParameters<'_>) {
    let socket = start.home.display();
    match start.guest.console {
        Console::Serial => {
            all.set("-display", "none");
            all.set("-vga", "none");
        }
        Console::Vnc => {
            all.set("-vga", "std");
            all.set("-vnc", format!("unix:{}", doubled(&socket)));
        }
        Console::Spice => {
            all.set("-vga", "qxl");
            all.set(
                "-spice",
                format!("unix=on,disable-ticketing=on,addr={}", doubled(&socket)),
            );
        }
    }
    if start.guest.console != Console::Serial {
        all.set("-device", "qemu-xhci");
        all.set("-device", "usb-tablet");
    }
}

/// Returns the boot index of a disk or network card; None: the guest does not boot from it. With
/// network boot, the cards precede the disks; otherwise only disks have an index.
fn first(boot: &Boot, is_disk: bool, at: usize) -> Option<usize> {
    match (boot, is_disk) {
        (Boot::Network, true) => Some(at + 20),
        (Boot::Network, false) => Some(at + 1),
        (Boot::Disk | Boot::Iso(_) | Boot::Kernel { .. }, true) => Some(at + 2),
        (Boot::Disk | Boot::Iso(_) | Boot::Kernel { .. }, false) => None,
    }
}

fn a_disk(all: &mut Arguments, start: &StartParameters<'_>, at: usize, disk: &Disk) {
    let node = format!("disk{at}");
    match &disk.external {
        None => all.json(
            "-blockdev",
            &of_volume(&node, start.name, &start.volumes.path(at), disk),
        ),
        Some(external) => {
            for (option, value) in external::options(at, external, disk.read_only, start.home) {
                all.json(option, &value);
            }
        }
    }
    all.json("-device", &device_of(start.guest, at, &node, disk));
}

const PORTS: usize = 6;
/// Port of the first AHCI controller to which the boot CD is attached.
const CD_PORT: usize = 5;

/// Returns the AHCI controller and port of a disk by its index among all disks. None: the
/// controller built into q35; otherwise the number of a further one.
fn ahci_port(boot: &Boot, at: usize) -> (Option<usize>, usize) {
    let own = match boot {
        Boot::Iso(_) => CD_PORT,
        Boot::Disk | Boot::Network | Boot::Kernel { .. } => PORTS,
    };
    match at.checked_sub(own) {
        None => (None, at),
        Some(further) => (Some(further / PORTS), further % PORTS),
    }
}

fn controllers(guest: &Guest) -> Vec<Value> {
    let disks = guest.disks.iter().enumerate();
    let of_disk = disks.filter(|(_, disk)| disk.bus != Bus::Virtio);
    let mut needed: Vec<usize> = of_disk
        .filter_map(|(at, _)| ahci_port(&guest.boot, at).0)
        .collect();
    needed.dedup();
    let all = needed
        .iter()
        .map(|number| json!({"driver": "ich9-ahci", "id": format!("ahci{number}")}));
    all.collect()
}

/// Returns the options of the disk device that the guest sees. The error policy is the same on
/// every bus.
fn device_of(guest: &Guest, at: usize, node: &str, disk: &Disk) -> Value {
    let mut device = json!({
        "driver": match disk.bus {
            Bus::Virtio => "virtio-blk-pci",
            Bus::Sata | Bus::Ide => if disk.read_only { "ide-cd" } else { "ide-hd" },
        },
        "id": format!("device{at}"),
        "drive": node,
        "serial": serial(&disk.volume),
        "physical_block_size": 4096,
    });
    stop_at_errors(&mut device);
    if let Some(index) = first(&guest.boot, true, at) {
        device["bootindex"] = index.into();
    }
    if disk.bus != Bus::Virtio {
        let (controller, port) = ahci_port(&guest.boot, at);
        device["bus"] = match controller {
            None => format!("ide.{port}").into(),
            Some(number) => format!("ahci{number}.{port}").into(),
        };
    }
    device
}

/// Lets QEMU pause the guest at a disk error, because a guest that sees an error makes its file
/// system read-only. The role continues the guest when the disk works again.
fn stop_at_errors(device: &mut Value) {
    device["werror"] = "stop".into();
    device["rerror"] = "stop".into();
}

fn of_volume(node: &str, guest: &str, socket: &Path, disk: &Disk) -> Value {
    // Adds the user to the name of the export unless the disk is read-only: a volume has one user
    // at a time, and read-only clients do not count.
    let export = if disk.read_only {
        disk.volume.clone()
    } else {
        format!("{}/{}", disk.volume, user_of(guest))
    };
    json!({
        "driver": "nbd",
        "node-name": node,
        "server": {"type": "unix", "path": socket},
        "export": export,
        "reconnect-delay": RECONNECT_SECONDS,
        "read-only": disk.read_only,
        "discard": "unmap",
    })
}

/// Returns the serial number shown in `/dev/disk/by-id`: virtio has 20 bytes for it.
fn serial(volume: &str) -> &str {
    volume.get(..20).unwrap_or(volume)
}

fn a_nic(all: &mut Arguments, guest: &Guest, at: usize, nic: &Nic, tap: RawFd) {
    let id = format!("nic{at}");
    all.json(
        "-netdev",
        &json!({"type": "tap", "id": id, "fd": tap.to_string()}),
    );
    let mac = Mac(nic.mac).to_string();
    let mut device = json!({
        "driver": match nic.model {
            Model::Virtio => "virtio-net-pci",
            Model::E1000 => "e1000",
        },
        "netdev": id,
        "id": format!("card{at}"),
        "mac": mac,
    });
    match first(&guest.boot, false, at) {
        Some(index) => device["bootindex"] = index.into(),
        // Removes the card's ROM, from which the card would try to boot, which takes time.
        None => device["romfile"] = "".into(),
    }
    all.json("-device", &device);
}

fn boot(all: &mut Arguments, start: &StartParameters<'_>) {
    if let Boot::Iso(path) = &start.guest.boot {
        all.json(
            "-blockdev",
            &json!({
                "driver": "raw", "node-name": "iso", "read-only": true,
                "file": {"driver": "file", "filename": path, "read-only": true},
            }),
        );
        // Gives the CD a later place in the boot order than a bootable disk, so that an
        // installation is not repeated after it has ended.
        let mut device = json!({
            "driver": "ide-cd", "drive": "iso", "id": "cd", "bus": format!("ide.{CD_PORT}"), "bootindex": 10,
        });
        stop_at_errors(&mut device);
        all.json("-device", &device);
    }
    if start.guest.user_data.is_some() {
        // Attaches a disk with the seed files, which QEMU reads only when the guest reads the disk.
        a_seed(all, &start.home.for_qemu(&start.home.seed()));
    }
    if let Boot::Kernel {
        kernel,
        initrd,
        append,
    } = &start.guest.boot
    {
        all.set("-kernel", kernel);
        if let Some(initrd) = initrd {
            all.set("-initrd", initrd);
        }
        all.set("-append", append);
    }
}

/// Adds the data for cloud-init (NoCloud): QEMU shows a directory as a disk with a FAT file
/// system.
fn a_seed(all: &mut Arguments, path: &Path) {
    all.json(
        "-blockdev",
        &json!({
            "driver": "raw", "node-name": "seed", "read-only": true,
            "file": {"driver": "vvfat", "dir": path, "label": "CIDATA", "read-only": true},
        }),
    );
    let mut device =
        json!({"driver": "virtio-blk-pci", "drive": "seed", "id": "seed", "serial": "cidata"});
    stop_at_errors(&mut device);
    all.json("-device", &device);
}

#[cfg(test)]
mod tests {
    use super::*;
    use configuration::{External, Storage};
    use std::io::Write;
    use std::process::{Command, Stdio};

    /// Returns a guest with these disks: the bus, and whether the disk is read-only.
    fn with_disks(boot: Boot, disks: &[(Bus, bool)]) -> Guest {
        let disk = |(at, (bus, read_only)): (usize, &(Bus, bool))| Disk {
            volume: format!("volume{at}"),
            read_only: *read_only,
            bus: *bus,
            external: None,
        };
        Guest {
            boot,
            disks: disks.iter().enumerate().map(disk).collect(),
            ..Guest::plain(32 << 20)
        }
    }

    #[test]
    fn disk_of_every_bus_has_the_same_options() {
        let external = External {
            storage: Storage::Nfs {
                server: [10, 0, 0, 9].into(),
                path: "/mail.img".to_owned(),
            },
            size_bytes: None,
        };
        for bus in [Bus::Virtio, Bus::Sata, Bus::Ide] {
            for read_only in [false, true] {
                let guest = with_disks(Boot::Disk, &[(bus, read_only); 3]);
                let disk = &guest.disks[2];
                let device = device_of(&guest, 2, "disk2", disk);
                for (name, value) in [
                    ("werror", json!("stop")),
                    ("rerror", json!("stop")),
                    ("physical_block_size", json!(4096)),
                    ("bootindex", json!(4)),
                    ("serial", json!("volume2")),
                    ("drive", json!("disk2")),
                ] {
                    assert_eq!(device[name], value, "{bus:?} {name}");
                }
                // The name of the block node does not depend on the bus.
                let node = of_volume("disk2", "web", Path::new("/s"), disk);
                assert_eq!(node["discard"], "unmap", "{bus:?}");
                assert_eq!(node["read-only"], read_only);
                let export = if read_only {
                    "volume2"
                } else {
                    "volume2/guest/web"
                };
                assert_eq!(node["export"], export);
                let options = external::options(
                    2,
                    &external,
                    read_only,
                    &GuestDirectory::new(Path::new("/r"), "web"),
                );
                let (_, node) = options.last().unwrap();
                for layer in [node, &node["file"]] {
                    assert_eq!(layer["cache"], json!({"direct": true}));
                    assert_eq!(layer["discard"], "unmap");
                    assert_eq!(layer["read-only"], read_only);
                }
            }
        }
    }

    #[test]
    fn cd_and_seed_pause_the_guest_at_an_error_too() {
        let guest = Guest {
            user_data: Some("#cloud-config".to_owned()),
            ..with_disks(Boot::Iso("/srv/debian.iso".into()), &[(Bus::Sata, false)])
        };
        let (home, volumes) = (
            GuestDirectory::new(Path::new("/r"), "web"),
            Sockets::default(),
        );
        let start = StartParameters {
            name: "web",
            guest: &guest,
            home: &home,
            volumes: &volumes,
            user: None,
            taps: &[],
            has_kvm: false,
            arrives: false,
        };
        let mut all = Arguments::default();
        boot(&mut all, &start);
        let devices: Vec<Value> = all
            .0
            .iter()
            .filter_map(|one| serde_json::from_str(one.to_str()?).ok())
            .filter(|one: &Value| one["drive"].is_string())
            .collect();
        assert_eq!(devices.len(), 2, "{devices:?}");
        for device in devices {
            assert_eq!(
                (&device["werror"], &device["rerror"]),
                (&json!("stop"), &json!("stop"))
            );
        }
    }

    #[test]
    fn guest_with_many_disks_of_every_bus_starts_in_qemu() {
        lab::skip_unless_installed!("qemu-system-x86_64");
        let buses = [Bus::Sata, Bus::Ide, Bus::Virtio, Bus::Sata];
        let disks: Vec<(Bus, bool)> = (0..16).map(|at| (buses[at % 4], at % 5 == 4)).collect();
        for boot in [Boot::Disk, Boot::Iso("/dev/null".into())] {
            let guest = with_disks(boot, &disks);
            let mut all = Arguments::default();
            for flag in ["-nodefaults", "-no-user-config", "-S"] {
                all.flag(flag);
            }
            for (name, value) in [
                ("-machine", "q35,accel=tcg"),
                ("-display", "none"),
                ("-monitor", "stdio"),
            ] {
                all.set(name, value);
            }
            let node = |name: &str, read_only: bool| json!({"driver": "null-co", "node-name": name, "size": 1 << 20, "read-only": read_only});
            for controller in controllers(&guest) {
                all.json("-device", &controller);
            }
            for (at, disk) in guest.disks.iter().enumerate() {
                let name = format!("disk{at}");
                all.json("-blockdev", &node(&name, disk.read_only));
                all.json("-device", &device_of(&guest, at, &name, disk));
            }
            if let Boot::Iso(_) = guest.boot {
                all.json("-blockdev", &node("iso", true));
                let mut device =
                    json!({"driver": "ide-cd", "drive": "iso", "bus": format!("ide.{CD_PORT}")});
                stop_at_errors(&mut device);
                all.json("-device", &device);
            }
            let mut qemu = Command::new(PROGRAM)
                .args(&all.0)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            writeln!(qemu.stdin.take().unwrap(), "quit").unwrap();
            let output = qemu.wait_with_output().unwrap();
            assert!(output.status.success(), "{:?}: {output:?}", guest.boot);
        }
    }

    #[test]
    fn the_memory_of_an_emulated_guest_is_no_multiple_of_256_kib() {
        for mib in [64, 96, 4096] {
            let kib = memory_kib(mib << 20, false);
            assert!(!kib.is_multiple_of(256) && kib >= (mib << 10) - 8, "{kib}");
            assert_eq!(memory_kib(mib << 20, true), mib << 10);
        }
    }
}
