//! Parses the `disk` lines of `boot` sections, checks the disks of all sections, and builds their
//! configuration. Machines use these disks over the network.

use super::machines::{too_many, unique};
use super::section::{BootSectionDraft, DiskLine, DiskProtocol, Lan, Unknown};
use super::{BootLineBuilder, codes};
use crate::aoe::frame::AoeAddress;
use crate::config::{self, Image, Overlay, StorageConfig};
use configuration::outside::FileIdentity;
use configuration::{Context, Exchange, Located, VolumeFiles, VolumeUser};
use language::arguments::{Args, Built};
use language::keyword::Keyword;
use language::section::{NamedSection, many};
use language::{Diagnostic, Span, Spanned, suggest};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Maximum number of disks in a section.
const DISKS_MAX: usize = 64;
const OVERLAY_BYTES: u64 = 8 << 30;
/// Maximum of the option `limit`, bytes: 1 TiB, the maximum size of a disk.
const OVERLAY_BYTES_MAX: u64 = 1 << 40;
const TARGETS: &str = "iqn.2026-01.org.evenkeel";
const WRITTEN: &str = "written volume";
const VOLUME: &str = "volume";

fn disk(draft: &mut BootSectionDraft, args: &mut Args<'_>) -> Built {
    let span = args.line().span;
    let lan = many(&mut draft.lans, args, "disk")?;
    let name = Lan::KIND.object_name("disk", args.required("the disk's name")?)?;
    let mut same = lan.disks.all.iter();
    let first = same.find(|other| other.name.value == name.value);
    unique("disk", &name, first.map(|other| other.name.span))?;
    if lan.disks.all.len() >= DISKS_MAX {
        return Err(too_many(span, format!("more than {DISKS_MAX} disks")));
    }
    let mut storage = if args.choice(&[("volume", true), ("file", false)])? {
        let word = args.required("the name of a volume")?;
        Spanned::new(StorageConfig::Volume(word.text().into_owned()), word.span)
    } else {
        let path = args.absolute_path("a file or a block device")?;
        let storage = StorageConfig::File {
            path: path.value,
            is_read_only: false,
        };
        Spanned::new(storage, path.span)
    };
    // The option `ro` is only for files: a `volume` section determines whether a volume can be
    // written.
    let options: &[&str] = match storage.value {
        StorageConfig::Volume(_) => &["aoe", "iscsi", "nbd", "open", "overlay", "limit", "keep"],
        StorageConfig::File { .. } => &[
            "ro", "aoe", "iscsi", "nbd", "open", "overlay", "limit", "keep",
        ],
    };
    let (mut target, mut iscsi, mut nbd, mut is_open) = (None, false, false, false);
    let (mut directory, mut limit, mut is_kept) = (None, None, false);
    args.options(options, &[], &codes::TWICE, |option, args| {
        match (option, &mut storage.value) {
            ("ro", StorageConfig::File { is_read_only, .. }) => *is_read_only = true,
            ("iscsi", _) => iscsi = true,
            ("nbd", _) => nbd = true,
            ("open", _) => is_open = true,
            ("keep", _) => is_kept = true,
            ("overlay", _) => directory = Some(args.absolute_path("a directory")?.value),
            ("limit", _) => {
                let span = args.line().span;
                limit = Some((args.size_at_most("a size", OVERLAY_BYTES_MAX)?, span));
            }
            _ => target = Some(self::target(args)?),
        }
        Ok(())
    })?;
    if target.is_none() && !iscsi && !nbd {
        let told = format!("disk '{}' has no `aoe`, `iscsi` or `nbd`", name.value);
        return Err(args.refused(&codes::ARGUMENTS, name.span, told));
    }
    let overlay = overlay(&name, directory, limit, is_kept, is_open)?;
    let disk = DiskLine {
        name,
        target,
        storage,
        iscsi,
        nbd,
        is_open,
        overlay,
    };
    alone(lan, &disk)?;
    lan.disks.all.push(disk);
    Ok(())
}

