//! A guest of QEMU on a volume: the distribution's kernel, and a first process of our own that
//! checks a file system and a database, and writes both until it is killed.

use lab::{Host, Process, Scratch, eventually};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long a guest may take: its processor is emulated, beside other tests.
const PATIENCE: Duration = Duration::from_secs(180);
/// What the first process runs.
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

/// What guests begin with.
pub struct Image {
    kernel: PathBuf,
    scratch: Scratch,
}

impl Image {
    /// None where the kernel, QEMU or a program is not installed.
    pub fn new() -> Option<Image> {
        Image::with(include_bytes!("guest-init.sh"), &PROGRAMS, &MODULES)
    }

    /// With this first process, and these programs and modules.
    pub fn with(init: &[u8], programs: &[&str], wanted: &[&str]) -> Option<Image> {
        Image::with_files(init, programs, wanted, &[])
    }

    /// With further files, by their paths.
    pub fn with_files(
        init: &[u8],
        programs: &[&str],
        wanted: &[&str],
        files: &[(&str, &[u8])],
    ) -> Option<Image> {
        let kernel = kernel()?;
        let version = kernel.file_name()?.to_str()?.strip_prefix("vmlinuz-")?;
        let modules = Path::new("/lib/modules").join(version);
        let mut archive = Archive::default();
        for directory in ["bin", "proc", "sys", "dev", "lib", "lib/modules", "lib64"] {
            archive.add(directory, 0o040_755, &[]);
        }
        let mut libraries = Vec::new();
        for program in programs {
            let path = installed(program)?;
            libraries.extend(libraries_of(&path));
            let name = format!("bin/{program}");
            archive.add(&name, 0o100_755, &fs::read(path).ok()?);
        }
        libraries.sort();
        libraries.dedup();
        for library in libraries {
            let directory = Path::new(&library).parent()?.to_str()?;
            let mut path = String::new();
            for part in directory.split('/').filter(|part| !part.is_empty()) {
                path = format!("{path}{part}");
                archive.add(&path, 0o040_755, &[]);
                path.push('/');
            }
            let name = library.trim_start_matches('/');
            archive.add(name, 0o100_755, &fs::read(&library).ok()?);
        }
        for module in wanted {
            // Some kernels have it built in.
            if let Some(path) = find(&modules, &format!("{module}.ko")) {
                let name = format!("lib/modules/{module}.ko");
                archive.add(&name, 0o100_644, &fs::read(path).ok()?);
            }
        }
        for (path, content) in files {
            archive.add(path, 0o100_755, content);
        }
        archive.add("init", 0o100_755, init);
        let scratch = Scratch::new().ok()?;
        scratch.write("initrd", archive.end()).ok()?;
        installed("qemu-system-x86_64")?;
        Some(Image { kernel, scratch })
    }

    /// The kernel.
    pub fn kernel(&self) -> &Path {
        &self.kernel
    }

    /// The initial RAM disk.
    pub fn initrd(&self) -> PathBuf {
        self.scratch.path().join("initrd")
    }

    /// Starts a guest whose disk is the volume at this socket, with a file system of that kind.
    pub fn start(&self, host: &Host, socket: &Path, kind: &str) -> Guest {
        let disk = format!(
            "driver=nbd,node-name=disk,server.type=unix,server.path={},export=mail,\
             reconnect-delay=60,cache.direct=on",
            socket.display()
        );
        let output = self.scratch.path().join("console");
        let console = File::create(&output).unwrap();
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args(["-nodefaults", "-no-user-config", "-no-reboot"])
            .args(["-display", "none", "-serial", "stdio"])
            .args(["-accel", "tcg", "-m", "256"])
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(self.scratch.path().join("initrd"))
            .arg("-append")
            .arg(format!("console=ttyS0 quiet panic=-1 kind={kind}"))
            .args(["-blockdev", &disk])
            .args(["-device", "virtio-blk-pci,drive=disk"])
            .stdin(Stdio::null())
            .stdout(console.try_clone().unwrap())
            .stderr(console);
        Guest {
            process: host.spawn(command).unwrap(),
            output,
        }
    }
}

