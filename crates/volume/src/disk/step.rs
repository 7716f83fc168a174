//! Defines a step of a disk operation: plain numbers that any thread may use, and the blocking
//! system calls that execute the step. A step that ended early continues with the rest.

use super::{Extent, Failure};
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, fdatasync, seek};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2, pwritev2};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;

pub const EXTENTS_MAX: usize = 1024;
const ZEROES_BYTES: usize = 64 << 10;

/// Source of zeroes, aligned for direct I/O.
#[repr(align(4096))]
struct Zeroes([u8; ZEROES_BYTES]);
static ZEROES: Zeroes = Zeroes([0; ZEROES_BYTES]);

/// Step of a disk operation. Offsets are relative to the file.
#[derive(Clone, Copy, Debug)]
pub(super) enum DiskStep {
    Read {
        offset: u64,
        address: usize,
        length: usize,
    },
    Write {
        offset: u64,
        address: usize,
        length: usize,
        fua: bool,
    },
    Flush,
    Zero {
        offset: u64,
        length: u64,
        allocate: bool,
        fast: bool,
    },
    Discard {
        offset: u64,
        length: u64,
    },
    Extents {
        offset: u64,
        length: u64,
    },
}

#[derive(Debug)]
pub(super) struct StepCompletion {
    pub(super) slot: u32,
    /// Number of bytes read or written; 0 for other steps.
    pub(super) result: Result<usize, Failure>,
    pub(super) extents: Option<Vec<Extent>>,
}

#[derive(Debug)]
pub(super) enum Progress {
    Done,
    Continues,
    Failed(Failure),
}

impl DiskStep {
    pub(super) fn advance(&mut self, ended: &StepCompletion) -> Progress {
        let done = match ended.result {
            Ok(done) => done,
            Err(Failure::Io(Errno::INTR | Errno::AGAIN)) => return Progress::Continues,
            Err(failure) => return Progress::Failed(failure),
        };
        let (DiskStep::Read {
            offset,
            address,
            length,
        }
        | DiskStep::Write {
            offset,
            address,
            length,
            ..
        }) = self
        else {
            return Progress::Done;
        };
        if done == 0 {
            return Progress::Failed(Failure::Short);
        }
        let done = done.min(*length);
        *offset += done as u64;
        *address += done;
        *length -= done;
        match *length {
            0 => Progress::Done,
            _ => Progress::Continues,
        }
    }

    /// Reads from the page cache. Returns `None` if not all of the data is cached.
    ///
    /// # Safety
    /// As [`DiskStep::run`].
    pub(super) unsafe fn read_cached(self, file: BorrowedFd<'_>) -> Option<usize> {
        let DiskStep::Read {
            offset,
            address,
            length,
        } = self
        else {
            return None;
        };
        // SAFETY: the caller's promise.
        let bytes = unsafe { std::slice::from_raw_parts_mut(address as *mut u8, length) };
        let read = preadv2(
            file,
            &mut [IoSliceMut::new(bytes)],
            offset,
            ReadWriteFlags::NOWAIT,
        );
        read.ok().filter(|count| *count == length)
    }

    /// Runs the step and waits for its end.
    ///
    /// # Safety
    /// `address` and `length` are of memory that nothing else accesses meanwhile, except for
    /// reading it in a write.
    pub(super) unsafe fn run(self, file: BorrowedFd<'_>, is_device: bool) -> Result<usize, Errno> {
        match self {
            DiskStep::Read {
                offset,
                address,
                length,
            } => {
                // SAFETY: the caller's promise.
                let bytes = unsafe { std::slice::from_raw_parts_mut(address as *mut u8, length) };
                pread(file, bytes, offset)
            }
            DiskStep::Write {
                offset,
                address,
                length,
                fua,
            } => {
                // SAFETY: the caller's promise.
                let bytes = unsafe { std::slice::from_raw_parts(address as *const u8, length) };
                pwritev2(file, &[IoSlice::new(bytes)], offset, write_flags(fua))
            }
            DiskStep::Flush => fdatasync(file).map(|()| 0),
            DiskStep::Zero {
                offset,
                length,
                allocate,
                fast,
            } => zero(file, is_device, offset, length, allocate, fast).map(|()| 0),
            DiskStep::Discard { offset, length } => {
                match fallocate(file, hole_flags(), offset, length) {
                    Err(Errno::OPNOTSUPP) => Ok(0),
                    other => other.map(|()| 0),
                }
            }
            DiskStep::Extents { .. } => Ok(0),
        }
    }
}

pub(super) fn write_flags(fua: bool) -> ReadWriteFlags {
    if fua {
        ReadWriteFlags::DSYNC
    } else {
        ReadWriteFlags::empty()
    }
}

pub(super) fn hole_flags() -> FallocateFlags {
    FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE
}

/// Returns the flags of `fallocate` that zero a range; `None` if a fast operation is required and
/// the kernel might write the zeroes.
pub(super) fn zero_flags(is_device: bool, allocate: bool, fast: bool) -> Option<FallocateFlags> {
    match (is_device, allocate, fast) {
        (true, true, true) => None,
        (_, false, _) => Some(hole_flags()),
        (_, true, _) => Some(FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE),
    }
}

fn zero(
    file: BorrowedFd<'_>,
    is_device: bool,
    offset: u64,
    length: u64,
    allocate: bool,
    fast: bool,
) -> Result<(), Errno> {
    let Some(flags) = zero_flags(is_device, allocate, fast) else {
        return Err(Errno::OPNOTSUPP);
    };
    match fallocate(file, flags, offset, length) {
        Err(Errno::OPNOTSUPP) if !fast => write_zeroes(file, offset, length),
        other => other,
    }
}

fn write_zeroes(file: BorrowedFd<'_>, mut offset: u64, length: u64) -> Result<(), Errno> {
    let end = offset + length;
    while offset < end {
        let count = ZEROES.0.len().min((end - offset) as usize);
        match rustix::io::pwrite(file, &ZEROES.0[..count], offset) {
            Ok(0) => return Err(Errno::IO),
            Ok(done) => offset += done as u64,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Returns the extents of a range. A device, or a file system without support for holes, has one
/// extent.
pub(super) fn extents(
    file: BorrowedFd<'_>,
    is_device: bool,
    offset: u64,
    length: u64,
) -> Result<Vec<Extent>, Errno> {
    let whole = Extent {
        length,
        is_hole: false,
    };
    if is_device {
        return Ok(vec![whole]);
    }
    let end = offset + length;
    let (mut at, mut found) = (offset, Vec::new());
    while at < end && found.len() < EXTENTS_MAX {
        let data = match seek(file, SeekFrom::Data(at)) {
            Ok(data) => data.clamp(at, end),
            Err(Errno::NXIO) => end,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(vec![whole]),
            Err(errno) => return Err(errno),
        };
        let is_hole = data > at;
        let next = if is_hole {
            data
        } else {
            // Counts a hole that appeared at this position after the search as data.
            seek(file, SeekFrom::Hole(at))?.clamp(at, end)
        };
        let next = if next == at { end } else { next };
        found.push(Extent {
            length: next - at,
            is_hole,
        });
        at = next;
    }
    Ok(found)
}
