//! Tests of volumes on logical volumes. Test machines have no device-mapper, so scripts that record
//! their arguments replace LVM's programs, and loop devices replace logical volumes. The real LVM's
//! reaction to the arguments is not tested.

use crate::harness::{CommandOutput, evenkeel, run_with};
use crate::volumes::VolumeFixture;
use lab::{skip_unless_installed, skip_unless_root};
use nix::sys::signal::Signal;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// Replacement of LVM's programs: the group `$GROUP` with 1 GiB, in extents of 4 MiB, and the thin
/// pool `pool`.
const PROGRAM: &str = r#"#!/bin/sh
set -e
program=${0##*/}
state=${0%/*}/state
echo "$program $*" >> "$state/calls"
for last; do :; done
case $program in
vgs)
    [ "$last" = GROUP ] || { echo "  Volume group \"$last\" not found" >&2; exit 5; }
    used=$(cat "$state"/*.size 2>/dev/null | awk '{s+=$1} END {printf "%d", s}')
    echo "  $((1073741824 - used))|4194304"
    ;;
lvs)
    echo "  pool|104857600|twi-aotz--|"
    echo "  volume-foreign|104857600|-wi-a-----|"
    for one in "$state"/*.size; do
        [ -e "$one" ] || continue
        name=${one##*/}
        echo "  ${name%.size}|$(cat "$one")|-wi-a-----|other,evenkeel"
    done
    ;;
lvcreate)
    origin=
    while [ $# -gt 1 ]; do
        case $1 in
        --snapshot) origin=${last##*/} ;;
        --name) name=$2 ;;
        --size|--virtualsize) size=${2%b} ;;
        esac
        shift
    done
    if [ -n "$origin" ]; then
        sync -f "$state/$origin.data"
        blockdev --flushbufs "$(cat "$state/$origin.loop")"
        cp "$state/$origin.data" "$state/$name.data"
        size=$(cat "$state/$origin.size")
    fi
    size=$(( (size + 4194303) / 4194304 * 4194304 ))
    truncate -s "$size" "$state/$name.data"
    loop=$(losetup --find --show "$state/$name.data")
    echo "$loop" > "$state/$name.loop"
    echo "$size" > "$state/$name.size"
    mkdir -p /dev/GROUP
    ln -s "$loop" "/dev/GROUP/$name"
    ;;
lvextend)
    name=${last##*/}
    size=$(( (${2%b} + 4194303) / 4194304 * 4194304 ))
    truncate -s "$size" "$state/$name.data"
    losetup -c "$(cat "$state/$name.loop")"
    echo "$size" > "$state/$name.size"
    ;;
lvremove)
    name=${last##*/}
    losetup -d "$(cat "$state/$name.loop")"
    rm "$state/$name".* "/dev/GROUP/$name"
    ;;
esac
"#;

struct Group {
    bed: VolumeFixture,
    name: String,
    programs: PathBuf,
}

impl Group {
    fn new() -> Group {
        let bed = VolumeFixture::new();
        // Uses a name of the group that is unique on this machine.
        let name = bed.scratch.path().file_name().unwrap();
        let name = name.to_str().unwrap().to_owned();
        let programs = bed.scratch.path().join("programs");
        std::fs::create_dir_all(programs.join("state")).unwrap();
        for program in ["vgs", "lvs", "lvcreate", "lvextend", "lvremove"] {
            let path = programs.join(program);
            std::fs::write(&path, PROGRAM.replace("GROUP", &name)).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        Group {
            bed,
            name,
            programs,
        }
    }

    fn section(&self, name: &str, size: &str, place: &str) -> String {
        let place = place.replace("GROUP", &self.name);
        format!("volume {name}\n    size {size}\n    backing lvm {place}\n")
    }

    fn run(&self, words: &[&str]) -> CommandOutput {
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", self.programs.display());
        let directory = self.bed.scratch.path();
        run_with(evenkeel(), directory, words, &[("PATH", &path)])
    }

    fn good(&self, words: &[&str]) -> String {
        let outcome = self.run(words);
        assert_eq!(outcome.code(), Some(0), "{words:?}: {outcome:?}");
        outcome.stdout
    }

    fn refused(&self, words: &[&str]) -> String {
        let outcome = self.run(words);
        assert_eq!(outcome.code(), Some(1), "{words:?}: {outcome:?}");
        outcome.stderr
    }

    /// Returns the recorded calls that change something, since the last call of this function.
    fn changes(&self) -> Vec<String> {
        let path = self.programs.join("state/calls");
        let calls = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(path);
        let changes = calls
            .lines()
            .filter(|line| !line.starts_with("vgs") && !line.starts_with("lvs"));
        changes
            .map(|line| line.replace(&self.name, "GROUP"))
            .collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let state = self.programs.join("state");
        for entry in std::fs::read_dir(&state).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|end| end == "loop") {
                let device = std::fs::read_to_string(entry.path()).unwrap_or_default();
                let detach = ["-d", device.trim()];
                let _ = std::process::Command::new("losetup").args(detach).status();
            }
        }
        let _ = std::fs::remove_dir_all(format!("/dev/{}", self.name));
    }
}

