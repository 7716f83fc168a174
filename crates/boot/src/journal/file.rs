//! Reads and writes the file of leases: a [`record::Journal`] whose keys are addresses and whose
//! values are their holders. Each write is an append or a replacement of the file.

use crate::dhcp::mirror::{LeaseChange, LeaseCopy};
use crate::dhcp::pool::Holder;
use part::durable;
use record::{Journal, JournalContents, JournalEntry, Record, Version};
use serde::{Deserialize, Serialize};
use std::collections::hash_map::RandomState;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Facts about all leases of a file.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(crate) enum FileNote {
    /// Leases of this node: the longest one that may be in force, seconds. Zero: unknown.
    Leases { longest_s: u32 },
    /// Copy of a part of another node.
    Copy {
        node: String,
        epoch: u64,
        division: u64,
    },
}

pub(crate) type FileEntry = JournalEntry<IpAddr, Holder, FileNote>;
pub(crate) type FileContents = JournalContents<IpAddr, Holder, FileNote>;

/// Returns the entry of a change. `epoch`: that of the part. Zero: the file does not depend on it.
pub(crate) fn entry(change: LeaseChange, epoch: u64) -> FileEntry {
    let version = Version {
        generation: epoch,
        used: change.mac().is_some(),
        ..Version::default()
    };
    match change.holder {
        Holder::Nobody => FileEntry::Gone(change.address),
        holder => FileEntry::Put(Record::new(change.address, holder, version)),
    }
}

/// Returns all entries of a copy: a note with its holder, epoch and division, and its leases.
pub(crate) fn entries_of_copy(copy: &LeaseCopy) -> impl Iterator<Item = FileEntry> {
    let note = FileNote::Copy {
        node: copy.node.clone(),
        epoch: copy.epoch,
        division: copy.division,
    };
    let known = copy.known().map(|change| entry(*change, copy.epoch));
    std::iter::once(FileEntry::Note(note)).chain(known)
}

/// Returns a random number that most likely no other file has, never zero.
pub(crate) fn new_store() -> u32 {
    let any = RandomState::new().build_hasher().finish();
    u32::try_from(any >> 32).unwrap_or(1).max(1)
}

/// File of a journal. After an error, the next write has to replace the file.
#[derive(Debug)]
pub(crate) struct RecordFile {
    path: PathBuf,
    journal: Journal,
    /// None: no file is open.
    file: Option<File>,
}

impl RecordFile {
    /// Creates the state of a file that is replaced by the next write.
    pub(crate) fn new(path: PathBuf, journal: Journal) -> RecordFile {
        RecordFile {
            path,
            journal,
            file: None,
        }
    }

    /// Opens the file, which has what the journal has read, to append to it.
    ///
    /// # Errors
    /// A system call fails.
    pub(crate) fn open(path: PathBuf, journal: Journal) -> io::Result<RecordFile> {
        let file = OpenOptions::new().append(true).open(&path)?;
        // A process that was killed may not have synced everything.
        file.sync_all()?;
        sync_directory(&path)?;
        Ok(RecordFile {
            file: Some(file),
            ..RecordFile::new(path, journal)
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the number that identifies the file.
    pub(crate) fn store(&self) -> u32 {
        u32::try_from(self.journal.store()).unwrap_or(u32::MAX)
    }

    /// Returns the number of writes, over all starts.
    pub(crate) fn generation(&self) -> u32 {
        u32::try_from(self.journal.generation()).unwrap_or(u32::MAX)
    }

    /// Raises the generation to that of another file which counts the same writes.
    pub(crate) fn raise_generation(&mut self, generation: u32) {
        self.journal.raise_generation(generation.into());
    }

    /// Gives the file another number, and a generation after `newest`.
    pub(crate) fn forget(&mut self, newest: u32) {
        self.journal.forget(new_store().into(), newest.into());
    }

    /// Returns whether entries can be appended. `records`: number of records after that.
    ///
    /// # Errors
    /// A system call fails.
    pub(crate) fn can_append(&self, entries: usize, records: usize) -> io::Result<bool> {
        let Some(file) = &self.file else {
            return Ok(false);
        };
        // Refuses to append to a removed file: its data would be lost at the next start.
        let is_there = file.metadata()?.nlink() > 0;
        Ok(is_there && !self.journal.needs_replacement(entries, records))
    }

    /// Appends entries. `is_synced`: they are on disk when the function returns, as the next
    /// generation. Otherwise they may be lost.
    ///
    /// # Errors
    /// A system call fails.
    pub(crate) fn append(
        &mut self,
        entries: impl Iterator<Item = FileEntry>,
        is_synced: bool,
    ) -> io::Result<()> {
        let mut file = self.file.take().ok_or(io::ErrorKind::NotFound)?;
        let mut journal = self.journal;
        let bytes = if is_synced {
            journal.append(entries)
        } else {
            journal.append_unsynced(entries)
        };
        file.write_all(&bytes)?;
        if is_synced {
            file.sync_data()?;
        }
        (self.file, self.journal) = (Some(file), journal);
        Ok(())
    }

    /// Replaces the file as the next generation. `entries`: all entries of the new file.
    ///
    /// # Errors
    /// A system call fails.
    pub(crate) fn replace(&mut self, entries: impl Iterator<Item = FileEntry>) -> io::Result<()> {
        let mut journal = self.journal;
        let bytes = journal.replace(entries);
        self.write(journal, &bytes)
    }

    /// Replaces the file by one with the same contents, in the current format.
    ///
    /// # Errors
    /// A system call fails.
    pub(crate) fn rewrite(&mut self, entries: impl Iterator<Item = FileEntry>) -> io::Result<()> {
        let mut journal = self.journal;
        let bytes = journal.rewrite(entries);
        self.write(journal, &bytes)
    }

    /// Returns the contents for a file in another directory. `entries`: all entries of that file.
    pub(crate) fn contents(&self, entries: impl Iterator<Item = FileEntry>) -> Vec<u8> {
        let mut journal = self.journal;
        journal.rewrite(entries)
    }

    fn write(&mut self, journal: Journal, bytes: &[u8]) -> io::Result<()> {
        self.file = None;
        durable::write(&self.path, bytes)?;
        self.journal = journal;
        self.file = Some(OpenOptions::new().append(true).open(&self.path)?);
        Ok(())
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}
