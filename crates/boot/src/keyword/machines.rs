//! Parses the lines `image`, `machine` and `unknown` of a `boot` section: the images, the machines
//! that boot them, and the policy for machines that the file does not name.

use super::section::{
    BootSectionDraft, DiskProtocol, Disks, Lan, MachineLine, Unknown, ipv4, ipv6,
};
use super::{BootLineBuilder, codes};
use crate::config::Image;
use crate::mac::Mac;
use language::arguments::{Args, Built};
use language::keyword::Keyword;
use language::section::{NamedSection, many};
use language::{Diagnostic, Span, Spanned};
use part::power::control::PowerControl;
use part::power::line;
use std::path::PathBuf;

const MACHINES_MAX: usize = 20_000;
const IMAGES_MAX: usize = 256;
const INITRDS_MAX: usize = 8;
/// Maximum length of a kernel command line, bytes: old kernels silently truncate longer ones.
const APPEND_MAX: usize = 2_000;

pub(super) fn too_many(span: Span, told: String) -> Diagnostic {
    Diagnostic::error(&codes::TOO_MANY, span, told)
}

pub(super) fn unique(kind: &str, name: &Spanned<String>, first: Option<Span>) -> Built {
    let Some(first) = first else { return Ok(()) };
    let told = format!("duplicate {kind} '{}' in this section", name.value);
    Err(Diagnostic::error(&codes::NAME, name.span, told).name_taken_at(first))
}

fn image(draft: &mut BootSectionDraft, args: &mut Args<'_>) -> Built {
    let span = args.line().span;
    let lan = many(&mut draft.lans, args, "image")?;
    let name = Lan::KIND.object_name("image", args.required("the image's name")?)?;
    let same = |(other, ..): &&(Spanned<String>, _, _)| other.value == name.value;
    let first = lan.images.iter().find(same).map(|(other, ..)| other.span);
    unique("image", &name, first)?;
    if lan.images.len() >= IMAGES_MAX {
        return Err(too_many(span, format!("more than {IMAGES_MAX} images")));
    }
    let choices = ["kernel", "program", "disk", "aoe", "iscsi"].map(|word| (word, word));
    let (files, image) = match args.choice(&choices)? {
        "kernel" => kernel(&mut lan.disks, args)?,
        "program" => program(args)?,
        "aoe" => {
            let disk = root(&mut lan.disks, DiskProtocol::Aoe, args)?;
            (Vec::new(), Image::Aoe { disk })
        }
        "iscsi" => {
            let disk = root(&mut lan.disks, DiskProtocol::Iscsi, args)?;
            (Vec::new(), Image::Iscsi { disk })
        }
        _ => (Vec::new(), Image::Disk),
    };
    args.end()?;
    lan.images.push((name, files, image));
    Ok(())
}

fn root(disks: &mut Disks, way: DiskProtocol, args: &mut Args<'_>) -> Result<String, Diagnostic> {
    let word = args.required("the name of a disk")?;
    let disk = Spanned::new(word.text().into_owned(), word.span);
    disks.named.push((way, disk.clone()));
    Ok(disk.value)
}

fn kernel(
    disks: &mut Disks,
    args: &mut Args<'_>,
) -> Result<(Vec<Spanned<PathBuf>>, Image), Diagnostic> {
    let kernel = args.absolute_path("the file of a kernel")?;
    let mut files = vec![kernel.clone()];
    let (mut initrd, mut append, mut nbd) = (Vec::new(), String::new(), None);
    let known = ["initrd", "nbd", "append"];
    args.options(&known, &["initrd"], &codes::TWICE, |option, args| {
        if option == "nbd" {
            nbd = Some(root(disks, DiskProtocol::Nbd, args)?);
            return Ok(());
        }
        if option == "initrd" {
            let file = args.absolute_path("the file of an initial RAM disk")?;
            if initrd.len() >= INITRDS_MAX {
                let told = format!("an image has at most {INITRDS_MAX} initial RAM disks");
                return Err(too_many(file.span, told));
            }
            initrd.push(file.value.clone());
            files.push(file);
            return Ok(());
        }
        let first = args.required("the command line")?;
        let words = std::iter::once(first).chain(args.rest());
        let words: Vec<_> = words.map(|word| word.text()).collect();
        append = words.join(" ");
        if append.len() > APPEND_MAX || append.contains(char::is_control) {
            Err(args.unexpected_value(
                first,
                "the begin of more than 2,000 bytes, or has a control character",
            ))
        } else {
            Ok(())
        }
    })?;
    let kernel = kernel.value;
    Ok((
        files,
        Image::Kernel {
            kernel,
            initrd,
            append,
            nbd,
        },
    ))
}

