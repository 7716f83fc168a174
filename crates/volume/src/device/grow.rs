//! Grows the backing store of a replica. A replica never shrinks.

use super::{Backing, Device, DeviceError, LogicalVolume, OpenFile, zero};
use crate::layout::{Metadata, MetadataChange, Superblock, metadata_bytes};
use rustix::fs::{FallocateFlags, fallocate, fdatasync, fstatvfs, ftruncate};
use rustix::io::Errno;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// Grows an open replica: first its data, then its metadata, so that an interruption leaves the
/// old size valid. New data reads as zeroes.
///
/// # Errors
/// There is not enough space, and nothing was written; or a system call fails.
pub fn grow(
    device: &Device,
    layout: &mut Metadata,
    backing: &Backing,
    name: &str,
    size_bytes: u64,
) -> Result<(), DeviceError> {
    let head = layout.head().clone();
    extend(device, &head, backing, name, head.size_bytes..size_bytes)?;
    let phases = layout.plan(&MetadataChange {
        head: Superblock { size_bytes, ..head },
        fill: None,
        bits: Vec::new(),
    });
    places(device, backing, name)?.1.write(&phases)
}

/// Prepares a replica in use for growth: zeroes the data in `range`, and reserves space for the
/// metadata. Changes neither the size of the volume nor data before the range.
///
/// # Errors
/// There is not enough space, or a system call fails.
pub fn prepare(
    device: &Device,
    head: &Superblock,
    backing: &Backing,
    name: &str,
    range: Range<u64>,
) -> Result<(), DeviceError> {
    let (data, metadata) = places(device, backing, name)?;
    extend(device, head, backing, name, range.clone())?;
    match backing {
        Backing::Device(_) | Backing::Lvm(_) => {
            let first = head.data_offset;
            let range = first + range.start..first + range.end;
            zero(&data, range, &mut |_| {})?;
            fdatasync(&data.file).map_err(data.io("flush"))
        }
        Backing::File(_) => {
            // Reserves the metadata now: a disk that fills up later must not prevent storing the
            // new size.
            let bytes = metadata_bytes(range.end).map_err(|error| metadata.layout(error))?;
            match fallocate(&metadata.file, FallocateFlags::KEEP_SIZE, 0, bytes) {
                Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
                Err(errno) => Err(metadata.io("reserve room for")(errno)),
            }
        }
    }
}

/// Checks that there is space for a volume up to the end of `range`, and extends files.
fn extend(
    device: &Device,
    head: &Superblock,
    backing: &Backing,
    name: &str,
    range: Range<u64>,
) -> Result<(), DeviceError> {
    let size_bytes = range.end;
    let (data, metadata) = places(device, backing, name)?;
    let bytes = metadata_bytes(size_bytes).map_err(|error| metadata.layout(error))?;
    let too_small = |has| DeviceError::TooSmall {
        path: data.path.clone(),
        has,
        needs: size_bytes,
    };
    match backing {
        Backing::Device(_) | Backing::Lvm(_) => {
            // Refuses metadata that would overlap the data, which follows it on a device. At
            // creation, space was reserved for the metadata of about twice the size.
            let has = data.size()?.saturating_sub(head.data_offset);
            if has < size_bytes && matches!(backing, Backing::Lvm(_)) {
                return Err(DeviceError::NotExtended {
                    path: data.path.clone(),
                    has,
                    needs: size_bytes,
                });
            }
            if has < size_bytes || bytes > head.data_offset {
                return Err(too_small(
                    has.min(room_of(head.data_offset, head.size_bytes)),
                ));
            }
        }
        Backing::File(_) => {
            let room = fstatvfs(&data.file).map_err(data.io("look at"))?;
            let has = room.f_blocks.saturating_mul(room.f_frsize);
            if has < size_bytes.saturating_add(bytes) {
                return Err(too_small(has));
            }
            ftruncate(&data.file, range.start).map_err(data.io("shorten"))?;
            ftruncate(&data.file, size_bytes).map_err(data.io("extend"))?;
            fdatasync(&data.file).map_err(data.io("flush"))?;
        }
    }
    Ok(())
}

pub(super) fn places(
    device: &Device,
    backing: &Backing,
    name: &str,
) -> Result<(OpenFile, OpenFile), DeviceError> {
    let (data_path, metadata_path) = match backing {
        Backing::File(directory) => (
            directory.join(format!("{name}.volume")),
            directory.join(format!("{name}.metadata")),
        ),
        Backing::Device(path) | Backing::Lvm(LogicalVolume { path, .. }) => {
            (path.clone(), path.clone())
        }
    };
    let data = place(&device.data.file, data_path)?;
    let metadata = place(&device.metadata.file, metadata_path)?;
    Ok((data, metadata))
}

fn place(file: &Arc<std::fs::File>, path: PathBuf) -> Result<OpenFile, DeviceError> {
    match file.try_clone() {
        Ok(file) => Ok(OpenFile { file, path }),
        Err(error) => Err(DeviceError::Io {
            action: "use",
            path,
            errno: rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO),
        }),
    }
}

/// Returns the largest size of a volume whose metadata fits. Doubles the size from one that fits.
fn room_of(metadata_room: u64, size_bytes: u64) -> u64 {
    let fits = |size: &u64| metadata_bytes(*size).is_ok_and(|bytes| bytes <= metadata_room);
    let sizes = std::iter::successors(Some(size_bytes), |size| size.checked_mul(2));
    sizes.take_while(fits).last().unwrap_or(size_bytes)
}
