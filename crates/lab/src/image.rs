//! Builds boot images of emulated machines: the distribution's kernel, and an initial RAM disk
//! whose first process is a script of a test.

use namespace::ScratchDirectory;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A kernel and an initial RAM disk.
#[derive(Debug)]
pub struct Image {
    kernel: PathBuf,
    scratch: ScratchDirectory,
}

impl Image {
    /// Creates an image with `init` as its first process, these programs and kernel modules.
    /// Returns None if the kernel, QEMU or a program is not installed.
    pub fn with(init: &[u8], programs: &[&str], wanted: &[&str]) -> Option<Image> {
        Image::with_files(init, programs, wanted, &[])
    }

    /// Creates an image as [`Image::with`] does, with further files by their paths.
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
            // Skips a module without a file, which some kernels have built in.
            if let Some(path) = find(&modules, &format!("{module}.ko")) {
                let name = format!("lib/modules/{module}.ko");
                archive.add(&name, 0o100_644, &fs::read(path).ok()?);
            }
        }
        for (path, content) in files {
            archive.add(path, 0o100_755, content);
        }
        archive.add("init", 0o100_755, init);
        let scratch = ScratchDirectory::new().ok()?;
        scratch.write("initrd", archive.end()).ok()?;
        installed("qemu-system-x86_64")?;
        Some(Image { kernel, scratch })
    }

    /// Returns the path of the kernel.
    pub fn kernel(&self) -> &Path {
        &self.kernel
    }

    /// Returns a directory that is removed with the image.
    pub fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// Returns the path of the initial RAM disk.
    pub fn initrd(&self) -> PathBuf {
        self.scratch.path().join("initrd")
    }
}

/// Returns the kernel for virtual machines with the last name, which usually is the newest.
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

/// Returns the shared libraries of a program, and the loader.
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
        let found = if entry.file_type().ok()?.is_dir() {
            find(&path, name)
        } else {
            (entry.file_name() == *name).then_some(path)
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// An archive in the kernel's format: cpio, "newc".
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
