//! Implements `evenkeel guest import FILE NAME`, which imports an image of another hypervisor into
//! the volumes of a guest. `qemu-nbd` reads the format, and the data is copied as by `evenkeel
//! volume import`.

use super::place::{ImageDestination, find_place};
use super::server::{Image, Server, file};
use ::image::format::{Format, HEAD_BYTES, check_name, detect_image, flat_extents, references};
use ::image::ova;
use ::image::section::{GuestDraft, NetworkCard};
use aws_lc_rs::digest;
use clap::ArgMatches;
use command::build::run::need;
use command::build::workshop::Workshop;
use command::word;
use guest::config::Bus;
use rustix::fs::{Mode, OFlags};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write, stderr};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use volume::cli::progress::amount;
use volume::cli::transfer::{Unfilled, fill};
use volume::overwrite::OverwriteKind;

const DIGEST_BYTES: usize = 1 << 20;
/// Limit of a chain of backing files.
const CHAIN_MAX: usize = 8;

struct Disk {
    words: String,
    image: Image,
}

pub fn main(matches: &ArgMatches) -> ExitCode {
    match import(matches) {
        Ok(text) => {
            let _ = write!(stderr(), "{text}");
            ExitCode::SUCCESS
        }
        Err(Unfilled::Before(error)) => error.exit(". Nothing was written"),
        Err(Unfilled::During(error)) => {
            error.exit(". The volumes are incomplete: import the image again with `--yes`")
        }
    }
}

fn import(matches: &ArgMatches) -> Result<String, Unfilled> {
    need(&[("qemu-nbd", "qemu-utils")])?;
    let from = matches
        .get_one::<PathBuf>("IMAGE")
        .cloned()
        .unwrap_or_default();
    let (disks, mut draft) = open(&from, matches.get_flag("follow"), matches.get_flag("raw"))?;
    draft.name = word(matches, "NAME");
    let shop = Workshop::new(None)?;
    let mut servers = Vec::new();
    for (index, disk) in disks.iter().enumerate() {
        let server = Server::start(&shop, &format!("image-{index}"), &disk.image);
        let server = server.map_err(|words| format!("{}: {words}", from.display()))?;
        let source = server.connect()?;
        let number = if index == 0 {
            String::new()
        } else {
            format!("-{}", index + 1)
        };
        draft
            .disks
            .push((format!("{}{number}", draft.name), source.size()));
        servers.push((server, source));
    }
    let sizes: Vec<u64> = draft.disks.iter().map(|(_, size)| *size).collect();
    let place = find_place(matches, &mut draft)?;
    let mut plan = plan(&disks, &sizes, &place);
    if matches.get_flag("plan") {
        let rest = if place.before.is_empty() {
            &place.after
        } else {
            &place.before
        };
        return Ok(format!("{plan}\n{rest}"));
    }
    place.is_there()?;
    // Checks that all disks fit before the first of them is written.
    for ((volume, has), needs) in place.volumes.iter().zip(&place.sizes).zip(&sizes) {
        fits(volume, *has, *needs)?;
    }
    // Ignores an error: without a reader the import continues.
    let _ = write!(stderr(), "{plan}");
    plan.clear();
    let yes = matches.get_flag("yes");
    for ((volume, (_server, source)), disk) in place.volumes.iter().zip(servers).zip(&disks) {
        let filled = fill(
            matches,
            volume,
            OverwriteKind::GuestImport,
            &disk.words,
            source,
            yes,
        );
        let summary = filled.map_err(|error| error.behind(!plan.is_empty()))?;
        plan += &format!("imported {} into volume {volume}: {summary}\n", disk.words);
    }
    Ok(plan + &place.after)
}

pub(super) fn fits(volume: &str, has: u64, needs: u64) -> Result<(), String> {
    if needs <= has {
        Ok(())
    } else {
        Err(format!(
            "the image has {} ({needs} bytes) and volume '{volume}' {} ({has} bytes): write a larger `size` into its section \
             and reload",
            amount(needs),
            amount(has)
        ))
    }
}

