//! Takes, finds, lists and removes snapshots of a replica, and fills a new volume from one. In a
//! file they are reflink clones (`FICLONE`), which share blocks with the original until either
//! changes. A thin logical volume uses LVM snapshots.
//!
//! The kernel takes the snapshot at one instant: it waits for writes in flight and blocks new ones.
//! The snapshot contains every write acknowledged before, from any process, and no write begun
//! after. The role is not involved.

use super::{Backing, DeviceError, LogicalVolume, OpenFile, RING_BYTES, names};
use crate::layout::stored_overwrite;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, fstat, fsync, ioctl_ficlone, linkat, openat, unlinkat,
};
use rustix::io::Errno;
use std::fmt;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Maximum number of snapshots in a list; others are omitted.
pub const SNAPSHOTS_MAX: usize = 4096;
const ENDING: &str = ".snapshot";
const STAMP_BYTES: usize = 16;
const GUEST: &str = "-guest";

/// Time of a snapshot: seconds since 1970, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Stamp(pub u64);

/// Reason why a snapshot was taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SnapshotReason {
    Manual,
    /// The volume's schedule. The schedule also removes the snapshot when it is due.
    Scheduled,
    /// The replica was about to be resynchronised. The snapshot is removed after the resync.
    BeforeResync,
    /// The replica's data was discarded in favour of the other replica.
    Discarded,
    /// The snapshot of all disks of a guest at one moment.
    Guest(Label),
}

const LABEL_BYTES_MAX: usize = 32;

/// Operator's label for the snapshots of a guest; empty if only the time identifies them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Label([u8; LABEL_BYTES_MAX]);

impl Label {
    /// Parses a label: at most 32 letters, digits, `.`, `_` and `-`; not the form of a timestamp.
    pub fn parse(text: &str) -> Option<Label> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let mut label = Label::default();
        let is_good = text.bytes().all(fits) && Stamp::parse(text).is_none();
        let room = label.0.get_mut(..text.len()).filter(|_| is_good)?;
        room.copy_from_slice(text.as_bytes());
        Some(label)
    }

    pub fn text(&self) -> &str {
        let end = self.0.iter().position(|byte| *byte == 0);
        let bytes = self.0.get(..end.unwrap_or(LABEL_BYTES_MAX));
        bytes
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .unwrap_or_default()
    }
}

impl SnapshotReason {
    const PLAIN: [SnapshotReason; 4] = [
        SnapshotReason::Manual,
        SnapshotReason::Scheduled,
        SnapshotReason::BeforeResync,
        SnapshotReason::Discarded,
    ];

    fn suffix(self) -> String {
        let word = match self {
            SnapshotReason::Manual => "",
            SnapshotReason::Scheduled => "-scheduled",
            SnapshotReason::BeforeResync => "-before-resync",
            SnapshotReason::Discarded => "-discarded",
            SnapshotReason::Guest(label) if label.text().is_empty() => GUEST,
            SnapshotReason::Guest(label) => return format!("{GUEST}-{}", label.text()),
        };
        word.to_owned()
    }

    pub(super) fn logical_suffix(self) -> String {
        match self {
            SnapshotReason::Guest(_) => self.suffix(),
            SnapshotReason::Manual
            | SnapshotReason::Scheduled
            | SnapshotReason::BeforeResync
            | SnapshotReason::Discarded => String::new(),
        }
    }

