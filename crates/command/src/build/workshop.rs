//! Makes the temporary directory of a build, with private mounts. Dropping the value unmounts them,
//! and removes the directory.

use super::run::program;
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{StatVfs, statvfs};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Parent of the directory if the caller names none: contents there may be large.
const PLACE: &str = "/var/tmp";

const REMOVALS_MAX: u32 = 20;
const REMOVAL_AGAIN: Duration = Duration::from_millis(50);

/// Temporary directory of a build, which is removed on drop.
pub struct Workshop(PathBuf);

impl Workshop {
    /// Creates the directory below `place`.
    ///
    /// # Errors
    /// Returns the system's error as a message.
    pub fn new(place: Option<&Path>) -> Result<Workshop, String> {
        let place = place.unwrap_or(Path::new(PLACE));
        let path = place.join(format!("evenkeel-{}", std::process::id()));
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| format!("cannot make a directory in {}: {error}", place.display()))?;
        Ok(Workshop(path))
    }

    /// Gives this process its own mount namespace: later mounts are private, and end with the
    /// process.
    ///
    /// # Errors
    /// Fails if the process lacks the privilege, or the program `mount` fails.
    pub fn with_own_mounts(&self) -> Result<(), String> {
        let refused =
            |error: &dyn std::fmt::Display| format!("cannot create a mount namespace: {error}");
        unshare(CloneFlags::CLONE_NEWNS).map_err(|error| refused(&error))?;
        let mut private = program("mount");
        let done = private
            .args(["--make-rprivate", "/"])
            .status()
            .map_err(|error| refused(&error))?;
        if done.success() {
            Ok(())
        } else {
            Err(refused(&"mount --make-rprivate failed"))
        }
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Creates a subdirectory, unless the subdirectory exists.
    ///
    /// # Errors
    /// Returns the system's error as a message.
    pub fn directory(&self, name: &str) -> Result<PathBuf, String> {
        let path = self.0.join(name);
        match fs::DirBuilder::new().mode(0o755).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(format!("{}: {error}", path.display()))
            }
            _ => Ok(path),
        }
    }

    /// Checks that the file system has space for this number of bytes. An unknown size is accepted.
    ///
    /// # Errors
    /// Fails if there is not enough space.
    pub fn has_room(&self, needs: u64) -> Result<(), String> {
        let room = |stat: StatVfs| stat.f_bavail.saturating_mul(stat.f_frsize);
        let has = statvfs(&self.0).map(room).unwrap_or(u64::MAX);
        if has >= needs {
            Ok(())
        } else {
            Err(format!(
                "{} has {} MiB free, and {} MiB may be needed: `--work DIR` names another directory",
                self.0.display(),
                has >> 20,
                needs >> 20
            ))
        }
    }

    fn mounts(&self) -> Vec<PathBuf> {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let places = table
            .lines()
            .filter_map(|line| line.split(' ').nth(4))
            .map(decoded);
        let mut below: Vec<PathBuf> = places.filter(|place| place.starts_with(&self.0)).collect();
        below.reverse();
        below
    }
}

/// Decodes a path of mountinfo, where spaces and the like are octal numbers: `\040`.
fn decoded(path: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        let code = after.get(..3).filter(|_| *first == b'\\');
        let code = code.and_then(|code| str::from_utf8(code).ok());
        let code = code.and_then(|code| u8::from_str_radix(code, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(bytes).into()
}

impl Drop for Workshop {
    fn drop(&mut self) {
        for mount in self.mounts() {
            // Ignores an error: the directory is not removed while a mount remains.
            let _ = program("umount").arg("-l").arg(mount).status();
        }
        // Removes the directory only if nothing is mounted below it. Retries, since a program that
        // has just ended may still write.
        let mut tries = 0..REMOVALS_MAX;
        while self.mounts().is_empty() && self.0.exists() && tries.next().is_some() {
            if fs::remove_dir_all(&self.0).is_err() {
                std::thread::sleep(REMOVAL_AGAIN);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workshop_is_removed_with_its_value() {
        let scratch = lab::ScratchDirectory::new().unwrap();
        let shop = Workshop::new(Some(scratch.path())).unwrap();
        let inner = shop.directory("inner").unwrap();
        fs::write(inner.join("file"), "x").unwrap();
        assert!(shop.has_room(1).is_ok());
        let words = shop.has_room(u64::MAX).unwrap_err();
        assert!(words.contains("`--work DIR`"), "{words}");
        let path = shop.path().to_owned();
        drop(shop);
        assert!(!path.exists());
    }

    #[test]
    fn paths_of_mounts_are_decoded() {
        for (path, expected) in [
            ("/var/tmp/a", "/var/tmp/a"),
            ("/a\\040b\\134c", "/a b\\c"),
            ("/a\\04", "/a\\04"),
            ("/a\\999", "/a\\999"),
        ] {
            assert_eq!(decoded(path), Path::new(expected), "{path}");
        }
    }
}
