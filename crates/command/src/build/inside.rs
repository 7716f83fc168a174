//! Reads and changes files within the file system tree of a guest. Links resolve within the tree
//! and never lead to the host: the kernel resolves each path there (`openat2`, RESOLVE_IN_ROOT).

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, mkdirat, openat, openat2,
    renameat, statat, unlinkat,
};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write, stderr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

const FILE_MAX: u64 = 16 << 20;
const ENTRIES_MAX: usize = 4096;

pub struct Inside {
    root: OwnedFd,
    path: PathBuf,
}

impl Inside {
    /// Opens the tree at this path of the host.
    ///
    /// # Errors
    /// Returns the system's error as a message.
    pub fn open(path: &Path) -> Result<Inside, String> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, path, flags, Mode::empty());
        let root = root.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Inside {
            root,
            path: path.to_owned(),
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn at(&self, path: &str, flags: OFlags, mode: u32) -> Result<OwnedFd, Errno> {
        // Opens without waiting for a device or a pipe. O_PATH permits no such flags.
        let plain = if flags.contains(OFlags::PATH) {
            OFlags::CLOEXEC
        } else {
            OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK
        };
        let flags = flags | plain;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        openat2(&self.root, path, flags, Mode::from_raw_mode(mode), resolve)
    }

    fn parent<'p>(&self, path: &'p str) -> Result<(OwnedFd, &'p str), Errno> {
        let (directory, name) = path
            .trim_start_matches('/')
            .rsplit_once('/')
            .unwrap_or(("", path.trim_start_matches('/')));
        let directory = if directory.is_empty() { "." } else { directory };
        self.at(directory, OFlags::RDONLY | OFlags::DIRECTORY, 0)
            .map(|opened| (opened, name))
    }

    /// Reads a regular file. None: there is no such file, or it cannot be read. A file of more than
    /// 16 MiB is reported, and not read.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.read_whole(path).unwrap_or_else(|words| {
            warn(&words);
            None
        })
    }

    /// Reads a regular file, never a part of it.
    fn read_whole(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        let Ok(file) = self.at(path, OFlags::RDONLY, 0) else {
            return Ok(None);
        };
        let is_regular =
            |stat: Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !fstat(&file).is_ok_and(is_regular) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let read = File::from(file).take(FILE_MAX + 1).read_to_end(&mut bytes);
        match read {
            Ok(count) if count as u64 > FILE_MAX => Err(format!(
                "{path} in the image: the file has more than {} MiB",
                FILE_MAX >> 20
            )),
            Ok(_) => Ok(Some(bytes)),
            Err(_) => Ok(None),
        }
    }

    pub fn text(&self, path: &str) -> Option<String> {
        self.read(path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    pub fn has(&self, path: &str) -> bool {
        self.at(path, OFlags::PATH, 0).is_ok()
    }

    /// Returns the names in a directory, sorted. Returns none if there is no such directory. More
    /// than 4,096 names are reported, and cut.
    pub fn names(&self, path: &str) -> Vec<String> {
        let opened = self.at(path, OFlags::RDONLY | OFlags::DIRECTORY, 0);
        let entries = opened.and_then(Dir::new).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let names = names.filter(|name| name != "." && name != "..");
        let mut names: Vec<String> = names.take(ENTRIES_MAX + 1).collect();
        if names.len() > ENTRIES_MAX {
            names.truncate(ENTRIES_MAX);
            warn(&format!(
                "{path} in the image: only {ENTRIES_MAX} entries of the directory are read"
            ));
        }
        names.sort();
        names
    }

    /// Writes a file. A new file has mode 0644, and an existing one keeps its mode.
    ///
    /// # Errors
    /// Returns the system's error as a message.
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<(), String> {
        self.write_as(path, bytes, 0o644)
    }

    /// Writes a file. A new file has this mode, and an existing one keeps its mode.
    ///
    /// # Errors
    /// Returns the system's error as a message.
    pub fn write_as(&self, path: &str, bytes: &[u8], mode: u32) -> Result<(), String> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let written = self.at(path, flags, mode).map_err(std::io::Error::from);
        let written = written.and_then(|file| File::from(file).write_all(bytes));
        written.map_err(|error| format!("{path} in the image: {error}"))
    }

    /// Creates a directory, if it does not exist.
    ///
    /// # Errors
    /// Returns the system's error as a message.
    pub fn directory(&self, path: &str) -> Result<(), String> {
        let (parent, name) = self
            .parent(path)
            .map_err(|error| format!("{path} in the image: {error}"))?;
        match mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(format!("{path} in the image: {error}")),
        }
    }

    /// Copies a file to `PATH.xen`, unless the copy exists or there is no such file.
    ///
    /// # Errors
    /// Returns the system's error as a message.
    pub fn keep(&self, path: &str) -> Result<(), String> {
        let kept = format!("{path}.xen");
        match self.read_whole(path)? {
            Some(bytes) if !self.has(&kept) => self.write(&kept, &bytes),
            _ => Ok(()),
        }
    }

    /// Renames a file to `PATH.xen`.
    ///
    /// # Errors
    /// Returns the system's error as a message.
    pub fn set_aside(&self, path: &str) -> Result<(), String> {
        let words = |error: Errno| format!("{path} in the image: {error}");
        let (parent, name) = self.parent(path).map_err(words)?;
        renameat(&parent, name, &parent, format!("{name}.xen")).map_err(words)
    }

    /// Removes a file or a link, if it exists.
    ///
    /// # Errors
    /// Returns the system's error as a message.
    pub fn remove(&self, path: &str) -> Result<(), String> {
        let words = |error: Errno| format!("{path} in the image: {error}");
        let (parent, name) = self.parent(path).map_err(words)?;
        match unlinkat(&parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(words(error)),
        }
    }

    /// Returns whether a file or a link has this name in its directory, regardless of the link's
    /// target.
    pub fn is_named(&self, path: &str) -> bool {
        let found = self
            .parent(path)
            .and_then(|(parent, name)| statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW));
        found.is_ok()
    }
}

