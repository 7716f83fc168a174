//! The leases of a range on the disk, so that a restart gives no address twice: a file to which each
//! change is appended, and synced before the client is told.
//!
//! Lines: `10.20.0.100 52:54:00:12:34:56` for a lease, `10.20.0.100 ?` for an address that somebody may have,
//! `10.20.0.100 before` for one that the node may have given that held its part before, `10.20.0.100 -` for the
//! end of any. Behind the two in the middle is the client, if one is known to use the address. A line that is not
//! complete is one that nobody was told of. There are no times: a lease begins again at a start, so no clock has to be right. Only the
//! line `lease 43200` says how long a lease may be, in seconds: the section may say another time by then.
//! The line `store`, with a number, says which file this is: one that was removed and made again has another
//! number, and the record of a part says in which file its leases are.

use crate::dhcp::pool::{Change, Holder};
use crate::dhcp::range::Address;
use crate::mac::Mac;
use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Bytes that are read at a start: far more than a range of the greatest size has.
const BYTES_MAX: u64 = 64 << 20;
/// What the line begins with that says how long a lease may be.
const LEASE: &str = "lease ";
/// What the line begins with that says which file this is.
const STORE: &str = "store ";
/// What the line of an address ends with that the node may have given that held its part before.
const BEFORE: &str = "before";
/// What the name of the copy of a damaged file ends with.
const DAMAGED: &str = "damaged";
/// Lines beyond those that are needed, after which the file is written anew.
const STALE_MAX: usize = 65_536;

/// The file.
#[derive(Debug)]
pub struct Journal<A = Ipv4Addr> {
    path: PathBuf,
    file: File,
    known: BTreeMap<A, Holder>,
    /// How long a lease may be, seconds. Zero: it is not known.
    longest_s: u32,
    /// Which file this is.
    store: u32,
    /// Lines in the file.
    lines: usize,
    /// Lines that could not be read at the start.
    damaged: usize,
    /// No other process has the file as long as this is there.
    _lock: Lock,
}

