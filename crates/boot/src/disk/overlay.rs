//! Stores the changes of one machine to a shared disk in an overlay: a sparse file with the changed
//! blocks. [`OverlayDisk`] is the shared disk with an overlay over it.
//!
//! An overlay normally lasts for one boot of the machine and of this node. Data that is only in the
//! node's memory is lost at a power failure, so a file of an earlier boot of the node is not used.
//! A crash of the process loses nothing: a block is in the file before it is marked as changed.
//!
//! An overlay with `keep` outlives boots of the machine and of the node ([`super::stable`]). Such
//! an overlay belongs to one content of the disk, and is not used with another content.
//!
//! Format of the file: a header page, a bitmap with a bit for each block of 4096 bytes, for a
//! kept overlay a second bitmap for blocks on stable storage, and the blocks at the offsets that
//! they have on the disk.

use super::device::{Disk, DiskError};
use super::stable::OverlayFlusher;
use rustix::fs::{
    AtFlags, FallocateFlags, FlockOperation, Mode, OFlags, fallocate, flock, fsync, openat,
    unlinkat,
};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

const BLOCK_BYTES: u64 = 4096;
const DISK_BYTES_MAX: u64 = 1 << 40;
/// Offset of the bitmap of changed blocks, bytes.
const MARKS_AT: u64 = 4096;
const MARKS_BYTES: u64 = DISK_BYTES_MAX / BLOCK_BYTES / 8;
/// Offset of the bitmap of blocks on stable storage, bytes.
const STABLE_AT: u64 = MARKS_AT + MARKS_BYTES;
/// Offset of the identifier of the disk's content, bytes.
const CONTENT_AT: u64 = 32;
const TURN_BYTES: u64 = 1 << 20;
const MAGIC: &[u8; 16] = b"evenkeel-over-1\n";
const KEPT_MAGIC: &[u8; 16] = b"evenkeel-kept-1\n";

/// Lifetime and size limit of an overlay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// True if the changes outlive a restart of the machine and of the node.
    pub is_kept: bool,
    pub bytes_max: u64,
}

impl Limits {
    fn magic(self) -> &'static [u8; 16] {
        if self.is_kept { KEPT_MAGIC } else { MAGIC }
    }

    fn blocks_at(self) -> u64 {
        if self.is_kept {
            STABLE_AT + MARKS_BYTES
        } else {
            STABLE_AT
        }
    }
}

/// Changes of one machine to a shared disk, in a sparse file. A block is in the file before it is
/// marked as changed, so a crash of the process loses nothing.
#[derive(Debug)]
pub struct Overlay {
    file: File,
    limits: Limits,
    marks: Mutex<ChangedBlocks>,
    /// Flush state; None for an overlay that is not kept.
    stable: Option<OverlayFlusher>,
    is_full: AtomicBool,
    /// Identifier of the disk's content to which the overlay belongs, once that is known.
    content: OnceLock<[u8; 16]>,
    /// True if the disk now has other content than the content to which the overlay belongs.
    is_strange: AtomicBool,
}

#[derive(Debug, Default)]
struct ChangedBlocks {
    words: Vec<u64>,
    count: u64,
    /// Range of bitmap words that have changed since the last flush.
    changed: Range<usize>,
}

impl ChangedBlocks {
    fn has(&self, block: u64) -> bool {
        let word = usize::try_from(block / 64).ok();
        let word = word.and_then(|at| self.words.get(at));
        word.is_some_and(|word| word >> (block % 64) & 1 != 0)
    }

    fn read(bytes: &[u8]) -> ChangedBlocks {
        let mut marks = ChangedBlocks::default();
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
        marks
    }

    fn bytes(&self, words: Range<usize>) -> Vec<u8> {
        let words = self.words.get(words).unwrap_or_default();
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn new_ones(&self, blocks: Range<u64>) -> u64 {
        blocks.filter(|block| !self.has(*block)).count() as u64
    }
}

impl Overlay {
    /// Creates an empty overlay in a directory. `run` identifies the current boot of the node.
    ///
    /// # Errors
    ///
    /// The file exists, or a system call fails.
    pub fn create(
        directory: impl AsFd,
        name: &str,
        run: [u8; 16],
        limits: Limits,
    ) -> io::Result<Overlay> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = File::from(openat(&directory, name, flags, Mode::RUSR | Mode::WUSR)?);
        let begun = begin(&file, directory.as_fd(), run, limits);
        if begun.is_err() {
            // Removes the new file: a partly written header would look like damage.
            let _ = unlinkat(&directory, name, AtFlags::empty());
        }
        begun.map(|()| Overlay::of(file, limits, ChangedBlocks::default()))
    }

