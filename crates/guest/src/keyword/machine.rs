//! Parses the lines of a `guest` section that define the virtual machine.

use super::section::ParsedSections;
use super::words::memory as memory_size;
use super::{GuestLineBuilder, codes};
use crate::config::{Boot, Bus, Console, Disk, Firmware, Mac, Model};
use language::arguments::{Args, Built};
use language::keyword::Keyword;
use language::section::{many, once};
use language::{ConfigWord, Diagnostic, Spanned};
use std::net::IpAddr;

const CPUS_MAX: u32 = 255;
const DISKS_MAX: usize = 16;
const NICS_MAX: usize = 8;
const ADDRESSES_MAX: usize = 16;
/// Maximum length of an interface name (`IFNAMSIZ`, without the terminating zero), bytes.
const INTERFACE_MAX: usize = 15;

/// Network card as written in its line.
#[derive(Debug)]
pub(super) struct Nic {
    pub(super) bridge: Spanned<String>,
    pub(super) mac: Option<Spanned<[u8; 6]>>,
    pub(super) addresses: Vec<Spanned<IpAddr>>,
    pub(super) model: Model,
}

fn memory(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let guest = once(&mut draft.guests, args, "memory")?;
    guest.memory = Some(memory_size(args)?);
    args.end()
}

fn cpus(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let guest = once(&mut draft.guests, args, "cpus")?;
    let span = args.peek().map_or(args.line().span, |word| word.span);
    let value = args.count("a number", 1..=CPUS_MAX)?;
    guest.cpus = Some(Spanned { value, span });
    args.end()
}

fn too_many(args: &Args<'_>, max: usize, what: &str) -> Diagnostic {
    let told = format!("a guest has at most {max} {what}");
    Diagnostic::error(&codes::TOO_MANY, args.line().span, told)
}

fn disk(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let guest = many(&mut draft.guests, args, "disk")?;
    if guest.disks.len() >= DISKS_MAX {
        return Err(too_many(args, DISKS_MAX, "disks"));
    }
    let word = args.required("the name of a volume")?;
    let mut disk = Disk {
        external: None,
        volume: word.text().into_owned(),
        read_only: false,
        bus: Bus::default(),
    };
    args.options(&["ro", "bus"], &[], &codes::TWICE, |option, args| {
        if option == "ro" {
            disk.read_only = true;
            return Ok(());
        }
        let choices = [
            ("virtio", Bus::Virtio),
            ("sata", Bus::Sata),
            ("ide", Bus::Ide),
        ];
        disk.bus = args.choice(&choices)?;
        Ok(())
    })?;
    guest.disks.push(Spanned::new(disk, word.span));
    Ok(())
}

/// Returns whether Linux accepts this as an interface name (`dev_valid_name`).
fn is_interface_name(word: &ConfigWord) -> bool {
    let bytes = &word.bytes;
    let allowed = |byte: &u8| !byte.is_ascii_whitespace() && !b"/:\x0b\0".contains(byte);
    (1..=INTERFACE_MAX).contains(&bytes.len())
        && !matches!(word.str(), "." | "..")
        && bytes.iter().all(allowed)
}

fn mac(args: &mut Args<'_>) -> Result<Spanned<[u8; 6]>, Diagnostic> {
    let word = args.required("a MAC address")?;
    let value: Result<Mac, _> = word.str().parse();
    let Mac(value) = value
        .map_err(|_| args.unexpected_value(word, "not a MAC address such as 52:54:00:12:34:56"))?;
    if value == [0; 6] {
        return Err(args.unexpected_value(word, "zero, which is no card's MAC address"));
    }
    if value[0] & 1 == 1 {
        let told = "a multicast address, which no card can have: the first pair has to be even";
        return Err(args.unexpected_value(word, told));
    }
    Ok(Spanned::new(value, word.span))
}

fn address(args: &mut Args<'_>) -> Result<Spanned<IpAddr>, Diagnostic> {
    let word = args.required("an address")?;
    let address: Option<IpAddr> = word.str().parse().ok();
    let Some(address) = address.map(|one| one.to_canonical()) else {
        return Err(args.unexpected_value(word, "not an IP address"));
    };
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        return Err(args.unexpected_value(word, "not an address that a guest can have"));
    }
    Ok(Spanned::new(address, word.span))
}

fn nic(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let guest = many(&mut draft.guests, args, "nic")?;
    if guest.nics.len() >= NICS_MAX {
        return Err(too_many(args, NICS_MAX, "network cards"));
    }
    let word = args.required("the name of a bridge")?;
    if !is_interface_name(word) {
        let told = "not the name of an interface: at most 15 bytes without `/`, `:` and spaces";
        return Err(args.unexpected_value(word, told));
    }
    let mut nic = Nic {
        bridge: Spanned::new(word.text().into_owned(), word.span),
        mac: None,
        addresses: Vec::new(),
        model: Model::default(),
    };
    let known = ["mac", "address", "model"];
    args.options(&known, &["address"], &codes::TWICE, |option, args| {
        match option {
            "mac" => nic.mac = Some(mac(args)?),
            "address" if nic.addresses.len() >= ADDRESSES_MAX => {
                let told = format!("a network card has at most {ADDRESSES_MAX} addresses");
                let span = args.line().span;
                return Err(Diagnostic::error(&codes::TOO_MANY, span, told));
            }
            "address" => nic.addresses.push(address(args)?),
            _ => {
                let choices = [("virtio", Model::Virtio), ("e1000", Model::E1000)];
                nic.model = args.choice(&choices)?;
            }
        }
        Ok(())
    })?;
    guest.nics.push(nic);
    Ok(())
}

