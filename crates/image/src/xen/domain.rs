//! Interprets the assignments of a Xen configuration as a guest with its boot settings, disks and
//! network cards: xl.cfg(5), xl-disk-configuration(5), xl-network-configuration(5), and the forms
//! of `xm` of 2009.

use super::XenConfiguration;
use crate::hardware::Model;
use crate::mac::Mac;
use language::render::visible;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

const DEVICES_MAX: usize = 64;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct XenDomain {
    pub name: String,
    pub memory_mib: u64,
    pub cpus: u32,
    pub boot: Boot,
    pub disks: Vec<Disk>,
    pub vifs: Vec<Vif>,
    pub notes: Vec<String>,
}

/// Boot settings of a Xen guest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Boot {
    /// Fully virtualised (HVM): the BIOS boots the first disk.
    pub is_hvm: bool,
    pub is_uefi: bool,
    /// Boot loader that finds the kernel on the guest's disk, such as pygrub.
    pub bootloader: Option<String>,
    pub kernel: Option<PathBuf>,
    pub ramdisk: Option<PathBuf>,
    pub root: String,
    pub extra: String,
}

/// Disk of a Xen guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Disk {
    /// Path of the file or block device.
    pub path: PathBuf,
    /// Device name in the guest without a number, such as `xvda`.
    pub name: String,
    /// Partition number, if the device is a partition; None: a whole disk.
    pub partition: Option<u32>,
    pub read_only: bool,
}

/// Network card of a Xen guest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Vif {
    pub mac: Option<[u8; 6]>,
    pub addresses: Vec<IpAddr>,
    pub bridge: String,
    pub model: Model,
}

/// Names of assignments that are interpreted, or do not matter for the new guest.
const KNOWN: &[&str] = &[
    "name",
    "memory",
    "maxmem",
    "vcpus",
    "maxvcpus",
    "kernel",
    "ramdisk",
    "root",
    "extra",
    "cmdline",
    "bootloader",
    "bootargs",
    "bootloader_args",
    "builder",
    "type",
    "bios",
    "firmware",
    "disk",
    "vif",
    "uuid",
    "on_poweroff",
    "on_reboot",
    "on_crash",
    "on_shutdown",
    "vfb",
    "vnc",
    "vncpasswd",
    "vnclisten",
    "vncconsole",
    "vncunused",
    "vncdisplay",
    "sdl",
    "stdvga",
    "serial",
    "boot",
    "acpi",
    "apic",
    "pae",
    "device_model",
    "device_model_version",
    "keymap",
    "usb",
    "usbdevice",
    "localtime",
    "rtc_timeoffset",
    "xen_platform_pci",
    "cpu_weight",
    "cpu_cap",
    "cpus",
    "hap",
    "viridian",
    "dhcp",
    "hostname",
    "shadow_memory",
    "arch",
    "opengl",
    "monitor",
    "timer_mode",
    "nx",
    "address_size",
    "videoram",
    "vga",
    "spice",
];

