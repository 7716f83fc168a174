//! Tests of `verify yes` with the real volume role: its privileges suffice, silent damage is found,
//! and the checksums stay valid after a kill and a reload.

use crate::harness::PATIENCE;
use crate::volumes::{VolumeFixture, role};
use lab::{eventually, skip_unless_installed};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

/// Changes a byte of a volume's data in its file.
fn damage(bed: &VolumeFixture, offset: u64) {
    let path = bed.scratch.path().join("volumes/mail.volume");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
    file.sync_all().unwrap();
}

/// Waits until `volume show` contains this text.
fn comes_to_show(bed: &VolumeFixture, expected: &str) {
    let shows = || {
        bed.run(&["volume", "show", "mail"])
            .stdout
            .contains(expected)
    };
    assert!(
        eventually(PATIENCE, shows),
        "{expected}: {:?}",
        bed.run(&["volume", "show", "mail"])
    );
}

#[test]
fn damaged_disk_gives_errors_and_never_wrong_data() {
    skip_unless_installed!("qemu-io");
    let bed = VolumeFixture::new();
    let plain = bed.section("mail", "64m");
    bed.write(std::slice::from_ref(&plain));
    bed.create("mail");
    let supervised = bed.serve();
    bed.comes_to("mail", "serving");
    bed.qemu_io("mail", &["write -P 0xaa 0 8M", "flush"]);
    let refused = bed.run(&["volume", "verify", "mail"]);
    assert!(
        refused.stderr.contains("has one copy and no checksums"),
        "{refused:?}"
    );

    // Checksums are added to a volume with data.
    bed.write(&[format!("{plain}    verify yes\n")]);
    let outcome = supervised.reload();
    assert!(
        outcome.stderr.contains("~ volume mail: verify no -> yes"),
        "{outcome:?}"
    );
    comes_to_show(&bed, "checksums: complete");
    let verified = bed.good(&["volume", "verify", "mail"]);
    assert!(
        verified.contains("volume mail: no damage found"),
        "{verified}"
    );
    damage(&bed, 5_000_000);
    let verified = bed.run(&["volume", "verify", "mail"]);
    assert_eq!(verified.code(), Some(1), "{verified:?}");
    assert!(
        verified
            .stdout
            .contains("bytes 4997120-5001215 do not match their checksums"),
        "{verified:?}"
    );
    comes_to_show(&bed, "the disk has damaged 4 KiB");
    bed.comes_to("mail", "failing");
    bed.qemu_io("mail", &["write -P 0xbb 4880k 4k", "flush"]);
    bed.qemu_io("mail", &["read -P 0xaa 0 4M"]);
    bed.comes_to("mail", "serving");

    // Blocks that were in use when the role was killed are not refused.
    kill(Pid::from_raw(role(&supervised).unwrap()), Signal::SIGKILL).unwrap();
    comes_to_show(&bed, "checksums: complete");
    bed.qemu_io("mail", &["read -P 0xbb 4880k 4k", "read -P 0xaa 7M 1M"]);

    // Without checksums the contents of the file are the data.
    bed.write(std::slice::from_ref(&plain));
    supervised.reload();
    let is_gone = || {
        !bed.run(&["volume", "show", "mail"])
            .stdout
            .contains("checksums:")
    };
    assert!(eventually(PATIENCE, is_gone));
    bed.comes_to("mail", "serving");
    damage(&bed, 0);
    bed.write(&[format!("{plain}    verify yes\n")]);
    supervised.reload();
    comes_to_show(&bed, "checksums: complete");
    bed.qemu_io("mail", &["read -P 0xab 0 1", "read -P 0xaa 4k 4k"]);
}
