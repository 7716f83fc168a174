//! The leases of a range on the disk, so that a restart gives no address twice: a file to which each
//! change is appended, and synced before the client is told.
//!
//! Lines: `10.20.0.100 52:54:00:12:34:56` for a lease, `10.20.0.100 -` for its end. A line that is not
//! complete is one that nobody was told of. `part 1 unclear` says that another node may have given
//! addresses of that part which are not here, `part 1 clear` that those have ended. There are no times: a lease begins again at a start, so
//! no clock has to be right.

use crate::dhcp::pool::Change;
use crate::mac::Mac;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Bytes that are read at a start: far more than a range of the greatest size has.
const BYTES_MAX: u64 = 64 << 20;
/// Lines beyond those that are needed, after which the file is written anew.
const STALE_MAX: usize = 65_536;

/// The file.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// Held as long as this lives.
    _lock: File,
    file: File,
    known: BTreeMap<Ipv4Addr, Mac>,
    unclear: BTreeSet<usize>,
    /// Lines in the file.
    lines: usize,
}

impl Journal {
    /// Opens the file of a section, and reads who has an address.
    ///
    /// # Errors
    /// The system's, or another process that has the file.
    pub fn open(directory: &Path, section: &str) -> io::Result<Journal> {
        let path = directory.join(format!("{section}.leases"));
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.with_extension("lock"))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| io::Error::other("another process has the leases of this section"))?;
        let (known, unclear) = match File::open(&path) {
            Ok(file) => read(file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Default::default(),
            Err(error) => return Err(error),
        };
        let file = write_anew(&path, &known, &unclear)?;
        Ok(Journal {
            path,
            _lock: lock,
            file,
            lines: known.len(),
            known,
            unclear,
        })
    }

    /// Who has an address.
    pub fn known(&self) -> impl Iterator<Item = (Ipv4Addr, Mac)> {
        self.known.iter().map(|(address, mac)| (*address, *mac))
    }

    /// Writes changes. They are on the disk when this returns.
    ///
    /// # Errors
    /// The system's: the clients may not be told of these leases.
    pub fn add(&mut self, changes: &[Change]) -> io::Result<()> {
        self.remember(changes);
        let mut text = String::new();
        for change in changes {
            line(&mut text, change.address, change.mac);
        }
        self.lines += changes.len();
        if self.lines > self.known.len() + STALE_MAX {
            self.file = write_anew(&self.path, &self.known, &self.unclear)?;
            self.lines = self.known.len();
            return Ok(());
        }
        self.file.write_all(text.as_bytes())?;
        // An address that has become free again may be forgotten: it is free later then.
        match changes.iter().any(|change| change.mac.is_some()) {
            true => self.file.sync_data(),
            false => Ok(()),
        }
    }

    /// Whether another node may have given addresses of a part that are not known here.
    pub fn is_unclear(&self, part: usize) -> bool {
        self.unclear.contains(&part)
    }

    /// Sets that. It is on the disk when this returns.
    ///
    /// # Errors
    /// The system's.
    pub fn mark(&mut self, part: usize, unclear: bool) -> io::Result<()> {
        let changes = match unclear {
            true => self.unclear.insert(part),
            false => self.unclear.remove(&part),
        };
        if changes {
            self.mend()?;
        }
        Ok(())
    }

    /// Takes changes in without writing them.
    pub fn remember(&mut self, changes: &[Change]) {
        for change in changes {
            match change.mac {
                Some(mac) => {
                    self.known.insert(change.address, mac);
                }
                None => {
                    self.known.remove(&change.address);
                }
            }
        }
    }

    /// Begins the file again after an error, with all that is known.
    ///
    /// # Errors
    /// The system's.
    pub fn mend(&mut self) -> io::Result<()> {
        self.file = write_anew(&self.path, &self.known, &self.unclear)?;
        self.lines = self.known.len();
        Ok(())
    }
}

fn line(text: &mut String, address: Ipv4Addr, mac: Option<Mac>) {
    use std::fmt::Write;
    // Memory is written without errors.
    let _ = match mac {
        Some(mac) => writeln!(text, "{address} {mac}"),
        None => writeln!(text, "{address} -"),
    };
}

fn read(file: File) -> io::Result<(BTreeMap<Ipv4Addr, Mac>, BTreeSet<usize>)> {
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes)?;
    let (mut known, mut unclear) = (BTreeMap::new(), BTreeSet::new());
    // What follows the last end of a line was never finished.
    let whole = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    let text = String::from_utf8_lossy(&bytes[..whole]);
    for line in text.lines() {
        let Some((address, who)) = line.split_once(' ') else {
            continue;
        };
        if address == "part" {
            match who.split_once(' ') {
                Some((part, "unclear")) => unclear.extend(part.parse::<usize>().ok()),
                Some((part, _)) => unclear.retain(|known| Ok(*known) != part.parse()),
                None => {}
            }
            continue;
        }
        let Ok(address) = address.parse() else {
            continue;
        };
        match (who, who.parse()) {
            ("-", _) => {
                known.remove(&address);
            }
            (_, Ok(mac)) => {
                known.insert(address, mac);
            }
            (_, Err(_)) => {}
        }
    }
    Ok((known, unclear))
}

fn write_anew(
    path: &Path,
    known: &BTreeMap<Ipv4Addr, Mac>,
    unclear: &BTreeSet<usize>,
) -> io::Result<File> {
    let mut text = String::new();
    for part in unclear {
        text.push_str(&format!("part {part} unclear\n"));
    }
    for (address, mac) in known {
        line(&mut text, *address, Some(*mac));
    }
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
