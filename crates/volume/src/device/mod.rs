//! What a copy is stored on: a sparse file in a directory, with its metadata beside it, or a
//! block device, which begins with the metadata. Opened for one process at a time. What is
//! wrong is reported before anything is written.
//!
//! These functions block, so a role calls them at its start, not from its loop.

#[cfg(test)]
pub(crate) mod bed;
mod grow;
mod lvm;
mod named;
mod remove;
mod signature;
pub mod snapshot;

pub use grow::{grow, prepare};
pub use lvm::{LogicalVolume, LvmError};
pub use named::{is_own, rename};
pub use remove::{Leftover, remove};
pub use signature::Signature;
pub use snapshot::{Kind, Label, Snapshot, SnapshotError, Stamp};

use crate::disk::Target;
use crate::layout::{
    Change, Head, LayoutError, Loaded, Metadata, Phase, State, VolumeId, metadata_bytes, sums_bytes,
};
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, FlockOperation, Mode, OFlags, SeekFrom, fallocate,
    fcntl_getfl, fcntl_setfl, fdatasync, flock, fstat, fstatvfs, fsync, ftruncate, ioctl_blksszget,
    openat, seek, unlinkat,
};
use rustix::io::{Errno, pread, pwrite};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest name of a volume, bytes: with its ending it is a file name.
const NAME_BYTES_MAX: usize = 200;
/// Where data begins on a device: a multiple of this, bytes.
const ALIGN_BYTES: u64 = 1 << 20;
/// What is zeroed by one system call, bytes.
const ZERO_BYTES: u64 = 1 << 30;
/// What is read first of the metadata, bytes: the ring of slots.
const RING_BYTES: usize = 64 << 10;
/// How long a copy that is in use is waited for. The lock of a process that was killed is
/// held until the kernel has ended its operations, which is what makes it safe.
const CLAIM_MAX: Duration = Duration::from_secs(1);
const CLAIM_PAUSE: Duration = Duration::from_millis(10);
/// The smallest logical sector, bytes.
const SECTOR_BYTES: u32 = 512;

/// Where a copy is stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Backing {
    /// `NAME.volume` and `NAME.metadata` in this directory.
    File(PathBuf),
    /// This block device.
    Device(PathBuf),
    /// This logical volume, which is made and removed with the volume.
    Lvm(LogicalVolume),
}