fn boot(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let guest = once(&mut draft.guests, args, "boot")?;
    let choices = ["disk", "network", "iso", "kernel"].map(|word| (word, word));
    let value = match args.choice(&choices)? {
        "disk" => Boot::Disk,
        "network" => Boot::Network,
        "iso" => Boot::Iso(args.absolute_path("the file of an image")?.value),
        _ => kernel(args)?,
    };
    args.end()?;
    let span = args.line().span;
    guest.boot = Some(Spanned { value, span });
    Ok(())
}

fn kernel(args: &mut Args<'_>) -> Result<Boot, Diagnostic> {
    let kernel = args.absolute_path("the file of a kernel")?.value;
    let (mut initrd, mut append) = (None, String::new());
    args.options(&["initrd", "append"], &[], &codes::TWICE, |option, args| {
        if option == "initrd" {
            initrd = Some(args.absolute_path("the file of an initial RAM disk")?.value);
            return Ok(());
        }
        let first = args.required("the command line")?;
        let words = std::iter::once(first).chain(args.rest());
        let words: Vec<_> = words.map(|word| word.text()).collect();
        append = words.join(" ");
        Ok(())
    })?;
    Ok(Boot::Kernel {
        kernel,
        initrd,
        append,
    })
}

fn firmware(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let guest = once(&mut draft.guests, args, "firmware")?;
    let choices = [("bios", Firmware::Bios), ("uefi", Firmware::Uefi)];
    guest.plain.firmware = args.choice(&choices)?;
    args.end()
}

fn console(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let guest = once(&mut draft.guests, args, "console")?;
    let choices = [
        ("vnc", Console::Vnc),
        ("spice", Console::Spice),
        ("serial", Console::Serial),
    ];
    guest.plain.console = args.choice(&choices)?;
    args.end()
}

fn user_data(draft: &mut ParsedSections, args: &mut Args<'_>) -> Built {
    let guest = once(&mut draft.guests, args, "user-data")?;
    guest.user_data = Some(args.absolute_path("a file")?);
    args.end()
}

pub(super) static LINES: &[Keyword<GuestLineBuilder>] = language::rows! {
    "memory <size>" &["guest"], memory, "memory 4g",
        "The memory of the guest, with one of the units `m`, `g` and `t` (powers of 1024): a multiple of 1 MiB, from \
         16m to 16t. Required. A node never promises more memory to its guests than it has, see `room`. A change takes \
         effect at the next start of the guest.";
    "cpus <number>" &["guest"], cpus, "cpus 2",
        "The processors of the guest, from 1 to 255; the default is 1. A change takes effect at the next start of the \
         guest.";
    "disk <volume> [ro] [bus { virtio | sata | ide }]" &["guest"], disk, "disk mail",
        "A disk of the guest: the `volume` section of this name. Lines are disks in their order, at most 16. With \
         `ro`, the guest cannot write it. The bus is `virtio` by default, for which Linux has a driver; `sata` is for \
         systems without one: an AHCI controller, which `ide` is as well, since QEMU's machine `q35` has no older one. \
         A volume belongs to one guest, unless all of its guests have `ro`.";
    "nic <bridge> [mac <address>] [address <address>]… [model { virtio | e1000 }]" &["guest"], nic,
        "nic br0 mac 52:54:00:12:34:56 address 192.0.2.25",
        "A network card of the guest at this bridge of the host, at most 8. Where nodes have bridges of different \
         names, write a line for each node, such as `on alpha nic br0`. Without `mac`, the MAC address is derived from \
         the name of the guest and the number of the card. `address` is an IP address that the guest has there: it is \
         announced after the guest has moved, and checked by `check`; the guest itself gets it from its own \
         configuration. The model is `virtio` by default; `e1000` is for systems without a driver for it.";
    "boot { disk | network | iso <path> | kernel <path> [initrd <path>] [append <word>…] }" &["guest"],
        boot,
        "boot iso /srv/iso/debian-12.iso",
        "What the guest boots from: its first disk, which is the default; the network (PXE) by its first card; the \
         image of a CD; or a kernel with its initial RAM disk and command line. These files are read from the node on \
         which the guest starts, so each node needs them.";
    "firmware { bios | uefi }" &["guest"], firmware, "firmware uefi",
        "The firmware of the guest: `bios` (SeaBIOS), which is the default, or `uefi` (OVMF). A system is installed \
         for one of the two and does not start with the other.";
    "console { vnc | spice | serial }" &["guest"], console, "console serial",
        "The display of the guest: `vnc`, which is the default, or `spice`, each at a socket in the runtime directory \
         and in the browser; `serial` means none. Each guest has a serial terminal too.";
    "user-data <file>" &["guest"], user_data, "user-data /etc/evenkeel/mail.yaml",
        "Data for cloud-init in the guest (NoCloud): the content of this file, UTF-8 and at most 1 MiB. It is read at \
         each load and belongs to the version, so other nodes do not need the file. A change takes effect at the next \
         start of the guest.";
};
