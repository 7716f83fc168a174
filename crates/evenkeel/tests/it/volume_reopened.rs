//! Tests `evenkeel volume reopen` with a volume that has one copy, and whose disk failed and has
//! recovered.

use crate::volumes::VolumeFixture;
use lab::skip_unless_installed;
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Loop device on a file in a small tmpfs: data that does not fit is a disk error. Both are removed
/// on drop.
struct Thin {
    directory: PathBuf,
    device: String,
}

impl Thin {
    fn new(scratch: &Path) -> Thin {
        let directory = scratch.join("thin");
        std::fs::create_dir(&directory).unwrap();
        done(
            &["mount", "-t", "tmpfs", "-o", "size=8m", "thin"],
            &directory,
        );
        let file = directory.join("disk");
        let made = std::fs::File::create(&file).and_then(|file| file.set_len(128 << 20));
        let device = done(&["losetup", "--find", "--show"], &file);
        made.unwrap();
        let device = device.trim().to_owned();
        Thin { directory, device }
    }

    fn gets_room(&self) {
        let remount = ["mount", "-o", "remount,size=256m"];
        done(&remount, &self.directory);
    }
}

impl Drop for Thin {
    fn drop(&mut self) {
        let mut detach = Command::new("losetup");
        let _ = detach.args(["-d", &self.device]).status();
        let mut unmount = Command::new("umount");
        let _ = unmount.arg("-l").arg(&self.directory).status();
    }
}

fn done(words: &[&str], last: &Path) -> String {
    let output = Command::new(words[0])
        .args(&words[1..])
        .arg(last)
        .output()
        .unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn volume_reopens_after_a_failed_flush_when_the_disk_recovers() {
    lab::skip_unless_root!();
    skip_unless_installed!("losetup");
    skip_unless_installed!("qemu-io");
    let bed = VolumeFixture::new();
    let thin = Thin::new(bed.scratch.path());
    let backing = format!("backing device {}", thin.device);
    bed.write(&[format!("volume mail\n    size 64m\n    {backing}\n")]);
    let supervised = bed.serve();
    bed.comes_to("mail", "not created");
    let early = bed.run(&["volume", "reopen", "mail"]);
    assert_eq!(early.code(), Some(1), "{early:?}");
    bed.good(&["volume", "create", "mail", "--yes"]);
    bed.comes_to("mail", "serving");
    bed.qemu_io("mail", &["write -P 0xaa 0 1M", "flush"]);
    let needless = bed.run(&["volume", "reopen", "mail"]);
    let words = "no write or flush of volume 'mail' has failed";
    assert!(needless.stderr.contains(words), "{needless:?}");

    let fails = |steps: &[&str]| {
        let uri = format!("nbd+unix:///mail?socket={}", bed.socket("mail").display());
        let mut command = Command::new("timeout");
        command.args(["60", "qemu-io", "-f", "raw"]);
        steps.iter().for_each(|step| {
            command.args(["-c", step]);
        });
        let output = command.arg(uri).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).contains("error")
    };
    assert!(fails(&["write -P 0xbb 1M 32M", "flush"]));
    bed.comes_to("mail", "failing");
    let shown = bed.good(&["volume", "show", "mail"]);
    let hint = "when the disk works again, run `evenkeel volume reopen mail`";
    assert!(shown.contains(hint), "{shown}");
    // Free space alone does not restore the data that the kernel has dropped.
    thin.gets_room();
    assert!(fails(&["write -P 0xcc 1M 1M", "flush"]));
    let reopened = bed.good(&["volume", "reopen", "mail"]);
    assert_eq!(reopened, "volume mail is served again\n");
    assert_eq!(bed.state("mail"), "serving");
    bed.qemu_io(
        "mail",
        &["read -P 0xaa 0 1M", "write -P 0xdd 1M 32M", "flush"],
    );
    bed.qemu_io("mail", &["read -P 0xdd 1M 32M"]);
    let again = bed.run(&["volume", "reopen", "mail"]);
    assert!(again.stderr.contains(words), "{again:?}");
    let shown = bed.good(&["volume", "show", "mail"]);
    assert!(!shown.contains(hint), "{shown}");
    assert_eq!(supervised.end(Signal::SIGTERM).code(), Some(0));
}
