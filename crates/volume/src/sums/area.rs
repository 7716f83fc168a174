//! Locates and opens the checksums of a replica. With files: after the bitmap in the metadata file.
//! On a device: the log at the end of the metadata space, and the pages at the end of the device.
//!
//! All functions here block.

use super::record::{ChecksumLogRecord, LOG_MAGIC, RECORD_BYTES, SLOTS};
use super::{BLOCK_BYTES, PAGE_BLOCKS, pages_of};
use crate::device::Device;
use crate::disk::BackingFile;
use crate::layout::{Superblock, metadata_bytes, sums_bytes};
use rustix::fs::{CWD, Mode, OFlags, SeekFrom, fdatasync, fstat, ftruncate, openat, seek};
use rustix::io::{Errno, pread, pwrite};
use rustix::rand::{GetRandomFlags, getrandom};
use std::os::fd::AsRawFd;
use std::sync::Arc;

/// Offset of the log in a metadata file, bytes: after the bitmap of the largest volume.
const FILE_OFFSET: u64 = 1 << 30;
const LOG_BYTES: u64 = SLOTS * RECORD_BYTES as u64;
const PAGE_BYTES: u64 = RECORD_BYTES as u64;

/// Reason why a replica cannot have checksums, or why they cannot be dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AreaError {
    #[error(
        "no room for checksums on the device: {needs} bytes are needed after the {size} bytes of the \
         volume, it has {has}"
    )]
    NoRoom { size: u64, has: u64, needs: u64 },
    #[error("no room for checksums in the metadata of the device: create the volume again")]
    NoLog,
    #[error("cannot {action} the checksums: {errno}")]
    Io { action: &'static str, errno: Errno },
}

fn io(action: &'static str) -> impl FnOnce(Errno) -> AreaError {
    move |errno| AreaError::Io { action, errno }
}

/// Opened checksum area of a replica.
#[derive(Clone, Debug)]
pub struct Area {
    pub(super) target: BackingFile,
    pub(super) log: u64,
    pub(super) slot: ChecksumLogRecord,
    pub(super) blocks: u64,
    /// Largest size of the volume for which there is space, bytes.
    pub size_max: u64,
}

/// Opens the checksums of a replica, or creates empty ones.
///
/// # Errors
/// There is no space for them, or a system call fails. The caller then has to call [`drop_sums`]
/// before the volume is used.
pub fn open(device: &Device, head: &Superblock) -> Result<Area, AreaError> {
    let size = head.size_bytes;
    let blocks = size / BLOCK_BYTES;
    let log = log_of(device, head);
    let (offset, end) = if device.data.is_device {
        behind(device, head)?
    } else {
        (FILE_OFFSET + LOG_BYTES, u64::MAX)
    };
    let mut area = Area {
        target: apart(&device.metadata)?,
        log,
        slot: ChecksumLogRecord {
            number: 1,
            draw: 0,
            offset,
            blocks,
            built: 0,
            hot: Vec::new(),
        },
        blocks,
        size_max: u64::MAX,
    };
    let data_end = head.data_offset + size;
    let fits = |slot: &ChecksumLogRecord| {
        let pages_end = slot.offset + u64::from(pages_of(blocks)) * PAGE_BYTES;
        let is_behind = !device.data.is_device || slot.offset >= data_end && pages_end <= end;
        slot.blocks <= blocks && is_behind && (device.data.is_device || slot.offset == offset)
    };
    match ChecksumLogRecord::newest(&read(&area.target, log)?).filter(fits) {
        Some(slot) => area.slot = slot,
        None => begin(&mut area)?,
    }
    if device.data.is_device {
        let by_pages = (end - area.slot.offset) / PAGE_BYTES * PAGE_BLOCKS * BLOCK_BYTES;
        area.size_max = by_pages.min(area.slot.offset - head.data_offset);
    } else {
        area.extend(blocks)?;
    }
    Ok(area)
}

