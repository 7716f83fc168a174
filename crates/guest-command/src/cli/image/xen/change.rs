//! Copies the disks of a Xen guest, and changes the copies so that the system boots as a guest of
//! QEMU: settings, initial RAM disk, and GRUB.

use super::super::look::{self, MountableFileSystem};
use super::super::{grub, server};
use super::{DetectedGuest, kernel, say};
use ::image::boot::{self, GrubEntry};
use ::image::system;
use ::image::xen::plan::{
    ConversionPlan, DetectedFileSystem, DiskContents, InitrdTool, KernelChoice, Linux, is_swap,
};
use command::build::inside::Inside;
use command::build::run::{Runner, program};
use command::build::workshop::Workshop;
use command::stopped::Stopped;
use guest::config::Firmware;
use std::cell::Cell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Options of the new kernel's command line: network interfaces keep the names that they had under
/// Xen.
const APPEND: &str = "net.ifnames=0 biosdevname=0";
/// File with settings of initramfs-tools, which is read after the system's own settings.
const INITRAMFS: &str = "/etc/initramfs-tools/conf.d/zz-evenkeel";
/// Capabilities that programs of the image get: only those that concern files.
const CAPABILITIES: [&str; 5] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_SETFCAP",
];

/// Copies the disks of the plan into new raw files, with a partition table where the plan requires
/// one, and returns their paths.
///
/// # Errors
/// Fails if a copy fails, or if it is interrupted.
pub fn copies(
    looked: &DetectedGuest,
    plan: &ConversionPlan,
    shop: &Workshop,
    runner: &Runner,
) -> Result<Vec<PathBuf>, Stopped> {
    let mut disks = Vec::new();
    for (index, target) in plan.targets.iter().enumerate() {
        let path = shop.path().join(format!("disk-{index}.raw"));
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let disk = File::options()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(failed)?;
        disk.set_len(target.size).map_err(failed)?;
        let parts: Vec<&DiskContents> = target
            .parts
            .iter()
            .map(|part| &looked.seen[*part])
            .collect();
        let mut places: Vec<(u64, u64)> = parts.iter().map(|part| (0, part.size)).collect();
        if target.wraps {
            let sizes: Vec<(u64, bool)> = parts
                .iter()
                .map(|part| (part.size, is_swap(part)))
                .collect();
            let (partitions, _) = boot::place(&sizes).map_err(|error| error.to_string())?;
            let table = boot::table(&partitions).map_err(|error| error.to_string())?;
            disk.write_all_at(&table, 0).map_err(failed)?;
            places = partitions.iter().map(|one| (one.begin, one.size)).collect();
        }
        for (part, (begin, size)) in target.parts.iter().zip(places) {
            copy(&looked.files[*part], &path, begin, size, runner)?;
        }
        disks.push(path);
    }
    Ok(disks)
}

fn copy(from: &Path, to: &Path, begin: u64, size: u64, runner: &Runner) -> Result<(), Stopped> {
    say(&format!("copying {}", from.display()));
    let name = to
        .to_str()
        .ok_or("a name that is not UTF-8".to_owned())?
        .replace(',', ",,");
    let node = server::file(from)?;
    let source = serde_json::json!({"driver": "raw", "file": node});
    let mut convert = program("qemu-img");
    convert.args([
        "convert",
        "-p",
        "-n",
        "--target-is-zero",
        "--target-image-opts",
    ]);
    convert.arg(format!("json:{source}"));
    convert.arg(format!(
        "driver=raw,offset={begin},size={size},file.driver=file,file.filename={name}"
    ));
    // Prints a line for each tenth of the disk.
    let shown = Cell::new(0_u32);
    let progress = |line: &str| {
        let percent = line
            .trim()
            .trim_start_matches('(')
            .split(['.', '/'])
            .next()?;
        let tenth = percent.parse::<u32>().ok()? / 10;
        (tenth > shown.replace(tenth.max(shown.get()))).then(|| format!("{} %", tenth * 10))
    };
    runner.shown(&mut convert, progress).map(|_| ())
}

struct Spot {
    disk: usize,
    found: DetectedFileSystem,
    size: u64,
}

fn spot(looked: &DetectedGuest, plan: &ConversionPlan, index: usize, inner: usize) -> Option<Spot> {
    let disk = plan
        .targets
        .iter()
        .position(|target| target.parts.contains(&index))?;
    let target = &plan.targets[disk];
    let seen = &looked.seen[index];
    let mut found = seen.found.get(inner)?.clone();
    let size = seen.size.saturating_sub(found.begin);
    if target.wraps {
        let sizes = target
            .parts
            .iter()
            .map(|part| (looked.seen[*part].size, is_swap(&looked.seen[*part])));
        let (partitions, _) = boot::place(&sizes.collect::<Vec<_>>()).ok()?;
        let place = target.parts.iter().position(|part| *part == index)?;
        found.begin += partitions.get(place)?.begin;
    }
    Some(Spot { disk, found, size })
}

