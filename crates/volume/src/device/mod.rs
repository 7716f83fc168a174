//! Creates and opens the backing store of a replica: a sparse file with a metadata file beside it,
//! or a block device that begins with the metadata. One process at a time can open it. [`create`]
//! checks a block device before it writes to it, and refuses one that is too small or has content.
//!
//! All functions here block. A role calls them at its start, not from its event loop.

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
pub use named::{is_own, rename, set_overwrite};
pub use remove::{LeftoverFiles, remove};
pub use signature::Signature;
pub use snapshot::{Label, Snapshot, SnapshotError, SnapshotReason, Stamp};

use crate::disk::BackingFile;
use crate::layout::{
    LayoutError, Loaded, Metadata, MetadataChange, Superblock, SyncState, VolumeId, WritePhase,
    metadata_bytes, sums_bytes,
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

/// Maximum length of a volume's name, bytes: the name with its suffix is a file name.
const NAME_BYTES_MAX: usize = 200;
const ALIGN_BYTES: u64 = 1 << 20;
/// Length that one system call zeroes, bytes.
const ZERO_BYTES: u64 = 1 << 30;
/// Length of the first metadata read, bytes: the ring of slots.
const RING_BYTES: usize = 64 << 10;
/// Time to wait for a backing store that another process has locked. The lock of a killed process
/// persists until the kernel has finished the I/O of that process; only then is the backing store
/// safe to open.
const CLAIM_MAX: Duration = Duration::from_secs(1);
const CLAIM_PAUSE: Duration = Duration::from_millis(10);
const SECTOR_BYTES: u32 = 512;

/// Backing store of one replica, as configured.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Backing {
    /// Directory with the files `NAME.volume` and `NAME.metadata`.
    File(PathBuf),
    Device(PathBuf),
    Lvm(LogicalVolume),
}

/// Reason why a replica cannot be created or opened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DeviceError {
    #[error("'{0}' cannot be the name of a volume's files")]
    Name(String),
    #[error("{0}: no such file or device")]
    Missing(PathBuf),
    #[error(
        "{data} is missing, and its metadata {metadata} is there: restore the file, or delete the metadata and \
         create the copy again with `evenkeel volume create`"
    )]
    DataMissing { data: PathBuf, metadata: PathBuf },
    #[error("{0} exists already: remove the volume first, or choose another name")]
    Exists(PathBuf),
    /// The last path component is a symbolic link, whose target could change.
    #[error("{0} is a symbolic link: use its target path")]
    Symlink(PathBuf),
    #[error("{path} is not a {expected}")]
    Kind {
        path: PathBuf,
        expected: &'static str,
    },
    #[error("{0} is in use: by another process, a mount, LVM or RAID")]
    InUse(PathBuf),
    #[error("{path} is too small: {has} bytes for data, the volume needs {needs}")]
    TooSmall { path: PathBuf, has: u64, needs: u64 },
    #[error(
        "{path} is of volume '{found}': its files were renamed, copied or swapped. Restore them; or, if \
         volume '{name}' should use this data, run `evenkeel volume adopt {name} --yes`"
    )]
    OfOther {
        path: PathBuf,
        found: String,
        name: String,
    },
    #[error("{path} has shrunk: {has} bytes, the volume on it has {needs}. It is not used")]
    Shrunk { path: PathBuf, has: u64, needs: u64 },
    #[error("{path} is not empty: it holds {}. Nothing was written", words(.found))]
    NotEmpty {
        path: PathBuf,
        found: Vec<Signature>,
    },
    /// The logical volume has to be extended first, which a role lacks the privileges for.
    #[error(
        "{path} has room for {has} bytes, the volume needs {needs}: `evenkeel volume grow` extends it, then reload"
    )]
    NotExtended { path: PathBuf, has: u64, needs: u64 },
    #[error(transparent)]
    Lvm(#[from] LvmError),
    #[error("{path}: {source}")]
    Layout { path: PathBuf, source: LayoutError },
    #[error("cannot {action} {path}: {errno}")]
    Io {
        action: &'static str,
        path: PathBuf,
        errno: Errno,
    },
}

fn words(found: &[Signature]) -> String {
    let words: Vec<String> = found.iter().map(ToString::to_string).collect();
    words.join(", ")
}

/// Open replica with an exclusive lock, which lasts while this value or an operation on the files
/// exists.
#[derive(Clone, Debug)]
pub struct Device {
    pub data: BackingFile,
    /// Metadata file, or device, from the first byte of the metadata on; never direct I/O.
    pub metadata: BackingFile,
    pub sector_bytes: u32,
    pub is_direct: bool,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    path: PathBuf,
}

