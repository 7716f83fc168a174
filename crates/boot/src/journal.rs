//! Journal of the leases of a range on disk, so that no address is assigned twice after a
//! restart. Each change is appended to a file, and synced before the client gets its response.
//!
//! Lines: `10.20.0.100 52:54:00:12:34:56` for a lease, `10.20.0.100 ?` for an address that an
//! unknown client may have, `10.20.0.100 before` for one that the previous holder of the part may
//! have assigned, `10.20.0.100 -` for the end of any of these. After `?` and `before` follows the
//! client, if one is known to use the address. No client got a response for an incomplete line. The
//! file has no times: a lease begins again at a start, so no clock has to be right. Only the line
//! `lease 43200` records the longest lease, in seconds, because the section may have another lease
//! time by then. The last line `generation` counts the writes. The cluster records the number, so
//! that an older copy of the file is recognised. The line `store` has a number that identifies the
//! file: a file that was removed and created again has another number, and the record of a part
//! names the file of its leases.
//!
//! A section without a file inherits the leases of the other files. A file beside its journal, with
//! the extension `inherited`, then names the state of each of them by `store` and `generation`. If
//! a section gets an earlier name again, its old file is still in that state, and it gets the
//! leases of the time between.

use crate::dhcp::pool::{Holder, HolderChange};
use crate::dhcp::range::Address;
use crate::mac::Mac;
use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::ffi::OsStr;
use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Limit of bytes that are read at a start: far more than the largest range needs.
const BYTES_MAX: u64 = 64 << 20;
/// File name extension of a journal.
const ENDING: &str = "leases";
/// File name extension of a copy of another node's part: see [`crate::link::CopyWriter`].
pub(crate) const COPY_ENDING: &str = "copy";
/// File name extension of the list of journals from which a journal has inherited.
pub(crate) const INHERITED: &str = "inherited";
/// Prefix of the line with the longest lease.
const LEASE: &str = "lease ";
/// Prefix of the line with the number of writes.
pub(crate) const GENERATION: &str = "generation ";
/// Prefix of the line with the number of the file.
const STORE: &str = "store ";
/// End of the line of an address that the previous holder of the part may have assigned.
const BEFORE: &str = "before";
/// File name extension of the copy of a damaged file.
const DAMAGED: &str = "damaged";
/// Number of superfluous lines after which the file is rewritten.
const STALE_MAX: usize = 65_536;

/// Open journal of a range, locked against other processes. A new lease is on disk when
/// [`LeaseJournal::add`] returns.
#[derive(Debug)]
pub struct LeaseJournal<A = Ipv4Addr> {
    path: PathBuf,
    file: File,
    known: BTreeMap<A, Holder>,
    /// Longest lease that may be in force, seconds. Zero: unknown.
    longest_s: u32,
    /// Number that identifies the file.
    store: u32,
    /// Number of synced writes, over all starts.
    generation: u32,
    /// Number of lines in the file.
    lines: usize,
    /// Number of lines that were unreadable at the start.
    damaged: usize,
    /// Lock against other processes, held as long as the journal is open.
    _lock: Lock,
}