/// Interprets the assignments. `fallback` names the guest if the file has no name. What cannot be
/// used is in the notes of the result.
pub fn read(file: &XenConfiguration, fallback: &str) -> XenDomain {
    let text = |name: &str| file.values.get(name).map(super::XenValue::text);
    let positive = |name: &str| {
        let number = file.values.get(name).and_then(super::XenValue::number);
        number.and_then(|value| u64::try_from(value).ok())
    };
    let memory = positive("memory").filter(|mib| (16..1 << 24).contains(mib));
    let cpus = positive("vcpus").and_then(|cpus| u32::try_from(cpus).ok());
    let boot = boot(file);
    let mut domain = XenDomain {
        name: text("name").unwrap_or_else(|| fallback.to_owned()),
        memory_mib: memory.unwrap_or(128),
        cpus: cpus.unwrap_or(1).clamp(1, 255),
        ..XenDomain::default()
    };
    if !file.values.contains_key("memory") {
        domain
            .notes
            .push("no memory in the file: 128 MiB, the default of Xen".to_owned());
    }
    let items = |name: &str| {
        file.values
            .get(name)
            .map(super::XenValue::items)
            .unwrap_or_default()
    };
    for item in items("disk").into_iter().take(DEVICES_MAX) {
        match disk(&item) {
            Ok(Some(disk)) => domain.disks.push(disk),
            Ok(None) => domain
                .notes
                .push(format!("disk '{}' is a CD: not imported", visible(&item))),
            Err(why) => domain.notes.push(format!(
                "disk '{}' cannot be read: {}",
                visible(&item),
                visible(&why)
            )),
        }
    }
    for item in items("vif").into_iter().take(DEVICES_MAX) {
        domain.vifs.push(vif(&item, boot.is_hvm));
    }
    let lines = file.complaints.iter();
    domain
        .notes
        .extend(lines.map(|one| format!("line {}: {}", one.line, one.words)));
    let unknown = file
        .values
        .keys()
        .filter(|name| !KNOWN.contains(&name.as_str()));
    domain
        .notes
        .extend(unknown.map(|name| format!("'{name}' has no equivalent")));
    domain.boot = boot;
    domain
}

fn boot(file: &XenConfiguration) -> Boot {
    let text = |name: &str| file.values.get(name).map(super::XenValue::text);
    let path = |name: &str| {
        let path = text(name).filter(|path| !path.is_empty());
        path.map(PathBuf::from)
    };
    let mut kind = [text("builder"), text("type")].into_iter().flatten();
    let is_hvm = kind.any(|kind| kind.eq_ignore_ascii_case("hvm"));
    let mut firmware = [text("bios"), text("firmware")].into_iter().flatten();
    let extra = [text("extra"), text("cmdline")].into_iter().flatten();
    Boot {
        is_hvm,
        is_uefi: firmware.any(|name| ["ovmf", "uefi"].contains(&name.as_str())),
        bootloader: text("bootloader").filter(|program| !program.is_empty()),
        // Ignores the kernel of a fully virtualised guest, which with `xm` is Xen's own
        // `hvmloader`.
        kernel: path("kernel").filter(|_| !is_hvm),
        ramdisk: path("ramdisk").filter(|_| !is_hvm),
        root: text("root").unwrap_or_default(),
        extra: extra.collect::<Vec<_>>().join(" "),
    }
}

/// Reads a disk. None: the device is a CD.
fn disk(item: &str) -> Result<Option<Disk>, String> {
    let fields: Vec<&str> = item.split(',').map(str::trim).collect();
    let is_named = |field: &&str| {
        let name = field.split('=').next().unwrap_or_default();
        [
            "target",
            "format",
            "vdev",
            "access",
            "devtype",
            "backendtype",
            "script",
        ]
        .contains(&name)
    };
    let (mut target, mut device, mut access) = ("", "", "");
    let mut is_cd = false;
    if fields.iter().any(is_named) || fields.len() > 3 {
        // Reads the form of xl, whose positions are target, format, vdev and access.
        let mut position = 0;
        for field in &fields {
            match field.split_once('=').filter(|_| is_named(field)) {
                Some(("target", value)) => target = value,
                Some(("vdev", value)) => device = value,
                Some(("access", value)) => access = value,
                Some(("devtype", value)) => is_cd |= value == "cdrom",
                Some(_) => {}
                None if *field == "cdrom" => is_cd = true,
                None if ["discard", "no-discard", "direct-io-safe"].contains(field) => {}
                None => {
                    match position {
                        0 => target = field,
                        2 => device = field,
                        3 => access = field,
                        _ => {}
                    }
                    position += 1;
                }
            }
        }
    } else if let [one, two, three] = fields[..] {
        (target, device, access) = (one, two, three);
    } else {
        return Err("not TARGET,DEVICE,ACCESS".to_owned());
    }
    let (device, kind) = device
        .split_once(':')
        .map_or((device, ""), |(first, rest)| match first {
            // Reads the form of xm, such as `ioemu:hda`.
            "ioemu" => (rest, ""),
            _ => (first, rest),
        });
    if is_cd || kind == "cdrom" {
        return Ok(None);
    }
    let path = target_path(target).ok_or("neither a file nor a block device")?;
    let (name, partition) =
        device_name(device).ok_or_else(|| format!("'{device}' is not a device"))?;
    Ok(Some(Disk {
        path,
        name,
        partition,
        read_only: access.starts_with('r') && access != "rw",
    }))
}