fn program(args: &mut Args<'_>) -> Result<(Vec<Spanned<PathBuf>>, Image), Diagnostic> {
    let mut files = Vec::new();
    let (mut bios, mut uefi) = (None, None);
    args.options(&["bios", "uefi"], &[], &codes::TWICE, |option, args| {
        let file = args.absolute_path("the file of a boot loader")?;
        match option {
            "bios" => bios = Some(file.value.clone()),
            _ => uefi = Some(file.value.clone()),
        }
        files.push(file);
        Ok(())
    })?;
    if files.is_empty() {
        args.required("`bios` or `uefi`, and a file")?;
    }
    Ok((files, Image::Program { bios, uefi }))
}

fn machine(draft: &mut BootSectionDraft, args: &mut Args<'_>) -> Built {
    let span = args.line().span;
    let lan = many(&mut draft.lans, args, "machine")?;
    let name = Lan::KIND.object_name("machine", args.required("the machine's name")?)?;
    let (mut mac, mut address, mut image, mut once) = (None, None, None, false);
    let (mut address6, mut power) = (None, None);
    let known = ["mac", "address", "address6", "image", "once", "power"];
    args.options(&known, &[], &codes::TWICE, |option, args| {
        match option {
            "mac" => mac = Some(self::mac(args)?),
            "address" => address = Some(ipv4(args)?),
            "address6" => address6 = Some(ipv6(args)?),
            "image" => {
                let word = args.required("the name of an image")?;
                image = Some(Spanned::new(word.text().into_owned(), word.span));
            }
            "power" => {
                let span = args.line().span;
                power = Some(Spanned::new(self::power(args)?, span));
            }
            _ => once = true,
        }
        Ok(())
    })?;
    let missing = |what: &str| {
        let before = match power {
            Some(_) => " before `power`, whose words end the line",
            None => "",
        };
        let told = format!("machine '{}' has no {what}{before}", name.value);
        args.refused(&codes::ARGUMENTS, name.span, told)
    };
    let mac = mac.ok_or_else(|| missing("`mac`"))?;
    let image = image.ok_or_else(|| missing("`image`"))?;
    if lan.machines.len() >= MACHINES_MAX {
        return Err(too_many(span, format!("more than {MACHINES_MAX} machines")));
    }
    lan.machines.push(MachineLine {
        name,
        mac,
        address,
        address6,
        image,
        once,
        power,
    });
    Ok(())
}

fn power(args: &mut Args<'_>) -> Result<PowerControl, Diagnostic> {
    match args.choice(&["ipmi", "exec", "agent"].map(|word| (word, word)))? {
        "ipmi" => line::ipmi(args, &codes::TWICE),
        "exec" => line::program(args).map(PowerControl::Program),
        _ => line::agent(args, &codes::TWICE),
    }
}

fn mac(args: &mut Args<'_>) -> Result<Spanned<Mac>, Diagnostic> {
    let word = args.required("a MAC address")?;
    let mac: Mac = word
        .str()
        .parse()
        .map_err(|_| args.unexpected_value(word, "not a MAC address such as 52:54:00:12:34:56"))?;
    if mac.is_of_a_card() {
        Ok(Spanned::new(mac, word.span))
    } else {
        Err(args.unexpected_value(word, "zero or a multicast address, which no card has"))
    }
}