fn plan(disks: &[Disk], sizes: &[u64], place: &ImageDestination) -> String {
    let all = disks.iter().zip(sizes).zip(&place.volumes);
    let line = |((disk, size), volume): ((&Disk, &u64), &String)| {
        format!("{}, {}: into volume {volume}\n", disk.words, amount(*size))
    };
    all.map(line).collect()
}

/// Opens an image and returns its disks and a draft of the guest's section. Refuses unsupported
/// formats and truncated images.
fn open(from: &Path, follows: bool, is_raw: bool) -> Result<(Vec<Disk>, GuestDraft), String> {
    let at = |error: std::io::Error| format!("{}: {error}", from.display());
    // Opens without blocking, because a pipe may have no writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(from, flags, Mode::empty());
    let mut archive = opened.map(File::from).map_err(|errno| at(errno.into()))?;
    let metadata = archive.metadata().map_err(at)?;
    if !metadata.is_file() && !metadata.file_type().is_block_device() {
        return Err(format!(
            "{}: neither a file nor a block device",
            from.display()
        ));
    }
    let draft = GuestDraft {
        memory_mib: 2048,
        cpus: 2,
        nics: vec![NetworkCard::default()],
        ..GuestDraft::default()
    };
    // Seeks to the end, whose position is also the size of a block device.
    let size = archive.seek(SeekFrom::End(0)).map_err(at)?;
    let head = head(&mut archive, 0).map_err(at)?;
    if head.is_empty() {
        return Err(format!("{} is empty (0 bytes)", from.display()));
    }
    let format = if is_raw {
        Format::Raw
    } else {
        let format = detect_image(&head, &tail(&mut archive, 0, size).map_err(at)?);
        check_name(&from.to_string_lossy(), format)
            .map_err(|error| format!("{}: {error}", from.display()))?;
        format
    };
    match format {
        Format::Unsupported(what) => Err(format!(
            "{}: {what}, which is not supported: convert it first (`qemu-img convert -O qcow2`), or unpack it",
            from.display()
        )),
        Format::Compressed(program) => Err(format!(
            "{0} is compressed by {program}: `{program} -dk {0}` first",
            from.display()
        )),
        Format::Ova => of_archive(from, &mut archive, size),
        format => {
            let mut files = vec![from.to_owned()];
            chain(from, format, &head, follows, &mut files)?;
            whole(format, &archive, 0, size, from)?;
            let words = format!("{} ({format})", from.display());
            let node = node(format, file(from)?, follows);
            let image = Image {
                node,
                files,
                writes: false,
            };
            Ok((vec![Disk { words, image }], draft))
        }
    }
}

pub(super) fn whole(
    format: Format,
    file: &File,
    offset: u64,
    length: u64,
    path: &Path,
) -> Result<(), String> {
    let checked = ::image::whole::check(format, file, offset, length);
    checked.map_err(|error| format!("{}: {error}", path.display()))
}

pub(super) fn head(file: &mut File, at: u64) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(at))?;
    Read::by_ref(file)
        .take(HEAD_BYTES as u64)
        .read_to_end(&mut head)?;
    Ok(head)
}

pub(super) fn tail(file: &mut File, offset: u64, length: u64) -> std::io::Result<Vec<u8>> {
    let count = length.min(512);
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(offset.saturating_add(length - count)))?;
    Read::by_ref(file).take(count).read_to_end(&mut tail)?;
    Ok(tail)
}

/// Returns QEMU's block node for an image in a file. Without `follows` the node of a format with
/// backing files has none, whatever the header of the image contains.
fn node(format: Format, file: Value, follows: bool) -> Value {
    match format {
        Format::Driver(driver @ ("qcow2" | "vmdk")) if !follows => {
            json!({"driver": driver, "file": file, "backing": null})
        }
        Format::Driver(driver) => json!({"driver": driver, "file": file}),
        _ => json!({"driver": "raw", "file": file}),
    }
}

fn plain(words: &str) -> String {
    words.replace(char::is_control, "?")
}

