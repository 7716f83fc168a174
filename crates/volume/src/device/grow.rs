//! A copy that becomes larger. It never becomes smaller.

use super::{Backing, Device, DeviceError, Place};
use crate::layout::{Change, Head, Metadata, metadata_bytes};
use rustix::fs::{fdatasync, fstatvfs, ftruncate};
use std::path::PathBuf;
use std::sync::Arc;

/// Makes an open copy larger: first its data, then its metadata, so that an interruption
/// leaves it as it was. New data reads as zeroes.
///
/// # Errors
/// There is not enough room. Nothing was written.
pub fn grow(
    device: &Device,
    layout: &mut Metadata,
    backing: &Backing,
    name: &str,
    size_bytes: u64,
) -> Result<(), DeviceError> {
    let place = |file: &Arc<std::fs::File>, path: PathBuf| {
        let file = file.try_clone();
        let failed = |error: std::io::Error| DeviceError::Io {
            action: "use",
            path: path.clone(),
            errno: rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO),
        };
        let file = file.map_err(failed)?;
        Ok(Place { file, path })
    };
    let (data_path, metadata_path) = match backing {
        Backing::File(directory) => (
            directory.join(format!("{name}.volume")),
            directory.join(format!("{name}.metadata")),
        ),
        Backing::Device(path) => (path.clone(), path.clone()),
    };
    let data = place(&device.data.file, data_path)?;
    let metadata = place(&device.metadata.file, metadata_path)?;
    let head = layout.head().clone();
    let bytes = metadata_bytes(size_bytes).map_err(|error| metadata.layout(error))?;
    let too_small = |has| DeviceError::TooSmall {
        path: data.path.clone(),
        has,
        needs: size_bytes,
    };
    match backing {
        Backing::Device(_) => {
            // Its metadata is before its data, where room was left for about twice the size.
            let has = data.size()?.saturating_sub(head.data_offset);
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
            ftruncate(&data.file, size_bytes).map_err(data.io("extend"))?;
            fdatasync(&data.file).map_err(data.io("flush"))?;
        }
    }
    let phases = layout.plan(&Change {
        head: Head { size_bytes, ..head },
        fill: None,
        bits: Vec::new(),
    });
    metadata.write(&phases)
}

/// The largest volume whose metadata fits, found by doubling from one that does.
fn room_of(metadata_room: u64, size_bytes: u64) -> u64 {
    let fits = |size: &u64| metadata_bytes(*size).is_ok_and(|bytes| bytes <= metadata_room);
    let sizes = std::iter::successors(Some(size_bytes), |size| size.checked_mul(2));
    sizes.take_while(fits).last().unwrap_or(size_bytes)
}