/// Mounted file systems of the guest during the change.
struct Tree {
    root: Inside,
    boot: Option<Inside>,
}

impl Tree {
    /// Returns the file system that contains the kernels, and their directory in it.
    fn kernels(&self) -> (&Inside, &'static str) {
        match &self.boot {
            Some(boot) => (boot, ""),
            None => (&self.root, "/boot"),
        }
    }
}

/// Changes the Linux on the new disks, so that it boots there.
///
/// # Errors
/// Fails if a step fails, or if it is interrupted.
pub fn linux(
    looked: &DetectedGuest,
    plan: &ConversionPlan,
    linux: &Linux,
    disks: &[PathBuf],
    shop: &Workshop,
    runner: &Runner,
) -> Result<(), Stopped> {
    let lost = || "the root file system is not on a disk of the plan".to_owned();
    let (disk, inner) = linux.root;
    let root = spot(looked, plan, disk, inner).ok_or_else(lost)?;
    let boot = linux
        .traits
        .boot
        .and_then(|(disk, inner)| spot(looked, plan, disk, inner));
    let at = shop.directory("root")?;
    let at_boot = shop.directory("boot")?;
    let mounted = |spot: &Spot, at: &Path| {
        let place = MountableFileSystem {
            path: &disks[spot.disk],
            found: &spot.found,
            size: spot.size,
        };
        look::mount(runner, &place, at, true)
    };
    mounted(&root, &at)?;
    if let Some(boot) = &boot {
        mounted(boot, &at_boot)?;
    }
    let tree = Tree {
        root: Inside::open(&at)?,
        boot: boot.as_ref().map(|_| Inside::open(&at_boot)).transpose()?,
    };
    files(&tree.root, looked, linux)?;
    let choice = plan
        .kernel
        .as_ref()
        .ok_or("no kernel was found".to_owned())?;
    let append = system::command_line(&looked.domain.boot.extra);
    let append = format!("{APPEND} {append}").trim_end().to_owned();
    let initrd = initial_disk(&tree, choice, linux, looked, runner)?;
    let menu = GrubEntry {
        title: linux.title.clone(),
        kernel: format!("{}/vmlinuz-{}", tree.kernels().1, choice.version),
        initrd: initrd.map(|name| format!("{}/{name}", tree.kernels().1)),
        root: root.found.uuid.clone(),
        append: append.clone(),
    };
    menus(&tree, &menu, &append)?;
    drop(tree);
    if boot.is_some() {
        look::unmount(runner, &at_boot)?;
    }
    look::unmount(runner, &at)?;
    if plan.draft.firmware == Firmware::Bios {
        loader(
            looked,
            plan,
            boot.as_ref().unwrap_or(&root),
            boot.is_some(),
            disks,
            shop,
            runner,
        )?;
    }
    Ok(())
}

fn files(inside: &Inside, looked: &DetectedGuest, linux: &Linux) -> Result<(), String> {
    say("fstab, terminals and names of cards");
    let change = |path: &str, change: &dyn Fn(&str) -> String| -> Result<(), String> {
        let Some(text) = inside.text(path) else {
            return Ok(());
        };
        let new = change(&text);
        if new == text {
            return Ok(());
        }
        inside.keep(path)?;
        inside.write(path, new.as_bytes())
    };
    let uuids = look::uuids(&looked.domain.disks, &looked.seen);
    change("/etc/fstab", &|text| system::fstab(text, &uuids).text)?;
    change("/etc/inittab", &system::inittab)?;
    change("/etc/securetty", &|text| system::with_line(text, "ttyS0"))?;
    for unit in ["serial-getty@hvc0.service", "getty@hvc0.service"] {
        let path = format!("/etc/systemd/system/getty.target.wants/{unit}");
        if inside.is_named(&path) {
            inside.remove(&path)?;
        }
    }
    // Systems with Upstart instead of systemd have this file.
    if let Some(text) = inside.text("/etc/init/hvc0.conf") {
        inside.write(
            "/etc/init/ttyS0.conf",
            text.replace("hvc0", "ttyS0").as_bytes(),
        )?;
        inside.set_aside("/etc/init/hvc0.conf")?;
    }
    linux
        .traits
        .net_rules
        .iter()
        .try_for_each(|path| inside.set_aside(path))
}