/// Refuses an image that names other files, or with `follows` adds the existing ones and those that
/// these name to `files`.
fn chain(
    from: &Path,
    format: Format,
    head: &[u8],
    follows: bool,
    files: &mut Vec<PathBuf>,
) -> Result<(), String> {
    let names = references(format, head).map_err(|error| format!("{}: {error}", from.display()))?;
    if names.is_empty() {
        return Ok(());
    }
    if !follows {
        return Err(format!(
            "{} ({format}) names other files: {}. The author of the image decides which files of this host \
             are read: if you trust the image, `--follow` reads them as well",
            from.display(),
            plain(&names.join(", "))
        ));
    }
    let directory = from.parent().unwrap_or(Path::new("/"));
    for (name, needs) in flat_extents(head) {
        let path = directory.join(&name);
        let has = std::fs::metadata(&path);
        let has = has
            .map_err(|error| format!("{}: {error}", path.display()))?
            .len();
        if has < needs {
            return Err(format!(
                "{}: it is truncated: it has {has} bytes, and {} says {needs}. Download it again",
                path.display(),
                from.display()
            ));
        }
    }
    for name in names {
        let path = directory.join(&name);
        // Skips names that are no files, such as the description of a parent image.
        if !path.is_file() || files.contains(&path) {
            continue;
        }
        if files.len() > CHAIN_MAX {
            return Err(format!(
                "{}: its chain has more than {CHAIN_MAX} files",
                from.display()
            ));
        }
        let at = |error: std::io::Error| format!("{}: {error}", path.display());
        let head = self::head(&mut File::open(&path).map_err(at)?, 0).map_err(at)?;
        files.push(path.clone());
        let mut opened = File::open(&path).map_err(at)?;
        let size = opened.metadata().map_err(at)?.len();
        let of_file = detect_image(&head, &tail(&mut opened, 0, size).map_err(at)?);
        // Checks no extent of a VMware disk without a header, whose length is in the descriptor.
        let is_extent = format == Format::Driver("vmdk") && of_file == Format::Raw;
        if !is_extent {
            whole(of_file, &opened, 0, size, &path)?;
        }
        chain(&path, of_file, &head, true, files)?;
    }
    Ok(())
}

fn verified<'m>(
    from: &Path,
    archive: &mut File,
    manifest: &ova::ArchiveMember,
    used: impl Iterator<Item = &'m ova::ArchiveMember>,
) -> Result<(), String> {
    let at = |error: std::io::Error| format!("{}: {error}", from.display());
    let mut text = String::new();
    archive.seek(SeekFrom::Start(manifest.offset)).map_err(at)?;
    Read::by_ref(archive)
        .take(manifest.size.min(ova::OVF_BYTES_MAX))
        .read_to_string(&mut text)
        .map_err(at)?;
    let checksums =
        ova::checksums(&text).map_err(|error| format!("{}: {error}", from.display()))?;
    for member in used {
        let of_member = checksums.iter().filter(|one| one.name == member.name);
        let of_member: Vec<&ova::Checksum> = of_member.collect();
        if of_member.is_empty() {
            let error = ova::OvaError::NotInManifest(plain(&member.name));
            return Err(format!("{}: {error}", from.display()));
        }
        for expected in of_member {
            compare(from, archive, member, expected)?;
        }
    }
    Ok(())
}

fn compare(
    from: &Path,
    archive: &mut File,
    member: &ova::ArchiveMember,
    expected: &ova::Checksum,
) -> Result<(), String> {
    let at = |error: std::io::Error| format!("{}: {error}", from.display());
    let algorithm = match expected.algorithm.as_str() {
        "SHA1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        "SHA384" => &digest::SHA384,
        "SHA512" => &digest::SHA512,
        _ => &digest::SHA256,
    };
    let mut context = digest::Context::new(algorithm);
    archive.seek(SeekFrom::Start(member.offset)).map_err(at)?;
    let mut left = member.size;
    let mut piece = vec![0; DIGEST_BYTES];
    while left > 0 {
        let count = usize::try_from(left)
            .unwrap_or(DIGEST_BYTES)
            .min(DIGEST_BYTES);
        archive.read_exact(&mut piece[..count]).map_err(at)?;
        context.update(&piece[..count]);
        left -= count as u64;
    }
    let found = context.finish();
    let found: String = found
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if found != expected.digest {
        return Err(format!(
            "{}: '{}' does not match its {} checksum in the manifest of the archive: it is damaged or was \
             changed. Download it again",
            from.display(),
            plain(&member.name),
            expected.algorithm
        ));
    }
    Ok(())
}