/// Why a copy cannot be created or opened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DeviceError {
    /// A name that is no file name.
    #[error("'{0}' cannot be the name of a volume's files")]
    Name(String),
    /// It is not there.
    #[error("{0}: no such file or device")]
    Missing(PathBuf),
    /// The metadata is there, and the data is not.
    #[error(
        "{data} is missing, and its metadata {metadata} is there: restore the file, or delete the metadata and \
         create the copy again with `evenkeel volume create`"
    )]
    DataMissing {
        /// The file that should have the data.
        data: PathBuf,
        /// The metadata.
        metadata: PathBuf,
    },
    /// A copy is to be created, and is there.
    #[error("{0} exists already: remove the volume first, or choose another name")]
    Exists(PathBuf),
    /// The last component of the path is a symbolic link, which could change.
    #[error("{0} is a symbolic link: use the path that it leads to")]
    Symlink(PathBuf),
    /// Not what was expected there.
    #[error("{path} is not a {expected}")]
    Kind {
        /// The path.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
    },
    /// Mounted, part of something else, or open by another process of ours.
    #[error("{0} is in use: by another process, a mount, LVM or RAID")]
    InUse(PathBuf),
    /// There is not enough room.
    #[error("{path} is too small: {has} bytes for data, the volume needs {needs}")]
    TooSmall {
        /// The path.
        path: PathBuf,
        /// Room for the volume's data.
        has: u64,
        /// The volume's size.
        needs: u64,
    },
    /// It is the copy of another volume.
    #[error(
        "{path} is of volume '{found}': its files were renamed, copied or swapped. Put them back; or, if volume '{name}' \
         is to have this data, run `evenkeel volume adopt {name} --yes`"
    )]
    OfOther {
        /// The path.
        path: PathBuf,
        /// The volume whose copy it is.
        found: String,
        /// The volume whose copy it should be.
        name: String,
    },
    /// It is shorter than the volume that it holds.
    #[error("{path} has shrunk: {has} bytes, the volume on it has {needs}. It is not used")]
    Shrunk {
        /// The path.
        path: PathBuf,
        /// Bytes there are.
        has: u64,
        /// Bytes there should be.
        needs: u64,
    },
    /// It holds something.
    #[error("{path} is not empty: it holds {}. Nothing was written", words(.found))]
    NotEmpty {
        /// The path.
        path: PathBuf,
        /// What it holds.
        found: Vec<Signature>,
    },
    /// A logical volume that has to become larger first, which a role has no right to.
    #[error(
        "{path} has room for {has} bytes, the volume needs {needs}: `evenkeel volume grow` extends it, then reload"
    )]
    NotExtended {
        /// The path.
        path: PathBuf,
        /// Room for the volume's data.
        has: u64,
        /// The volume's size.
        needs: u64,
    },
    /// LVM refuses something.
    #[error(transparent)]
    Lvm(#[from] LvmError),
    /// Its metadata cannot be used.
    #[error("{path}: {source}")]
    Layout {
        /// The path.
        path: PathBuf,
        /// Why.
        source: LayoutError,
    },
    /// The operating system refuses something.
    #[error("cannot {action} {path}: {errno}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// Why not.
        errno: Errno,
    },
}

fn words(found: &[Signature]) -> String {
    let words: Vec<String> = found.iter().map(ToString::to_string).collect();
    words.join(", ")
}

/// An open copy. Nobody else can open it as long as this value lives, or an operation on it
/// is under way.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its data.
    pub data: Target,
    /// Its metadata, from the first byte on; not direct I/O.
    pub metadata: Target,
    /// The smallest unit of its data, bytes.
    pub sector_bytes: u32,
    /// Direct I/O is used for its data.
    pub is_direct: bool,
}

/// A file that was opened, with its path for messages.
#[derive(Debug)]
struct Place {
    file: File,
    path: PathBuf,
}

impl Place {
    fn io(&self, action: &'static str) -> impl FnOnce(Errno) -> DeviceError + use<'_> {
        move |errno| DeviceError::Io {
            action,
            path: self.path.clone(),
            errno,
        }
    }

    fn layout(&self, source: LayoutError) -> DeviceError {
        DeviceError::Layout {
            path: self.path.clone(),
            source,
        }
    }

    /// Opens without following a link.
    fn open(directory: impl AsFd, path: &Path, flags: OFlags) -> Result<Place, DeviceError> {
        let relative = match flags.contains(OFlags::EXCL) && !flags.contains(OFlags::CREATE) {
            true => path,
            false => path.file_name().map_or(path, Path::new),
        };
        let flags = flags | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let opened = openat(directory, relative, flags, Mode::RUSR | Mode::WUSR);
        let path = path.to_path_buf();
        match opened {
            Ok(file) => Ok(Place {
                file: file.into(),
                path,
            }),
            Err(Errno::NOENT) => Err(DeviceError::Missing(path)),
            Err(Errno::LOOP) => Err(DeviceError::Symlink(path)),
            Err(Errno::EXIST) => Err(DeviceError::Exists(path)),
            Err(Errno::BUSY) => Err(DeviceError::InUse(path)),
            Err(errno) => Err(DeviceError::Io {
                action: "open",
                path,
                errno,
            }),
        }
    }

    /// Checks what it is, and takes the lock that one process can have.
    fn claim(&self, kind: FileType, expected: &'static str) -> Result<(), DeviceError> {
        let stat = fstat(&self.file).map_err(self.io("look at"))?;
        if FileType::from_raw_mode(stat.st_mode) != kind {
            let path = self.path.clone();
            return Err(DeviceError::Kind { path, expected });
        }
        match flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(()),
            Err(Errno::WOULDBLOCK) => Err(DeviceError::InUse(self.path.clone())),
            Err(errno) => Err(self.io("lock")(errno)),
        }
    }