/// Creates the initial RAM disk by a program of the image, and returns its name. Returns None if
/// the image has no such program.
fn initial_disk(
    tree: &Tree,
    choice: &KernelChoice,
    linux: &Linux,
    looked: &DetectedGuest,
    runner: &Runner,
) -> Result<Option<String>, Stopped> {
    let version = &choice.version;
    let (boot, directory) = tree.kernels();
    if let Some(path) = looked
        .domain
        .boot
        .kernel
        .as_ref()
        .filter(|_| choice.from_host)
    {
        let bytes = kernel::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        boot.write(&format!("{directory}/vmlinuz-{version}"), &bytes)?;
    }
    let names = [
        format!("initrd.img-{version}"),
        format!("initramfs-{version}.img"),
    ];
    let there = |name: &&String| boot.has(&format!("{directory}/{name}"));
    let words = match linux.maker {
        InitrdTool::InitramfsTools => {
            let modules = "/etc/initramfs-tools/modules";
            let text = tree.root.text(modules).unwrap_or_default();
            tree.root
                .write(modules, system::modules(&text).as_bytes())?;
            tree.root.directory("/etc/initramfs-tools/conf.d")?;
            // Includes all drivers, because the host has other devices than the new machine.
            // Disables a resume from the old swap space.
            tree.root.write(INITRAMFS, b"MODULES=most\nRESUME=none\n")?;
            // Moves an existing initrd away, because `update-initramfs -c` does not replace one that
            // it did not create.
            if there(&&names[0]) {
                boot.set_aside(&format!("{directory}/{}", names[0]))?;
            }
            vec![
                "update-initramfs".to_owned(),
                "-c".to_owned(),
                "-k".to_owned(),
                version.clone(),
            ]
        }
        InitrdTool::Dracut => {
            let drivers = system::DRIVERS.join(" ");
            let path = format!("/boot/{}", names[1]);
            [
                "dracut",
                "--force",
                "--no-hostonly",
                "--add-drivers",
                &drivers,
                &path,
                version,
            ]
            .map(str::to_owned)
            .into()
        }
        InitrdTool::None => return Ok(names.iter().find(there).cloned()),
    };
    say(&format!("initial RAM disk of {version}"));
    runner.run(&mut sandbox(tree, &words))?;
    match names.iter().find(there) {
        Some(name) => Ok(Some(name.clone())),
        None => Err(format!("{} has created no initial RAM disk for {version}", words[0]).into()),
    }
}

/// Returns the command that runs a program of the image in a sandbox: with only the image's files,
/// and without devices, network, and privileges beyond files.
fn sandbox(tree: &Tree, words: &[String]) -> Command {
    let mut bwrap = program("bwrap");
    bwrap.args([
        "--unshare-ipc",
        "--unshare-pid",
        "--unshare-net",
        "--unshare-uts",
        "--die-with-parent",
    ]);
    bwrap.arg("--new-session").args(["--cap-drop", "ALL"]);
    for capability in CAPABILITIES {
        bwrap.args(["--cap-add", capability]);
    }
    bwrap.arg("--bind").arg(tree.root.path()).arg("/");
    if let Some(boot) = &tree.boot {
        bwrap.arg("--bind").arg(boot.path()).arg("/boot");
    }
    bwrap.args([
        "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--chdir", "/", "--",
    ]);
    bwrap.args(words);
    bwrap
}

fn menus(tree: &Tree, menu: &GrubEntry, append: &str) -> Result<(), String> {
    let (inside, directory) = tree.kernels();
    let grub = format!("{directory}/grub");
    inside.directory(&grub)?;
    inside.keep(&format!("{grub}/grub.cfg"))?;
    inside.write(&format!("{grub}/grub.cfg"), menu.text().as_bytes())?;
    grub::copy_modules(inside, &grub)?;
    let default = "/etc/default/grub";
    if let Some(text) = tree.root.text(default) {
        tree.root.keep(default)?;
        tree.root
            .write(default, system::default_grub(&text, append).as_bytes())?;
    }
    Ok(())
}

fn loader(
    looked: &DetectedGuest,
    plan: &ConversionPlan,
    home: &Spot,
    is_boot: bool,
    disks: &[PathBuf],
    shop: &Workshop,
    runner: &Runner,
) -> Result<(), Stopped> {
    say("GRUB");
    let target = &plan.targets[home.disk];
    let first = if target.wraps {
        boot::FIRST_BYTES
    } else {
        let found = target
            .parts
            .iter()
            .flat_map(|part| &looked.seen[*part].found);
        found
            .map(|found| found.begin)
            .min()
            .unwrap_or(boot::FIRST_BYTES)
    };
    let disk = File::options()
        .read(true)
        .write(true)
        .open(&disks[home.disk]);
    let disk = disk.map_err(|error| error.to_string())?;
    let home = grub::Home {
        uuid: &home.found.uuid,
        system: &home.found.system,
        directory: if is_boot { "/grub" } else { "/boot/grub" },
    };
    grub::embed(runner, shop.path(), &disk, &home, first)
}
