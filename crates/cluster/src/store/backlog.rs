//! Keeps a file usable whose disk refuses writes for a while: it is full, read-only, or returns
//! errors.

use redb::{BackendError, StorageBackend};
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Largest size of the changes since the last sync that are kept, bytes. A larger transaction
/// cannot be repeated: an error of the disk then goes to the caller.
const KEPT_BYTES_MAX: usize = 32 << 20;
const EIO: i32 = 5;

#[derive(Debug)]
enum DiskChange {
    Length(u64),
    Write(u64, Vec<u8>),
    Sync,
}

#[derive(Debug, Default)]
struct PendingChanges {
    changes: Vec<DiskChange>,
    bytes: usize,
    /// True if older changes were dropped because they exceed [`KEPT_BYTES_MAX`].
    is_cut: bool,
    /// Reason why the disk refuses writes; the changes are then the backlog.
    refused: Option<WriteRefusal>,
}

#[derive(Clone, Copy, Debug)]
struct WriteRefusal {
    kind: io::ErrorKind,
    code: Option<i32>,
}

impl From<&io::Error> for WriteRefusal {
    fn from(error: &io::Error) -> WriteRefusal {
        WriteRefusal {
            kind: error.kind(),
            code: error.raw_os_error(),
        }
    }
}

impl From<WriteRefusal> for io::Error {
    fn from(refused: WriteRefusal) -> io::Error {
        match refused.code {
            Some(code) => io::Error::from_raw_os_error(code),
            None => refused.kind.into(),
        }
    }
}

/// The store's file, with the changes that the disk has not accepted yet. Clones share it. Reads
/// include those changes; none counts as stored before [`Backlog::flush`] succeeds.
#[derive(Clone, Debug)]
pub(super) struct Backlog {
    file: Arc<dyn StorageBackend>,
    pending: Arc<Mutex<PendingChanges>>,
    /// True while the changes are a backlog. Otherwise reads do not lock them.
    holds: Arc<AtomicBool>,
}

fn may_pass(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let kinds = [StorageFull, QuotaExceeded, ReadOnlyFilesystem];
    kinds.contains(&error.kind()) || error.raw_os_error() == Some(EIO)
}

impl PendingChanges {
    /// Keeps a change for a retry. Drops all of them if they exceed [`KEPT_BYTES_MAX`] on a working
    /// disk; on a refusing disk that is an error.
    fn keep(&mut self, change: DiskChange) -> io::Result<()> {
        if let DiskChange::Write(_, bytes) = &change {
            self.bytes += bytes.len();
        }
        if self.bytes <= KEPT_BYTES_MAX {
            if !self.is_cut {
                self.changes.push(change);
            }
            return Ok(());
        }
        if let Some(refused) = self.refused {
            return Err(refused.into());
        }
        self.changes = Vec::new();
        self.is_cut = true;
        Ok(())
    }

    /// Starts the backlog if the disk may accept the changes later; otherwise returns the error.
    fn refuse(&mut self, error: io::Error) -> io::Result<()> {
        if self.is_cut || !may_pass(&error) {
            return Err(error);
        }
        self.refused = Some(WriteRefusal::from(&error));
        Ok(())
    }

    fn clear(&mut self) {
        self.changes.clear();
        self.bytes = 0;
        self.is_cut = false;
    }

    fn length(&self, mut length: u64) -> u64 {
        for change in &self.changes {
            match change {
                DiskChange::Length(new) => length = *new,
                DiskChange::Write(at, bytes) => length = length.max(at + bytes.len() as u64),
                DiskChange::Sync => {}
            }
        }
        length
    }

    /// Overlays the backlog on bytes that were read from this offset.
    fn cover(&self, offset: u64, out: &mut [u8]) {
        let end = offset + out.len() as u64;
        for change in &self.changes {
            match change {
                DiskChange::Length(length) if *length < end => {
                    let from = length.saturating_sub(offset) as usize;
                    out[from..].fill(0);
                }
                DiskChange::Write(at, bytes) => {
                    let (from, to) = (offset.max(*at), end.min(at + bytes.len() as u64));
                    if from < to {
                        let part = &bytes[(from - at) as usize..(to - at) as usize];
                        out[(from - offset) as usize..(to - offset) as usize].copy_from_slice(part);
                    }
                }
                _ => {}
            }
        }
    }
}

impl Backlog {
    pub(super) fn new(file: impl StorageBackend) -> Backlog {
        Backlog::of(Box::new(file))
    }

    pub(super) fn of(file: Box<dyn StorageBackend>) -> Backlog {
        Backlog {
            file: Arc::from(file),
            pending: Arc::default(),
            holds: Arc::default(),
        }
    }

    fn holds(&self) -> bool {
        self.holds.load(Ordering::Acquire)
    }

