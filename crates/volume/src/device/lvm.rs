//! Creates, extends, snapshots, lists and removes logical volumes with LVM's own programs. The
//! caller needs the privileges for these programs. The volume role lacks them, and only opens
//! existing logical volumes.
//!
//! Logical volumes that Evenkeel creates carry a tag. Others are never changed.

use super::snapshot::{SnapshotTitle, named};
use super::{DeviceError, SnapshotReason, Stamp};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const TAG: &str = "evenkeel";
/// Prefix of a logical volume's name, which avoids the names that LVM reserves.
const PREFIX: &str = "volume-";
/// Directories of administration programs, searched in addition to `PATH`.
const PLACES: &str = "/usr/sbin:/sbin:/usr/bin:/bin";
const WORDS_MAX: usize = 400;

/// Logical volume that stores a replica.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogicalVolume {
    /// Path below `/dev`: `/dev/GROUP/volume-NAME`.
    pub path: PathBuf,
    /// Thin pool that contains the logical volume; None for a thick one.
    pub pool: Option<String>,
}

/// Failure of an LVM program.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LvmError {
    #[error("cannot start {0}: install LVM (lvm2)")]
    NoProgram(&'static str),
    #[error("there is no volume group '{0}': `vgs` lists the existing groups")]
    NoGroup(String),
    #[error("volume group '{group}' has no thin pool '{pool}'")]
    NoPool { group: String, pool: String },
    #[error(
        "logical volume {0} exists and was not created by `evenkeel volume create`: it is not changed"
    )]
    NotOurs(String),
    #[error("there is no logical volume {0}")]
    Missing(String),
    #[error("volume group '{group}' has {has} bytes free, {needs} are needed")]
    Room { group: String, has: u64, needs: u64 },
    #[error("{program} failed: {words}")]
    Failed {
        program: &'static str,
        words: String,
    },
    #[error("{0} printed unexpected output")]
    Output(&'static str),
}

struct LvsRow {
    name: String,
    bytes: u64,
    is_pool: bool,
    is_ours: bool,
}

impl LogicalVolume {
    /// Returns the logical volume for a volume of this name. `place` is `GROUP` or `GROUP/POOL`.
    pub fn new(place: &str, volume: &str) -> Option<LogicalVolume> {
        let (group, pool) = match place.split_once('/') {
            Some((group, pool)) => (group, Some(pool)),
            None => (place, None),
        };
        let is_name = |name: &str| {
            let mut bytes = name.bytes();
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+_.-".contains(&byte);
            let first = name.chars().next();
            first.is_some_and(|first| first != '-' && first != '.')
                && name.len() <= 127
                && bytes.all(plain)
        };
        (is_name(group) && pool.is_none_or(is_name)).then(|| LogicalVolume {
            path: Path::new("/dev")
                .join(group)
                .join(format!("{PREFIX}{volume}")),
            pool: pool.map(str::to_owned),
        })
    }

    pub fn place(&self) -> String {
        match &self.pool {
            Some(pool) => format!("{}/{pool}", self.group()),
            None => self.group(),
        }
    }

    fn group(&self) -> String {
        let group = self.path.parent().and_then(Path::file_name);
        group.unwrap_or_default().to_string_lossy().into_owned()
    }

    fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    fn full(&self) -> String {
        format!("{}/{}", self.group(), self.name())
    }

    /// Resolves the kernel's device path. The name below `/dev/GROUP` is a symbolic link that udev
    /// creates.
    ///
    /// # Errors
    /// The logical volume does not exist or is not active, or its path leads outside of `/dev`.
    pub(super) fn device(&self) -> Result<PathBuf, DeviceError> {
        let found = self.path.canonicalize();
        let found = found.map_err(|_| DeviceError::Missing(self.path.clone()))?;
        if found.starts_with("/dev") {
            Ok(found)
        } else {
            Err(DeviceError::Symlink(self.path.clone()))
        }
    }

