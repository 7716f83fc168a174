//! Implements `evenkeel guest import xen FILE.cfg`, which inspects the disks of a Xen guest, prints
//! the plan of a conversion, and executes it on a copy ([`change`]). The original disks are only
//! read.

mod change;
mod kernel;
mod source;

use super::look;
use super::place::{ImageDestination, find_place};
use super::server::file;
use super::trial::Trial;
use super::{
    grub,
    import::{head, tail},
};
use ::image::format::{Format, check_name, detect_image, references};
use ::image::xen::domain::{self, Disk, XenDomain};
use ::image::xen::plan::{self, ConversionPlan, DiskContents, System};
use ::image::xen::{FILE_BYTES_MAX, parse};
use clap::ArgMatches;
use command::build::run::{Runner, find, need, program};
use command::build::workshop::Workshop;
use command::stopped::Stopped;
use command::word;
use rustix::fs::{CWD, Mode, OFlags, openat};
use serde_json::json;
use std::fs::{self, File};
use std::io::{IsTerminal, Read, Seek, SeekFrom, Write, stderr, stdin};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use volume::cli::transfer::{Unfilled, fill};
use volume::overwrite::OverwriteKind;
use volume::transfer::TransferSource;

/// Required programs, besides GRUB's files.
const NEEDS: [(&str, &str); 7] = [
    ("qemu-img", "qemu-utils"),
    ("qemu-nbd", "qemu-utils"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("blkid", "util-linux"),
    ("sfdisk", "fdisk"),
    ("mount", "mount"),
    ("bwrap", "bubblewrap"),
];

struct DetectedGuest {
    domain: XenDomain,
    /// Disks of the configuration, each as a read-only raw disk.
    files: Vec<PathBuf>,
    seen: Vec<DiskContents>,
    system: System,
}

pub fn main(matches: &ArgMatches) -> ExitCode {
    match import(matches) {
        Ok(text) => {
            let _ = write!(stderr(), "{text}");
            ExitCode::SUCCESS
        }
        Err(Unfilled::Before(error)) => {
            error.exit(". Nothing was written to a volume or to the original")
        }
        Err(Unfilled::During(error)) => {
            error.exit(". The volumes are incomplete: import the guest again with `--overwrite`")
        }
    }
}

fn say(words: &str) {
    // Ignores an error: the import continues if its output is unread.
    let _ = writeln!(stderr(), "{words}");
}

fn import(matches: &ArgMatches) -> Result<String, Unfilled> {
    let config = matches
        .get_one::<PathBuf>("CONFIG")
        .cloned()
        .unwrap_or_default();
    let domain = read(&config)?;
    let name = match matches.get_one::<String>("name") {
        Some(name) => name.clone(),
        None => domain.name.clone(),
    };
    if !rustix::process::geteuid().is_root() {
        return Err(
            "inspecting the disks mounts them, which requires root: run the command with sudo"
                .to_owned()
                .into(),
        );
    }
    need(&[&NEEDS[..], &grub::NEEDS].concat())?;
    let named: Vec<PathBuf> = matches
        .get_many::<PathBuf>("disk")
        .map(|all| all.cloned().collect())
        .unwrap_or_default();
    let disks = domain.disks.iter().map(|disk| &*disk.path);
    source::are_allowed(disks, &config, &named)?;
    let runner = Runner::new()?;
    let shop = Workshop::new(matches.get_one::<PathBuf>("work").map(PathBuf::as_path))?;
    shop.with_own_mounts()?;
    let looked = look_at(domain, &shop, &runner)?;
    let host_has = looked
        .domain
        .boot
        .kernel
        .as_ref()
        .is_some_and(|path| kernel::read(path).is_ok());
    let plan = plan::make(
        &looked.domain,
        &name,
        &looked.seen,
        &looked.system,
        host_has,
    );
    let mut plan = plan.map_err(|error| error.to_string())?;
    say(&heading(&looked, &config));
    say(&plan.text());
    if matches.get_flag("plan") {
        return Ok("Nothing was done: this is the plan\n".to_owned());
    }
    if plan.is_blocked() {
        return Err("do the steps marked [first], and run this command again"
            .to_owned()
            .into());
    }
    let place = find_place(matches, &mut plan.draft)?;
    place.is_there()?;
    let pairs = place.volumes.iter().zip(&place.sizes).zip(&plan.targets);
    for ((volume, has), target) in pairs {
        super::import::fits(volume, *has, target.size)?;
    }
    if !matches.get_flag("yes") && !confirmed() {
        return Ok("Nothing was done: `--yes` executes the list\n".to_owned());
    }
    carry_out(matches, &shop, runner, &looked, &plan, &place)
}

fn confirmed() -> bool {
    if !stdin().is_terminal() || !stderr().is_terminal() {
        return false;
    }
    let _ = write!(stderr(), "Execute this? [y/N] ");
    let mut line = String::new();
    let read = stdin().read_line(&mut line);
    read.is_ok() && ["y", "yes"].contains(&line.trim().to_ascii_lowercase().as_str())
}

fn heading(looked: &DetectedGuest, config: &Path) -> String {
    let title = match &looked.system {
        System::Linux(linux) => linux.title.clone(),
        System::Windows(_) => "Windows".to_owned(),
        System::Unknown => "an unknown system".to_owned(),
    };
    // Replaces control characters: the domain name and the title of the system are untrusted.
    let words = format!("{} ({title})", looked.domain.name);
    format!(
        "{}, as {} has it:",
        words.replace(char::is_control, "?"),
        config.display()
    )
}

fn read(config: &Path) -> Result<XenDomain, String> {
    let at = |error: std::io::Error| format!("{}: {error}", config.display());
    let mut text = Vec::new();
    let opened = File::open(config).map_err(at)?;
    opened
        .take(FILE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut text)
        .map_err(at)?;
    let text = String::from_utf8_lossy(&text);
    let fallback = config
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or("guest");
    Ok(domain::read(&parse(&text), fallback))
}

fn look_at(domain: XenDomain, shop: &Workshop, runner: &Runner) -> Result<DetectedGuest, Stopped> {
    let mut files = Vec::new();
    let mut seen = Vec::new();
    let runs = find("xl").is_some()
        && runner
            .run(program("xl").args(["domid", &domain.name]))
            .is_ok();
    for (index, disk) in domain.disks.iter().enumerate() {
        let found = a_disk(disk, index, shop, runner);
        let (file, mut one) = match found {
            Ok(found) => found,
            Err(Stopped::Failed(words)) => {
                let defect = Some(words);
                (
                    disk.path.clone(),
                    DiskContents {
                        defect,
                        ..DiskContents::default()
                    },
                )
            }
            Err(stopped) => return Err(stopped),
        };
        if runs {
            one.defect = Some(format!("guest {} of Xen runs", domain.name));
        }
        files.push(file);
        seen.push(one);
    }
    let has_defect = seen.iter().any(|one| one.defect.is_some());
    let system = if has_defect {
        System::Unknown
    } else {
        look::system(runner, shop, &domain.disks, &files, &seen)?
    };
    Ok(DetectedGuest {
        domain,
        files,
        seen,
        system,
    })
}

/// Returns a disk as a raw file, and its contents. A disk in another format than raw is converted
/// into the working directory first.
fn a_disk(
    disk: &Disk,
    index: usize,
    shop: &Workshop,
    runner: &Runner,
) -> Result<(PathBuf, DiskContents), Stopped> {
    let at = |error: std::io::Error| error.to_string();
    let mut opened = open(&disk.path)?;
    let size = opened.seek(SeekFrom::End(0)).map_err(at)?;
    if size == 0 {
        return Err("it is empty".to_owned().into());
    }
    let head = head(&mut opened, 0).map_err(at)?;
    let format = detect_image(&head, &tail(&mut opened, 0, size).map_err(at)?);
    check_name(&disk.path.to_string_lossy(), format).map_err(|error| error.to_string())?;
    ::image::whole::check(format, &opened, 0, size).map_err(|error| error.to_string())?;
    match format {
        Format::Raw => {
            let seen = look::disk(runner, &disk.path, size, "raw")?;
            Ok((disk.path.clone(), seen))
        }
        Format::Driver(driver) => {
            let names = references(format, &head).map_err(|error| error.to_string())?;
            if !names.is_empty() {
                let words = names.join(", ");
                return Err(format!(
                    "it names other files: {words}. Import an image that contains all of its data: an image \
                     could name any file of this host"
                )
                .into());
            }
            let raw = shop.path().join(format!("original-{index}.raw"));
            say(&format!(
                "{} is {driver}: converting it for inspection",
                disk.path.display()
            ));
            let source = json!({"driver": driver, "file": file(&disk.path)?});
            let mut convert = program("qemu-img");
            convert
                .args(["convert", "-O", "raw"])
                .arg(format!("json:{source}"))
                .arg(&raw);
            runner.run(&mut convert)?;
            let size = fs::metadata(&raw).map_err(at)?.len();
            let seen = look::disk(runner, &raw, size, driver)?;
            Ok((raw, seen))
        }
        format => Err(format!("it is not a disk but {format}").into()),
    }
}

/// Opens a disk that nothing else uses: a block device exclusively, and a file only if no loop
/// device uses it.
fn open(path: &Path) -> Result<File, String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    let is_device = metadata.file_type().is_block_device();
    if !is_device && !metadata.is_file() {
        return Err("neither a file nor a block device".to_owned());
    }
    let exclusive = if is_device {
        OFlags::EXCL
    } else {
        OFlags::empty()
    };
    let opened = openat(
        CWD,
        path,
        OFlags::RDONLY | OFlags::CLOEXEC | exclusive,
        Mode::empty(),
    );
    let opened = opened.map_err(|error| match error {
        rustix::io::Errno::BUSY => "in use: mounted, or opened by a guest".to_owned(),
        error => error.to_string(),
    })?;
    let canonical = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let loops = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let mut backing =
        loops.filter_map(|one| fs::read_to_string(one.path().join("loop/backing_file")).ok());
    if backing.any(|file| Path::new(file.trim_end()) == canonical) {
        Err("in use by a loop device, mounted or of a guest".to_owned())
    } else {
        Ok(opened.into())
    }
}