impl<A: Address> Journal<A> {
    /// Opens the file of a section, and reads who has an address.
    ///
    /// # Errors
    /// The system's, or another process that has the file.
    pub fn open(directory: &Path, section: &str) -> io::Result<Journal<A>> {
        let path = directory.join(format!("{section}.leases"));
        let lock = Lock::take(&path.with_extension("lock"))?;
        let was = match File::open(&path) {
            Ok(file) => read(file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Was::new(),
            Err(error) => return Err(error),
        };
        if was.damaged > 0 {
            std::fs::copy(&path, path.with_extension(DAMAGED))?;
        }
        // One with damaged lines does not have all leases any more.
        let store = { was.store.filter(|_| was.damaged == 0) }.unwrap_or_else(any);
        let file = write_anew(&path, (store, was.longest_s), &was.known)?;
        Ok(Journal {
            path,
            file,
            longest_s: was.longest_s,
            store,
            lines: was.known.len(),
            damaged: was.damaged,
            known: was.known,
            _lock: lock,
        })
    }

    /// What an operator has to know of lines that could not be read: whose address they had is not known.
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

    /// Why leases are not kept, in words.
    pub fn trouble(&self, error: &io::Error) -> String {
        let directory = self.path.parent().unwrap_or(&self.path).display();
        let why = language::reason(error);
        match error.kind() {
            // The threads may write in the directory that was there when they started, and in no other.
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => format!(
                "cannot keep leases in {directory}: {why}: if the directory was removed, make it again and restart \
                 Evenkeel"
            ),
            _ => format!("cannot keep leases in {directory}: {why}"),
        }
    }

    /// Who has an address.
    pub fn known(&self) -> impl Iterator<Item = (A, Holder)> {
        self.known
            .iter()
            .map(|(address, holder)| (*address, *holder))
    }

    /// Writes changes. They are on the disk when this returns.
    ///
    /// # Errors
    /// The system's: the clients may not be told of these leases.
    pub fn add(&mut self, changes: &[Change<A>]) -> io::Result<()> {
        self.remember(changes);
        let mut text = String::new();
        for change in changes {
            line(&mut text, change.address, change.holder);
        }
        self.lines += changes.len();
        // What is written to a file without a name is lost at the next start.
        let is_gone = self.file.metadata()?.nlink() == 0;
        if is_gone || self.lines > self.known.len() + STALE_MAX {
            self.file = write_anew(&self.path, (self.store, self.longest_s), &self.known)?;
            self.lines = self.known.len();
            return Ok(());
        }
        self.file.write_all(text.as_bytes())?;
        // An address that has become free again may be forgotten: it is free later then.
        match changes.iter().any(|one| one.holder != Holder::Nobody) {
            true => self.file.sync_data(),
            false => Ok(()),
        }
    }

    /// What another file has to have in place of this one.
    pub fn text(&self) -> String {
        text_of((self.store, self.longest_s), &self.known)
    }

    /// Which file this is: another one after it was lost. Never zero.
    pub fn store(&self) -> u32 {
        self.store
    }

    /// How long a lease may be, seconds. Zero: it is not known.
    pub fn longest_s(&self) -> u32 {
        self.longest_s
    }

    /// Writes how long a lease may be, seconds.
    ///
    /// # Errors
    /// The system's: no longer lease may be given than before.
    pub fn set_longest(&mut self, longest_s: u32) -> io::Result<()> {
        if self.longest_s == longest_s {
            return Ok(());
        }
        self.longest_s = longest_s;
        self.mend()
    }

    /// Takes changes in without writing them.
    pub fn remember(&mut self, changes: &[Change<A>]) {
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

    /// Begins the file again after an error, with all that is known.
    ///
    /// # Errors
    /// The system's.
    pub fn mend(&mut self) -> io::Result<()> {
        self.file = write_anew(&self.path, (self.store, self.longest_s), &self.known)?;
        self.lines = self.known.len();
        Ok(())
    }
}

/// The right to a section's leases. It is given up as such when this goes: a process that starts a
/// program has a copy of each descriptor for a moment, and closing ours alone would leave it taken.
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
        // What cannot be given up ends with its last descriptor.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// Writes the line of a change.
pub(crate) fn line<A: Display>(text: &mut String, address: A, holder: Holder) {
    use std::fmt::Write;
    // Memory is written without errors.
    let _ = match holder {
        Holder::Client(mac) => writeln!(text, "{address} {mac}"),
        Holder::Unclear(None) => writeln!(text, "{address} ?"),
        Holder::Unclear(Some(user)) => writeln!(text, "{address} ? {user}"),
        Holder::Before(None) => writeln!(text, "{address} {BEFORE}"),
        Holder::Before(Some(user)) => writeln!(text, "{address} {BEFORE} {user}"),
        Holder::Nobody => writeln!(text, "{address} -"),
    };
}

/// A number that no other file has, most likely.
fn any() -> u32 {
    let any = RandomState::new().build_hasher().finish();
    u32::try_from(any >> 32).unwrap_or(1).max(1)
}

/// The name of the journal of IPv6 of a section. No section has a name with this sign.
pub fn name6(section: &str) -> String {
    format!("{section}@6")
}

/// The clients of a section with a lease on the disk, and how long one may be, seconds. Nothing is changed.
///
/// # Errors
/// The system's. Without a file there is no lease.
pub fn clients<A: Address>(directory: &Path, section: &str) -> io::Result<(Vec<(A, Mac)>, u32)> {
    let file = match File::open(directory.join(format!("{section}.leases"))) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(error) => return Err(error),
    };
    let was: Was<A> = read(file)?;
    let clients = was
        .known
        .into_iter()
        .filter_map(|(address, holder)| match holder {
            Holder::Client(mac) => Some((address, mac)),
            _ => None,
        });
    Ok((clients.collect(), was.longest_s))
}

/// What a file says at a start.
struct Was<A> {
    /// Who has an address.
    known: BTreeMap<A, Holder>,
    /// How long a lease may be, seconds. Zero: it is not known.
    longest_s: u32,
    /// Which file this is.
    store: Option<u32>,
    /// How many lines say nothing that can be read.
    damaged: usize,
}

impl<A> Was<A> {
    fn new() -> Was<A> {
        Was {
            known: BTreeMap::new(),
            longest_s: 0,
            store: None,
            damaged: 0,
        }
    }
}

fn read<A: Address>(file: File) -> io::Result<Was<A>> {
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes)?;
    let mut was = Was::new();
    // What follows the last end of a line was never finished.
    let whole = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    let text = String::from_utf8_lossy(&bytes[..whole]);
    for line in text.lines() {
        if let Some(seconds) = { line.strip_prefix(LEASE) }.and_then(|word| word.parse().ok()) {
            was.longest_s = seconds;
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

/// Reads the line of a change.
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

/// All that a file has to have.
fn text_of<A: Address>((store, longest_s): (u32, u32), known: &BTreeMap<A, Holder>) -> String {
    let mut text = format!("{STORE}{store}\n");
    if longest_s > 0 {
        text += &format!("{LEASE}{longest_s}\n");
    }
    for (address, holder) in known {
        line(&mut text, *address, *holder);
    }
    text
}

fn write_anew<A: Address>(
    path: &Path,
    (store, longest_s): (u32, u32),
    known: &BTreeMap<A, Holder>,
) -> io::Result<File> {
    let text = text_of((store, longest_s), known);
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests;
