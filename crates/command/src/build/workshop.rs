//! Temporary directory of a build, with private mounts. Both are removed on drop.

use super::run::program;
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{StatVfs, statvfs};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Default parent directory without `--work`: the contents do not outlive the command, and may be
/// large.
const PLACE: &str = "/var/tmp";

const REMOVALS_MAX: u32 = 20;
const REMOVAL_AGAIN: Duration = Duration::from_millis(50);

/// Working directory of a build.
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

    /// Makes the following mounts of this command private; they are removed at its end.
    ///
    /// # Errors
    /// Fails without the privilege.
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

    /// Creates a directory in it.
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

    /// Fails if there is not enough space for this number of bytes.
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
            .map(PathBuf::from);
        let mut below: Vec<PathBuf> = places.filter(|place| place.starts_with(&self.0)).collect();
        below.reverse();
        below
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        for mount in self.mounts() {
            // A failed unmount is handled below.
            let _ = program("umount").arg("-l").arg(mount).status();
        }
        // Nothing is removed through a mount. A program that has just ended may still write, so
        // removal is retried.
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
}