    /// Returns the display text of the kind; empty for a manual snapshot.
    pub fn words(self) -> &'static str {
        match self {
            SnapshotReason::Manual => "",
            SnapshotReason::Scheduled => "scheduled",
            SnapshotReason::BeforeResync => "of this copy before an unfinished resync",
            SnapshotReason::Discarded => "of the copy that was discarded",
            SnapshotReason::Guest(_) => "with all disks of its guest",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    pub stamp: Stamp,
    pub kind: SnapshotReason,
    pub size_bytes: u64,
    /// Path of the file, a raw image of the volume, or of the logical volume.
    pub path: PathBuf,
    /// Offset of the data, bytes: 0 in a file.
    pub first: u64,
    logical: Option<LogicalVolume>,
}

/// Reason why a snapshot is not available.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error(
        "snapshots need `backing file` on XFS or btrfs, or a thin logical volume: a {0} does not support \
         them here"
    )]
    Backing(&'static str),
    #[error(
        "the file system of {0} cannot clone files: snapshots need XFS (with reflink) or btrfs"
    )]
    NoClones(PathBuf),
    #[error(
        "{0} is on another file system: `evenkeel volume import` copies the snapshot into a volume there"
    )]
    Elsewhere(PathBuf),
    #[error(
        "{0} cannot be cloned: `evenkeel volume export NAME FILE --snapshot SNAPSHOT` and `import` copy it into \
         another volume"
    )]
    NotAFile(PathBuf),
    #[error("volume '{name}' has no snapshot '{stamp}': `evenkeel volume show {name}` lists them")]
    Missing { name: String, stamp: String },
    #[error(
        "volume '{0}' is incomplete, because a command replaces its content or was interrupted: `evenkeel \
         volume show {0}` shows which"
    )]
    Incomplete(String),
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// Form of a stamp in names, UTC.
const STAMP: &str = "%Y%m%dT%H%M%SZ";

impl Stamp {
    /// Returns the stamp of a snapshot that is taken now.
    pub fn now() -> Stamp {
        Stamp(part::clock::unix_ms() / 1_000)
    }

    /// Parses the format that [`Stamp`] displays.
    pub fn parse(text: &str) -> Option<Stamp> {
        let time = DateTime::strptime(STAMP, text).ok()?;
        let seconds = Offset::UTC.to_timestamp(time).ok()?.as_second();
        let stamp = Stamp(u64::try_from(seconds).ok()?);
        // Rejects other notations of a time, such as April 31.
        (stamp.to_string() == text).then_some(stamp)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0).ok();
        let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
        write!(f, "{}", time.unwrap_or(Timestamp::MAX).strftime(STAMP))
    }
}

/// Backing store that supports snapshots.
enum Able<'b> {
    Directory(&'b Path),
    Thin(&'b LogicalVolume),
}

fn able(backing: &Backing) -> Result<Able<'_>, SnapshotError> {
    match backing {
        Backing::File(directory) => Ok(Able::Directory(directory)),
        Backing::Lvm(logical) if logical.pool.is_some() => Ok(Able::Thin(logical)),
        Backing::Device(_) => Err(SnapshotError::Backing("block device")),
        Backing::Lvm(_) => Err(SnapshotError::Backing("logical volume that is not thin")),
    }
}

pub(super) type SnapshotTitle = (Stamp, SnapshotReason);

fn thin((stamp, kind): SnapshotTitle, logical: LogicalVolume) -> Result<Snapshot, DeviceError> {
    let (_, loaded) = open_at(logical.device()?)?.load(None)?;
    Ok(Snapshot {
        stamp,
        kind,
        size_bytes: loaded.head.size_bytes,
        path: logical.path.clone(),
        first: loaded.head.data_offset,
        logical: Some(logical),
    })
}

fn open_at(path: PathBuf) -> Result<OpenFile, DeviceError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match openat(CWD, &path, flags, Mode::empty()) {
        Ok(file) => Ok(OpenFile {
            file: file.into(),
            path,
        }),
        Err(errno) => Err(DeviceError::Io {
            action: "open",
            path,
            errno,
        }),
    }
}

fn file_name(name: &str, stamp: Stamp, kind: SnapshotReason) -> String {
    // Separates the name by `@`, which cannot occur in the name of a volume.
    format!("{name}@{stamp}{}{ENDING}", kind.suffix())
}