impl OpenFile {
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

    /// Opens a file without following a symbolic link.
    fn open(directory: impl AsFd, path: &Path, flags: OFlags) -> Result<OpenFile, DeviceError> {
        let relative = if flags.contains(OFlags::EXCL) && !flags.contains(OFlags::CREATE) {
            path
        } else {
            path.file_name().map_or(path, Path::new)
        };
        let flags = flags | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let opened = openat(directory, relative, flags, Mode::RUSR | Mode::WUSR);
        let path = path.to_path_buf();
        match opened {
            Ok(file) => Ok(OpenFile {
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

    fn write(&self, phases: &[WritePhase]) -> Result<(), DeviceError> {
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

    fn load(&self, expected: Option<VolumeId>) -> Result<(Metadata, Loaded), DeviceError> {
        let ring = self.read(0, RING_BYTES)?;
        let loaded = match Metadata::load(&ring, expected) {
            // Reads again if the ring names a longer metadata; the largest volume bounds the
            // length.
            Err(LayoutError::Truncated { has, needs }) if has == RING_BYTES as u64 => {
                let needs = usize::try_from(needs).unwrap_or(RING_BYTES);
                Metadata::load(&self.read(0, needs)?, expected)
            }
            other => other,
        };
        loaded.map_err(|error| self.layout(error))
    }
}

/// Creates a replica full of zeroes, and sets `head.data_offset`. `overwrites` permits destroying
/// the content of a device. `progress` receives the number of zeroed bytes of a device.
///
/// # Errors
/// The backing store is refused and nothing was written, or a system call or LVM fails. No replica
/// is created.
pub fn create(
    backing: &Backing,
    name: &str,
    head: Superblock,
    overwrites: bool,
    progress: &mut dyn FnMut(u64),
) -> Result<(Device, Metadata), DeviceError> {
    match backing {
        Backing::File(directory) => create_file(directory, name, head),
        Backing::Device(path) => create_on_device(path, name, head, overwrites, progress),
        Backing::Lvm(logical) => {
            logical.create(device_bytes(head.size_bytes).1)?;
            // Overwrites any content: the logical volume is new, so content is a leftover of
            // previous users.
            let device = logical.device();
            let created =
                device.and_then(|path| create_on_device(&path, name, head, true, progress));
            if created.is_err() {
                // Ignores this error: the original one is more useful.
                let _ = logical.remove();
            }
            created
        }
    }
}

/// Opens a replica. With `expected`, refuses any other volume.
///
/// # Errors
/// The replica is missing, in use, damaged, of another volume, or has shrunk, or a system call
/// fails.
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
        // Makes the replica incomplete: the data that was cut off is lost, even if the file grows
        // again.
        let without = match head.state {
            SyncState::Joined(1..) if head.promised > 0 => Some(SyncState::Joined(0)),
            SyncState::Syncing(1..) => Some(SyncState::Syncing(0)),
            _ => None,
        };
        if let Some(state) = without {
            let change = MetadataChange {
                head: Superblock {
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

/// Returns the size in the metadata, bytes, without opening the replica. Returns None if the
/// metadata cannot be read.
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

fn open_files(directory: &Path, name: &str) -> Result<(OpenFile, OpenFile), DeviceError> {
    let (directory, data, metadata) = names(directory, name)?;
    let data = match OpenFile::open(&directory, &data, OFlags::empty()) {
        Err(DeviceError::Missing(data)) if metadata.symlink_metadata().is_ok() => {
            return Err(DeviceError::DataMissing { data, metadata });
        }
        other => other?,
    };
    data.claim(FileType::RegularFile, "regular file")?;
    let metadata = OpenFile::open(&directory, &metadata, OFlags::empty())?;
    metadata.claim(FileType::RegularFile, "regular file")?;
    Ok((data, metadata))
}

impl Device {
    /// Switches the data to the page cache. Only a volume with one replica does so: its clients
    /// flush data that must be durable. A volume with two replicas needs direct I/O, to read the
    /// actual content of the disk.
    pub fn use_page_cache(&mut self) {
        let flags = fcntl_getfl(&self.data.file).map(|flags| flags - OFlags::DIRECT);
        let set = flags.and_then(|flags| fcntl_setfl(&self.data.file, flags));
        self.is_direct &= set.is_err();
    }

    fn new(
        data: OpenFile,
        metadata: OpenFile,
        is_device: bool,
        first: u64,
    ) -> Result<Device, DeviceError> {
        let (sector_bytes, is_direct) = sector(&data, is_device)?;
        let target = |file: File, first| BackingFile {
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

/// Buffer that is aligned for direct I/O.
#[repr(align(4096))]
struct Aligned([u8; 4096]);

/// Returns the smallest I/O unit, and whether direct I/O works. Probes by reading, because not
/// every kernel and file system reports it.
fn sector(data: &OpenFile, is_device: bool) -> Result<(u32, bool), DeviceError> {
    let least = if is_device {
        ioctl_blksszget(&data.file).map_err(data.io("find the sector size of"))?
    } else {
        SECTOR_BYTES
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
    head: Superblock,
) -> Result<(Device, Metadata), DeviceError> {
    let (opened, data, metadata) = names(directory, name)?;
    let place = OpenFile {
        file: opened.into(),
        path: directory.to_path_buf(),
    };
    let size = head.size_bytes;
    let needs = metadata_bytes(size).map_err(|error| place.layout(error))?;
    let room = fstatvfs(&place.file).map_err(place.io("look at"))?;
    let has = room.f_blocks.saturating_mul(room.f_frsize);
    // Refuses a file larger than its file system. A sparse file may exceed the free space.
    if has < size.saturating_add(needs) {
        let (path, needs) = (place.path, size);
        return Err(DeviceError::TooSmall { path, has, needs });
    }
    let flags = OFlags::CREATE | OFlags::EXCL;
    let data = OpenFile::open(&place.file, &data, flags)?;
    let metadata = match OpenFile::open(&place.file, &metadata, flags) {
        Ok(metadata) => metadata,
        Err(error) => {
            discard(&place, &data);
            return Err(error);
        }
    };
    let filled = fill_files(&place, &data, &metadata, name, head);
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
    directory: &OpenFile,
    data: &OpenFile,
    metadata: &OpenFile,
    name: &str,
    head: Superblock,
) -> Result<Metadata, DeviceError> {
    // Waits for the locks: the volume role may have opened the new files while it polled for the
    // replica, and closes them at once.
    for file in [data, metadata] {
        patiently(|| file.claim(FileType::RegularFile, "regular file"))?;
    }
    ftruncate(&data.file, head.size_bytes).map_err(data.io("extend"))?;
    fsync(&data.file).map_err(data.io("flush"))?;
    let head = Superblock {
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

fn discard(directory: &OpenFile, created: &OpenFile) {
    if let Some(name) = created.path.file_name() {
        let _ = unlinkat(&directory.file, name, AtFlags::empty());
    }
}

fn open_device(path: &Path) -> Result<(OpenFile, OpenFile), DeviceError> {
    // Refuses a symbolic link before anything is opened.
    let link = std::fs::symlink_metadata(path);
    if link.is_ok_and(|link| link.is_symlink()) {
        return Err(DeviceError::Symlink(path.to_path_buf()));
    }
    let data = OpenFile::open(CWD, path, OFlags::EXCL)?;
    data.claim(FileType::BlockDevice, "block device")?;
    let again = format!(
        "/proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(&data.file)
    );
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let metadata = openat(CWD, again, flags, Mode::empty()).map_err(data.io("open"))?;
    let metadata = OpenFile {
        file: metadata.into(),
        path: path.to_path_buf(),
    };
    Ok((data, metadata))
}

/// Returns the offset of the data on a device, and the required length of the device. Reserves
/// space for the bitmap of twice the size, and for checksums after the data.
pub fn device_bytes(size_bytes: u64) -> (u64, u64) {
    let least = metadata_bytes(size_bytes).unwrap_or_default();
    let needs = metadata_bytes(size_bytes.saturating_mul(2)).unwrap_or(least);
    let data_offset = needs.next_multiple_of(ALIGN_BYTES);
    let sums = sums_bytes(size_bytes);
    (data_offset, data_offset.saturating_add(size_bytes + sums))
}

fn create_on_device(
    path: &Path,
    name: &str,
    head: Superblock,
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
    let head = Superblock {
        data_offset,
        ..head
    };
    let (layout, phases) = Metadata::create(head, name).map_err(fault)?;
    metadata.write(&phases)?;
    let device = Device::new(data, metadata, true, data_offset)?;
    Ok((device, layout))
}

fn signatures(device: &OpenFile, device_bytes: u64) -> Result<Vec<Signature>, DeviceError> {
    let tail = device_bytes.min(signature::TAIL_BYTES as u64);
    let head = device.read(0, signature::HEAD_BYTES)?;
    let tail = device.read(device_bytes - tail, signature::TAIL_BYTES)?;
    Ok(signature::find(&head, &tail, device_bytes))
}

fn zero(
    device: &OpenFile,
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
