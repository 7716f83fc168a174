//! Tests of snapshots of volumes on an XFS file system: restores, clones, and scheduled snapshots.

use crate::harness::PATIENCE;
use crate::volumes::{Connected, VolumeFixture};
use lab::{eventually, skip_unless_installed, skip_unless_root};
use nix::sys::signal::Signal;
use std::path::PathBuf;
use std::process::Command;

/// Mount point of an XFS file system on a loop device, removed on drop.
pub(crate) struct Xfs(pub(crate) PathBuf);

impl Xfs {
    pub(crate) fn mount(bed: &VolumeFixture) -> Xfs {
        let image = bed.scratch.path().join("xfs");
        let file = std::fs::File::create(&image).unwrap();
        file.set_len(512 << 20).unwrap();
        let made = Command::new("mkfs.xfs").arg("-q").arg(&image).status();
        assert!(made.unwrap().success());
        let at = bed.scratch.path().join("volumes");
        let mounted = Command::new("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(&at)
            .status();
        assert!(mounted.unwrap().success());
        Xfs(at)
    }

    pub(crate) fn snapshots(&self) -> Vec<String> {
        let all = std::fs::read_dir(&self.0).unwrap();
        let names = all.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(".snapshot")).collect();
        names.sort();
        names
    }
}

impl Drop for Xfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn volume_is_restored_and_cloned_from_a_snapshot() {
    skip_unless_root!();
    skip_unless_installed!("mkfs.xfs");
    skip_unless_installed!("qemu-io");
    let bed = VolumeFixture::new();
    let xfs = Xfs::mount(&bed);
    bed.write(&[bed.section("mail", "64m"), bed.section("web", "128m")]);
    bed.create("mail");
    let supervised = bed.serve();
    bed.comes_to("mail", "serving");
    bed.qemu_io("mail", &["write -P 0xaa 0 4M", "flush"]);
    let taken = bed.good(&["volume", "snapshot", "mail"]);
    // Standard output is only the name of the snapshot, for `S=$(evenkeel volume snapshot mail)`.
    let stamp = taken.trim_end().to_owned();
    assert!(stamp.len() == 16 && stamp.ends_with('Z'), "{taken}");
    bed.qemu_io("mail", &["write -P 0xbb 2M 4M", "flush"]);
    let shown = bed.good(&["volume", "show", "mail"]);
    assert!(
        shown.contains(&format!("snapshot: {stamp}, 64m\n")),
        "{shown}"
    );
    // The snapshot is a raw image of the earlier content.
    let path = xfs.0.join(format!("mail@{stamp}.snapshot"));
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 64 << 20);
    assert!(bytes[..4 << 20].iter().all(|byte| *byte == 0xaa));
    assert!(bytes[4 << 20..].iter().all(|byte| *byte == 0));
    restores(&bed, &xfs, &stamp);
    // A larger clone, which shares no later changes.
    let cloned = bed.good(&["volume", "clone", "mail", &stamp, "web"]);
    assert!(
        cloned.contains(&format!("created volume web of mail at {stamp}: 128m")),
        "{cloned}"
    );
    bed.comes_to("web", "serving");
    bed.qemu_io(
        "web",
        &[
            "read -P 0xaa 0 4M",
            "read -P 0 4M 124M",
            "write -P 0xcc 0 1M",
            "flush",
        ],
    );
    bed.qemu_io("mail", &["read -P 0xaa 0 4M"]);
    let again = bed.run(&["volume", "clone", "mail", "now", "web"]);
    assert!(again.stderr.contains("exists already"), "{again:?}");
    bed.good(&["volume", "snapshot", "mail", "--remove", &stamp]);
    assert!(!path.exists());
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