fn of_archive(
    from: &Path,
    archive: &mut File,
    size: u64,
) -> Result<(Vec<Disk>, GuestDraft), String> {
    let refused = |error: ova::OvaError| format!("{}: {error}", from.display());
    let at = |error: std::io::Error| format!("{}: {error}", from.display());
    archive.rewind().map_err(at)?;
    let members = ova::members(&mut *archive, size).map_err(refused)?;
    let ovf = ova::ovf(&members).map_err(refused)?;
    let mut text = String::new();
    archive.seek(SeekFrom::Start(ovf.offset)).map_err(at)?;
    Read::by_ref(archive)
        .take(ovf.size)
        .read_to_string(&mut text)
        .map_err(at)?;
    let machine = ova::machine(&text).map_err(refused)?;
    let members_of_disks = ova::disks(&machine, &members).map_err(refused)?;
    if let Some(manifest) = ova::manifest(&members) {
        let used = members_of_disks.iter().copied().chain([ovf]);
        verified(from, archive, manifest, used)?;
    }
    let mut disks = Vec::new();
    for member in members_of_disks {
        let head = head(archive, member.offset).map_err(at)?;
        let head = head
            .get(..usize::try_from(member.size).unwrap_or(usize::MAX))
            .unwrap_or(&head);
        let tail = tail(archive, member.offset, member.size).map_err(at)?;
        let format = detect_image(head, &tail);
        if format == Format::Raw {
            ova::is_complete(&machine, member).map_err(refused)?;
        }
        let words = format!("{} of {} ({format})", plain(&member.name), from.display());
        check_name(&member.name, format).map_err(|error| format!("{words}: {error}"))?;
        if !matches!(format, Format::Raw | Format::Driver(_)) {
            return Err(format!("{words}: not a disk"));
        }
        // Refuses disks that name other files, because an archive is one file.
        chain(
            Path::new(&member.name),
            format,
            head,
            false,
            &mut Vec::new(),
        )?;
        let name = Path::new(&member.name);
        whole(format, archive, member.offset, member.size, name)?;
        let within = json!({"driver": "raw", "offset": member.offset, "size": member.size, "file": file(from)?});
        let image = Image {
            node: node(format, within, false),
            files: vec![from.to_owned()],
            writes: false,
        };
        disks.push(Disk { words, image });
    }
    let is_windows = machine.system.to_ascii_lowercase().contains("win");
    let draft = GuestDraft {
        memory_mib: machine.memory_mib,
        cpus: machine.cpus,
        firmware: machine.firmware,
        // Attaches the disks of Windows by SATA, because Windows has no virtio drivers by default.
        bus: if is_windows { Bus::Sata } else { Bus::Virtio },
        nics: vec![NetworkCard::default()],
        ..GuestDraft::default()
    };
    Ok((disks, draft))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::ScratchDirectory;

    fn qcow2(backing: &str) -> Vec<u8> {
        let mut head = vec![0; 1024];
        head[..8].copy_from_slice(b"QFI\xfb\0\0\0\x02");
        if !backing.is_empty() {
            head[8..16].copy_from_slice(&512_u64.to_be_bytes());
            head[16..20].copy_from_slice(&(backing.len() as u32).to_be_bytes());
            head[512..512 + backing.len()].copy_from_slice(backing.as_bytes());
        }
        head
    }

    #[test]
    fn the_name_of_a_file_says_nothing_about_its_format() {
        let scratch = ScratchDirectory::new().unwrap();
        let path = scratch.write("disk.raw", qcow2("")).unwrap();
        let (disks, _) = open(&path, false, false).unwrap();
        assert_eq!(disks[0].image.node["driver"], "qcow2");
        assert_eq!(disks[0].image.node["backing"], Value::Null);
        let (disks, _) = open(&path, false, true).unwrap();
        assert_eq!(disks[0].image.node["driver"], "raw");
        let gzip = scratch.write("disk.img", b"\x1f\x8b\x08").unwrap();
        assert!(open(&gzip, false, false).is_err_and(|words| words.contains("gzip -dk")));
        let empty = scratch.write("empty", b"").unwrap();
        assert!(open(&empty, false, false).is_err_and(|words| words.contains("empty")));
    }

    #[test]
    fn appliance_with_a_wrong_checksum_or_a_cut_disk_is_refused() {
        const OVF: &[u8] = br#"<Envelope><References><File id="f" href="a.raw"/></References>
            <DiskSection><Disk diskId="d" fileRef="f" capacity="4096"/></DiskSection></Envelope>"#;
        let hex = |bytes: &[u8]| -> String {
            let found = digest::digest(&digest::SHA256, bytes);
            found
                .as_ref()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect()
        };
        let disk = vec![7_u8; 4096];
        let scratch = ScratchDirectory::new().unwrap();
        let archive = |disk: &[u8], manifest: &str| {
            let mut builder = tar::Builder::new(Vec::new());
            let members = [
                ("m.ovf", OVF),
                ("m.mf", manifest.as_bytes()),
                ("a.raw", disk),
            ];
            for (name, bytes) in members {
                if bytes.is_empty() {
                    continue;
                }
                let mut header = tar::Header::new_ustar();
                header.set_size(bytes.len() as u64);
                header.set_cksum();
                builder.append_data(&mut header, name, bytes).unwrap();
            }
            scratch
                .write("m.ova", builder.into_inner().unwrap())
                .unwrap()
        };
        let manifest = format!(
            "SHA256(m.ovf)= {}\nSHA256(a.raw)= {}\n",
            hex(OVF),
            hex(&disk)
        );
        let path = archive(&disk, &manifest);
        assert_eq!(
            open(&path, false, false).map(|(disks, _)| disks.len()),
            Ok(1)
        );
        let path = archive(&[8; 4096], &manifest);
        let words = open(&path, false, false).err().unwrap_or_default();
        assert!(
            words.contains("'a.raw' does not match its SHA256 checksum"),
            "{words}"
        );
        // The next archive has a disk whose partition ends beyond it, and no manifest.
        let mut cut = vec![0_u8; 4096];
        cut[510..512].copy_from_slice(&[0x55, 0xaa]);
        cut[446..462].copy_from_slice(&[0x80, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0]);
        let path = archive(&cut, "");
        let words = open(&path, false, false).err().unwrap_or_default();
        assert!(words.contains("the disk is truncated"), "{words}");
    }

    #[test]
    fn files_that_an_image_names_are_read_only_if_asked_for() {
        let scratch = ScratchDirectory::new().unwrap();
        let bottom = scratch.write("bottom", [0; 1024]).unwrap();
        let base = scratch.write("base", qcow2("bottom")).unwrap();
        let path = scratch.write("overlay", qcow2("base")).unwrap();
        let words = open(&path, false, false).err().unwrap_or_default();
        assert!(
            words.contains("names other files: base") && words.contains("--follow"),
            "{words}"
        );
        let (disks, _) = open(&path, true, false).unwrap();
        let files = &disks[0].image.files;
        assert!(files.contains(&base) && files.contains(&bottom));
        // QEMU would read zeroes after the end of a backing file.
        std::fs::write(&bottom, [0; 1000]).unwrap();
        let words = open(&path, true, false).err().unwrap_or_default();
        assert!(words.contains("bottom: the disk is truncated"), "{words}");
    }

    #[test]
    fn an_image_that_is_too_large_is_refused_with_both_sizes() {
        assert_eq!(fits("mail", 10, 10), Ok(()));
        let words = fits("mail", 1 << 30, 3 << 30).unwrap_err();
        assert!(
            words.contains("3.0 GiB (3221225472 bytes)") && words.contains("'mail' 1.0 GiB"),
            "{words}"
        );
    }
}
