//! Errors of the store.

use part::codec::Malformed;
use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The newest layout of the file that this program understands.
pub const LAYOUT: u64 = 1;

/// The store cannot be used.
#[derive(Clone, Debug)]
pub enum StoreError {
    /// Another process has it.
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Its bytes are not what was written.
    Damaged {
        /// The file.
        path: PathBuf,
        /// The damage.
        damage: Damage,
    },
    /// It was written by a newer program.
    Newer {
        /// The file.
        path: PathBuf,
        /// Its layout.
        layout: u64,
    },
    /// The disk refused: it is full, read-only or fails.
    Disk {
        /// The file.
        path: PathBuf,
        /// The error.
        source: Arc<redb::Error>,
    },
    /// The thread that writes has ended.
    Ended,
}

/// The kinds of damage of a store.
#[derive(Clone, Debug)]
pub enum Damage {
    /// redb says so.
    File(Arc<redb::Error>),
    /// Its checksums are wrong.
    Checksums,
    /// A value is none of ours.
    Value {
        /// The table.
        of: &'static str,
        /// Why.
        source: Arc<Malformed>,
    },
    /// The log has a hole.
    Hole {
        /// The entry that is missing.
        index: u64,
    },
    /// A piece of a content is not what its digest says.
    Chunk(crate::member::Digest),
    /// redb gave up in a panic, with these words.
    Panic(Arc<str>),
}

/// Why a store does not have what its member promised to the others.
#[derive(Clone, Debug)]
pub enum Loss {
    /// The file is not there.
    Missing,
    /// The store is empty.
    Empty,
    /// Its bytes are not what was written.
    Damaged(Damage),
    /// It, or its promise file, is of another cluster or another member.
    Foreign,
    /// It does not belong to the promise file.
    Untied,
    /// The store is older than the promise: it was restored from a backup.
    Older,
    /// The promise file is missing or damaged: what was promised is not known.
    Unpromised,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Loss::Missing => f.write_str("the store is missing"),
            Loss::Empty => f.write_str("the store is empty"),
            Loss::Damaged(damage) => write!(f, "the store is damaged ({damage})"),
            Loss::Foreign => f.write_str("the store belongs to another cluster or another member"),
            Loss::Untied => f.write_str("the store does not belong to the promise file"),
            Loss::Older => f.write_str(
                "the store is older than this member's promises to the others; was it restored from a backup?",
            ),
            Loss::Unpromised => f.write_str("the promise file is missing or damaged"),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::File(source) => source.fmt(f),
            Damage::Checksums => f.write_str("checksums do not match"),
            Damage::Value { of, source } => write!(f, "{of}: {source}"),
            Damage::Hole { index } => write!(f, "entry {index} of the log is missing"),
            Damage::Chunk(digest) => write!(f, "part {digest} was changed"),
            Damage::Panic(words) => f.write_str(words),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::InUse { path } => {
                write!(f, "{}: another process uses this store", path.display())
            }
            StoreError::Damaged { path, damage } => write!(
                f,
                "{}: the store is damaged ({damage}); the accepted version is still served; to rejoin: `evenkeel \
                 cluster remove` this machine on another member, move its state directory away, and `evenkeel cluster \
                 join` here",
                path.display()
            ),
            StoreError::Newer { path, layout } => write!(
                f,
                "{}: written by a newer evenkeel (layout {layout}, this one supports {LAYOUT}): start the newer one",
                path.display()
            ),
            StoreError::Disk { path, source } if is_full(source) => write!(
                f,
                "{}: no space left on the disk; the accepted version is still served; free some space, then the member \
                 resumes within 15 s",
                path.display()
            ),
            StoreError::Disk { path, source } => write!(
                f,
                "{}: {source}; the accepted version is still served; free some space or repair the disk, then the \
                 member resumes",
                path.display()
            ),
            StoreError::Ended => f.write_str("the store was closed"),
        }
    }
}

impl Error for StoreError {}

fn is_full(source: &redb::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    match source {
        redb::Error::Io(error) => matches!(error.kind(), StorageFull | QuotaExceeded),
        _ => false,
    }
}