    fn size(&self) -> Result<u64, DeviceError> {
        seek(&self.file, SeekFrom::End(0)).map_err(self.io("find the size of"))
    }

    /// Reads up to `count` bytes, fewer only at the end.
    fn read(&self, offset: u64, count: usize) -> Result<Vec<u8>, DeviceError> {
        let mut bytes = vec![0; count];
        let mut filled = 0;
        while filled < count {
            match pread(&self.file, &mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.io("read")(errno)),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn write(&self, phases: &[Phase]) -> Result<(), DeviceError> {
        for phase in phases {
            for write in &phase.0 {
                let mut done = 0;
                while done < write.bytes.len() {
                    match pwrite(&self.file, &write.bytes[done..], write.offset + done as u64) {
                        Ok(0) => return Err(self.io("write")(Errno::NOSPC)),
                        Ok(count) => done += count,
                        Err(Errno::INTR) => {}
                        Err(errno) => return Err(self.io("write")(errno)),
                    }
                }
            }
            fdatasync(&self.file).map_err(self.io("flush"))?;
        }
        Ok(())
    }

    /// Reads the metadata that begins here.
    fn load(&self, expected: Option<VolumeId>) -> Result<(Metadata, Loaded), DeviceError> {
        let ring = self.read(0, RING_BYTES)?;
        let loaded = match Metadata::load(&ring, expected) {
            // The ring says how much there should be; no more than the largest volume has.
            Err(LayoutError::Truncated { has, needs }) if has == RING_BYTES as u64 => {
                let needs = usize::try_from(needs).unwrap_or(RING_BYTES);
                Metadata::load(&self.read(0, needs)?, expected)
            }
            other => other,
        };
        loaded.map_err(|error| self.layout(error))
    }
}

/// Creates a copy whose data is zeroes. `head.data_offset` is set here. `overwrites`: what a
/// device holds is given up. `progress` gets the bytes of a device that are zeroed.
///
/// # Errors
/// Nothing is created; if the backing is refused, nothing is written.
pub fn create(
    backing: &Backing,
    name: &str,
    head: Head,
    overwrites: bool,
    progress: &mut dyn FnMut(u64),
) -> Result<(Device, Metadata), DeviceError> {
    match backing {
        Backing::File(directory) => create_file(directory, name, head),
        Backing::Device(path) => create_on_device(path, (name, head), overwrites, progress),
        Backing::Lvm(logical) => {
            logical.create(device_bytes(head.size_bytes).1)?;
            // It is new, so what it holds is what others left behind.
            let device = logical.device();
            let created =
                device.and_then(|path| create_on_device(&path, (name, head), true, progress));
            if created.is_err() {
                // Why it failed is of more use than why this does.
                let _ = logical.remove();
            }
            created
        }
    }
}

/// Opens a copy. `expected`: only one of this volume.
///
/// # Errors
/// It is not there, in use, damaged, of another volume, or shorter than it was.
pub fn open(
    backing: &Backing,
    name: &str,
    expected: Option<VolumeId>,
) -> Result<(Device, Metadata, Loaded), DeviceError> {
    let (data, metadata) = patiently(|| match backing {
        Backing::File(directory) => open_files(directory, name),
        Backing::Device(path) => open_device(path),
        Backing::Lvm(logical) => open_device(&logical.device()?),
    })?;
    let (mut layout, loaded) = metadata.load(expected)?;
    let head = &loaded.head;
    let (has, needs) = (data.size()?, head.data_offset + head.size_bytes);
    if has < needs {
        // What was there is lost, also if it grows again.
        let without = match head.state {
            State::Joined(1..) if head.promised > 0 => Some(State::Joined(0)),
            State::Syncing(1..) => Some(State::Syncing(0)),
            _ => None,
        };
        if let Some(state) = without {
            let change = Change {
                head: Head {
                    state,
                    ..head.clone()
                },
                fill: None,
                bits: Vec::new(),
            };
            metadata.write(&layout.plan(&change))?;
        }
        let path = data.path;
        return Err(DeviceError::Shrunk { path, has, needs });
    }
    let first = head.data_offset;
    let is_device = !matches!(backing, Backing::File(_));
    Ok((
        Device::new(data, metadata, is_device, first)?,
        layout,
        loaded,
    ))
}

/// Returns the size of a volume as its metadata has it, bytes, without opening it as a volume;
/// None where that cannot be read.
pub fn stored_size(backing: &Backing, name: &str) -> Option<u64> {
    let path = match backing {
        Backing::File(directory) => directory.join(format!("{name}.metadata")),
        Backing::Device(path) | Backing::Lvm(LogicalVolume { path, .. }) => path.clone(),
    };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(CWD, path, flags, Mode::empty()).ok()?;
    let mut ring = Vec::with_capacity(RING_BYTES);
    let mut ring_of = File::from(file).take(RING_BYTES as u64);
    ring_of.read_to_end(&mut ring).ok()?;
    crate::layout::stored_size(&ring)
}

/// Tries again while something is in use, for a moment.
fn patiently<T>(attempt: impl Fn() -> Result<T, DeviceError>) -> Result<T, DeviceError> {
    let end = Instant::now() + CLAIM_MAX;
    loop {
        match attempt() {
            Err(DeviceError::InUse(_)) if Instant::now() < end => {
                std::thread::sleep(CLAIM_PAUSE);
            }
            other => return other,
        }
    }
}

fn open_files(directory: &Path, name: &str) -> Result<(Place, Place), DeviceError> {
    let (directory, data, metadata) = names(directory, name)?;
    let data = match Place::open(&directory, &data, OFlags::empty()) {
        Err(DeviceError::Missing(data)) if metadata.symlink_metadata().is_ok() => {
            return Err(DeviceError::DataMissing { data, metadata });
        }
        other => other?,
    };
    data.claim(FileType::RegularFile, "regular file")?;
    let metadata = Place::open(&directory, &metadata, OFlags::empty())?;
    metadata.claim(FileType::RegularFile, "regular file")?;
    Ok((data, metadata))
}

impl Device {
    /// Uses its data through the page cache from now on: for a volume with one copy, whose
    /// clients flush what must last. Two copies need direct I/O, to see what the disk has.
    pub fn use_page_cache(&mut self) {
        let flags = fcntl_getfl(&self.data.file).map(|flags| flags - OFlags::DIRECT);
        let set = flags.and_then(|flags| fcntl_setfl(&self.data.file, flags));
        self.is_direct &= set.is_err();
    }

    fn new(
        data: Place,
        metadata: Place,
        is_device: bool,
        first: u64,
    ) -> Result<Device, DeviceError> {
        let (sector_bytes, is_direct) = sector(&data, is_device)?;
        let target = |file: File, first| Target {
            file: Arc::new(file),
            is_device,
            first,
        };
        Ok(Device {
            data: target(data.file, first),
            metadata: target(metadata.file, 0),
            sector_bytes,
            is_direct,
        })
    }
}

/// Memory that direct I/O can use.
#[repr(align(4096))]
struct Aligned([u8; 4096]);

/// The smallest unit of reads and writes, and whether they are direct. Tried out: not every
/// kernel and file system reports it.
fn sector(data: &Place, is_device: bool) -> Result<(u32, bool), DeviceError> {
    let least = match is_device {
        true => ioctl_blksszget(&data.file).map_err(data.io("find the sector size of"))?,
        false => SECTOR_BYTES,
    };
    let flags = fcntl_getfl(&data.file).map_err(data.io("look at"))?;
    if fcntl_setfl(&data.file, flags | OFlags::DIRECT).is_err() {
        return Ok((least, false));
    }
    for sector in [least, 4096] {
        let mut buffer = Aligned([0; 4096]);
        let count = (sector as usize).min(buffer.0.len());
        if pread(&data.file, &mut buffer.0[..count], u64::from(sector)).is_ok() {
            return Ok((sector, true));
        }
    }
    fcntl_setfl(&data.file, flags).map_err(data.io("use"))?;
    Ok((least, false))
}

/// The directory, and the paths of both files.
fn names(directory: &Path, name: &str) -> Result<(OwnedFd, PathBuf, PathBuf), DeviceError> {
    let is_plain = name
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'/');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.starts_with('.') || !is_plain {
        return Err(DeviceError::Name(name.to_owned()));
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(CWD, directory, flags, Mode::empty()).map_err(|errno| {
        let path = directory.to_path_buf();
        let is_link = std::fs::symlink_metadata(directory).is_ok_and(|one| one.is_symlink());
        match errno {
            _ if is_link => DeviceError::Symlink(path),
            Errno::NOENT => DeviceError::Missing(path),
            Errno::NOTDIR => DeviceError::Kind {
                path,
                expected: "directory",
            },
            errno => DeviceError::Io {
                action: "open",
                path,
                errno,
            },
        }
    })?;
    let file = |ending: &str| directory.join(format!("{name}.{ending}"));
    Ok((opened, file("volume"), file("metadata")))
}

fn create_file(
    directory: &Path,
    name: &str,
    head: Head,
) -> Result<(Device, Metadata), DeviceError> {
    let (opened, data, metadata) = names(directory, name)?;
    let place = Place {
        file: opened.into(),
        path: directory.to_path_buf(),
    };
    let size = head.size_bytes;
    let needs = metadata_bytes(size).map_err(|error| place.layout(error))?;
    let room = fstatvfs(&place.file).map_err(place.io("look at"))?;
    let has = room.f_blocks.saturating_mul(room.f_frsize);
    // Sparse files may be larger than what is free, but not than all that there is.
    if has < size.saturating_add(needs) {
        let (path, needs) = (place.path, size);
        return Err(DeviceError::TooSmall { path, has, needs });
    }
    let flags = OFlags::CREATE | OFlags::EXCL;
    let data = Place::open(&place.file, &data, flags)?;
    let metadata = match Place::open(&place.file, &metadata, flags) {
        Ok(metadata) => metadata,
        Err(error) => {
            discard(&place, &data);
            return Err(error);
        }
    };
    let filled = fill_files(&place, &data, &metadata, (name, head));
    match filled.and_then(|layout| Ok((Device::new(data, metadata, false, 0)?, layout))) {
        Ok(created) => Ok(created),
        Err(error) => {
            for ending in ["volume", "metadata"] {
                let _ = unlinkat(&place.file, format!("{name}.{ending}"), AtFlags::empty());
            }
            Err(error)
        }
    }
}

fn fill_files(
    directory: &Place,
    data: &Place,
    metadata: &Place,
    (name, head): (&str, Head),
) -> Result<Metadata, DeviceError> {
    // The role looks for the copy, and may have opened them in between: it leaves them at once.
    for file in [data, metadata] {
        patiently(|| file.claim(FileType::RegularFile, "regular file"))?;
    }
    ftruncate(&data.file, head.size_bytes).map_err(data.io("extend"))?;
    fsync(&data.file).map_err(data.io("flush"))?;
    let head = Head {
        data_offset: 0,
        ..head
    };
    let created = Metadata::create(head, name);
    let (layout, phases) = created.map_err(|error| metadata.layout(error))?;
    metadata.write(&phases)?;
    fsync(&metadata.file).map_err(metadata.io("flush"))?;
    fsync(&directory.file).map_err(directory.io("flush"))?;
    Ok(layout)
}

/// Removes a file that was just created.
fn discard(directory: &Place, created: &Place) {
    if let Some(name) = created.path.file_name() {
        let _ = unlinkat(&directory.file, name, AtFlags::empty());
    }
}

/// Opens a block device twice: for data, alone, and for metadata.
fn open_device(path: &Path) -> Result<(Place, Place), DeviceError> {
    // First without any effect: what is no block device is not opened exclusively.
    let link = std::fs::symlink_metadata(path);
    if link.is_ok_and(|link| link.is_symlink()) {
        return Err(DeviceError::Symlink(path.to_path_buf()));
    }
    let data = Place::open(CWD, path, OFlags::EXCL)?;
    data.claim(FileType::BlockDevice, "block device")?;
    let again = format!(
        "/proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(&data.file)
    );
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let metadata = openat(CWD, again, flags, Mode::empty()).map_err(data.io("open"))?;
    let metadata = Place {
        file: metadata.into(),
        path: path.to_path_buf(),
    };
    Ok((data, metadata))
}

/// Where data begins on a device for a volume of this size, and how long the device is to be.
/// There is room for the bitmap of a volume that has grown to twice its size, and behind the
/// data for checksums.
pub fn device_bytes(size_bytes: u64) -> (u64, u64) {
    let least = metadata_bytes(size_bytes).unwrap_or_default();
    let needs = metadata_bytes(size_bytes.saturating_mul(2)).unwrap_or(least);
    let data_offset = needs.next_multiple_of(ALIGN_BYTES);
    let sums = sums_bytes(size_bytes);
    (data_offset, data_offset.saturating_add(size_bytes + sums))
}

fn create_on_device(
    path: &Path,
    (name, head): (&str, Head),
    overwrites: bool,
    progress: &mut dyn FnMut(u64),
) -> Result<(Device, Metadata), DeviceError> {
    let (data, metadata) = patiently(|| open_device(path))?;
    let (length, size) = (data.size()?, head.size_bytes);
    let fault = |error| metadata.layout(error);
    metadata_bytes(size).map_err(fault)?;
    let (data_offset, _) = device_bytes(size);
    let has = length.saturating_sub(data_offset);
    if has < size {
        let path = path.to_path_buf();
        let needs = size;
        return Err(DeviceError::TooSmall { path, has, needs });
    }
    let found = signatures(&metadata, length)?;
    if !found.is_empty() && !overwrites {
        let path = path.to_path_buf();
        return Err(DeviceError::NotEmpty { path, found });
    }
    zero(&metadata, 0..length, progress)?;
    let head = Head {
        data_offset,
        ..head
    };
    let (layout, phases) = Metadata::create(head, name).map_err(fault)?;
    metadata.write(&phases)?;
    let device = Device::new(data, metadata, true, data_offset)?;
    Ok((device, layout))
}

/// What a device holds.
fn signatures(device: &Place, device_bytes: u64) -> Result<Vec<Signature>, DeviceError> {
    let tail = device_bytes.min(signature::TAIL_BYTES as u64);
    let head = device.read(0, signature::HEAD_BYTES)?;
    let tail = device.read(device_bytes - tail, signature::TAIL_BYTES)?;
    Ok(signature::find(&head, &tail, device_bytes))
}

/// Makes a range of a device read as zeroes.
fn zero(
    device: &Place,
    range: std::ops::Range<u64>,
    progress: &mut dyn FnMut(u64),
) -> Result<(), DeviceError> {
    let mut offset = range.start;
    while offset < range.end {
        let length = ZERO_BYTES.min(range.end - offset);
        let fast = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let slow = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
        let zeroed = match fallocate(&device.file, fast, offset, length) {
            Err(Errno::OPNOTSUPP) => fallocate(&device.file, slow, offset, length),
            other => other,
        };
        zeroed.map_err(device.io("write zeroes to"))?;
        offset += length;
        progress(offset);
    }
    Ok(())
}