/// Invalidates the checksums of a replica, if it has some. They are never trusted again.
///
/// # Errors
/// A system call fails.
pub fn drop_sums(device: &Device, head: &Superblock) -> Result<(), AreaError> {
    let log = log_of(device, head);
    if device.data.is_device && metadata_bytes(head.size_bytes).is_ok_and(|bytes| bytes > log) {
        // Does nothing if the bitmap has grown over the log, which destroyed it.
        return Ok(());
    }
    let ring = read(&device.metadata, log)?;
    let mut slots = ring.chunks(RECORD_BYTES);
    if !slots.any(|slot| slot.starts_with(&LOG_MAGIC)) {
        return Ok(());
    }
    write(&device.metadata, log, &[0; LOG_BYTES as usize])
}

/// Opens the target again as a separate open file. The kernel reports a write-back error once to
/// each open file, and other code also flushes the metadata.
fn apart(target: &BackingFile) -> Result<BackingFile, AreaError> {
    let path = format!("/proc/self/fd/{}", target.file.as_raw_fd());
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let file = openat(CWD, path, flags, Mode::empty()).map_err(io("open"))?;
    Ok(BackingFile {
        file: Arc::new(file.into()),
        ..target.clone()
    })
}

fn log_of(device: &Device, head: &Superblock) -> u64 {
    if device.data.is_device {
        head.data_offset.saturating_sub(LOG_BYTES)
    } else {
        FILE_OFFSET
    }
}

/// Returns the area for pages at the end of a device: its start and its end, bytes.
fn behind(device: &Device, head: &Superblock) -> Result<(u64, u64), AreaError> {
    let size = head.size_bytes;
    if metadata_bytes(size).map_or(true, |bytes| bytes > log_of(device, head)) {
        return Err(AreaError::NoLog);
    }
    let length = seek(&device.metadata.file, SeekFrom::End(0)).map_err(io("find the end of"))?;
    let end = length / PAGE_BYTES * PAGE_BYTES;
    let data_end = head.data_offset + size;
    // Reserves space for the checksums of the largest volume that fits on the device.
    let room = end.saturating_sub(head.data_offset);
    let pages = room.div_ceil((PAGE_BLOCKS + 1) * PAGE_BYTES);
    let needs = sums_bytes(size);
    let offset = end.saturating_sub(pages.saturating_mul(PAGE_BYTES));
    // Uses less space at the end of the device if the volume needs more.
    let offset = if offset >= data_end {
        offset
    } else {
        end.saturating_sub(needs)
    };
    if offset < data_end {
        let has = end.saturating_sub(data_end);
        return Err(AreaError::NoRoom { size, has, needs });
    }
    Ok((offset, end))
}

/// Creates an empty log with a new random number (draw). No checksum is known then.
fn begin(area: &mut Area) -> Result<(), AreaError> {
    let mut draw = [0; 8];
    getrandom(&mut draw, GetRandomFlags::empty()).map_err(io("draw a number for"))?;
    area.slot.draw = u64::from_ne_bytes(draw);
    write(&area.target, area.log, &[0; LOG_BYTES as usize])?;
    let at = area.log + area.slot.place();
    write(&area.target, at, &area.slot.encode())
}

impl Area {
    pub(super) fn extend(&self, blocks: u64) -> Result<(), AreaError> {
        if self.target.is_device {
            return Ok(());
        }
        let needs = self.slot.offset + u64::from(pages_of(blocks)) * PAGE_BYTES;
        let has = fstat(&self.target.file).map_err(io("look at"))?.st_size;
        if u64::try_from(has).is_ok_and(|has| has < needs) {
            ftruncate(&self.target.file, needs).map_err(io("make room for"))?;
        }
        Ok(())
    }
}

/// Reads the log, which may be missing.
fn read(target: &BackingFile, offset: u64) -> Result<Vec<u8>, AreaError> {
    let mut bytes = vec![0; LOG_BYTES as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        match pread(&target.file, &mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(io("read the log of")(errno)),
        }
    }
    Ok(bytes)
}

fn write(target: &BackingFile, offset: u64, bytes: &[u8]) -> Result<(), AreaError> {
    let mut done = 0;
    while done < bytes.len() {
        match pwrite(&target.file, &bytes[done..], offset + done as u64) {
            Ok(0) => return Err(io("write the log of")(Errno::NOSPC)),
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(io("write the log of")(errno)),
        }
    }
    fdatasync(&target.file).map_err(io("flush the log of"))
}
