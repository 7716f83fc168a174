//! Keeps a journal of the leases of a range on disk, so that no address is assigned twice after a
//! restart. Each change is appended to a file; a new holder is synced before its client gets a
//! response.
//!
//! The file is a [`record::Journal`] ([`mod@file`]); those of earlier versions are text ([`text`]). No
//! client got a response for an incomplete write. The file has no times: a lease begins again at a
//! start, so no clock has to be right. Only the longest lease is recorded, because the section may
//! have another lease time by then. The cluster records the generation, which counts the writes, so
//! that an older copy of the file is recognised. A file that was removed and created again has
//! another number (`store`), and the record of a part names the file of its leases.
//!
//! A section without a file inherits the leases of the other files. A file beside its journal, with
//! the extension `inherited`, then names the state of each of them by `store` and `generation`. If
//! a section gets an earlier name again, its old file is still in that state, and it gets the
//! leases of the time between.

pub(crate) mod file;
mod text;

use crate::dhcp::mirror::{LeaseChange, LeaseCopy};
use crate::dhcp::pool::{Holder, HolderChange};
use crate::dhcp::range::Address;
use crate::mac::Mac;
use file::{FileContents, FileEntry, FileNote, RecordFile, entry, new_store};
use record::{Journal, JournalDamage};
use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Limit of bytes that are read at a start: far more than the largest range needs.
const BYTES_MAX: u64 = record::JOURNAL_BYTES_MAX as u64;
/// File name extension of a journal.
const ENDING: &str = "leases";
/// File name extension of a copy of another node's part: see [`crate::link::CopyWriter`].
pub(crate) const COPY_ENDING: &str = "copy";
/// File name extension of the list of journals from which a journal has inherited.
pub(crate) const INHERITED: &str = "inherited";
/// File name extension of the copy of a damaged file.
const DAMAGED: &str = "damaged";

/// Open journal of a range, locked against other processes. A new lease is on disk when
/// [`LeaseJournal::add`] returns.
#[derive(Debug)]
pub struct LeaseJournal<A = Ipv4Addr> {
    file: RecordFile,
    known: BTreeMap<A, Holder>,
    /// Longest lease that may be in force, seconds. Zero: unknown.
    longest_s: u32,
    /// Damage that the file had at the start.
    damage: Option<LeaseFileDamage>,
    /// Lock against other processes, held as long as the journal is open.
    _lock: Lock,
}

impl<A: Address> LeaseJournal<A> {
    /// Opens the file of a section, and reads the holder of each address.
    ///
    /// # Errors
    ///
    /// A system call fails, or another process has the file.
    pub fn open(directory: &Path, section: &str) -> io::Result<LeaseJournal<A>> {
        LeaseJournal::open_or_inherit(directory, section, |_| false)
    }

    /// Opens the file of a section as [`LeaseJournal::open`] does. A section without a file gets
    /// the leases in the files of all other sections whose addresses are in its range: it may be
    /// one of them under a new name, and their clients still use the addresses. A section whose
    /// file has not changed since another one inherited from it gets the leases of that one.
    ///
    /// # Errors
    ///
    /// As [`LeaseJournal::open`], or another file cannot be read.
    pub fn open_or_inherit(
        directory: &Path,
        section: &str,
        is_in_range: impl Fn(A) -> bool,
    ) -> io::Result<LeaseJournal<A>> {
        let path = directory.join(format!("{section}.{ENDING}"));
        let lock = Lock::take(&path.with_extension("lock"))?;
        let (was, from) = match File::open(&path) {
            Ok(file) => {
                let mut was = read(file)?;
                let from = was.extend_by_heirs(directory, is_in_range)?;
                (was, from)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                inherited(directory, is_in_range)?
            }
            Err(error) => return Err(error),
        };
        if was.damage.is_some() {
            std::fs::copy(&path, path.with_extension(DAMAGED))?;
        }
        let mut journal = LeaseJournal {
            file: match was.journal {
                Some(journal) => RecordFile::open(path.clone(), journal)?,
                None => {
                    // A file with damage may lack leases, so it gets another number.
                    let store = was.store.filter(|_| was.damage.is_none());
                    let journal = Journal::new(store.unwrap_or_else(new_store).into());
                    RecordFile::new(path.clone(), journal)
                }
            },
            longest_s: was.longest_s,
            damage: was.damage,
            known: was.known,
            _lock: lock,
        };
        if was.journal.is_none() {
            journal.file.raise_generation(was.generation);
            let entries = entries(journal.longest_s, &journal.known);
            journal.file.rewrite(entries)?;
        }
        if !from.is_empty() {
            std::fs::write(path.with_extension(INHERITED), from)?;
        }
        Ok(journal)
    }