    /// Creates the logical volume with at least this size.
    ///
    /// # Errors
    /// The logical volume exists, its pool does not exist, there is not enough space, or LVM fails.
    pub fn create(&self, bytes: u64) -> Result<(), DeviceError> {
        let (free, extent) = self.room()?;
        let listed = self.list()?;
        match listed.iter().find(|one| one.name == self.name()) {
            Some(one) if one.is_ours => return Err(DeviceError::Exists(self.path.clone())),
            Some(_) => return Err(LvmError::NotOurs(self.full()).into()),
            None => {}
        }
        let size = format!("{bytes}b");
        let (name, group) = (self.name(), self.group());
        let Some(pool) = &self.pool else {
            self.fits(free, bytes.next_multiple_of(extent))?;
            // Wipes the signatures of old content; the caller overwrites the rest right afterwards.
            let words = ["--yes", "--wipesignatures", "y", "--zero", "y"];
            let rest = ["--addtag", TAG, "--size", &size, "--name", &name, &group];
            run("lvcreate", &[&words[..], &rest].concat())?;
            return Ok(());
        };
        if !listed.iter().any(|one| one.is_pool && one.name == *pool) {
            let pool = pool.clone();
            return Err(LvmError::NoPool { group, pool }.into());
        }
        let place = self.place();
        let words = ["--yes", "--thin", "--addtag", TAG, "--virtualsize", &size];
        run(
            "lvcreate",
            &[&words[..], &["--name", &name, &place]].concat(),
        )?;
        Ok(())
    }

    /// Extends the logical volume to at least this size. Returns whether it was extended.
    ///
    /// # Errors
    /// Evenkeel did not create the logical volume, there is not enough space, or LVM fails.
    pub fn extend(&self, bytes: u64) -> Result<bool, DeviceError> {
        let has = self.ours()?;
        if has >= bytes {
            return Ok(false);
        }
        let (free, extent) = self.room()?;
        if self.pool.is_none() {
            self.fits(free, (bytes - has).next_multiple_of(extent))?;
        }
        run("lvextend", &["--size", &format!("{bytes}b"), &self.full()])?;
        Ok(true)
    }

    /// Creates a thin snapshot, which is consistent at one instant. It takes space as the origin
    /// or the snapshot changes.
    ///
    /// # Errors
    /// Evenkeel did not create the logical volume, it is not thin, the snapshot exists, or LVM
    /// fails.
    pub(super) fn snapshot(
        &self,
        stamp: Stamp,
        kind: SnapshotReason,
    ) -> Result<LogicalVolume, DeviceError> {
        self.ours()?;
        let snapshot = self.snapshot_of(stamp, kind);
        if self.list()?.iter().any(|one| one.name == snapshot.name()) {
            return Err(DeviceError::Exists(snapshot.path));
        }
        let (name, full) = (snapshot.name(), self.full());
        // Enables auto-activation like that of the group's other logical volumes.
        let words = [
            "--yes",
            "--snapshot",
            "--setactivationskip",
            "n",
            "--addtag",
            TAG,
        ];
        run(
            "lvcreate",
            &[&words[..], &["--name", &name, &full]].concat(),
        )?;
        Ok(snapshot)
    }

    /// Returns the logical volume of a snapshot. Its name contains a `+`, which cannot occur in the
    /// name of a volume.
    fn snapshot_of(&self, stamp: Stamp, kind: SnapshotReason) -> LogicalVolume {
        let name = format!("{}+{stamp}{}", self.name(), kind.logical_suffix());
        LogicalVolume {
            path: self.path.with_file_name(name),
            pool: self.pool.clone(),
        }
    }

    /// Lists the snapshots of the logical volume that an operator or a guest's snapshot has taken.
    ///
    /// # Errors
    /// LVM fails to list them.
    pub(super) fn snapshots(&self) -> Result<Vec<(SnapshotTitle, LogicalVolume)>, DeviceError> {
        let prefix = format!("{}+", self.name());
        let listed = self.list()?;
        let ours = listed.iter().filter(|one| one.is_ours);
        let titles = ours.filter_map(|one| named(one.name.strip_prefix(&prefix)?));
        let titles = titles
            .filter(|(_, kind)| matches!(kind, SnapshotReason::Manual | SnapshotReason::Guest(_)));
        Ok(titles
            .map(|(stamp, kind)| ((stamp, kind), self.snapshot_of(stamp, kind)))
            .collect())
    }