impl<A: Address> LeaseJournal<A> {
    /// Opens the file of a section, and reads the holder of each address.
    ///
    /// # Errors
    ///
    /// The system's, or another process has the file.
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
        if was.damaged > 0 {
            std::fs::copy(&path, path.with_extension(DAMAGED))?;
        }
        // A file with damaged lines may lack leases, so it gets another number.
        let store = was.store.filter(|_| was.damaged == 0).unwrap_or_else(any);
        let header = JournalHeader {
            store,
            longest_s: was.longest_s,
            generation: was.generation,
        };
        let file = write_anew(&path, &header, &was.known)?;
        if !from.is_empty() {
            std::fs::write(path.with_extension(INHERITED), from)?;
        }
        Ok(LeaseJournal {
            path,
            file,
            longest_s: was.longest_s,
            store,
            generation: was.generation,
            lines: was.known.len(),
            damaged: was.damaged,
            known: was.known,
            _lock: lock,
        })
    }

    /// Describes the damaged lines for operators: the owners of their addresses are unknown.
    /// None: there are none.
    pub fn damage(&self) -> Option<String> {
        (self.damaged > 0).then(|| {
            format!(
                "{} lines of {} are damaged: the leases in them are lost, and each address is probed before it is \
                 given again; the file as it was is {}",
                self.damaged,
                self.path.display(),
                self.path.with_extension(DAMAGED).display()
            )
        })
    }

    /// Explains why leases are not stored.
    pub fn trouble(&self, error: &io::Error) -> String {
        let directory = self.path.parent().unwrap_or(&self.path).display();
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
    /// The system's: the clients must not get these leases.
    pub fn add(&mut self, changes: &[HolderChange<A>]) -> io::Result<()> {
        self.remember(changes);
        let mut text = String::new();
        for change in changes {
            line(&mut text, change.address, change.holder);
        }
        // The end of a lease need not be synced: if it is lost, the address only becomes free
        // later. So it is no new generation, either.
        let is_synced = changes.iter().any(|one| one.holder != Holder::Nobody);
        let generation = self.next_generation();
        if is_synced {
            text += &format!("{GENERATION}{generation}\n");
        }
        self.lines += changes.len() + 1;
        // Data in a file without a name would be lost at the next start.
        let is_gone = self.file.metadata()?.nlink() == 0;
        if is_gone || self.lines > self.known.len() + STALE_MAX {
            return self.rewrite_after_error();
        }
        self.file.write_all(text.as_bytes())?;
        if is_synced {
            self.file.sync_data()?;
            self.generation = generation;
        }
        Ok(())
    }

    /// Returns the contents for another file in place of this one.
    pub fn text(&self) -> String {
        text_of(&self.header(self.generation), &self.known)
    }

    /// Returns the number that identifies the file: a file that replaces a lost one has another
    /// number. Never zero.
    pub fn store(&self) -> u32 {
        self.store
    }

    fn header(&self, generation: u32) -> JournalHeader {
        JournalHeader {
            store: self.store,
            longest_s: self.longest_s,
            generation,
        }
    }

    fn next_generation(&self) -> u32 {
        self.generation.saturating_add(1)
    }

    /// Returns the number of synced writes, over all starts: an older copy of the file has a
    /// smaller one.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Drops the leases, because the file is an older copy. The file gets another number, as if
    /// it had been lost, and a generation after the recorded one (`newest`).
    ///
    /// # Errors
    ///
    /// The system's: the old file remains, and the journal must not be used.
    pub fn forget(&mut self, newest: u32) -> io::Result<()> {
        self.known.clear();
        self.store = any();
        self.generation = self.generation.max(newest);
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
    /// The system's: no longer lease may be given than before.
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
    /// The system's.
    pub fn rewrite_after_error(&mut self) -> io::Result<()> {
        let generation = self.next_generation();
        let header = self.header(generation);
        self.file = write_anew(&self.path, &header, &self.known)?;
        self.generation = generation;
        self.lines = self.known.len();
        Ok(())
    }
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

/// Writes the line of a change.
pub(crate) fn line<A: Display>(text: &mut String, address: A, holder: Holder) {
    use std::fmt::Write;
    // Writes to memory cannot fail.
    let _ = match holder {
        Holder::Client(mac) => writeln!(text, "{address} {mac}"),
        Holder::Unclear(None) => writeln!(text, "{address} ?"),
        Holder::Unclear(Some(user)) => writeln!(text, "{address} ? {user}"),
        Holder::Before(None) => writeln!(text, "{address} {BEFORE}"),
        Holder::Before(Some(user)) => writeln!(text, "{address} {BEFORE} {user}"),
        Holder::Nobody => writeln!(text, "{address} -"),
    };
}

/// Returns a random number, which most likely no other file has.
fn any() -> u32 {
    let any = RandomState::new().build_hasher().finish();
    u32::try_from(any >> 32).unwrap_or(1).max(1)
}

/// Returns the name of the IPv6 journal of a section. No section name contains this character.
pub fn name6(section: &str) -> String {
    format!("{section}@6")
}

/// Returns the clients of a section with a lease on disk, and the longest lease, seconds. Nothing
/// is changed.
///
/// # Errors
///
/// The system's. Without a file there is no lease.
pub fn clients<A: Address>(directory: &Path, section: &str) -> io::Result<(Vec<(A, Mac)>, u32)> {
    let file = match File::open(directory.join(format!("{section}.{ENDING}"))) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(error) => return Err(error),
    };
    let was: JournalContents<A> = read(file)?;
    let clients = was
        .known
        .into_iter()
        .filter_map(|(address, holder)| match holder {
            Holder::Client(mac) => Some((address, mac)),
            _ => None,
        });
    Ok((clients.collect(), was.longest_s))
}

/// Contents of a file at a start.
struct JournalContents<A> {
    known: BTreeMap<A, Holder>,
    /// Longest lease, seconds. Zero: unknown.
    longest_s: u32,
    /// Number that identifies the file.
    store: Option<u32>,
    generation: u32,
    damaged: usize,
}

impl<A> JournalContents<A> {
    fn new() -> JournalContents<A> {
        JournalContents {
            known: BTreeMap::new(),
            longest_s: 0,
            store: None,
            generation: 0,
            damaged: 0,
        }
    }

    /// Identifies the state of the file in a list of [`INHERITED`]. None: the file has no number.
    fn state(&self) -> Option<String> {
        let store = self.store?;
        Some(format!("{store} {}", self.generation))
    }
}

impl<A: Address> JournalContents<A> {
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
) -> io::Result<(JournalContents<A>, String)> {
    let mut all = JournalContents::new();
    let mut from = String::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let is_read = |ending: &OsStr| ending == ENDING || ending == COPY_ENDING;
        if !path.extension().is_some_and(is_read) {
            continue;
        }
        let one: JournalContents<A> = read(File::open(&path)?)?;
        if let Some(state) = one.state() {
            from += &format!("{state}\n");
        }
        all.longest_s = all.longest_s.max(one.longest_s);
        merge(&mut all.known, one.known, &is_in_range);
    }
    Ok((all, from))
}

