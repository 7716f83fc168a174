//! Inspects raw disks for an import: finds partitions and file systems with `blkid` and `sfdisk`,
//! mounts file systems, and describes the installed system by its files.

use ::image::system::{self, version_key};
use ::image::xen::domain::Disk;
use ::image::xen::plan::{
    DetectedFileSystem, DiskContents, InitrdTool, Kernel, Linux, LinuxTraits, System, Windows,
};
use command::build::inside::Inside;
use command::build::run::{Runner, program};
use command::build::workshop::Workshop;
use command::stopped::Stopped;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const PARTITIONS_MAX: usize = 32;
const LINUX: [&str; 5] = ["ext2", "ext3", "ext4", "xfs", "btrfs"];
/// Virtio drivers that Windows needs to boot.
const DRIVERS: [&str; 2] = ["viostor.sys", "netkvm.sys"];

fn probe(
    runner: &Runner,
    path: &Path,
    begin: u64,
    size: u64,
) -> Result<BTreeMap<String, String>, Stopped> {
    let mut blkid = program("blkid");
    blkid
        .args([
            "-p",
            "-o",
            "export",
            "-O",
            &begin.to_string(),
            "-S",
            &size.to_string(),
        ])
        .arg(path);
    let text = match runner.run(&mut blkid) {
        Ok(text) => text,
        // Counts a failure as nothing found: `blkid` fails in that case, too.
        Err(Stopped::Failed(_)) => String::new(),
        Err(stopped) => return Err(stopped),
    };
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    Ok(pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

/// Returns the partition table and the file systems of a raw disk or partition.
///
/// # Errors
/// Fails if a program is interrupted. Other failures of programs count as nothing found.
pub fn disk(
    runner: &Runner,
    path: &Path,
    size: u64,
    format: &str,
) -> Result<DiskContents, Stopped> {
    let whole = probe(runner, path, 0, size)?;
    let text =
        |pairs: &BTreeMap<String, String>, name: &str| pairs.get(name).cloned().unwrap_or_default();
    let mut seen = DiskContents {
        size,
        format: format.to_owned(),
        table: text(&whole, "PTTYPE"),
        ..DiskContents::default()
    };
    let system = text(&whole, "TYPE");
    if !system.is_empty() {
        seen.table.clear();
        seen.found.push(DetectedFileSystem {
            partition: 0,
            begin: 0,
            system,
            uuid: text(&whole, "UUID"),
        });
        return Ok(seen);
    }
    if seen.table.is_empty() {
        return Ok(seen);
    }
    let table = match runner.run(program("sfdisk").arg("--json").arg(path)) {
        Ok(text) => text,
        Err(Stopped::Failed(_)) => String::new(),
        Err(stopped) => return Err(stopped),
    };
    for (partition, begin, length) in partitions(&table, path).into_iter().take(PARTITIONS_MAX) {
        if begin >= size || length > size - begin {
            continue;
        }
        let pairs = probe(runner, path, begin, length)?;
        seen.found.push(DetectedFileSystem {
            partition,
            begin,
            system: text(&pairs, "TYPE"),
            uuid: text(&pairs, "UUID"),
        });
    }
    Ok(seen)
}

/// Returns number, position and size of each partition, from the output of `sfdisk --json`.
fn partitions(json: &str, path: &Path) -> Vec<(u32, u64, u64)> {
    let table: Value = serde_json::from_str(json).unwrap_or_default();
    let table = &table["partitiontable"];
    let sector = table["sectorsize"].as_u64().unwrap_or(512);
    let prefix = path.to_string_lossy().into_owned();
    let all = table["partitions"].as_array().into_iter().flatten();
    let one = |partition: &Value| {
        let number = partition["node"].as_str()?.strip_prefix(&prefix)?;
        let number = number.trim_start_matches('p').parse().ok()?;
        let bytes = |name: &str| partition[name].as_u64()?.checked_mul(sector);
        Some((number, bytes("start")?, bytes("size")?))
    };
    all.filter_map(one).collect()
}

pub struct MountableFileSystem<'a> {
    pub path: &'a Path,
    pub found: &'a DetectedFileSystem,
    /// Size from the beginning of the file system, in bytes.
    pub size: u64,
}

/// Mounts a file system at this directory.
///
/// # Errors
/// Returns the system's error as a message.
pub fn mount(
    runner: &Runner,
    place: &MountableFileSystem<'_>,
    at: &Path,
    writes: bool,
) -> Result<(), Stopped> {
    let system = match place.found.system.as_str() {
        "ntfs" => "ntfs3",
        system => system,
    };
    let mut options = format!(
        "loop,nodev,nosuid,offset={},sizelimit={}",
        place.found.begin, place.size
    );
    options += match (writes, system) {
        (true, _) => "",
        // Replays no journal, so that nothing is written.
        (false, "ext2" | "ext3" | "ext4") => ",ro,noexec,noload",
        (false, "xfs") => ",ro,noexec,norecovery,nouuid",
        (false, _) => ",ro,noexec",
    };
    // Uses the ext4 driver, which mounts ext2 and ext3, too.
    let system = if system.starts_with("ext") {
        "ext4"
    } else {
        system
    };
    let mut mount = program("mount");
    mount
        .args(["-t", system, "-o", &options])
        .arg(place.path)
        .arg(at);
    runner.run(&mut mount).map(|_| ())
}

/// Unmounts the file system.
///
/// # Errors
/// Returns the system's error as a message.
pub fn unmount(runner: &Runner, at: &Path) -> Result<(), Stopped> {
    runner.run(program("umount").arg(at)).map(|_| ())
}

/// Returns the UUID of each file system by the device name of its disk or partition on the old
/// machine.
pub fn uuids(disks: &[Disk], seen: &[DiskContents]) -> BTreeMap<String, String> {
    let mut uuids = BTreeMap::new();
    for (disk, seen) in disks.iter().zip(seen) {
        for found in seen.found.iter().filter(|found| !found.uuid.is_empty()) {
            let number = disk
                .partition
                .or(Some(found.partition).filter(|number| *number > 0));
            let number = number.map(|number| number.to_string()).unwrap_or_default();
            uuids.insert(format!("{}{number}", disk.name), found.uuid.clone());
        }
    }
    uuids
}

/// Finds the first operating system on the disks of a guest. `files` has the raw disk for each of
/// `disks`.
///
/// # Errors
/// Fails if it is interrupted.
pub fn system(
    runner: &Runner,
    shop: &Workshop,
    disks: &[Disk],
    files: &[PathBuf],
    seen: &[DiskContents],
) -> Result<System, Stopped> {
    let at = shop.directory("look")?;
    for (index, (file, seen_here)) in files.iter().zip(seen).enumerate() {
        for (inner, found) in seen_here.found.iter().enumerate() {
            let is_linux = LINUX.contains(&found.system.as_str());
            if !is_linux && found.system != "ntfs" {
                continue;
            }
            let size = seen_here.size.saturating_sub(found.begin);
            let place = MountableFileSystem {
                path: file,
                found,
                size,
            };
            match mount(runner, &place, &at, false) {
                Ok(()) => {}
                Err(Stopped::Failed(_)) if !is_linux => {
                    return Ok(System::Windows(Windows::default()));
                }
                Err(Stopped::Failed(_)) => continue,
                Err(stopped) => return Err(stopped),
            }
            let system = Inside::open(&at).ok().and_then(|inside| {
                if is_linux {
                    linux(&inside, (index, inner), disks, seen).map(System::Linux)
                } else {
                    windows(&inside).map(System::Windows)
                }
            });
            unmount(runner, &at)?;
            match system {
                Some(System::Linux(mut linux)) => {
                    boot_files(runner, &at, &mut linux, files, seen)?;
                    return Ok(System::Linux(linux));
                }
                Some(system) => return Ok(system),
                None => {}
            }
        }
    }
    Ok(System::Unknown)
}

fn windows(inside: &Inside) -> Option<Windows> {
    let system = |base: &str| {
        let all = inside.names(base);
        all.into_iter()
            .find(|name| name.eq_ignore_ascii_case("windows"))
    };
    let directory = format!("/{}/System32/drivers", system("/")?);
    let there = inside.names(&directory);
    let is_there = |driver: &&str| there.iter().any(|name| name.eq_ignore_ascii_case(driver));
    let missing = DRIVERS.iter().filter(|driver| !is_there(driver));
    Some(Windows {
        missing: Some(missing.map(|driver| (*driver).to_owned()).collect()),
    })
}

fn linux(
    inside: &Inside,
    root: (usize, usize),
    disks: &[Disk],
    seen: &[DiskContents],
) -> Option<Linux> {
    let text = inside.text("/etc/fstab")?;
    let uuids = uuids(disks, seen);
    let fstab = system::fstab(&text, &uuids);
    let traits = LinuxTraits {
        has_inittab: inside.has("/etc/inittab"),
        net_rules: net_rules(inside),
        devices: fstab
            .replaced
            .into_iter()
            .map(|(device, _)| device)
            .collect(),
        devices_left: fstab.left,
        boot: boot_place(&fstab.text, seen),
    };
    Some(Linux {
        root,
        title: title(inside),
        kernels: kernels(inside),
        maker: match (inside.has("/usr/sbin/update-initramfs"), has_dracut(inside)) {
            (true, _) => InitrdTool::InitramfsTools,
            (false, true) => InitrdTool::Dracut,
            (false, false) => InitrdTool::None,
        },
        traits,
    })
}

fn has_dracut(inside: &Inside) -> bool {
    inside.has("/usr/bin/dracut") || inside.has("/sbin/dracut")
}

fn net_rules(inside: &Inside) -> Vec<String> {
    let files = inside.names("/etc/udev/rules.d").into_iter();
    let is_rule = |name: &String| name.contains("persistent-net") && name.ends_with(".rules");
    files
        .filter(is_rule)
        .map(|name| format!("/etc/udev/rules.d/{name}"))
        .collect()
}

fn boot_place(fstab: &str, seen: &[DiskContents]) -> Option<(usize, usize)> {
    let mut lines = fstab
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|words| words.get(1) == Some(&"/boot"))?;
    let uuid = line
        .first()?
        .strip_prefix("UUID=")?
        .trim_matches('"')
        .to_owned();
    seen.iter().enumerate().find_map(|(index, seen)| {
        let inner = seen.found.iter().position(|found| found.uuid == uuid)?;
        Some((index, inner))
    })
}