    /// Removes the logical volume.
    ///
    /// # Errors
    /// Evenkeel did not create the logical volume, it is in use, or LVM fails.
    pub fn remove(&self) -> Result<(), DeviceError> {
        self.ours()?;
        run("lvremove", &["--yes", &self.full()])?;
        Ok(())
    }

    /// Returns the size in bytes. Fails if Evenkeel did not create the logical volume.
    fn ours(&self) -> Result<u64, LvmError> {
        self.room()?;
        let listed = self.list()?;
        match listed.iter().find(|one| one.name == self.name()) {
            Some(one) if one.is_ours => Ok(one.bytes),
            Some(_) => Err(LvmError::NotOurs(self.full())),
            None => Err(LvmError::Missing(self.full())),
        }
    }

    fn fits(&self, has: u64, needs: u64) -> Result<(), LvmError> {
        let group = self.group();
        if has < needs {
            Err(LvmError::Room { group, has, needs })
        } else {
            Ok(())
        }
    }

    /// Returns the free space of the group and its extent size, bytes.
    fn room(&self) -> Result<(u64, u64), LvmError> {
        let group = self.group();
        let output = match rows("vgs", "vg_free,vg_extent_size", &group) {
            Err(LvmError::Failed { words, .. }) if words.contains("not found") => {
                return Err(LvmError::NoGroup(group));
            }
            other => other?,
        };
        let row = output.first().and_then(|row| {
            let [free, extent] = row.as_slice() else {
                return None;
            };
            Some((free.parse().ok()?, extent.parse().ok()?))
        });
        row.filter(|(_, extent)| *extent > 0)
            .ok_or(LvmError::Output("vgs"))
    }

    fn list(&self) -> Result<Vec<LvsRow>, LvmError> {
        let rows = rows("lvs", "lv_name,lv_size,lv_attr,lv_tags", &self.group())?;
        let listed = rows.into_iter().map(|row| {
            let [name, size, attributes, tags] = row.as_slice() else {
                return None;
            };
            Some(LvsRow {
                name: name.clone(),
                bytes: size.parse().ok()?,
                is_pool: attributes.starts_with('t'),
                is_ours: tags.split(',').any(|tag| tag == TAG),
            })
        });
        let listed: Option<Vec<LvsRow>> = listed.collect();
        listed.ok_or(LvmError::Output("lvs"))
    }
}

fn rows(program: &'static str, columns: &str, group: &str) -> Result<Vec<Vec<String>>, LvmError> {
    let form = [
        "--noheadings",
        "--nosuffix",
        "--units",
        "b",
        "--separator",
        "|",
    ];
    let output = run(
        program,
        &[&form[..], &["--options", columns, group]].concat(),
    )?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect();
    Ok(lines.map(cells).collect())
}

fn run(program: &'static str, words: &[&str]) -> Result<Output, LvmError> {
    let path = match std::env::var_os("PATH") {
        Some(path) => format!("{}:{PLACES}", path.to_string_lossy()),
        None => PLACES.to_owned(),
    };
    // Forces English messages, because the caller parses them.
    let output = Command::new(program)
        .args(words)
        .env("PATH", path)
        .env("LC_ALL", "C")
        .output()
        .map_err(|_| LvmError::NoProgram(program))?;
    if output.status.success() {
        return Ok(output);
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words: Vec<&str> = words.lines().map(str::trim).collect();
    let words = words.join("; ");
    let words = words.chars().take(WORDS_MAX).collect();
    Err(LvmError::Failed { program, words })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_groups_with_or_without_a_pool() {
        let thick = LogicalVolume::new("vg0", "mail").unwrap();
        assert_eq!(thick.path, Path::new("/dev/vg0/volume-mail"));
        assert_eq!(
            (thick.place().as_str(), thick.full().as_str()),
            ("vg0", "vg0/volume-mail")
        );
        let thin = LogicalVolume::new("vg0/pool", "mail").unwrap();
        assert_eq!(
            (thin.path.as_path(), thin.place().as_str()),
            (thick.path.as_path(), "vg0/pool")
        );
        for place in [
            "", "-x", "..", "vg0/", "vg0/a/b", "vg 0", "/vg0", "vg0/-p", "ö",
        ] {
            assert_eq!(LogicalVolume::new(place, "mail"), None, "{place}");
        }
    }
}