fn overlay(
    name: &Spanned<String>,
    directory: Option<PathBuf>,
    limit: Option<(u64, Span)>,
    is_kept: bool,
    is_open: bool,
) -> Result<Option<Overlay>, Diagnostic> {
    let wrong = |span, told: &str| Diagnostic::error(&codes::OVERLAY, span, told);
    match (directory, limit) {
        (None, _) if is_kept => Err(wrong(name.span, "`keep` is that of an `overlay`")),
        (None, None) => Ok(None),
        (None, Some((_, span))) => Err(wrong(span, "`limit` is that of an `overlay`")),
        (Some(_), _) if is_open => Err(wrong(
            name.span,
            "with `open` it is not known which machine an overlay is for",
        )),
        (Some(directory), limit) => Ok(Some(Overlay {
            directory,
            bytes_max: limit.map_or(OVERLAY_BYTES, |(limit, _)| limit),
            is_kept,
        })),
    }
}

fn alone(lan: &Lan, disk: &DiskLine) -> Built {
    let mut all = lan.disks.all.iter();
    let number = |disk: &DiskLine| disk.target.as_ref().map(|target| target.value);
    if let Some(target) = &disk.target
        && let Some(other) = all.find(|other| number(other) == Some(target.value))
    {
        let told = format!("a second disk has the number {}", target.value);
        let first = other
            .target
            .as_ref()
            .map_or(other.name.span, |first| first.span);
        let code = &codes::TARGET_TWICE;
        return Err(Diagnostic::error(code, target.span, told).duplicate_of(first));
    }
    let name = &disk.name;
    let is_alike = |other: &&DiskLine| other.name.value.eq_ignore_ascii_case(&name.value);
    if disk.iscsi
        && let Some(other) = lan.disks.all.iter().filter(|one| one.iscsi).find(is_alike)
    {
        let told = "names of targets have no capital letters, so these two are the same";
        let code = &codes::TARGET_TWICE;
        return Err(Diagnostic::error(code, name.span, told).duplicate_of(other.name.span));
    }
    Ok(())
}

fn target(args: &mut Args<'_>) -> Result<Spanned<AoeAddress>, Diagnostic> {
    let word = args.required("a shelf and a slot")?;
    let text = word.str();
    let read = |text: &str| {
        let (shelf, slot) = text.split_once('.')?;
        let is_number = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
        if !is_number(shelf) || !is_number(slot) {
            return None;
        }
        let target = AoeAddress {
            shelf: shelf.parse().ok()?,
            slot: slot.parse().ok()?,
        };
        target.is_of_a_disk().then_some(target)
    };
    match read(text) {
        Some(target) => Ok(Spanned::new(target, word.span)),
        None => Err(args.unexpected_value(
            word,
            "not a shelf (0 to 65534) and a slot (0 to 254), such as 0.1",
        )),
    }
}

/// Requires that the volumes of a section's disks exist once all sections are read, and exports
/// network boot as a user of each volume.
pub(super) fn refer(exchange: &mut Exchange, lan: &Lan) {
    for disk in &lan.disks.all {
        if let StorageConfig::Volume(volume) = &disk.storage.value {
            exchange.require_object(VOLUME, volume, disk.storage.span);
            let user = VolumeUser {
                volume: volume.clone(),
                part: "boot".to_owned(),
                // All machines together are one user of the volume.
                user: "network boot".to_owned(),
                is_writer: is_written(exchange, disk),
            };
            exchange.export(user.export());
        }
    }
}

/// Returns the name of a disk's iSCSI target, in small letters and the same on every node (RFC
/// 7143, 4.2.7.4).
fn target_name(section: &str, disk: &str) -> String {
    format!("{TARGETS}:{section}.{disk}").to_ascii_lowercase()
}

/// Reports disks on a volume that a guest writes: machines and the guest would destroy each other's
/// data.
pub(super) fn written(exchange: &Exchange, lan: &Lan) -> Vec<Diagnostic> {
    let told = lan.disks.all.iter().filter_map(|disk| {
        let StorageConfig::Volume(volume) = &disk.storage.value else {
            return None;
        };
        let mut all = exchange.exports_of_kind(WRITTEN);
        let guest: String = all.find(|one| one.name == *volume)?.value()?;
        let told = format!("volume '{volume}' is a disk that guest '{guest}' writes");
        let told = Diagnostic::error(&codes::WRITTEN, disk.storage.span, told);
        Some(
            told.help("give the machines a volume of their own, or write `ro` in the guest's line"),
        )
    });
    told.collect()
}