    /// Describes damage of the file for operators: the owners of some addresses are unknown. None:
    /// there is none.
    pub fn damage(&self) -> Option<String> {
        let path = self.file.path();
        let is = match self.damage? {
            LeaseFileDamage::Damaged => "is damaged",
            LeaseFileDamage::OtherProgram => "was written by another version of Evenkeel",
        };
        Some(format!(
            "{} {is}: leases in it are lost; this node withholds each address of a cluster until the lease that its \
             client may have has ended, and probes each other address before it is given again; the file as it was \
             is {}",
            path.display(),
            path.with_extension(DAMAGED).display()
        ))
    }

    /// Explains in a few words why the owners of some addresses are unknown since the start. None:
    /// they are known.
    pub fn lost_words(&self) -> Option<String> {
        let name = self.file.path().file_name().unwrap_or_default().display();
        self.damage.map(|damage| match damage {
            LeaseFileDamage::Damaged => format!("{name} was damaged at the start"),
            LeaseFileDamage::OtherProgram => format!(
                "{name} was written by another version of Evenkeel, and this one cannot read it"
            ),
        })
    }

    /// Explains why leases are not stored.
    pub fn trouble(&self, error: &io::Error) -> String {
        let path = self.file.path();
        let directory = path.parent().unwrap_or(path).display();
        let why = language::reason(error);
        match error.kind() {
            // The threads may write in the directory that existed when they started, and in no
            // other.
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => format!(
                "cannot keep leases in {directory}: {why}: if the directory was removed, make it again and restart \
                 Evenkeel"
            ),
            _ => format!("cannot keep leases in {directory}: {why}"),
        }
    }

    /// Returns the holder of each address.
    pub fn known(&self) -> impl Iterator<Item = (A, Holder)> {
        self.known
            .iter()
            .map(|(address, holder)| (*address, *holder))
    }

    /// Writes changes. New holders are on disk when the function returns.
    ///
    /// # Errors
    ///
    /// A system call fails: the clients must not get these leases.
    pub fn add(&mut self, changes: &[HolderChange<A>]) -> io::Result<()> {
        self.remember(changes);
        if !self.file.can_append(changes.len(), self.known.len())? {
            return self.rewrite_after_error();
        }
        // The end of a lease need not be synced: if it is lost, the address only becomes free
        // later. So it is no new generation, either.
        let is_synced = changes.iter().any(|one| one.holder != Holder::Nobody);
        let entries = changes.iter().map(|one| entry(wide(one), 0));
        self.file.append(entries, is_synced)
    }

    /// Returns the contents of the file for a copy elsewhere: the longest lease time and all known
    /// leases.
    pub fn contents(&self) -> Vec<u8> {
        self.file.contents(entries(self.longest_s, &self.known))
    }

    /// Returns the number that identifies the file: a file that replaces a lost one has another
    /// number. Never zero.
    pub fn store(&self) -> u32 {
        self.file.store()
    }

    /// Returns the number of synced writes, over all starts: an older copy of the file has a
    /// smaller one.
    pub fn generation(&self) -> u32 {
        self.file.generation()
    }

    /// Drops the leases, because the file is an older copy. The file gets another number, as if
    /// it had been lost, and a generation after the recorded one (`newest`).
    ///
    /// # Errors
    ///
    /// A system call fails: the old file remains, and the journal must not be used.
    pub fn forget(&mut self, newest: u32) -> io::Result<()> {
        self.known.clear();
        self.file.forget(newest);
        self.rewrite_after_error()
    }

    /// Returns the longest lease that may be in force, seconds. Zero: unknown.
    pub fn longest_s(&self) -> u32 {
        self.longest_s
    }

    /// Writes the longest lease, seconds.
    ///
    /// # Errors
    ///
    /// A system call fails: no longer lease may be given than before.
    pub fn set_longest(&mut self, longest_s: u32) -> io::Result<()> {
        if self.longest_s == longest_s {
            return Ok(());
        }
        self.longest_s = longest_s;
        self.rewrite_after_error()
    }

    /// Records changes in memory without writing them.
    pub fn remember(&mut self, changes: &[HolderChange<A>]) {
        for change in changes {
            match change.holder {
                Holder::Nobody => {
                    self.known.remove(&change.address);
                }
                holder => {
                    self.known.insert(change.address, holder);
                }
            }
        }
    }