/// Takes a snapshot, which is durable when this function returns. Refuses an incomplete volume,
/// unless the reason is a resync or the discarding of the replica's data.
///
/// # Errors
/// The backing store does not support snapshots, the volume does not exist or is incomplete, or a
/// system call or LVM fails.
pub fn take(
    backing: &Backing,
    name: &str,
    stamp: Stamp,
    kind: SnapshotReason,
) -> Result<Snapshot, SnapshotError> {
    let takes_any = matches!(
        kind,
        SnapshotReason::BeforeResync | SnapshotReason::Discarded
    );
    // Checks before and after the snapshot: a command stores its mark before its first write, and
    // removes it after the last one.
    let check = || {
        if takes_any {
            Ok(())
        } else {
            check_complete(backing, name)
        }
    };
    let directory = match able(backing)? {
        Able::Directory(directory) => directory,
        Able::Thin(logical) => {
            check()?;
            // Flushes the page cache: a file clone includes its dirty pages, but an LVM snapshot
            // does not.
            let device = logical.device()?;
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
            let opened = rustix::fs::open(&device, flags, Mode::empty());
            let flushed = opened.and_then(|file| fsync(&file));
            flushed.map_err(|errno| DeviceError::Io {
                action: "flush",
                path: device,
                errno,
            })?;
            let taken = thin((stamp, kind), logical.snapshot(stamp, kind)?)?;
            return match check() {
                Ok(()) => Ok(taken),
                Err(error) => {
                    taken.remove()?;
                    Err(error)
                }
            };
        }
    };
    check()?;
    let (place, data, unnamed) = unnamed(directory, name)?;
    check()?;
    let size = fstat(&unnamed).map_err(data.io("look at a snapshot of"))?;
    fsync(&unnamed).map_err(data.io("flush a snapshot of"))?;
    let file = file_name(name, stamp, kind);
    let path = directory.join(&file);
    let from = format!("/proc/self/fd/{}", unnamed.as_raw_fd());
    match linkat(CWD, from, &place.file, &file, AtFlags::SYMLINK_FOLLOW) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Err(DeviceError::Exists(path).into()),
        Err(errno) => return Err(place.io("create a snapshot in")(errno).into()),
    }
    fsync(&place.file).map_err(place.io("flush"))?;
    Ok(Snapshot {
        stamp,
        kind,
        size_bytes: u64::try_from(size.st_size).unwrap_or(0),
        path,
        first: 0,
        logical: None,
    })
}

fn check_complete(backing: &Backing, name: &str) -> Result<(), SnapshotError> {
    let metadata = match backing {
        Backing::File(directory) => {
            let (opened, _, metadata) = names(directory, name)?;
            open(&opened, &metadata)?
        }
        Backing::Lvm(logical) => open_at(logical.device()?)?,
        Backing::Device(path) => open_at(path.clone())?,
    };
    let ring = metadata.read(0, RING_BYTES)?;
    match stored_overwrite(&ring) {
        Some(_) => Err(SnapshotError::Incomplete(name.to_owned())),
        None => Ok(()),
    }
}

/// Clones the data of a volume into an unnamed file, which is linked when it is complete.
fn unnamed(directory: &Path, name: &str) -> Result<(OpenFile, OpenFile, OwnedFd), SnapshotError> {
    let (opened, data, _) = names(directory, name)?;
    let data = open(&opened, &data)?;
    let place = OpenFile {
        file: opened.into(),
        path: directory.to_path_buf(),
    };
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let unnamed = match openat(&place.file, ".", flags, Mode::RUSR | Mode::RGRP) {
        Ok(unnamed) => unnamed,
        Err(Errno::OPNOTSUPP) => return Err(SnapshotError::NoClones(place.path)),
        Err(errno) => return Err(place.io("create a snapshot in")(errno).into()),
    };
    clone(&data, &unnamed, &place.path)?;
    Ok((place, data, unnamed))
}

/// Checks whether a volume supports snapshots. For a volume in a file, tries to make a clone, which
/// is removed at once.
///
/// # Errors
/// The backing store does not support snapshots, or the volume in a file cannot be cloned.
pub fn can(backing: &Backing, name: &str) -> Result<(), SnapshotError> {
    match able(backing)? {
        Able::Directory(directory) => unnamed(directory, name).map(drop),
        Able::Thin(_) => Ok(()),
    }
}