/// Reports disks and images whose file stores a volume: only the volume role may use such a file.
pub(super) fn of_volumes(context: &Context, stored: &VolumeFiles, lan: &Lan) -> Vec<Diagnostic> {
    let disks = lan
        .disks
        .all
        .iter()
        .filter_map(|disk| match &disk.storage.value {
            StorageConfig::File { path, .. } => Some((path, disk.storage.span)),
            StorageConfig::Volume(_) => None,
        });
    let images = lan.images.iter().flat_map(|(_, files, _)| files);
    let files = disks.chain(images.map(|file| (&file.value, file.span)));
    let told = files.filter_map(|(path, span)| {
        let volume = stored.volume_of(context, path)?;
        let told = format!("{} stores the volume '{volume}'", path.display());
        let told = Diagnostic::error(&codes::OF_A_VOLUME, span, told)
            .label("only the volume role uses this file")
            .help(format!("for a disk, write `volume {volume}` instead"));
        Some(told.with_earlier_behaviour("the first user that opens the file has it"))
    });
    told.collect()
}

fn is_written(exchange: &Exchange, disk: &DiskLine) -> bool {
    let is_read_only = match &disk.storage.value {
        StorageConfig::File { is_read_only, .. } => *is_read_only,
        StorageConfig::Volume(volume) => exchange
            .exports_of_kind(VOLUME)
            .filter(|one| one.name == *volume)
            .filter_map(|one| one.value::<Located>())
            .any(|located| located.read_only),
    };
    disk.overlay.is_none() && !is_read_only
}

/// Returns each disk whose volume or file an earlier disk also uses, together with the earlier
/// disk, if at least one of the two is written. Written storage may have only one disk.
fn second_ones<'l>(
    context: &Context,
    exchange: &Exchange,
    lans: &'l [Lan],
) -> Vec<(&'l DiskLine, &'l DiskLine)> {
    let identity = |disk: &DiskLine| match &disk.storage.value {
        StorageConfig::Volume(_) => None,
        StorageConfig::File { path, .. } => Some(configuration::file_identity(context, path)),
    };
    let is_same = |one: &(&DiskLine, Option<FileIdentity>),
                   other: &(&DiskLine, Option<FileIdentity>)| {
        match (&one.1, &other.1) {
            (Some(one), Some(other)) => one.is_same(other),
            (None, None) => one.0.storage.value == other.0.storage.value,
            _ => false,
        }
    };
    let disks = lans.iter().flat_map(|lan| &lan.disks.all);
    let all: Vec<_> = disks.map(|disk| (disk, identity(disk))).collect();
    let second = all.iter().enumerate().filter_map(|(at, one)| {
        let (disk, _) = one;
        let first = all[..at].iter().find(|other| {
            is_same(other, one) && (is_written(exchange, other.0) || is_written(exchange, disk))
        });
        Some((*disk, first?.0))
    });
    second.collect()
}

pub(super) fn of_one_storage(
    context: &Context,
    exchange: &Exchange,
    lans: &[Lan],
) -> Vec<Diagnostic> {
    let told = |(disk, other): (&DiskLine, &DiskLine)| {
        let told = format!(
            "disks '{}' and '{}' are the same storage, and at least one of them is written",
            other.name.value, disk.name.value
        );
        Diagnostic::error(&codes::STORAGE_TWICE, disk.storage.span, told)
            .label("a second disk on it")
            .with_label(other.storage.span, "the first is here")
            .help("one `disk` line may have `aoe`, `iscsi` and `nbd`; machines that share its content need `ro` or `overlay`")
            .with_earlier_behaviour("the second disk is not served, and machines with an image of it do not boot")
    };
    second_ones(context, exchange, lans)
        .into_iter()
        .map(told)
        .collect()
}

/// Removes each disk whose volume or file an earlier disk also uses, if at least one of the two is
/// written. Only a version that was accepted earlier can have such disks.
pub(super) fn only_first(context: &Context, exchange: &Exchange, lans: &mut [Lan]) {
    let second = second_ones(context, exchange, lans);
    let second: Vec<Span> = second.iter().map(|(disk, _)| disk.name.span).collect();
    for lan in lans {
        lan.disks
            .all
            .retain(|disk| !second.contains(&disk.name.span));
    }
}