fn warn(words: &str) {
    // Ignores an error: without a terminal there is no reader.
    let _ = writeln!(stderr(), "{words}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn file_is_read_whole_or_not_at_all() {
        let scratch = lab::ScratchDirectory::new().unwrap();
        let bytes = |size: u64| vec![b'x'; size as usize];
        scratch.write("whole", bytes(FILE_MAX)).unwrap();
        scratch.write("larger", bytes(FILE_MAX + 1)).unwrap();
        let inside = Inside::open(scratch.path()).unwrap();
        assert_eq!(inside.read("whole"), Some(bytes(FILE_MAX)));
        assert_eq!(inside.read("larger"), None);
        // No backup has a part of a file only.
        assert!(inside.keep("larger").is_err() && !inside.has("larger.xen"));
    }

    #[test]
    fn links_lead_to_places_in_the_tree() {
        let scratch = lab::ScratchDirectory::new().unwrap();
        let secret = scratch.write("secret", "of the host").unwrap();
        let tree = scratch.path().join("tree");
        std::fs::create_dir_all(tree.join("etc")).unwrap();
        symlink(&secret, tree.join("etc/fstab")).unwrap();
        symlink("../../../..", tree.join("etc/up")).unwrap();
        symlink("/etc/real", tree.join("etc/link")).unwrap();
        let inside = Inside::open(&tree).unwrap();
        assert_eq!(inside.text("/etc/fstab"), None);
        assert_eq!(inside.text("etc/up/secret"), None);
        assert!(inside.write("/etc/fstab", b"x").is_err());
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "of the host");
        inside.write("/etc/link", b"y").unwrap();
        assert_eq!(inside.text("etc/real").as_deref(), Some("y"));
        inside.keep("/etc/real").unwrap();
        inside.write("/etc/real", b"z").unwrap();
        inside.keep("/etc/real").unwrap();
        assert_eq!(inside.text("/etc/real.xen").as_deref(), Some("y"));
        inside.set_aside("etc/real").unwrap();
        assert!(!inside.has("/etc/real") && inside.has("/etc/real.xen"));
        inside.remove("/etc/up").unwrap();
        inside.remove("/etc/up").unwrap();
        assert_eq!(inside.names("/etc"), ["fstab", "link", "real.xen"]);
        assert!(inside.is_named("/etc/fstab") && !inside.is_named("/etc/up"));
    }
}