fn title(inside: &Inside) -> String {
    let release = inside.text("/etc/os-release").unwrap_or_default();
    let mut lines = release.lines();
    let pretty = lines.find_map(|line| line.strip_prefix("PRETTY_NAME="));
    if let Some(pretty) = pretty {
        return pretty.trim_matches('"').to_owned();
    }
    match inside.text("/etc/debian_version") {
        Some(version) => format!("Debian {}", version.trim()),
        None => inside
            .text("/etc/redhat-release")
            .unwrap_or_else(|| "Linux".to_owned())
            .trim()
            .to_owned(),
    }
}

fn kernels(inside: &Inside) -> Vec<Kernel> {
    let mut kernels: Vec<Kernel> = inside
        .names("/lib/modules")
        .into_iter()
        .map(|version| Kernel {
            has_image: inside.has(&format!("/boot/vmlinuz-{version}")),
            has_virtio: has_virtio(inside, &version),
            version,
        })
        .collect();
    kernels.sort_by_key(|kernel| std::cmp::Reverse(version_key(&kernel.version)));
    kernels
}

fn has_virtio(inside: &Inside, version: &str) -> bool {
    let lists = ["modules.dep", "modules.builtin"];
    let lists = lists.map(|list| {
        inside
            .text(&format!("/lib/modules/{version}/{list}"))
            .unwrap_or_default()
    });
    let has = |driver: &str| {
        lists
            .iter()
            .any(|list| list.contains(&format!("/{driver}.ko")))
    };
    has("virtio_blk") && has("virtio_pci")
}