/// Warns about disks without `open` that machines write, and that several machines or any unknown
/// machine can boot.
pub(super) fn of_several(exchange: &Exchange, lan: &Lan) -> Vec<Diagnostic> {
    let boots = |image: &str, disk: &DiskLine| {
        let mut images = lan.images.iter();
        images.any(|(name, _, what)| {
            name.value == image && what.disk() == Some(disk.name.value.as_str())
        })
    };
    let written = lan
        .disks
        .all
        .iter()
        .filter(|disk| !disk.is_open && is_written(exchange, disk));
    let told = written.filter_map(|disk| {
        let machines = lan.machines.iter();
        let named: Vec<&str> = machines
            .filter(|machine| boots(&machine.image.value, disk))
            .map(|machine| machine.name.value.as_str())
            .collect();
        let of_unknown = match lan.unknown.as_ref().map(|unknown| &unknown.value) {
            Some(Unknown::Image(image)) => boots(image, disk),
            _ => false,
        };
        let who = match (&named[..], of_unknown) {
            (_, true) => "any machine that the file does not name".to_owned(),
            ([_, _, ..], false) => format!("machines {}", named.join(", ")),
            _ => return None,
        };
        let name = &disk.name;
        let told = format!("disk '{}' is written, and {who} can boot it", name.value);
        let told = Diagnostic::warning(&codes::SEVERAL_MACHINES, name.span, told);
        let label = match disk.target {
            Some(_) => "by AoE, nothing keeps two of them apart",
            None => "one machine has it at a time, and the others are refused",
        };
        Some(told.label(label).help(
            "give each machine a disk of its own, or write `overlay DIRECTORY`; `open` lets several write it at once, which \
             needs a file system made for that",
        ))
    });
    told.collect()
}

pub(super) fn build(lan: &Lan) -> BTreeMap<String, config::DiskConfig> {
    let built = |disk: &DiskLine| {
        let built = config::DiskConfig {
            target: disk.target.as_ref().map(|target| target.value),
            storage: disk.storage.value.clone(),
            iscsi: disk
                .iscsi
                .then(|| target_name(&lan.name.value, &disk.name.value)),
            nbd: disk.nbd,
            is_open: disk.is_open,
            overlay: disk.overlay.clone(),
        };
        (disk.name.value.clone(), built)
    };
    lan.disks.all.iter().map(built).collect()
}

pub(super) fn wrong(lan: &Lan) -> Vec<Diagnostic> {
    let mut wrong = Vec::new();
    let lines = lan.given.iter().filter(|(keyword, _)| *keyword == "disk");
    // Checks the disks that images name only if no `disk` line was refused: a refused line has its
    // own error, and its name is missing in the list.
    if lines.count() == lan.disks.all.len() {
        wrong.extend(
            lan.disks
                .named
                .iter()
                .filter_map(|named| unusable(lan, named)),
        );
    }
    wrong.extend(unconfined(lan));
    let loaded = lan
        .disks
        .named
        .iter()
        .find(|(way, _)| *way != DiskProtocol::Nbd);
    if let (Some(secure), Some((_, named))) = (lan.secure_boot, loaded) {
        let told = "an image is a disk over the network, which GRUB cannot boot";
        let told = Diagnostic::error(&codes::ONLY_IPXE, named.span, told);
        wrong.push(told.with_label(secure, "UEFI machines get GRUB by this line"));
    }
    let is_disk = |name: &str| {
        let mut images = lan.images.iter();
        images.any(|(own, _, image)| {
            own.value == name && matches!(image, Image::Aoe { .. } | Image::Iscsi { .. })
        })
    };
    let once = lan.machines.iter().filter(|machine| machine.once);
    wrong.extend(
        once.filter(|machine| is_disk(&machine.image.value))
            .map(|machine| {
                let told = "a disk over the network cannot be booted `once`";
                let told = Diagnostic::error(&codes::ONLY_IPXE, machine.image.span, told);
                told.label("it is never fetched as a whole")
            }),
    );
    wrong
}

fn unusable(lan: &Lan, (way, named): &(DiskProtocol, Spanned<String>)) -> Option<Diagnostic> {
    let names = || lan.disks.all.iter().map(|disk| disk.name.value.as_str());
    let mut all = lan.disks.all.iter();
    let Some(disk) = all.find(|disk| disk.name.value == named.value) else {
        let told = format!("there is no disk '{}' in this section", named.value);
        let told = Diagnostic::error(&codes::NO_DISK, named.span, told);
        let told = told.label("no `disk` line has this name");
        return Some(told.did_you_mean(named.span, suggest::nearest(&named.value, names())));
    };
    let (word, has) = match way {
        DiskProtocol::Aoe => ("aoe SHELF.SLOT", disk.target.is_some()),
        DiskProtocol::Iscsi => ("iscsi", disk.iscsi),
        DiskProtocol::Nbd => ("nbd", disk.nbd),
    };
    (!has).then(|| {
        let told = format!("disk '{}' has no `{word}`", named.value);
        let told = Diagnostic::error(&codes::NO_WAY, named.span, told);
        told.with_label(disk.name.span, format!("add `{word}` to this line"))
    })
}