fn open(directory: &OwnedFd, path: &Path) -> Result<OpenFile, DeviceError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = path.file_name().map_or(path, Path::new);
    let path = path.to_path_buf();
    match openat(directory, file, flags, Mode::empty()) {
        Ok(file) => Ok(OpenFile {
            file: file.into(),
            path,
        }),
        Err(Errno::NOENT) => Err(DeviceError::Missing(path)),
        Err(Errno::LOOP) => Err(DeviceError::Symlink(path)),
        Err(errno) => Err(DeviceError::Io {
            action: "open",
            path,
            errno,
        }),
    }
}

fn clone(from: &OpenFile, to: &OwnedFd, place: &Path) -> Result<(), SnapshotError> {
    match ioctl_ficlone(to, &from.file) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::INVAL | Errno::NOSYS) => {
            Err(SnapshotError::NoClones(place.to_path_buf()))
        }
        Err(Errno::XDEV) => Err(SnapshotError::Elsewhere(place.to_path_buf())),
        Err(errno) => Err(from.io("clone")(errno).into()),
    }
}

/// Fills a new volume with the content of a snapshot. The volume may be larger.
///
/// # Errors
/// The snapshot is not a file, the files are on different file systems, the file system does not
/// support clones, or a system call fails.
pub fn fill(volume: &File, snapshot: &Snapshot, place: &Path) -> Result<(), SnapshotError> {
    if snapshot.logical.is_some() {
        return Err(SnapshotError::NotAFile(snapshot.path.clone()));
    }
    let directory = snapshot.path.parent().unwrap_or(Path::new("/"));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(CWD, directory, flags, Mode::empty());
    let directory = directory.map_err(|errno| DeviceError::Io {
        action: "open",
        path: snapshot.path.clone(),
        errno,
    })?;
    let from = open(&directory, &snapshot.path)?;
    let to = OwnedFd::from(volume.try_clone().map_err(|_| DeviceError::Io {
        action: "use",
        path: place.to_path_buf(),
        errno: Errno::MFILE,
    })?);
    clone(&from, &to, place)?;
    fsync(&to).map_err(from.io("flush a clone of"))?;
    Ok(())
}

/// Lists the snapshots of a volume, the oldest first; empty if snapshots are not supported.
///
/// # Errors
/// The directory cannot be read, or LVM fails to list the snapshots.
pub fn list(backing: &Backing, name: &str) -> Result<Vec<Snapshot>, DeviceError> {
    let directory = match able(backing) {
        Ok(Able::Directory(directory)) => directory,
        Ok(Able::Thin(logical)) => {
            let all = logical.snapshots()?.into_iter();
            let all = all.map(|(title, logical)| thin(title, logical));
            return all.collect();
        }
        Err(_) => return Ok(Vec::new()),
    };
    let failed = |error: std::io::Error| DeviceError::Io {
        action: "read",
        path: directory.to_path_buf(),
        errno: Errno::from_io_error(&error).unwrap_or(Errno::IO),
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let file = entry.file_name();
        let Some((stamp, kind)) = file.to_str().and_then(|file| parse(file, name)) else {
            continue;
        };
        // Skips a snapshot that was removed after the directory was read.
        if let Ok(stat) = entry.metadata()
            && found.len() < SNAPSHOTS_MAX
            && stat.is_file()
        {
            found.push(Snapshot {
                stamp,
                kind,
                size_bytes: stat.len(),
                path: entry.path(),
                first: 0,
                logical: None,
            });
        }
    }
    found.sort_by_key(|one| (one.stamp, one.kind));
    Ok(found)
}

fn parse(file: &str, name: &str) -> Option<(Stamp, SnapshotReason)> {
    let rest = file.strip_prefix(name)?.strip_prefix('@')?;
    let rest = rest.strip_suffix(ENDING)?;
    named(rest)
}