    fn of(file: File, limits: Limits, marks: ChangedBlocks) -> Overlay {
        Overlay {
            file,
            limits,
            marks: Mutex::new(marks),
            stable: limits.is_kept.then(OverlayFlusher::default),
            is_full: AtomicBool::new(false),
            content: OnceLock::new(),
            is_strange: AtomicBool::new(false),
        }
    }

    /// Opens an overlay that a previous process has created. An overlay that is not kept must be
    /// from the current boot of the node.
    ///
    /// # Errors
    ///
    /// There is no such file, it is damaged, in use, or (unless kept) of an earlier boot of the
    /// node, or a system call fails.
    pub fn open(
        directory: impl AsFd,
        name: &str,
        run: [u8; 16],
        limits: Limits,
    ) -> io::Result<Overlay> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = File::from(openat(directory, name, flags, Mode::empty())?);
        // Fails while connections of the previous process, which are about to end, have the file
        // locked.
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let mut head = [0; 32];
        file.read_exact_at(&mut head, 0)?;
        let (magic, of) = head.split_at(16);
        let is_of_run = of == run;
        if magic != limits.magic() || !(is_of_run || limits.is_kept) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let at = if is_of_run { MARKS_AT } else { STABLE_AT };
        let end = file.metadata()?.len().min(at + MARKS_BYTES);
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(at)).unwrap_or(0)];
        file.read_exact_at(&mut bytes, at)?;
        let mut marks = ChangedBlocks::read(&bytes);
        if !is_of_run {
            // Clears the marks of blocks that were not flushed before the node restarted: these
            // blocks get the content of the base disk again.
            fallocate(
                &file,
                FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
                MARKS_AT,
                MARKS_BYTES,
            )?;
            file.write_all_at(&marks.bytes(0..marks.words.len()), MARKS_AT)?;
            file.write_all_at(&run, 16)?;
        } else if limits.is_kept {
            // Counts all marks as changed since the last flush: the previous process may not have
            // flushed the blocks.
            marks.changed = 0..marks.words.len();
        }
        Ok(Overlay::of(file, limits, marks))
    }

    /// Returns whether the overlay belongs to this content of the disk. The first content that the
    /// overlay sees becomes its own.
    fn is_of(&self, content: [u8; 16]) -> io::Result<bool> {
        if !self.limits.is_kept {
            return Ok(true);
        }
        let own = match self.content.get() {
            Some(own) => *own,
            None => {
                let mut own = [0; 16];
                self.file.read_exact_at(&mut own, CONTENT_AT)?;
                if own == [0; 16] {
                    self.file.write_all_at(&content, CONTENT_AT)?;
                    own = content;
                }
                *self.content.get_or_init(|| own)
            }
        };
        self.is_strange.store(own != content, Relaxed);
        Ok(own == content)
    }

    pub fn trouble(&self) -> Option<&'static str> {
        if self.is_strange.load(Relaxed) {
            return Some("is of another content of the disk");
        }
        self.is_full.load(Relaxed).then_some("is full")
    }

    /// Returns the number of changed bytes, in whole blocks.
    pub fn bytes(&self) -> u64 {
        self.lock().count * BLOCK_BYTES
    }

    fn lock(&self) -> MutexGuard<'_, ChangedBlocks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_file(&self, offset: u64, bytes: &mut [u8]) -> Result<(), DiskError> {
        let at = self.limits.blocks_at() + offset;
        let read = self.file.read_exact_at(bytes, at);
        read.map_err(DiskError::Failed)
    }

    fn write_file(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        match self
            .file
            .write_all_at(bytes, self.limits.blocks_at() + offset)
        {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Err(self.full()),
            Err(error) => Err(DiskError::Failed(error)),
        }
    }

    fn full(&self) -> DiskError {
        self.is_full.store(true, Relaxed);
        DiskError::Full
    }

    fn flush(&self) -> Result<(), DiskError> {
        let Some(stable) = &self.stable else {
            return Ok(());
        };
        // Takes the marks that have changed since the last flush. Their blocks are in the file
        // already.
        let take = || {
            let mut marks = self.lock();
            let words = std::mem::take(&mut marks.changed);
            let at = STABLE_AT + words.start as u64 * 8;
            (at, marks.bytes(words))
        };
        stable.flush(&self.file, take).map_err(DiskError::Failed)
    }

    fn mark(&self, marks: &mut ChangedBlocks, blocks: Range<u64>) -> Result<(), DiskError> {
        let words = blocks.start / 64..blocks.end.div_ceil(64);
        let end = usize::try_from(words.end).unwrap_or(usize::MAX);
        if marks.words.len() < end {
            marks.words.resize(end, 0);
        }
        let before = marks.count;
        for block in blocks {
            let word = &mut marks.words[usize::try_from(block / 64).unwrap_or(0)];
            let bit = 1 << (block % 64);
            marks.count += u64::from(*word & bit == 0);
            *word |= bit;
        }
        let start = usize::try_from(words.start).unwrap_or(0);
        marks.changed = match marks.changed.clone() {
            before if before.is_empty() => start..end,
            before => before.start.min(start)..before.end.max(end),
        };
        let bytes = marks.bytes(start..end);
        let marked = self.file.write_all_at(&bytes, MARKS_AT + words.start * 8);
        if marked.is_ok() && marks.count > before {
            self.is_full.store(false, Relaxed);
        }
        marked.map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull => self.full(),
            _ => DiskError::Failed(error),
        })
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        // Unlocks the file explicitly: a child process that is being started has a copy of the
        // descriptor until it executes its program.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