/// Returns the absolute path of a target without its prefixes, such as `phy:vg/mail` or
/// `tap:aio:/srv/mail.img`. Returns None for an empty path, and for a relative one of a file.
fn target_path(target: &str) -> Option<PathBuf> {
    let mut rest = target;
    let mut is_device = false;
    let prefixes = [
        "phy", "file", "tap", "tap2", "aio", "qcow", "qcow2", "vhd", "vmdk", "ram", "raw", "vdi",
    ];
    while let Some((prefix, behind)) = rest.split_once(':') {
        if !prefixes.contains(&prefix) {
            break;
        }
        is_device |= prefix == "phy";
        rest = behind;
    }
    let path = Path::new(rest);
    match (rest.is_empty(), path.is_absolute()) {
        (true, _) => None,
        (false, true) => Some(path.to_owned()),
        (false, false) if is_device => Some(Path::new("/dev").join(path)),
        // Refuses a path relative to the working directory of `xl create`, which is unknown.
        (false, false) => None,
    }
}

/// Splits a name such as `xvda2` into the disk and the partition number.
pub fn device_name(device: &str) -> Option<(String, Option<u32>)> {
    let device = device.strip_prefix("/dev/").unwrap_or(device);
    let name = device.trim_end_matches(|sign: char| sign.is_ascii_digit());
    let digits = &device[name.len()..];
    let letters = ["xvd", "sd", "hd", "vd"]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))?;
    let is_name =
        (1..=2).contains(&letters.len()) && letters.bytes().all(|byte| byte.is_ascii_lowercase());
    let partition = match digits {
        "" => None,
        digits => Some(
            digits
                .parse()
                .ok()
                .filter(|number| (1..=63).contains(number))?,
        ),
    };
    is_name.then(|| (name.to_owned(), partition))
}

fn vif(item: &str, is_hvm: bool) -> Vif {
    let mut vif = Vif::default();
    for field in item.split(',') {
        let (name, value) = field.trim().split_once('=').unwrap_or((field.trim(), ""));
        match name.trim() {
            "mac" => {
                let mac = value.trim().parse().ok();
                vif.mac = mac.filter(|mac: &Mac| mac.is_of_a_card()).map(|mac| mac.0);
            }
            "ip" => {
                // Reads several addresses, each perhaps with a prefix length.
                let words = value.split_whitespace();
                let addresses = words.filter_map(|one| one.split('/').next()?.parse().ok());
                vif.addresses = addresses.collect();
            }
            // Accepts only a valid name, because it is printed into a configuration section.
            "bridge" if is_interface(value.trim()) => vif.bridge = value.trim().to_owned(),
            "model" if is_hvm && value.trim().starts_with("e1000") => vif.model = Model::E1000,
            _ => {}
        }
    }
    vif
}

