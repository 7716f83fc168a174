//! Builds a Debian system for diskless machines twice, with the same bytes, and boots it with its
//! root on the node. Takes minutes, so it is part of `make test-long`.

use crate::boot::site::{BootSite, MAC};
use crate::program::binary;
use lab::Firmware;
use lab::{ScratchDirectory, eventually};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Time of an emulated Debian to its login prompt, beside other tests.
const PATIENCE: Duration = Duration::from_secs(1200);

/// Builds a system in this directory; returns the configuration lines that the command prints.
#[track_caller]
fn build(directory: &Path) -> String {
    let mut command = Command::new(binary());
    command.args(["boot", "image", "build", "debian", "trixie"]);
    let output = command.arg(directory).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "it takes minutes: make test-long"]
fn a_debian_is_built_twice_with_the_same_bytes_and_boots_with_its_root_on_the_node() {
    lab::skip_unless_root!();
    lab::skip_unless_installed!("mmdebstrap");
    let scratch = ScratchDirectory::new().unwrap();
    let [one, other] = ["one", "other"].map(|name| scratch.path().join(name));
    let lines = build(&one);
    println!("{lines}");
    build(&other);
    for name in ["vmlinuz", "initrd", "root.img"] {
        let mut same = Command::new("cmp");
        let same = same.arg(one.join(name)).arg(other.join(name));
        assert!(same.status().unwrap().success(), "{name}");
    }
    fs::remove_dir_all(&other).unwrap();
    let names: Vec<_> = fs::read_dir(&one)
        .unwrap()
        .map(|one| one.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 3, "{names:?}");
    // Uses the printed lines, with the overlays in a temporary directory.
    let overlays = scratch.path().join("overlays").display().to_string();
    let lines = lines.replace("/var/lib/evenkeel/overlays", &overlays);
    let machine = "\tmachine node7 mac 52:54:00:00:00:07 address 10.20.0.107 image one\n";
    let Some(site) = BootSite::new("boot-image", &format!("{lines}{machine}")) else {
        return;
    };
    let booting = site.machine.boot_with(MAC, Firmware::Bios, 1024).unwrap();
    let logs_in = || booting.console_output().contains("debian login: ");
    assert!(
        eventually(PATIENCE, logs_in),
        "{}",
        booting.console_output()
    );
    site.shows("1 overlay");
}
