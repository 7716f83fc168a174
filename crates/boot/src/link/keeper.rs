//! Storage of the copies of a network: a thread that writes a file for each part.
//!
//! The first line has the holder, its epoch and the checksum of its ranges; further lines are as
//! in a [`crate::journal`], also the number of writes. A file that ends within a line, or with an
//! unreadable line, is not a valid copy.

use crate::dhcp::mirror::{
    CopyEffect, LeaseCopy, LeaseCopyContent, LeaseCopyError, LeaseCopyMessage, PARTS_MAX,
};
use crate::dhcp::pool::HolderChange;
use crate::journal::{COPY_ENDING, GENERATION, line, of_line};
use crate::site::{SharedCopies, lock_copies};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};
use std::thread;

/// Limit of messages that wait to be written.
const WAITING_MAX: usize = 1_024;
/// Limit of messages that are written together.
const TOGETHER_MAX: usize = 256;
/// Limit of bytes that are read from a file.
const BYTES_MAX: u64 = 64 << 20;
/// Number of lines after which a file is rewritten.
const LINES_MAX: usize = 262_144;

/// Message to store, and the function that is called when it is on disk, or refused.
pub(super) struct LeaseCopyWrite {
    pub(super) node: String,
    pub(super) told: LeaseCopyMessage,
    pub(super) done: Box<dyn FnOnce(Result<(), LeaseCopyError>) + Send>,
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
    open: BTreeMap<usize, (File, usize)>,
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
            // The thread has ended with its network.
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
    // No section name contains this character.
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
            // The receiver may have gone.
            let _ = says.send(());
            self.run(&taken);
        })?;
        // The copies must be known before any part is taken.
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
            if let Some((copy, generation)) = read(&self.path(part)) {
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
        let (mut anew, mut texts) = (BTreeSet::new(), BTreeMap::<usize, (String, usize)>::new());
        let mut copies = lock_copies(&self.copies);
        for job in jobs {
            let took = copies.take(&job.node, &job.told);
            let part = job.told.part;
            match &took {
                Ok(CopyEffect::Whole) => {
                    anew.insert(part);
                }
                Ok(CopyEffect::Changes) => {
                    let text = texts.entry(part).or_default();
                    for change in changes(&job.told) {
                        line(&mut text.0, change.address, change.holder);
                        text.1 += 1;
                    }
                }
                Ok(CopyEffect::Some) | Err(_) => {}
            }
            taken.push((took, job));
        }
        let long = texts.iter().filter(|(part, (_, lines))| {
            let open = self.open.get(part);
            open.is_none_or(|(_, before)| before + lines > LINES_MAX)
        });
        anew.extend(long.map(|(part, _)| *part).collect::<Vec<_>>());
        let whole: BTreeMap<usize, Option<LeaseCopy>> = anew
            .iter()
            .map(|part| (*part, copies.whole(*part).cloned()))
            .collect();
        let generation = copies.generation().saturating_add(1);
        drop(copies);
        let mut failed = BTreeSet::new();
        for (part, copy) in &whole {
            let written = copy
                .as_ref()
                .map(|copy| write_anew(&self.path(*part), copy, generation));
            match written {
                Some(Ok(file)) => {
                    self.open.insert(*part, file);
                }
                Some(Err(_)) | None => {
                    failed.insert(*part);
                }
            }
        }
        for (part, (text, lines)) in texts.iter().filter(|(part, _)| !whole.contains_key(part)) {
            let text = format!("{text}{GENERATION}{generation}\n");
            if self.append(*part, &text, *lines).is_err() {
                failed.insert(*part);
            }
        }
        if whole
            .keys()
            .chain(texts.keys())
            .any(|part| !failed.contains(part))
        {
            lock_copies(&self.copies).stored(generation);
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
                    (job.done)(Err(LeaseCopyError::NotBegun))
                }
                Ok(CopyEffect::Some) => {}
                Err(refused) => (job.done)(Err(refused)),
            }
        }
    }

    fn append(&mut self, part: usize, text: &str, lines: usize) -> io::Result<()> {
        let Some((file, count)) = self.open.get_mut(&part) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        // Data in a file without a name would be lost at the next start.
        if file.metadata()?.nlink() == 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
        *count += lines;
        file.write_all(text.as_bytes())?;
        file.sync_data()
    }
}

fn changes(told: &LeaseCopyMessage) -> &[HolderChange<IpAddr>] {
    match &told.said {
        LeaseCopyContent::Changes(changes) => changes,
        LeaseCopyContent::Begin(_) | LeaseCopyContent::Whole => &[],
    }
}

fn write_anew(path: &Path, copy: &LeaseCopy, generation: u32) -> io::Result<(File, usize)> {
    let mut text = String::new();
    // Writes to memory cannot fail.
    let _ = writeln!(text, "{} {} {}", copy.node, copy.epoch, copy.ranges);
    for (address, holder) in copy.known() {
        line(&mut text, address, holder);
    }
    let _ = writeln!(text, "{GENERATION}{generation}");
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new();
    let file = file.write(true).create(true).truncate(true).mode(0o600);
    let mut file = file.open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok((file, copy.known().len()))
}

/// Reads a copy, and its generation; None: the file does not exist, or is damaged.
fn read(path: &Path) -> Option<(LeaseCopy, u32)> {
    let mut text = String::new();
    let file = File::open(path).ok()?;
    file.take(BYTES_MAX).read_to_string(&mut text).ok()?;
    // An incomplete last line was not confirmed.
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    let mut lines = text[..whole].lines();
    let (node, rest) = lines.next()?.split_once(' ')?;
    let (epoch, ranges) = rest.split_once(' ')?;
    let mut copy = LeaseCopy::new(node, epoch.parse().ok()?, ranges.parse().ok()?);
    let mut generation = 0;
    for one in lines {
        if let Some(number) = one.strip_prefix(GENERATION) {
            generation = number.parse().ok()?;
            continue;
        }
        let (address, holder) = of_line(one)?;
        copy.change(&[HolderChange { address, holder }]);
    }
    Some((copy, generation))
}

#[cfg(test)]
mod tests;
