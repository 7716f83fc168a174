//! Stores this node's copies of the leases of other nodes in a network: a thread writes a file for
//! each part, as [`crate::journal::file`]. All files count the same writes. A damaged file is
//! ignored.

use crate::dhcp::mirror::{LeaseChange, LeaseCopy, LeaseCopyContent, LeaseCopyMessage};
use crate::journal::file::{RecordFile, entries_of_copy, entry, new_store};
use crate::journal::{COPY_ENDING, read_copy};
use crate::site::{SharedCopies, lock_copies};
use record::{CopyEffect, Journal, OwnedCopyError, PARTS_MAX};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};
use std::thread;

/// Limit of messages that wait to be written.
const WAITING_MAX: usize = 1_024;
/// Limit of messages that are written together.
const TOGETHER_MAX: usize = 256;

/// Message to store, and the function that is called when it is on disk, or refused.
pub(super) struct LeaseCopyWrite {
    pub(super) node: String,
    pub(super) told: LeaseCopyMessage,
    pub(super) done: Box<dyn FnOnce(Result<(), OwnedCopyError>) + Send>,
}

/// Handle of the thread. Dropping it ends the thread.
#[derive(Clone)]
pub struct CopyWriter {
    jobs: SyncSender<LeaseCopyWrite>,
    copies: SharedCopies,
}

struct LeaseCopyFiles {
    directory: PathBuf,
    section: String,
    copies: SharedCopies,
    open: BTreeMap<usize, RecordFile>,
}

impl CopyWriter {
    /// Starts the thread, confined to one directory, and reads the existing copies.
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub fn start(
        directory: PathBuf,
        section: &str,
        copies: SharedCopies,
        only_writes: fn(&Path) -> io::Result<()>,
    ) -> io::Result<CopyWriter> {
        LeaseCopyFiles::new(directory, section, copies).start(only_writes, LeaseCopyFiles::restore)
    }

    /// Starts another thread for the same copies, which stores them in another directory from now
    /// on. Existing files there are out of date and are removed; each copy is written with its
    /// next change.
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub fn moved(
        &self,
        directory: PathBuf,
        section: &str,
        only_writes: fn(&Path) -> io::Result<()>,
    ) -> io::Result<CopyWriter> {
        let files = LeaseCopyFiles::new(directory, section, self.copies.clone());
        files.start(only_writes, |files| {
            remove_copies(&files.directory, &files.section);
        })
    }

    /// Queues a message.
    ///
    /// # Errors
    ///
    /// The queue is full: the message is returned.
    pub(super) fn take(&self, job: LeaseCopyWrite) -> Result<(), LeaseCopyWrite> {
        match self.jobs.try_send(job) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(job)) => Err(job),
            // Drops the message: the thread has ended with its network.
            Err(TrySendError::Disconnected(_)) => Ok(()),
        }
    }
}

/// Removes the copies of a section from a directory. A file that cannot be removed stays.
pub fn remove_copies(directory: &Path, section: &str) {
    for part in 0..PARTS_MAX {
        let _ = std::fs::remove_file(path(directory, section, part));
    }
}

fn path(directory: &Path, section: &str, part: usize) -> PathBuf {
    // No section name contains the character `@`.
    directory.join(format!("{section}@part{part}.{COPY_ENDING}"))
}

impl LeaseCopyFiles {
    fn new(directory: PathBuf, section: &str, copies: SharedCopies) -> LeaseCopyFiles {
        LeaseCopyFiles {
            directory,
            section: section.to_owned(),
            copies,
            open: BTreeMap::new(),
        }
    }

    fn start(
        self,
        only_writes: fn(&Path) -> io::Result<()>,
        begin: fn(&LeaseCopyFiles),
    ) -> io::Result<CopyWriter> {
        let (jobs, taken) = sync_channel(WAITING_MAX);
        let (says, has_begun) = channel();
        let copies = self.copies.clone();
        let thread = thread::Builder::new().name("boot/copies".to_owned());
        thread.spawn(move || {
            let made = std::fs::create_dir_all(&self.directory);
            // Without the directory, each write reports an error, and nothing is confirmed.
            let _ = made.and_then(|()| only_writes(&self.directory));
            begin(&self);
            // Ignores an error: the thread that waits for the message may have gone.
            let _ = says.send(());
            self.run(&taken);
        })?;
        // Waits until the copies are read: they must be known before any part is taken.
        let _ = has_begun.recv();
        Ok(CopyWriter { jobs, copies })
    }