/// A guest that runs. Dropped, it is killed.
pub struct Guest {
    process: Process,
    output: PathBuf,
}

impl Guest {
    /// What it printed.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    fn lines(&self) -> Vec<String> {
        let said = self.said();
        // The last line may not be whole.
        let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole
            .lines()
            .filter_map(|line| line.strip_prefix("guest: "));
        lines.map(|line| line.trim_end().to_owned()).collect()
    }

    /// The last transaction that was committed in this guest.
    pub fn committed(&self) -> Option<u64> {
        let lines = self.lines();
        let mut committed = lines.iter().rev();
        committed.find_map(|line| line.strip_prefix("committed ")?.parse().ok())
    }

    /// Waits until it has committed so many more.
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

    /// Waits until it has checked its disk: the file system is clean, and the database has all
    /// transactions from the first to the last one, and `committed` among them.
    #[track_caller]
    pub fn is_clean(&self, committed: u64) {
        let checked = || self.lines().len() > 1 || self.process.exit().is_some();
        assert!(eventually(PATIENCE, checked), "{}", self.said());
        let lines = self.lines();
        assert_eq!(lines[0], "file system clean", "{}", self.said());
        // `ok LAST|COUNT`.
        let state = lines[1]
            .strip_prefix("ok ")
            .and_then(|line| line.split_once('|'));
        let (last, count) = state.unwrap_or_else(|| panic!("{}", self.said()));
        assert_eq!(last, count, "a transaction in the middle is lost");
        let last: u64 = last.parse().unwrap();
        assert!(last >= committed, "{committed} committed, {last} are there");
    }
}

/// The newest kernel for virtual machines.
fn kernel() -> Option<PathBuf> {
    let entries = fs::read_dir("/boot").ok()?.flatten();
    let kernels = entries.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with("vmlinuz-") && name.contains("cloud-amd64"))
    });
    kernels.max()
}

fn installed(program: &str) -> Option<PathBuf> {
    let directories = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
    let mut paths = directories
        .iter()
        .map(|directory| Path::new(directory).join(program));
    paths.find(|path| path.exists())
}

/// The shared libraries of a program, and the loader.
fn libraries_of(program: &Path) -> Vec<String> {
    let listed = Command::new("ldd").arg(program).output();
    let listed = listed.map(|listed| listed.stdout).unwrap_or_default();
    let listed = String::from_utf8_lossy(&listed).into_owned();
    let words = listed
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    words.map(str::to_owned).collect()
}

fn find(directory: &Path, name: &str) -> Option<PathBuf> {
    for entry in fs::read_dir(directory).ok()?.flatten() {
        let path = entry.path();
        let found = match entry.file_type().ok()?.is_dir() {
            true => find(&path, name),
            false => (entry.file_name() == *name).then_some(path),
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// An archive as the kernel unpacks it: cpio, "newc".
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let (length, named) = (content.len() as u32, name.len() as u32 + 1);
        let numbers = [self.entries, mode, 0, 0, 1, 0, length, 0, 0, 0, 0, named, 0];
        self.bytes.extend(b"070701");
        for number in numbers {
            self.bytes.extend(format!("{number:08x}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn end(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, &[]);
        self.bytes
    }
}

/// Makes a file system of that kind in a file.
pub fn format(kind: &str, file: &Path, bytes: u64) {
    let created = File::create(file).unwrap();
    created.set_len(bytes).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    let program = installed(&format!("mkfs.{kind}")).expect("mkfs");
    let quiet = if kind == "ext4" { "-qF" } else { "-qf" };
    let made = Command::new(program).arg(quiet).arg(file).status().unwrap();
    assert!(made.success(), "mkfs.{kind}");
}