fn read<A: Address>(file: File) -> io::Result<JournalContents<A>> {
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes)?;
    let mut was = JournalContents::new();
    // An incomplete last line was never confirmed.
    let whole = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    let text = String::from_utf8_lossy(&bytes[..whole]);
    for line in text.lines() {
        if let Some(seconds) = line.strip_prefix(LEASE).and_then(|word| word.parse().ok()) {
            was.longest_s = seconds;
            continue;
        }
        if let Some(number) = line
            .strip_prefix(GENERATION)
            .and_then(|word| word.parse().ok())
        {
            was.generation = number;
            continue;
        }
        if let Some(number) = line.strip_prefix(STORE) {
            was.store = number.parse().ok().filter(|store| *store > 0);
            continue;
        }
        match of_line(line) {
            Some((address, Holder::Nobody)) => {
                was.known.remove(&address);
            }
            Some((address, holder)) => {
                was.known.insert(address, holder);
            }
            None => was.damaged += 1,
        }
    }
    Ok(was)
}

/// Parses the line of a change.
pub(crate) fn of_line<A: FromStr>(line: &str) -> Option<(A, Holder)> {
    let (address, who) = line.split_once(' ')?;
    let (who, user) = match who.split_once(' ') {
        Some((who, user)) => (who, Some(user.parse().ok()?)),
        None => (who, None),
    };
    let holder = match (who, user) {
        ("-", None) => Holder::Nobody,
        ("?", user) => Holder::Unclear(user),
        (BEFORE, user) => Holder::Before(user),
        (mac, None) => Holder::Client(mac.parse().ok()?),
        (_, Some(_)) => return None,
    };
    Some((address.parse().ok()?, holder))
}

/// Properties of a journal file, beside its leases: see [`LeaseJournal`].
struct JournalHeader {
    store: u32,
    longest_s: u32,
    generation: u32,
}

/// Returns the complete contents of a file.
fn text_of<A: Address>(header: &JournalHeader, known: &BTreeMap<A, Holder>) -> String {
    let JournalHeader {
        store,
        longest_s,
        generation,
    } = *header;
    let mut text = format!("{STORE}{store}\n");
    if longest_s > 0 {
        text += &format!("{LEASE}{longest_s}\n");
    }
    for (address, holder) in known {
        line(&mut text, *address, *holder);
    }
    // At the end: a file that has lost leases there has no generation, either.
    if generation > 0 {
        text += &format!("{GENERATION}{generation}\n");
    }
    text
}

fn write_anew<A: Address>(
    path: &Path,
    header: &JournalHeader,
    known: &BTreeMap<A, Holder>,
) -> io::Result<File> {
    part::durable::write(path, text_of(header, known).as_bytes())?;
    OpenOptions::new().append(true).open(path)
}

#[cfg(test)]
mod tests;