/// Restores `mail` from a snapshot with 4 MiB of 0xaa.
fn restores(bed: &VolumeFixture, xfs: &Xfs, stamp: &str) {
    // The restore is refused without `--yes`, with a connected client, and for an unknown snapshot.
    let restore = ["volume", "restore", "mail", stamp];
    let outcome = bed.run(&restore);
    assert!(
        outcome
            .stderr
            .contains("`--yes` replaces all data of volume mail"),
        "{outcome:?}"
    );
    let yes = [&restore[..], &["--yes"]].concat();
    let client = Connected::new(&bed.socket("mail"));
    let refused = || bed.run(&yes).stderr.contains("has clients (1)");
    assert!(eventually(PATIENCE, refused));
    assert!(client.still_works());
    let outcome = bed.run(&["volume", "restore", "mail", "20200101T000000Z", "--yes"]);
    assert!(
        outcome
            .stderr
            .contains("has no snapshot '20200101T000000Z'"),
        "{outcome:?}"
    );
    let before = xfs.snapshots();
    let unused = || bed.good(&["volume", "list"]).contains("64m   0");
    assert!(
        eventually(PATIENCE, unused),
        "{}",
        bed.good(&["volume", "list"])
    );
    let restored = bed.good(&yes);
    assert!(
        restored.contains("the state before is snapshot "),
        "{restored}"
    );
    bed.qemu_io("mail", &["read -P 0xaa 0 4M", "read -P 0 4M 60M"]);
    assert_eq!(xfs.snapshots().len(), before.len() + 1);
}

#[test]
fn scheduled_snapshots_are_taken_and_old_ones_removed() {
    skip_unless_root!();
    skip_unless_installed!("mkfs.xfs");
    let bed = VolumeFixture::new();
    let xfs = Xfs::mount(&bed);
    let section = bed.section("mail", "64m");
    bed.write(std::slice::from_ref(&section));
    bed.create("mail");
    let old = ["20200101T000000Z", "20200102T000000Z", "20200103T000000Z"];
    for stamp in old {
        std::fs::write(xfs.0.join(format!("mail@{stamp}-scheduled.snapshot")), "").unwrap();
    }
    // Snapshots of an operator or of another volume are kept.
    std::fs::write(xfs.0.join("mail@20190101T000000Z.snapshot"), "").unwrap();
    std::fs::write(xfs.0.join("mail2@20190101T000000Z-scheduled.snapshot"), "").unwrap();
    bed.write(&[section.clone(), "    snapshot every 1h keep 2\n".to_owned()]);
    let supervised = bed.serve();
    bed.comes_to("mail", "serving");
    let taken = || {
        bed.good(&["volume", "show", "mail"])
            .contains("every 1h keep 2: 2 taken, newest 2")
    };
    assert!(
        eventually(PATIENCE, taken),
        "{}",
        bed.good(&["volume", "show", "mail"])
    );
    let all = xfs.snapshots();
    assert_eq!(all.len(), 4, "{all:?}");
    assert_eq!(
        all[..2],
        [
            "mail2@20190101T000000Z-scheduled.snapshot",
            "mail@20190101T000000Z.snapshot"
        ]
    );
    assert_eq!(all[2], "mail@20200103T000000Z-scheduled.snapshot");
    assert_eq!(
        std::fs::metadata(xfs.0.join(&all[3])).unwrap().len(),
        64 << 20
    );
    // A reload without the line ends the schedule; the snapshots stay.
    bed.write(std::slice::from_ref(&section));
    let outcome = supervised.reload();
    let words = "~ volume mail: snapshot every 1h keep 2 -> none";
    assert!(outcome.stderr.contains(words), "{outcome:?}");
    assert!(
        !bed.good(&["volume", "show", "mail"])
            .contains("scheduled snapshots")
    );
    assert_eq!(xfs.snapshots().len(), 4);
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}

#[test]
fn a_file_system_that_cannot_clone_is_named() {
    let bed = VolumeFixture::new();
    let section = bed.section("mail", "1m");
    bed.write(&[section, "    snapshot every 1h keep 2\n".to_owned()]);
    bed.create("mail");
    let supervised = bed.serve();
    bed.comes_to("mail", "serving");
    let words = "cannot clone files: snapshots need XFS (with reflink) or btrfs";
    let outcome = bed.run(&["volume", "snapshot", "mail"]);
    if outcome.code() == Some(0) {
        eprintln!("skipped: the temporary directory is on a file system with reflink");
        return;
    }
    assert!(outcome.stderr.contains(words), "{outcome:?}");
    let said = || bed.good(&["volume", "show", "mail"]).contains(words);
    assert!(
        eventually(PATIENCE, said),
        "{}",
        bed.good(&["volume", "show", "mail"])
    );
    let left = std::fs::read_dir(bed.scratch.path().join("volumes")).unwrap();
    assert_eq!(left.count(), 2, "no file is left behind");
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}