fn begin(file: &File, directory: BorrowedFd<'_>, run: [u8; 16], limits: Limits) -> io::Result<()> {
    flock(file, FlockOperation::NonBlockingLockExclusive)?;
    file.write_all_at(&[&limits.magic()[..], &run, &[0; 16]].concat(), 0)?;
    if limits.is_kept {
        // Makes the header and the name of the file stable, since a later flush covers only the
        // data.
        file.sync_all()?;
        fsync(directory)?;
    }
    Ok(())
}

/// Disk with the overlay of one machine over it.
pub struct OverlayDisk {
    /// Base disk, which is only read.
    base: Arc<dyn Disk>,
    overlay: Arc<Overlay>,
}

impl OverlayDisk {
    /// Combines an overlay with a reachable disk.
    ///
    /// # Errors
    ///
    /// The disk is unreachable, or has another content than the overlay's.
    pub fn new(base: Arc<dyn Disk>, overlay: Arc<Overlay>) -> Result<OverlayDisk, DiskError> {
        match overlay.is_of(base.content()?) {
            Ok(true) => Ok(OverlayDisk { base, overlay }),
            Ok(false) => Err(DiskError::Unsupported),
            Err(error) => Err(DiskError::Failed(error)),
        }
    }

    /// Reads a range of at most [`TURN_BYTES`]: changed blocks from the overlay, and others from
    /// the base disk. The marks are locked meanwhile.
    fn read_part(&self, offset: u64, bytes: &mut [u8]) -> Result<(), DiskError> {
        let marks = self.overlay.lock();
        let (mut at, end) = (offset, offset + bytes.len() as u64);
        while at < end {
            let is_changed = marks.has(at / BLOCK_BYTES);
            // Extends the range while the next blocks come from the same source.
            let mut until = (at / BLOCK_BYTES + 1) * BLOCK_BYTES;
            while until < end && marks.has(until / BLOCK_BYTES) == is_changed {
                until += BLOCK_BYTES;
            }
            let until = until.min(end);
            let place = |at: u64| usize::try_from(at - offset).unwrap_or(usize::MAX);
            let part = &mut bytes[place(at)..place(until)];
            if is_changed {
                self.overlay.read_file(at, part)?
            } else {
                self.base.read(at, part)?
            }
            at = until;
        }
        Ok(())
    }

    /// Writes a range of at most [`TURN_BYTES`] to the overlay, and marks its blocks as changed.
    fn write_part(&self, offset: u64, bytes: &[u8], size: u64) -> Result<(), DiskError> {
        let overlay = &self.overlay;
        let end = offset + bytes.len() as u64;
        let blocks = offset / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES);
        let mut marks = overlay.lock();
        if marks.count + marks.new_ones(blocks.clone()) > overlay.limits.bytes_max / BLOCK_BYTES {
            return Err(overlay.full());
        }
        // Copies the first block and the last block from the base disk, if the write covers only a
        // part of a block that the overlay does not have.
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

impl Disk for OverlayDisk {
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

    /// Returns false: zeroes take the same space as other bytes.
    fn releases(&self) -> bool {
        false
    }

    fn content(&self) -> Result<[u8; 16], DiskError> {
        self.base.content()
    }

    /// Flushes a kept overlay. Other overlays do not outlive a reboot of the node: nothing is done.
    fn flush(&self) -> Result<(), DiskError> {
        self.overlay.flush()
    }

    fn close(&self) {}
}
