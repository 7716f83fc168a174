//! What one machine has changed of a disk that others use, too: a sparse file with the changed blocks.
//!
//! It is for one run of the machine, and of this node: whatever the node's memory has when its power
//! fails is lost, so a file of an earlier run of the node is not used. A process that dies loses nothing:
//! a block is in the file before it is marked there.
//!
//! The file: a page with what it is, a bit for each block of 4096 bytes, and the blocks at their places.

use super::device::{Disk, DiskError};
use rustix::fs::{Mode, OFlags, openat, unlinkat};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of a block.
const BLOCK_BYTES: u64 = 4096;
/// Bytes of the largest disk that can have overlays.
const DISK_BYTES_MAX: u64 = 1 << 40;
/// Where the marks are.
const MARKS_AT: u64 = 4096;
/// Where the blocks are.
const BLOCKS_AT: u64 = MARKS_AT + DISK_BYTES_MAX / BLOCK_BYTES / 8;
/// Bytes that are read or written at once.
const TURN_BYTES: u64 = 1 << 20;
const MAGIC: &[u8; 16] = b"evenkeel-over-1\n";

/// The changes of one machine.
#[derive(Debug)]
pub struct Overlay {
    file: File,
    /// Blocks that may be changed.
    blocks_max: u64,
    marks: Mutex<Marks>,
}

#[derive(Debug, Default)]
struct Marks {
    words: Vec<u64>,
    count: u64,
}

impl Marks {
    fn has(&self, block: u64) -> bool {
        let word = usize::try_from(block / 64).ok();
        let word = word.and_then(|at| self.words.get(at));
        word.is_some_and(|word| word >> (block % 64) & 1 != 0)
    }

    fn new_ones(&self, blocks: std::ops::Range<u64>) -> u64 {
        blocks.filter(|block| !self.has(*block)).count() as u64
    }
}

impl Overlay {
    /// Makes an empty one in a directory, in the place of an earlier one. `run` is that of this node;
    /// at most so many bytes can be changed.
    ///
    /// # Errors
    /// The system's.
    pub fn create(
        directory: impl AsFd,
        name: &str,
        run: [u8; 16],
        bytes_max: u64,
    ) -> io::Result<Overlay> {
        match unlinkat(&directory, name, rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = File::from(openat(directory, name, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all_at(&[&MAGIC[..], &run].concat(), 0)?;
        Ok(Overlay {
            file,
            blocks_max: bytes_max / BLOCK_BYTES,
            marks: Mutex::default(),
        })
    }

    /// Opens the one that a former process of this run of the node has made.
    ///
    /// # Errors
    /// There is none, it is of another run, or the system's.
    pub fn open(
        directory: impl AsFd,
        name: &str,
        run: [u8; 16],
        bytes_max: u64,
    ) -> io::Result<Overlay> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = File::from(openat(directory, name, flags, Mode::empty())?);
        let mut head = [0; 32];
        file.read_exact_at(&mut head, 0)?;
        if head[..16] != MAGIC[..] || head[16..] != run {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let end = file.metadata()?.len().min(BLOCKS_AT);
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(MARKS_AT)).unwrap_or(0)];
        file.read_exact_at(&mut bytes, MARKS_AT)?;
        let mut marks = Marks::default();
        for word in bytes.chunks_exact(8) {
            let word = word
                .iter()
                .rev()
                .fold(0, |all, byte| all << 8 | u64::from(*byte));
            marks.words.push(word);
            marks.count += u64::from(word.count_ones());
        }
        while marks.words.last() == Some(&0) {
            marks.words.pop();
        }
        Ok(Overlay {
            file,
            blocks_max: bytes_max / BLOCK_BYTES,
            marks: Mutex::new(marks),
        })
    }

    /// Bytes that were changed.
    pub fn bytes(&self) -> u64 {
        self.lock().count * BLOCK_BYTES
    }

    fn lock(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_file(&self, offset: u64, bytes: &mut [u8]) -> Result<(), DiskError> {
        let read = self.file.read_exact_at(bytes, BLOCKS_AT + offset);
        read.map_err(DiskError::Failed)
    }

    fn write_file(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        match self.file.write_all_at(bytes, BLOCKS_AT + offset) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Err(DiskError::Full),
            Err(error) => Err(DiskError::Failed(error)),
        }
    }

    /// Marks blocks that are in the file.
    fn mark(&self, marks: &mut Marks, blocks: std::ops::Range<u64>) -> Result<(), DiskError> {
        let words = blocks.start / 64..blocks.end.div_ceil(64);
        let end = usize::try_from(words.end).unwrap_or(usize::MAX);
        if marks.words.len() < end {
            marks.words.resize(end, 0);
        }
        for block in blocks {
            let word = &mut marks.words[usize::try_from(block / 64).unwrap_or(0)];
            let bit = 1 << (block % 64);
            marks.count += u64::from(*word & bit == 0);
            *word |= bit;
        }
        let start = usize::try_from(words.start).unwrap_or(0);
        let bytes: Vec<u8> = { marks.words[start..end].iter() }
            .flat_map(|word| word.to_le_bytes())
            .collect();
        let marked = self.file.write_all_at(&bytes, MARKS_AT + words.start * 8);
        marked.map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull => DiskError::Full,
            _ => DiskError::Failed(error),
        })
    }
}