    /// Rewrites the file after an error, with all that is known.
    ///
    /// # Errors
    ///
    /// A system call fails.
    pub fn rewrite_after_error(&mut self) -> io::Result<()> {
        self.file.replace(entries(self.longest_s, &self.known))
    }
}

fn wide<A: Address>(change: &HolderChange<A>) -> LeaseChange {
    LeaseChange {
        address: change.address.into(),
        holder: change.holder,
    }
}

/// Returns all entries of a file: the longest lease, and the holder of each address.
fn entries<A: Address>(
    longest_s: u32,
    known: &BTreeMap<A, Holder>,
) -> impl Iterator<Item = FileEntry> {
    let leases = known.iter().map(|(address, holder)| {
        let change = HolderChange {
            address: *address,
            holder: *holder,
        };
        entry(wide(&change), 0)
    });
    std::iter::once(FileEntry::Note(FileNote::Leases { longest_s })).chain(leases)
}

/// Lock of a section's leases, explicitly unlocked when dropped. A process that starts a program
/// has a copy of each descriptor for a moment, so closing the descriptor alone would leave the
/// lock held.
#[derive(Debug)]
struct Lock(File);

impl Lock {
    fn take(path: &Path) -> io::Result<Lock> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| io::Error::other("another process has the leases of this section"))?;
        Ok(Lock(file))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // If the unlock fails, the lock ends with its last descriptor.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// Returns the name of the IPv6 journal of a section. No section name contains the character `@`.
pub fn name6(section: &str) -> String {
    format!("{section}@6")
}

/// Returns the clients of a section with a lease on disk, and the longest lease, seconds. Nothing
/// is changed.
///
/// # Errors
///
/// A system call fails. A missing file is no error: there is no lease.
pub fn clients<A: Address>(directory: &Path, section: &str) -> io::Result<(Vec<(A, Mac)>, u32)> {
    let file = match File::open(directory.join(format!("{section}.{ENDING}"))) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(error) => return Err(error),
    };
    let was: LeaseFileContents<A> = read(file)?;
    let clients = was
        .known
        .into_iter()
        .filter_map(|(address, holder)| match holder {
            Holder::Client(mac) => Some((address, mac)),
            _ => None,
        });
    Ok((clients.collect(), was.longest_s))
}

/// Damage of a file at a start: leases in it are lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum LeaseFileDamage {
    Damaged,
    /// The contents are intact, and this program cannot read them.
    OtherProgram,
}

/// Contents of a file at a start.
struct LeaseFileContents<A> {
    known: BTreeMap<A, Holder>,
    /// Longest lease, seconds. Zero: unknown.
    longest_s: u32,
    /// Number that identifies the file.
    store: Option<u32>,
    generation: u32,
    damage: Option<LeaseFileDamage>,
    /// None: the file has to be replaced.
    journal: Option<Journal>,
}

impl<A> Default for LeaseFileContents<A> {
    fn default() -> LeaseFileContents<A> {
        LeaseFileContents {
            known: BTreeMap::new(),
            longest_s: 0,
            store: None,
            generation: 0,
            damage: None,
            journal: None,
        }
    }
}

impl<A> LeaseFileContents<A> {
    /// Returns the line for the state of the file in a list of [`INHERITED`]. None: the file has no
    /// number.
    fn state(&self) -> Option<String> {
        let store = self.store?;
        Some(format!("{store} {}", self.generation))
    }
}

impl<A: Address> LeaseFileContents<A> {
    /// Creates the contents of a journal. A record of the other family does not count.
    fn of_journal(journal: Journal, contents: FileContents) -> LeaseFileContents<A> {
        let records = contents.records.into_values();
        let known = records.filter_map(|record| Some((A::of_ip(record.key)?, record.value)));
        let damage =
            (contents.damage == JournalDamage::Lost).then_some(if contents.has_unknown_frames {
                LeaseFileDamage::OtherProgram
            } else {
                LeaseFileDamage::Damaged
            });
        LeaseFileContents {
            known: known.collect(),
            longest_s: match contents.note {
                Some(FileNote::Leases { longest_s }) => longest_s,
                Some(FileNote::Copy { .. }) | None => 0,
            },
            store: u32::try_from(journal.store())
                .ok()
                .filter(|_| damage.is_none()),
            generation: u32::try_from(journal.generation()).unwrap_or(u32::MAX),
            damage,
            journal: Some(journal).filter(|_| contents.damage == JournalDamage::None),
        }
    }