/// Reports disks with kept overlays. Called for a cluster of several nodes, where a machine that
/// boots from another node would not find its changes.
pub(super) fn kept_of_many(lan: &Lan) -> Vec<Diagnostic> {
    let is_kept = |disk: &&DiskLine| disk.overlay.as_ref().is_some_and(|one| one.is_kept);
    let told = lan.disks.all.iter().filter(is_kept).map(|disk| {
        let told = "overlays that are kept are on one node, and machines boot from each node of the cluster";
        Diagnostic::error(&codes::OVERLAY, disk.name.span, told)
            .help("give each machine a volume: `evenkeel volume clone`, and a `disk` line for it")
    });
    told.collect()
}

fn unconfined(lan: &Lan) -> Vec<Diagnostic> {
    let Some(proxy) = lan.proxy else {
        return Vec::new();
    };
    let confined = |disk: &&DiskLine| (disk.iscsi || disk.nbd) && !disk.is_open;
    let told = lan.disks.all.iter().filter(confined).map(|disk| {
        let told = "the addresses of machines are not known here, and this disk is only for them";
        let told = Diagnostic::error(&codes::WITH_PROXY, disk.name.span, told);
        told.with_label(proxy, "another server gives the addresses")
            .help("add `open`: every machine of the network can use the disk then")
    });
    told.collect()
}

pub(super) fn not_here(lan: &Lan, is_missing: impl Fn(&Path) -> bool) -> Vec<Diagnostic> {
    let missing = lan
        .disks
        .all
        .iter()
        .filter_map(|disk| match &disk.storage.value {
            StorageConfig::File { path, .. } if is_missing(path) => Some((path, disk.storage.span)),
            _ => None,
        });
    let told = missing.map(|(path, span)| {
        let told = format!("there is no file '{}'", path.display());
        let told = Diagnostic::warning(&codes::NO_FILE, span, told);
        told.label("this node does not serve the disk")
    });
    told.collect()
}

pub(super) static LINES: &[Keyword<BootLineBuilder>] = language::rows! {
    "disk <name> { volume <volume> | file <path> [ro] } [aoe <shelf>.<slot>] [iscsi] [nbd] [open] [overlay <directory> \
          [limit <size>] [keep]]" &["boot"],
        disk,
        "disk system volume node7-system iscsi",
        "A disk that machines of the network use, at most 64. `volume` is a `volume` section: a node with a copy of \
         the volume serves the disk. `file` is a file or a block device of this node; with `ro` machines only read it. \
         On a cluster, every node with the file serves it, so use `file` there only with `ro` and the same content, or \
         write `on NODE disk …`. By `aoe` (ATA over Ethernet) it has this shelf (0 to 65534) and slot (0 to 254); AoE \
         has no login, so every machine of the Ethernet network can use the disk. By `iscsi` (RFC 7143) it is a target \
         of its own, `iqn.2026-01.org.evenkeel:NETWORK.DISK` in small letters, with logical unit 0; digests, \
         authentication (CHAP) and several connections of a session are not supported. By `nbd` it is an export with \
         its name, without TLS. `iscsi` and `nbd` are for the addresses of machines whose image names the disk, and \
         with `open` for every address that reaches the node at the interface. A disk that is written has one machine \
         at a time, unless it is `open`; a file has one disk, whichever paths lead to it. With `overlay`, the disk is \
         only read, and each machine that boots it has a copy of its own of what it changes, in this directory of the \
         node, up to `limit` bytes (8g by default, at most 1t) and for at most 256 machines. The copy is dropped when \
         the machine boots again and when the node restarts, so it suits workers that keep nothing. With `keep`, it \
         stays until `evenkeel boot drop`; that is for one node, not for a cluster. The disk has at most 1 TiB, and \
         must not change while machines use it. A write is acknowledged when the volume or the kernel has it; it is on \
         stable storage after a flush.";
};