fn boot_files(
    runner: &Runner,
    at: &Path,
    linux: &mut Linux,
    files: &[PathBuf],
    seen: &[DiskContents],
) -> Result<(), Stopped> {
    let Some((index, inner)) = linux.traits.boot else {
        return Ok(());
    };
    let found = &seen[index].found[inner];
    let size = seen[index].size.saturating_sub(found.begin);
    mount(
        runner,
        &MountableFileSystem {
            path: &files[index],
            found,
            size,
        },
        at,
        false,
    )?;
    let names = Inside::open(at)
        .map(|inside| inside.names("/"))
        .unwrap_or_default();
    unmount(runner, at)?;
    for kernel in &mut linux.kernels {
        kernel.has_image |= names.contains(&format!("vmlinuz-{}", kernel.version));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_those_of_sfdisk() {
        let json = r#"{"partitiontable": {"label":"dos", "sectorsize":512, "partitions": [
            {"node":"/tmp/d1.raw1","start":2048,"size":8},{"node":"/tmp/d1.raw5","start":4096,"size":1},
            {"node":"/other","start":1,"size":1}]}}"#;
        let found = partitions(json, Path::new("/tmp/d1.raw"));
        assert_eq!(found, [(1, 1 << 20, 4096), (5, 2 << 20, 512)]);
        assert!(partitions("", Path::new("/x")).is_empty());
    }

    #[test]
    fn a_system_is_described_by_its_files() {
        let scratch = lab::ScratchDirectory::new().unwrap();
        let write = |name: &str, text: &str| {
            let path = scratch.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            "etc/fstab",
            "/dev/xvda2 / ext3 defaults 0 1\n/dev/xvda1 /boot ext2 defaults 0 2\n/dev/xvdz1 /x ext3\n",
        );
        write("etc/os-release", "NAME=x\nPRETTY_NAME=\"Debian 7\"\n");
        write("etc/udev/rules.d/70-persistent-net.rules", "");
        write("usr/sbin/update-initramfs", "");
        for version in ["2.6.32-5-xen-amd64", "3.2.0-4-amd64", "6.1.0-10-amd64"] {
            write(
                &format!("lib/modules/{version}/modules.builtin"),
                "kernel/drivers/virtio/virtio_pci.ko\n",
            );
            write(&format!("boot/vmlinuz-{version}"), "");
        }
        write(
            "lib/modules/3.2.0-4-amd64/modules.dep",
            "kernel/drivers/block/virtio_blk.ko: x\n",
        );
        let inside = Inside::open(scratch.path()).unwrap();
        let disk = |number| Disk {
            path: "/x".into(),
            name: "xvda".to_owned(),
            partition: Some(number),
            read_only: false,
        };
        let seen = |uuid: &str| DiskContents {
            found: vec![DetectedFileSystem {
                uuid: uuid.to_owned(),
                ..DetectedFileSystem::default()
            }],
            ..DiskContents::default()
        };
        let found = linux(
            &inside,
            (1, 0),
            &[disk(1), disk(2)],
            &[seen("a"), seen("b")],
        )
        .unwrap();
        assert_eq!(found.title, "Debian 7");
        assert_eq!(found.traits.boot, Some((0, 0)));
        assert_eq!(found.traits.devices, ["/dev/xvda2", "/dev/xvda1"]);
        assert_eq!(found.traits.devices_left, ["/dev/xvdz1"]);
        assert_eq!(found.traits.net_rules.len(), 1);
        let kernels: Vec<(&str, bool)> = found
            .kernels
            .iter()
            .map(|kernel| (kernel.version.as_str(), kernel.has_virtio))
            .collect();
        let expected = [
            ("6.1.0-10-amd64", false),
            ("3.2.0-4-amd64", true),
            ("2.6.32-5-xen-amd64", false),
        ];
        assert_eq!(kernels, expected);
        assert_eq!(windows(&inside), None);
        write("WINDOWS/System32/drivers/VioStor.sys", "");
        assert_eq!(windows(&inside).unwrap().missing.unwrap(), ["netkvm.sys"]);
    }
}