fn carry_out(
    matches: &ArgMatches,
    shop: &Workshop,
    runner: Runner,
    looked: &DetectedGuest,
    plan: &ConversionPlan,
    place: &ImageDestination,
) -> Result<String, Unfilled> {
    let needs: u64 = looked.seen.iter().map(|seen| seen.size).sum();
    shop.has_room(needs)?;
    let disks = change::copies(looked, plan, shop, &runner)?;
    if let System::Linux(linux) = &looked.system {
        change::linux(looked, plan, linux, &disks, shop, &runner)?;
    }
    let is_linux = matches!(looked.system, System::Linux(_));
    if is_linux && !matches.get_flag("no-test-boot") {
        let limit = matches.get_one::<u64>("boot-limit").copied().unwrap_or(600);
        say("test boot on a snapshot, until its serial terminal has a login prompt");
        let trial = Trial {
            name: &plan.draft.name,
            disks: &disks,
            memory_mib: plan.draft.memory_mib,
            bus: plan.draft.bus,
            firmware: plan.draft.firmware,
            limit: Duration::from_secs(limit),
        };
        let took = trial.run(shop, &runner)?;
        say(&format!("login prompt after {} s", took.as_secs()));
    }
    drop(runner);
    let mut text = String::new();
    let overwrites = matches.get_flag("overwrite");
    for (volume, disk) in place.volumes.iter().zip(&disks) {
        let source = TransferSource::open(&disk.to_string_lossy()).map_err(Stopped::from)?;
        let name = word(matches, "name");
        let words = if name.is_empty() {
            &looked.domain.name
        } else {
            &name
        };
        let filled = fill(
            matches,
            volume,
            OverwriteKind::GuestImport,
            words,
            source,
            overwrites,
        );
        let summary = filled.map_err(|error| error.behind(!text.is_empty()))?;
        text += &format!("imported {words} into volume {volume}: {summary}\n");
    }
    Ok(text + &place.after)
}