#[cfg(test)]
mod tests {
    use crate::assignment::{SingleBootProgress, assigned};
    use crate::config::{BootConfig, DiskConfig, Image, StorageConfig};
    use crate::keyword::PART;
    use crate::mac::Mac;
    use crate::script::{self, FetchServers};
    use configuration::outside::Outside;
    use configuration::{
        ConfigurationPart, Context, Exchange, Export, LoadOptions, ObjectKind, PartDraft,
        Recording, SectionKeywords, Sections,
    };
    use language::source::Text;
    use language::{ConfigLine, Environment, Facts, render};
    use std::any::Any;

    language::codes! {
        NO_VOLUME = "E0001", "no volume of this name", "As the part of volumes has it.";
    }

    static VOLUMES: ConfigurationPart = ConfigurationPart {
        name: "volumes",
        sections: Sections {
            names: &[("volume", "A volume.")],
            ..Sections::NONE
        },
        documented: Vec::new,
        codes: || CODES.to_vec(),
        exports: &[ObjectKind {
            name: super::VOLUME,
            unknown: &NO_VOLUME,
            label: "no section of this name",
        }],
        begin: |_| Box::new(Heads::default()),
        run: None,
    };

    #[derive(Debug, Default)]
    struct Heads(Vec<String>);

    impl PartDraft for Heads {
        fn section(&mut self, _: &mut Context, head: &ConfigLine) {
            self.0.push(head.words[1].text().into_owned());
        }

        fn current_section(&self) -> Option<&'static str> {
            Some("volume")
        }

        fn line(&mut self, _: &mut Context, _: &ConfigLine) {}