    fn apply(&mut self, address: A, holder: Holder) {
        match holder {
            Holder::Nobody => self.known.remove(&address),
            holder => self.known.insert(address, holder),
        };
    }

    /// Adds the leases of the journals that have inherited this state: the section had their names
    /// since. Where both know an address, theirs is newer. Returns the list of their states.
    fn extend_by_heirs(
        &mut self,
        directory: &Path,
        is_in_range: impl Fn(A) -> bool,
    ) -> io::Result<String> {
        let mut from = String::new();
        let Some(state) = self.state() else {
            return Ok(from);
        };
        let mut newer: BTreeMap<A, Holder> = BTreeMap::new();
        let mut longest_s = self.longest_s;
        for entry in std::fs::read_dir(directory)? {
            let list = entry?.path();
            if list.extension() != Some(OsStr::new(INHERITED)) {
                continue;
            }
            let mut text = String::new();
            File::open(&list)?
                .take(BYTES_MAX)
                .read_to_string(&mut text)?;
            if !text.lines().any(|line| line == state) {
                continue;
            }
            let heir = match File::open(list.with_extension(ENDING)) {
                Ok(file) => read::<A>(file)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if let Some(state) = heir.state() {
                from += &format!("{state}\n");
            }
            longest_s = longest_s.max(heir.longest_s);
            merge(&mut newer, heir.known, &is_in_range);
        }
        let is_known = newer
            .iter()
            .all(|(one, holder)| self.known.get(one) == Some(holder));
        if !is_known {
            self.known.extend(newer);
            self.longest_s = longest_s;
            // The file is no longer in the state that others have inherited.
            self.generation = self.generation.saturating_add(1);
            self.journal = None;
        }
        Ok(from)
    }
}

/// Adds leases in a range. An address with several clients is unclear.
fn merge<A: Address>(
    all: &mut BTreeMap<A, Holder>,
    leases: BTreeMap<A, Holder>,
    is_in_range: impl Fn(A) -> bool,
) {
    for (address, holder) in leases {
        if !is_in_range(address) {
            continue;
        }
        let known = all.entry(address).or_insert(holder);
        if *known != holder {
            *known = Holder::Unclear(None);
        }
    }
}

/// Returns the leases of all files in a directory whose addresses are in a range, those of copies
/// of other nodes' parts too. The files of the other address family have none that can be read.
/// Also returns the list of the files' states.
fn inherited<A: Address>(
    directory: &Path,
    is_in_range: impl Fn(A) -> bool,
) -> io::Result<(LeaseFileContents<A>, String)> {
    let mut all = LeaseFileContents::default();
    let mut from = String::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let is_read = |ending: &OsStr| ending == ENDING || ending == COPY_ENDING;
        if !path.extension().is_some_and(is_read) {
            continue;
        }
        let one: LeaseFileContents<A> = read(File::open(&path)?)?;
        if let Some(state) = one.state() {
            from += &format!("{state}\n");
        }
        all.longest_s = all.longest_s.max(one.longest_s);
        merge(&mut all.known, one.known, &is_in_range);
    }
    Ok((all, from))
}

fn read<A: Address>(file: File) -> io::Result<LeaseFileContents<A>> {
    let bytes = read_bytes(file)?;
    if !Journal::is_in(&bytes) {
        return Ok(text::read_leases(&bytes));
    }
    let (journal, contents) = Journal::read(&bytes, new_store().into());
    Ok(LeaseFileContents::of_journal(journal, contents))
}

/// Reads a copy of another node's part, and its generation. None: the file does not exist, or is
/// damaged.
pub(crate) fn read_copy(path: &Path) -> Option<(LeaseCopy, u32)> {
    let bytes = read_bytes(File::open(path).ok()?).ok()?;
    if !Journal::is_in(&bytes) {
        return text::read_copy(&bytes);
    }
    let (journal, contents): (Journal, FileContents) = Journal::read(&bytes, 0);
    let Some(FileNote::Copy {
        node,
        epoch,
        division,
    }) = contents.note
    else {
        return None;
    };
    let mut copy = LeaseCopy::new(&node, epoch, division);
    for record in contents.records.into_values() {
        copy.change(&[HolderChange {
            address: record.key,
            holder: record.value,
        }]);
    }
    let generation = u32::try_from(journal.generation()).unwrap_or(u32::MAX);
    (contents.damage != JournalDamage::Lost).then_some((copy, generation))
}

/// Reads a file, at most to one byte beyond the limit, so that a longer file is recognised as
/// damaged.
fn read_bytes(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