/// Parses a name as [`Snapshot::name`] returns it.
pub(super) fn named(name: &str) -> Option<(Stamp, SnapshotReason)> {
    let of =
        |kind: SnapshotReason| Some((Stamp::parse(name.strip_suffix(&*kind.suffix())?)?, kind));
    let guests = || {
        let (stamp, rest) = name.split_at_checked(STAMP_BYTES)?;
        let rest = rest.strip_prefix(GUEST)?;
        let label = match rest.strip_prefix('-') {
            Some(label) => Label::parse(label).filter(|_| !label.is_empty())?,
            None => Some(Label::default()).filter(|_| rest.is_empty())?,
        };
        Some((Stamp::parse(stamp)?, SnapshotReason::Guest(label)))
    };
    SnapshotReason::PLAIN
        .into_iter()
        .find_map(of)
        .or_else(guests)
}

fn is_called(one: &Snapshot, name: &str) -> bool {
    named(name) == Some((one.stamp, one.kind)) || Stamp::parse(name) == Some(one.stamp)
}

/// Finds a snapshot by name.
///
/// # Errors
/// The snapshot does not exist, the backing store does not support snapshots, or they cannot be
/// listed.
pub fn find(backing: &Backing, name: &str, stamp: &str) -> Result<Snapshot, SnapshotError> {
    able(backing)?;
    let mut all = list(backing, name)?.into_iter();
    let found = all.find(|one| is_called(one, stamp));
    found.ok_or_else(|| SnapshotError::Missing {
        name: name.to_owned(),
        stamp: stamp.to_owned(),
    })
}

impl Snapshot {
    pub fn name(&self) -> String {
        format!("{}{}", self.stamp, self.kind.suffix())
    }

    /// Removes the snapshot.
    ///
    /// # Errors
    /// A system call or LVM fails.
    pub fn remove(&self) -> Result<(), DeviceError> {
        if let Some(logical) = &self.logical {
            return logical.remove();
        }
        unlinkat(CWD, &self.path, AtFlags::empty()).map_err(|errno| DeviceError::Io {
            action: "remove",
            path: self.path.clone(),
            errno,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_times_of_the_calendar() {
        for (seconds, text) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (1_795_377_600, "20261122T200000Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(Stamp(seconds).to_string(), text);
            assert_eq!(Stamp::parse(text), Some(Stamp(seconds)));
        }
        for day in (0..60_000).step_by(7) {
            let stamp = Stamp(day * 86_400);
            assert_eq!(Stamp::parse(&stamp.to_string()), Some(stamp));
        }
        for text in [
            "",
            "20260431T000000Z",
            "20261122T250000Z",
            "20261122T200000",
            "2026-11-22",
            "20261122T200000Zx",
            "+0261122T200000Z",
        ] {
            assert_eq!(Stamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn files_of_snapshots_belong_to_one_volume() {
        let stamp = Stamp(1_795_377_600);
        let labels = ["", "before-upgrade", "20261122", "a_b.c"];
        let guests = labels.map(|text| SnapshotReason::Guest(Label::parse(text).unwrap()));
        for kind in SnapshotReason::PLAIN.into_iter().chain(guests) {
            let file = file_name("mail", stamp, kind);
            assert_eq!(parse(&file, "mail"), Some((stamp, kind)));
            assert_eq!(parse(&file, "mai"), None);
            assert_eq!(parse(&file, "mail2"), None);
        }
        for file in [
            "mail.volume",
            "mail@x.snapshot",
            "mail@20261122T200000Z",
            "mail@20261122T200000Z-guest-.snapshot",
            "mail@20261122T200000Z-guestx.snapshot",
            "mail@20261122T200000Z-guest-a b.snapshot",
            "@",
        ] {
            assert_eq!(parse(file, "mail"), None, "{file}");
        }
    }

    #[test]
    fn labels_are_words_that_fit_in_a_name() {
        for text in ["", "x", "Before-2.0_a", &"a".repeat(32)] {
            assert_eq!(Label::parse(text).unwrap().text(), text);
        }
        for text in [
            "a b",
            "a/b",
            "ä",
            "a@b",
            "a+b",
            "20261122T200000Z",
            &"a".repeat(33),
        ] {
            assert_eq!(Label::parse(text), None, "{text}");
        }
    }
}
