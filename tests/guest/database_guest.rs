//! Runs a QEMU guest on a volume: the kernel of the distribution, and an init script of the test,
//! which checks a file system and a database, and writes to both until it is killed.

use lab::{Image, LabHost, LabProcess, eventually};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Timeout of a guest, whose processor is emulated beside other tests.
const PATIENCE: Duration = Duration::from_secs(180);
/// Programs that the init process runs.
const PROGRAMS: [&str; 4] = ["busybox", "sqlite3", "e2fsck", "xfs_repair"];
const MODULES: [&str; 8] = [
    "virtio",
    "virtio_ring",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_blk",
    "libcrc32c",
    "xfs",
];

/// Returns the boot image of guests. None if the kernel, QEMU or a program is not installed.
pub fn image() -> Option<Image> {
    Image::with(include_bytes!("database-init.sh"), &PROGRAMS, &MODULES)
}

/// Starts a guest whose disk is the volume at this socket, with a file system of that kind.
pub fn start(image: &Image, host: &LabHost, socket: &Path, kind: &str) -> DatabaseGuest {
    let disk = format!(
        "driver=nbd,node-name=disk,server.type=unix,server.path={},export=mail,\
         reconnect-delay=60,cache.direct=on",
        socket.display()
    );
    let output = image.directory().join("console");
    let console = File::create(&output).unwrap();
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(["-nodefaults", "-no-user-config", "-no-reboot"])
        .args(["-display", "none", "-serial", "stdio"])
        .args(["-accel", "tcg", "-m", "256"])
        .arg("-kernel")
        .arg(image.kernel())
        .arg("-initrd")
        .arg(image.initrd())
        .arg("-append")
        .arg(format!("console=ttyS0 quiet panic=-1 kind={kind}"))
        .args(["-blockdev", &disk])
        .args(["-device", "virtio-blk-pci,drive=disk"])
        .stdin(Stdio::null())
        .stdout(console.try_clone().unwrap())
        .stderr(console);
    DatabaseGuest {
        process: host.spawn(command).unwrap(),
        output,
    }
}

/// A running guest, which is killed when it is dropped.
pub struct DatabaseGuest {
    process: LabProcess,
    output: PathBuf,
}

impl DatabaseGuest {
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    fn lines(&self) -> Vec<String> {
        let said = self.said();
        // Leaves out the last line, which may be incomplete.
        let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole
            .lines()
            .filter_map(|line| line.strip_prefix("guest: "));
        lines.map(|line| line.trim_end().to_owned()).collect()
    }

    /// Returns the last transaction that was committed in this guest.
    pub fn committed(&self) -> Option<u64> {
        let lines = self.lines();
        let mut committed = lines.iter().rev();
        committed.find_map(|line| line.strip_prefix("committed ")?.parse().ok())
    }

    /// Waits until the guest has committed that many more transactions.
    #[track_caller]
    pub fn commits(&self, more: u64) {
        let mut first = None;
        let enough = || {
            let now = self.committed();
            first = first.or(now);
            now.zip(first)
                .is_some_and(|(now, first)| now >= first + more)
        };
        assert!(eventually(PATIENCE, enough), "{}", self.said());
    }

    /// Waits until the guest has checked its disk, and asserts that the file system is clean, and
    /// that the database has all transactions from the first to the last one, and `committed` among
    /// them.
    #[track_caller]
    pub fn is_clean(&self, committed: u64) {
        let checked = || self.lines().len() > 1 || self.process.exit().is_some();
        assert!(eventually(PATIENCE, checked), "{}", self.said());
        let lines = self.lines();
        assert_eq!(lines[0], "file system clean", "{}", self.said());
        // The line has the form `ok LAST|COUNT`.
        let state = lines[1]
            .strip_prefix("ok ")
            .and_then(|line| line.split_once('|'));
        let (last, count) = state.unwrap_or_else(|| panic!("{}", self.said()));
        assert_eq!(last, count, "a transaction in the middle is lost");
        let last: u64 = last.parse().unwrap();
        assert!(last >= committed, "{committed} committed, {last} are there");
    }
}

/// Makes a file system of that kind in a file.
pub fn format(kind: &str, file: &Path, bytes: u64) {
    let created = File::create(file).unwrap();
    created.set_len(bytes).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    let quiet = if kind == "ext4" { "-qF" } else { "-qf" };
    let made = Command::new(format!("mkfs.{kind}"))
        .arg(quiet)
        .arg(file)
        .status()
        .unwrap();
    assert!(made.success(), "mkfs.{kind}");
}