#[test]
fn a_logical_volume_is_made_served_extended_and_removed() {
    skip_unless_root!();
    skip_unless_installed!("losetup");
    skip_unless_installed!("qemu-io");
    let group = Group::new();
    let bed = &group.bed;
    bed.write(&[group.section("mail", "64m", "GROUP")]);
    let supervised = bed.serve();
    bed.comes_to("mail", "not created");
    let created = group.good(&["volume", "create", "mail"]);
    let words = format!("created volume mail: 64m on lvm {}", group.name);
    assert!(created.contains(&words), "{created}");
    // 1 MiB of metadata before the data, and 33 pages of checksums behind it.
    let call = "lvcreate --yes --wipesignatures y --zero y --addtag evenkeel --size 68292608b --name volume-mail GROUP";
    assert_eq!(group.changes(), [call]);
    bed.comes_to("mail", "serving");
    bed.qemu_io("mail", &["write -P 0xaa 63M 1M", "flush"]);
    // More than the available space: the volume continues, and the message names the remedy.
    bed.write(&[group.section("mail", "128m", "GROUP")]);
    supervised.reload();
    let shown = group.good(&["volume", "show", "mail"]);
    assert!(
        shown.contains("`evenkeel volume grow` extends it, then reload"),
        "{shown}"
    );
    bed.qemu_io("mail", &["read -P 0xaa 63M 1M"]);
    let grown = group.good(&["volume", "grow", "mail", "--from", "site.cfg"]);
    assert!(
        grown.contains("for 128m: `evenkeel reload` grows the volume"),
        "{grown}"
    );
    assert_eq!(
        group.changes(),
        ["lvextend --size 135536640b GROUP/volume-mail"]
    );
    let again = group.good(&["volume", "grow", "mail", "--from", "site.cfg"]);
    assert!(again.contains("already has room for 128m"), "{again}");
    supervised.reload();
    bed.qemu_io(
        "mail",
        &["read -P 0xaa 63M 1M", "write -P 0xbb 127M 1M", "flush"],
    );
    // The role stays, because another volume exists.
    bed.write(&[bed.section("web", "1m")]);
    supervised.reload();
    let remove = ["volume", "remove", "mail", "--backing", "lvm", &group.name];
    assert!(group.refused(&remove).contains("nothing was removed"));
    assert_eq!(group.changes(), [""; 0]);
    group.good(&[&remove[..], &["--yes"]].concat());
    assert_eq!(group.changes(), ["lvremove --yes GROUP/volume-mail"]);
    assert!(!PathBuf::from(format!("/dev/{}/volume-mail", group.name)).exists());
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn thin_pool_is_used_and_foreign_volumes_stay() {
    skip_unless_root!();
    skip_unless_installed!("losetup");
    let group = Group::new();
    let bed = &group.bed;
    bed.write(&[
        group.section("thin", "64m", "GROUP/pool"),
        group.section("large", "2g", "GROUP"),
        group.section("foreign", "64m", "GROUP"),
        group.section("elsewhere", "64m", "missing"),
        group.section("nopool", "64m", "GROUP/volume-foreign"),
    ]);
    let create = |name: &'static str| ["volume", "create", name, "--from", "site.cfg"];
    group.good(&create("thin"));
    let call = "lvcreate --yes --thin --addtag evenkeel --virtualsize 68292608b --name volume-thin GROUP/pool";
    assert_eq!(group.changes(), [call]);
    assert!(group.refused(&create("thin")).contains("exists already"));
    let told = group.refused(&create("large"));
    assert!(told.contains("bytes free, 21"), "{told}");
    let told = group.refused(&[&create("foreign")[..], &["--yes"]].concat());
    assert!(
        told.contains("was not created by `evenkeel volume create`: it is not changed"),
        "{told}"
    );
    let told = group.refused(&create("elsewhere"));
    assert!(
        told.contains("there is no volume group 'missing'"),
        "{told}"
    );
    let told = group.refused(&create("nopool"));
    assert!(told.contains("has no thin pool 'volume-foreign'"), "{told}");
    let told = group.refused(&["volume", "grow", "foreign", "--from", "site.cfg"]);
    assert!(told.contains("it is not changed"), "{told}");
    assert_eq!(group.changes(), [""; 0]);
    group.good(&["volume", "remove", "thin", "--from", "site.cfg", "--yes"]);
    let told = group.refused(&["volume", "snapshot", "large", "--from", "site.cfg"]);
    assert!(
        told.contains("a logical volume that is not thin does not support them here"),
        "{told}"
    );
    assert_eq!(group.changes(), ["lvremove --yes GROUP/volume-thin"]);
}

#[test]
fn thin_volume_is_restored_to_a_snapshot() {
    skip_unless_root!();
    skip_unless_installed!("losetup");
    skip_unless_installed!("qemu-io");
    let group = Group::new();
    let bed = &group.bed;
    bed.write(&[
        group.section("mail", "16m", "GROUP/pool"),
        bed.section("web", "16m"),
    ]);
    let supervised = bed.serve();
    bed.comes_to("mail", "not created");
    group.good(&["volume", "create", "mail"]);
    bed.comes_to("mail", "serving");
    bed.qemu_io("mail", &["write -P 0xaa 0 4M", "flush"]);
    group.changes();
    let taken = group.good(&["volume", "snapshot", "mail"]);
    let stamp = taken.trim_end();
    let call = format!(
        "lvcreate --yes --snapshot --setactivationskip n --addtag evenkeel --name volume-mail+{stamp} GROUP/volume-mail"
    );
    assert_eq!(group.changes(), [call]);
    bed.qemu_io("mail", &["write -P 0xbb 2M 4M", "flush"]);
    let shown = group.good(&["volume", "show", "mail"]);
    assert!(
        shown.contains(&format!("snapshot: {stamp}, 16m\n")),
        "{shown}"
    );
    group.good(&["volume", "export", "mail", "raw", "--snapshot", stamp]);
    let bytes = std::fs::read(bed.scratch.path().join("raw")).unwrap();
    let is_as_it_was = |(at, byte): (usize, &u8)| *byte == if at < 4 << 20 { 0xaa } else { 0 };
    assert!(bytes.len() == 16 << 20 && bytes.iter().enumerate().all(is_as_it_was));
    let told = group.refused(&["volume", "clone", "mail", stamp, "web"]);
    assert!(told.contains("cannot be cloned"), "{told}");
    let told = group.refused(&[
        "volume",
        "import",
        "web",
        &format!("/dev/{}/volume-mail+{stamp}", group.name),
    ]);
    assert!(told.contains("is a volume of Evenkeel"), "{told}");
    let unused = || bed.good(&["volume", "list"]).contains("16m   0");
    assert!(lab::eventually(crate::harness::PATIENCE, unused));
    group.good(&["volume", "restore", "mail", stamp, "--yes"]);
    bed.qemu_io("mail", &["read -P 0xaa 0 4M", "read -P 0 4M 12M"]);
    group.changes();
    group.good(&["volume", "snapshot", "mail", "--remove", stamp]);
    assert_eq!(
        group.changes(),
        [format!("lvremove --yes GROUP/volume-mail+{stamp}")]
    );
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}