fn is_interface(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=15).contains(&name.len()) && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    /// Returns a disk in short: path, name, partition number and access.
    fn short(item: &str) -> String {
        match disk(item) {
            Ok(None) => "CD".to_owned(),
            Err(_) => "error".to_owned(),
            Ok(Some(disk)) => {
                let number = disk.partition.unwrap_or(0);
                let access = if disk.read_only { "r" } else { "w" };
                format!("{} {} {number} {access}", disk.path.display(), disk.name)
            }
        }
    }

    #[test]
    fn disks_of_all_times_are_read() {
        for (item, expected) in [
            ("phy:vg0/mail-root,xvda2,w", "/dev/vg0/mail-root xvda 2 w"),
            ("phy:/dev/vg0/mail,sda1,w", "/dev/vg0/mail sda 1 w"),
            (
                "file:/srv/mail/disk.img,xvda,w",
                "/srv/mail/disk.img xvda 0 w",
            ),
            ("tap:aio:/srv/mail.img,hda1,r", "/srv/mail.img hda 1 r"),
            ("tap:qcow2:/srv/a.qcow2,ioemu:hda,w", "/srv/a.qcow2 hda 0 w"),
            ("/dev/vg/guest,raw,xvdb,rw", "/dev/vg/guest xvdb 0 w"),
            ("/srv/a.qcow2, qcow2, xvda1, r", "/srv/a.qcow2 xvda 1 r"),
            (
                "format=raw, vdev=xvdc, access=rw, target=/dev/vg/c",
                "/dev/vg/c xvdc 0 w",
            ),
            (
                "vdev=xvda,format=vhd,target=/srv/a=b.vhd",
                "/srv/a=b.vhd xvda 0 w",
            ),
            ("file:/srv/cd.iso,hdc:cdrom,r", "CD"),
            ("/srv/cd.iso,raw,hdc,ro,cdrom", "CD"),
            (
                "format=raw,vdev=hdc,devtype=cdrom,access=ro,target=/a",
                "CD",
            ),
            ("", "error"),
            ("phy:", "error"),
            ("file:mail.img,xvda,w", "error"),
            ("phy:vg/a,nothing,w", "error"),
            ("phy:vg/a,xvda0,w", "error"),
            ("phy:vg/a,xvda2", "error"),
        ] {
            assert_eq!(short(item), expected, "{item}");
        }
    }

    #[test]
    fn an_old_file_is_understood() {
        let text = "kernel = '/boot/vmlinuz-2.6.26-2-xen-amd64'\nramdisk = '/boot/initrd.img-2.6.26-2-xen-amd64'\n\
                    vcpus = '2'\nmemory = '512'\nroot = '/dev/xvda2 ro'\ndisk = [\n 'file:/srv/xen/mail/disk.img,xvda2,w',\n \
                    'file:/srv/xen/mail/swap.img,xvda1,w',\n]\nname = 'mail'\n\
                    vif = [ 'ip=192.0.2.25 2001:db8::25,mac=00:16:3E:12:34:56,bridge=xenbr0' ]\non_crash = 'restart'\n\
                    extra = 'xencons=tty clocksource=jiffies'\npci = ['01:00.0']\n";
        let domain = read(&parse(text), "x");
        assert_eq!(
            (domain.name.as_str(), domain.memory_mib, domain.cpus),
            ("mail", 512, 2)
        );
        assert_eq!(domain.boot.root, "/dev/xvda2 ro");
        assert_eq!(
            domain.boot.kernel,
            Some("/boot/vmlinuz-2.6.26-2-xen-amd64".into())
        );
        assert_eq!(domain.disks.len(), 2);
        let vif = &domain.vifs[0];
        assert_eq!(
            (vif.mac, vif.bridge.as_str()),
            (Some([0, 0x16, 0x3e, 0x12, 0x34, 0x56]), "xenbr0")
        );
        assert_eq!(vif.addresses.len(), 2);
        assert_eq!(domain.notes, ["'pci' has no equivalent"]);
        assert_eq!(super::vif("bridge=br0\nfence exec x", false).bridge, "");
    }

    #[test]
    fn a_fully_virtualised_guest_has_no_kernel_of_the_host() {
        let text = "builder = 'hvm'\nkernel = '/usr/lib/xen-4.0/boot/hvmloader'\nbios = 'ovmf'\n\
                    vif = ['type=ioemu, model=e1000', '']\nboot = 'c'";
        let domain = read(&parse(text), "win");
        assert!(domain.boot.is_hvm && domain.boot.is_uefi && domain.boot.kernel.is_none());
        assert_eq!(
            (domain.name.as_str(), domain.vifs[0].model),
            ("win", Model::E1000)
        );
        assert_eq!(domain.vifs.len(), 2);
        assert_eq!(
            domain.notes,
            ["no memory in the file: 128 MiB, the default of Xen"]
        );
    }
}