/// A disk with the changes of one machine over it.
pub struct Overlaid {
    /// The disk, which is only read.
    pub base: Arc<dyn Disk>,
    /// The changes.
    pub overlay: Arc<Overlay>,
}

impl Overlaid {
    /// Reads a part that is not longer than [`TURN_BYTES`].
    fn read_part(&self, offset: u64, bytes: &mut [u8]) -> Result<(), DiskError> {
        let marks = self.overlay.lock();
        let (mut at, end) = (offset, offset + bytes.len() as u64);
        while at < end {
            let is_changed = marks.has(at / BLOCK_BYTES);
            // As far as the blocks are alike.
            let mut until = (at / BLOCK_BYTES + 1) * BLOCK_BYTES;
            while until < end && marks.has(until / BLOCK_BYTES) == is_changed {
                until += BLOCK_BYTES;
            }
            let until = until.min(end);
            let place = |at: u64| usize::try_from(at - offset).unwrap_or(usize::MAX);
            let part = &mut bytes[place(at)..place(until)];
            match is_changed {
                true => self.overlay.read_file(at, part)?,
                false => self.base.read(at, part)?,
            }
            at = until;
        }
        Ok(())
    }

    /// Writes a part that is not longer than [`TURN_BYTES`].
    fn write_part(&self, offset: u64, bytes: &[u8], size: u64) -> Result<(), DiskError> {
        let overlay = &self.overlay;
        let end = offset + bytes.len() as u64;
        let blocks = offset / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES);
        let mut marks = overlay.lock();
        if marks.count + marks.new_ones(blocks.clone()) > overlay.blocks_max {
            return Err(DiskError::Full);
        }
        // The rest of the first block and of the last one is that of the disk.
        for block in [blocks.start, blocks.end - 1] {
            let start = block * BLOCK_BYTES;
            let is_whole = start >= offset && start + BLOCK_BYTES <= end;
            if is_whole || marks.has(block) {
                continue;
            }
            let mut whole = [0; BLOCK_BYTES as usize];
            let length = usize::try_from((size - start).min(BLOCK_BYTES)).unwrap_or(0);
            self.base.read(start, &mut whole[..length])?;
            overlay.write_file(start, &whole)?;
        }
        overlay.write_file(offset, bytes)?;
        overlay.mark(&mut marks, blocks)
    }
}

impl Disk for Overlaid {
    fn reach(&self) -> Result<(), DiskError> {
        self.base.reach()
    }

    fn size(&self) -> Result<u64, DiskError> {
        match self.base.size()? {
            size if size > DISK_BYTES_MAX => Err(DiskError::Unsupported),
            size => Ok(size),
        }
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), DiskError> {
        let mut at = offset;
        for part in bytes.chunks_mut(TURN_BYTES as usize) {
            self.read_part(at, part)?;
            at += part.len() as u64;
        }
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let size = self.size()?;
        if offset
            .checked_add(bytes.len() as u64)
            .is_none_or(|end| end > size)
        {
            return Err(DiskError::End);
        }
        let mut at = offset;
        for part in bytes.chunks(TURN_BYTES as usize) {
            self.write_part(at, part, size)?;
            at += part.len() as u64;
        }
        Ok(())
    }

    /// Space for zeroes is needed as for other bytes.
    fn releases(&self) -> bool {
        false
    }

    /// Nothing of it outlives this run of the node, so nothing is brought to stable storage.
    fn flush(&self) -> Result<(), DiskError> {
        Ok(())
    }

    fn close(&self) {}
}