        fn finish(self: Box<Self>, _: &mut Context, exchange: &mut Exchange) -> Box<dyn Any> {
            for name in self.0 {
                exchange.export(Export::new(super::VOLUME, &name, &()));
                if name == "mail" {
                    exchange.export(Export::new(super::WRITTEN, &name, &"web".to_owned()));
                }
            }
            Box::new(())
        }
    }

    fn load(lines: &str) -> (BootConfig, String) {
        let text = format!(
            "volume system\nvolume mail\nboot lan\n    interface br0\n    range 10.20.0.100 10.20.0.199\n{lines}"
        );
        let parts: [&'static ConfigurationPart; 2] = [&VOLUMES, &PART];
        let files = vec![("site.cfg".to_owned(), Text::new(text.into()))];
        let (environment, facts) = (Environment::empty(), Facts::new("2.6.12"));
        let words = SectionKeywords::from_parts(parts.iter().map(|part| &part.sections));
        let options = LoadOptions::default();
        let inputs = Recording::new(files, environment, facts, options, words);
        let mut loaded = configuration::load(&parts, inputs, Outside::default());
        let told = render::concise(&loaded.sources, &loaded.diagnostics, true);
        (loaded.take_part(&PART), told)
    }

    const LINES: &str = "    disk system volume system aoe 0.1
    disk tools file /srv/tools.img ro aoe 65534.254
    disk secret file /srv/secret.img iscsi nbd
    image system aoe system
    machine node7 mac 52:54:00:00:00:07 image system
";

    #[test]
    fn disks_are_volumes_and_files_with_a_number() {
        let (boots, told) = load(LINES);
        assert!(!told.contains("error["), "{told}");
        let lan = &boots.lans["lan"];
        let shown = |disk: &DiskConfig| format!("{} {:?}", disk.target.unwrap(), disk.storage);
        let volume = StorageConfig::Volume("system".to_owned());
        assert_eq!(shown(&lan.disks["system"]), format!("e0.1 {volume:?}"));
        let file = StorageConfig::File {
            path: "/srv/tools.img".into(),
            is_read_only: true,
        };
        assert_eq!(shown(&lan.disks["tools"]), format!("e65534.254 {file:?}"));
        let disk = "system".to_owned();
        assert_eq!(lan.images["system"], Image::Aoe { disk });
    }

    #[test]
    fn ipxe_boots_a_disk_by_its_number_and_grub_says_that_it_cannot() {
        let (boots, _) = load(LINES);
        let lan = &boots.lans["lan"];
        let mac = Mac([0x52, 0x54, 0, 0, 0, 7]);
        let servers = FetchServers {
            addresses: vec![[10, 20, 0, 2].into()],
            port: 7447,
            disks: None,
        };
        let assigned = assigned(lan, &SingleBootProgress::default(), mac);
        let script = script::ipxe(lan, "lan", assigned, mac, &servers);
        let script = String::from_utf8(script).unwrap();
        assert!(
            script.contains("\nsanboot aoe:e0.1 || goto failed\n"),
            "{script}"
        );
        let script = script::grub(lan, "lan", assigned, mac, &servers);
        let script = String::from_utf8(script).unwrap();
        assert!(script.contains("which GRUB cannot boot"), "{script}");
    }

    #[test]
    fn written_disks_with_two_users_are_reported() {
        for (line, expected) in [
            (
                "disk a volume system iscsi",
                "11:19: error[E1085]: disks 'system' and 'a' are the same storage",
            ),
            (
                "disk a file /srv/./secret.img ro nbd",
                "error[E1085]: disks 'secret' and 'a' are the same storage",
            ),
            (
                "machine node8 mac 52:54:00:00:00:08 image system",
                "warning[W1085]: disk 'system' is written, and machines node7, node8 can boot it",
            ),
            (
                "unknown image system",
                "warning[W1085]: disk 'system' is written, and any machine that the file does not name",
            ),
        ] {
            let (_, told) = load(&format!("{LINES}    {line}\n"));
            assert!(told.contains(expected), "{line}: {told}");
        }
    }

    #[test]
    fn disks_that_are_read_or_open_may_be_shared() {
        for lines in [
            "disk a file /srv/tools.img ro nbd",
            "disk a file /srv/secret.iso iscsi open\n    image a iscsi a\n    unknown image a",
            "disk a file /srv/a.img iscsi overlay /srv\n    disk b file /srv/a.img nbd overlay /srv/b\n    image a iscsi a\n    \
             unknown image a",
        ] {
            let (_, told) = load(&format!("{LINES}    {lines}\n"));
            assert!(!told.contains("1085"), "{lines}: {told}");
        }
    }

    #[test]
    fn wrong_disks_are_told_at_their_word() {
        for (line, expected) in [
            (
                "disk a volume sytem aoe 1.1",
                "E0001]: there is no volume 'sytem'",
            ),
            (
                "disk a volume system aoe 0.1",
                "11:30: error[E0969]: a second disk",
            ),
            (
                "disk system file /x aoe 1.1",
                "E0953]: duplicate disk 'system'",
            ),
            (
                "disk a file /x ro",
                "E0951]: disk 'a' has no `aoe`, `iscsi` or `nbd`",
            ),
            (
                "disk a volume mail iscsi",
                "error[E0974]: volume 'mail' is a disk that guest 'web' writes",
            ),
            (
                "disk a file /x iscsi limit 1g",
                "error[E0973]: `limit` is that of an `overlay`",
            ),
            (
                "disk a file /x iscsi keep",
                "error[E0973]: `keep` is that of an `overlay`",
            ),
            (
                "disk a file /x iscsi open overlay /srv",
                "error[E0973]: with `open` it is not known",
            ),
            (
                "image a iscsi tools",
                "error[E0972]: disk 'tools' has no `iscsi`",
            ),
            (
                "image a kernel /k nbd tools append x",
                "error[E0972]: disk 'tools' has no `nbd`",
            ),
            (
                "image a aoe secret",
                "error[E0972]: disk 'secret' has no `aoe",
            ),
            (
                "disk Secret file /y iscsi",
                "error[E0969]: names of targets have no capital letters",
            ),
            ("disk a file x aoe 1.1", "E0952]: "),
            ("disk a volume system ro aoe 1.1", "error["),
            ("disk a file /x aoe 65535.1", "not a shelf"),
            ("disk a file /x aoe 1.255", "not a shelf"),
            ("disk a file /x aoe +1.2", "not a shelf"),
            ("disk a file /x aoe e1.2", "not a shelf"),
            (
                "image a aoe sytem",
                "11:17: error[E0970]: there is no disk 'sytem'",
            ),
            ("secure-boot yes", "error[E0971]: an image is a disk over"),
            (
                "machine node8 mac 52:54:00:00:00:08 image system once",
                "error[E0971]: a disk over the network cannot be booted `once`",
            ),
        ] {
            let (_, told) = load(&format!("{LINES}    {line}\n"));
            assert!(told.contains(expected), "{line}: {told}");
        }
    }
}