    fn run(mut self, jobs: &Receiver<LeaseCopyWrite>) {
        while let Ok(first) = jobs.recv() {
            let more = jobs.try_iter().take(TOGETHER_MAX);
            let all: Vec<LeaseCopyWrite> = std::iter::once(first).chain(more).collect();
            self.take(all);
        }
    }

    fn restore(&self) {
        for part in 0..PARTS_MAX {
            if let Some((copy, generation)) = read_copy(&self.path(part)) {
                let mut copies = lock_copies(&self.copies);
                copies.restore(part, copy);
                copies.read(generation);
            }
        }
    }

    fn path(&self, part: usize) -> PathBuf {
        path(&self.directory, &self.section, part)
    }

    fn take(&mut self, jobs: Vec<LeaseCopyWrite>) {
        let mut taken = Vec::new();
        let mut replaced = BTreeSet::new();
        let mut appended = BTreeMap::<usize, (u64, Vec<LeaseChange>)>::new();
        let mut copies = lock_copies(&self.copies);
        for job in jobs {
            let took = copies.take(&job.node, &job.told);
            let part = job.told.part;
            match &took {
                Ok(CopyEffect::Whole) => {
                    replaced.insert(part);
                }
                Ok(CopyEffect::Changes) => {
                    let (epoch, all) = appended.entry(part).or_default();
                    *epoch = job.told.epoch;
                    all.extend(changes(&job.told));
                }
                Ok(CopyEffect::Some) | Err(_) => {}
            }
            taken.push((took, job));
        }
        replaced.extend(appended.iter().filter_map(|(part, (_, changes))| {
            let records = copies.whole(*part).map_or(0, |copy| copy.known().len());
            let file = self.open.get(part);
            let can_append = file.map(|file| file.can_append(changes.len(), records));
            (!matches!(can_append, Some(Ok(true)))).then_some(*part)
        }));
        let whole: BTreeMap<usize, Option<LeaseCopy>> = replaced
            .iter()
            .map(|part| (*part, copies.whole(*part).cloned()))
            .collect();
        appended.retain(|part, _| !whole.contains_key(part));
        let before = copies.generation();
        drop(copies);
        let mut failed = BTreeSet::new();
        for (part, copy) in &whole {
            let path = self.path(*part);
            let file = self
                .open
                .entry(*part)
                .or_insert_with(|| RecordFile::new(path, Journal::new(new_store().into())));
            file.raise_generation(before);
            let written = copy
                .as_ref()
                .map(|copy| file.replace(entries_of_copy(copy)));
            if !matches!(written, Some(Ok(()))) {
                failed.insert(*part);
            }
        }
        for (part, (epoch, changes)) in &appended {
            let entries = changes.iter().map(|change| entry(*change, *epoch));
            let written = self.open.get_mut(part).map(|file| {
                file.raise_generation(before);
                file.append(entries, true)
            });
            if !matches!(written, Some(Ok(()))) {
                failed.insert(*part);
            }
        }
        let mut written = whole.keys().chain(appended.keys());
        if written.any(|part| !failed.contains(part)) {
            lock_copies(&self.copies).stored(before.saturating_add(1));
        }
        for part in &failed {
            // A copy that is not on disk must not be used: its holder has to send it again.
            self.open.remove(part);
            lock_copies(&self.copies).forget(*part);
        }
        for (took, job) in taken {
            let is_stored = !failed.contains(&job.told.part);
            match took {
                Ok(CopyEffect::Whole | CopyEffect::Changes) if is_stored => (job.done)(Ok(())),
                Ok(CopyEffect::Whole | CopyEffect::Changes) => {
                    (job.done)(Err(OwnedCopyError::NotBegun))
                }
                Ok(CopyEffect::Some) => {}
                Err(refused) => (job.done)(Err(refused)),
            }
        }
    }
}

fn changes(message: &LeaseCopyMessage) -> &[LeaseChange] {
    match &message.content {
        LeaseCopyContent::Changes(changes) => changes,
        LeaseCopyContent::Begin(_) | LeaseCopyContent::Whole => &[],
    }
}

#[cfg(test)]
mod tests;