    fn pending(&self) -> MutexGuard<'_, PendingChanges> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the backlog, if there is one.
    ///
    /// # Errors
    /// Returns the reason why the disk still refuses.
    pub(super) fn flush(&self) -> io::Result<()> {
        if !self.holds() {
            return Ok(());
        }
        let mut pending = self.pending();
        loop {
            let synced = pending
                .changes
                .iter()
                .position(|it| matches!(it, DiskChange::Sync));
            let end = synced.unwrap_or(pending.changes.len());
            let written = pending.changes[..end].iter().try_for_each(|it| match it {
                DiskChange::Length(length) => self.file.set_len(*length),
                DiskChange::Write(at, bytes) => self.file.write(*at, bytes),
                DiskChange::Sync => Ok(()),
            });
            let synced_now = match synced {
                Some(_) => written.and_then(|()| self.file.sync_data()),
                None => written,
            };
            if let Err(error) = synced_now {
                pending.refused = Some(WriteRefusal::from(&error));
                return Err(error);
            }
            let Some(synced) = synced else {
                break;
            };
            let mut done = 0;
            for change in pending.changes.drain(..=synced) {
                if let DiskChange::Write(_, bytes) = change {
                    done += bytes.len();
                }
            }
            pending.bytes -= done;
        }
        // The remaining changes are written and not synced, as on a working disk.
        pending.refused = None;
        self.holds.store(false, Ordering::Release);
        Ok(())
    }

    fn change(&self, change: DiskChange) -> io::Result<()> {
        let mut pending = self.pending();
        if pending.refused.is_some() {
            return pending.keep(change);
        }
        let done = match &change {
            DiskChange::Length(length) => self.file.set_len(*length),
            DiskChange::Write(at, bytes) => self.file.write(*at, bytes),
            DiskChange::Sync => self.file.sync_data(),
        };
        let is_sync = matches!(change, DiskChange::Sync);
        match done {
            Ok(()) if is_sync => {
                pending.clear();
                Ok(())
            }
            Ok(()) => pending.keep(change),
            Err(error) => {
                pending.refuse(error)?;
                self.holds.store(true, Ordering::Release);
                pending.keep(change)
            }
        }
    }
}

impl StorageBackend for Backlog {
    fn len(&self) -> io::Result<u64> {
        let length = self.file.len()?;
        if self.holds() {
            Ok(self.pending().length(length))
        } else {
            Ok(length)
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if !self.holds() {
            return self.file.read(offset, out);
        }
        let pending = self.pending();
        let end = offset.saturating_add(out.len() as u64);
        let there = self.file.len()?;
        if end > pending.length(there) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        out.fill(0);
        let within = there.saturating_sub(offset).min(out.len() as u64) as usize;
        if within > 0 {
            self.file.read(offset, &mut out[..within])?;
        }
        pending.cover(offset, out);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(DiskChange::Length(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(DiskChange::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(DiskChange::Write(offset, data.to_vec()))
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::held::TestDisk;

    fn read(file: &Backlog) -> Vec<u8> {
        let mut out = vec![9; file.len().unwrap() as usize];
        file.read(0, &mut out).unwrap();
        out
    }

    #[test]
    fn what_a_full_disk_refuses_is_read_back_and_written_once_there_is_room() {
        let disk = TestDisk::new();
        let file = Backlog::new(disk.clone());
        file.set_len(4).unwrap();
        file.write(0, &[1, 1, 1, 1]).unwrap();
        file.sync_data().unwrap();
        disk.fill(true);
        file.write(1, &[2, 2]).unwrap();
        file.sync_data().unwrap();
        file.set_len(6).unwrap();
        file.write(3, &[3, 3]).unwrap();
        file.sync_data().unwrap();
        assert_eq!(read(&file), [1, 2, 2, 3, 3, 0]);
        assert_eq!(file.flush().unwrap_err().kind(), io::ErrorKind::StorageFull);
        let mut on_disk = [0; 4];
        disk.read(0, &mut on_disk).unwrap();
        assert_eq!(on_disk, [1, 1, 1, 1]);
        disk.fill(false);
        file.flush().unwrap();
        let mut on_disk = [0; 6];
        disk.read(0, &mut on_disk).unwrap();
        assert_eq!(on_disk, [1, 2, 2, 3, 3, 0]);
        assert!(file.pending().changes.is_empty());
    }

    #[test]
    fn after_a_failed_sync_all_since_the_last_one_is_written_again() {
        let disk = TestDisk::new();
        let file = Backlog::new(disk.clone());
        file.set_len(8).unwrap();
        file.write(0, &[7; 8]).unwrap();
        disk.fail_syncs(true);
        file.sync_data().unwrap();
        // The kernel dropped what it could not write.
        disk.write(0, &[0; 8]).unwrap();
        assert!(file.flush().is_err());
        disk.fail_syncs(false);
        disk.write(0, &[0; 8]).unwrap();
        file.flush().unwrap();
        let mut on_disk = [0; 8];
        disk.read(0, &mut on_disk).unwrap();
        assert_eq!(on_disk, [7; 8]);
    }

    #[test]
    fn more_than_can_be_kept_is_an_error_and_the_memory_is_bounded() {
        let disk = TestDisk::new();
        let file = Backlog::new(disk.clone());
        let part = vec![1; KEPT_BYTES_MAX / 4];
        file.set_len(5 * part.len() as u64).unwrap();
        for number in 0..5 {
            file.write(number * part.len() as u64, &part).unwrap();
        }
        assert!(file.pending().changes.is_empty(), "nothing is kept");
        disk.fail_syncs(true);
        assert!(file.sync_data().is_err());
        disk.fail_syncs(false);
        file.sync_data().unwrap();
        disk.fill(true);
        let written = (0..5).map(|number| file.write(number * part.len() as u64, &part));
        let written: Vec<bool> = written.map(|it| it.is_ok()).collect();
        assert_eq!(written, [true, true, true, true, false]);
    }
}