fn unknown(draft: &mut BootSectionDraft, args: &mut Args<'_>) -> Built {
    let lan = many(&mut draft.lans, args, "unknown")?;
    let span = args.line().span;
    if let Some(first) = &lan.unknown {
        return Err(args.duplicate_keyword(&codes::TWICE, first.span));
    }
    let choices = ["menu", "ignore", "image", "enlist"].map(|word| (word, word));
    let (value, span) = match args.choice(&choices)? {
        "menu" => (Unknown::Menu, span),
        "enlist" => (Unknown::Enlist, span),
        "image" => {
            let word = args.required("the name of an image")?;
            (Unknown::Image(word.text().into_owned()), word.span)
        }
        _ => (Unknown::Ignore, span),
    };
    args.end()?;
    lan.unknown = Some(Spanned::new(value, span));
    Ok(())
}

pub(super) static LINES: &[Keyword<BootLineBuilder>] = language::rows! {
    "image <name> { kernel <path> [initrd <path>]… [nbd <disk>] [append <word>…] | program [bios <path>] [uefi <path>] \
          | disk | aoe <disk> | iscsi <disk> }" &["boot"],
        image,
        "image rescue kernel /srv/boot/vmlinuz initrd /srv/boot/initrd append console=ttyS0",
        "Something that machines boot, by its name. `kernel` is a Linux kernel with its initial RAM disks, at most 8, \
         in their order, and its command line. `program` is another boot loader or program of the firmware, such as a \
         memory test or `wimboot`; a machine gets the file for its firmware. `disk` is the machine's own disk. `aoe` \
         and `iscsi` are a disk of the section, which the machine uses over the network and boots as its own, by its \
         boot sector (BIOS) or boot loader (UEFI); they need iPXE, so they do not go with `secure-boot`. With `iscsi`, \
         iPXE leaves the address and the name of the target in the iBFT, where the operating system finds them. With \
         `nbd`, the kernel gets a disk of the section as its root by NBD: `root=/dev/nbd0`, `nbdroot=` and `ip=dhcp`, \
         as the initial RAM disk of Debian's package nbd-client reads them, before the words of `append`; a word that \
         `append` has itself is left out. The files are read when a machine fetches them, so they may be replaced at \
         any time; each node that answers needs them.";
    "machine <name> mac <address> [address <address>] [address6 <address>] image <image> [once] [power { ipmi \
          <address> user <name> password-file <file> [cipher <number>] | exec <program> [<argument>…] | agent <agent> \
          [<name>=<value>…] }]" &["boot"],
        machine,
        "machine node7 mac 52:54:00:00:00:07 address 10.20.0.107 image rescue",
        "A machine, known by the MAC address of its card, with the image that it boots. With `address`, it always has \
         this IP address, which may be within the range; without it, one of the range. `address6` is the same over \
         IPv6, with `range6`. Every node knows it, so it boots and keeps its address whichever node is there. With \
         `once`, it boots the image a single time, such as an installer, and its own disk from then on: when the image \
         has been fetched as a whole, the node remembers it. A change of its image, or `evenkeel boot once`, begins \
         again. `power`, last in the line, is by what `evenkeel boot power` switches the machine on and off, on the \
         node where that command runs: its management controller by IPMI over LAN (`ipmitool -I lanplus`, with \
         `cipher` as in `fence ipmi`), a program, or an agent of the package fence-agents. The program gets `on`, \
         `off` or `status` behind its arguments, and its exit code is 0 for success or \"on\", and 2 for \"off\". A \
         password in an option of an agent becomes part of the version and of its history; most agents have \
         `password_script` for one in a file.";
    "unknown { ignore | menu | image <image> | enlist }" &["boot"], unknown, "unknown menu",
        "What becomes of machines that the file does not name. `ignore`, the default, answers them nothing. `menu` \
         gives them an address and shows the images on their screen, the disk first. `image` boots this image. \
         `enlist` gives them an address, collects what they are, which `evenkeel boot enlist` shows with a `machine` \
         line to copy, and lets them wait: as soon as the line is in the file, they boot its image. With iPXE, each of \
         them is shown what it waits for.";
};
