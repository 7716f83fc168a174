//! Defines the errors of the store, the kinds of its damage, and the reasons why it lost promised
//! data.

use part::codec::InvalidEncoding;
use std::path::PathBuf;
use std::sync::Arc;

/// Newest layout of the store's file that this release of evenkeel supports.
pub const LAYOUT: u64 = 1;

#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{}: another process uses this store", .path.display())]
    InUse { path: PathBuf },
    /// The contents of the file differ from the written ones.
    #[error("{}: the store is damaged ({damage}); the accepted version is still served; to rejoin: `evenkeel \
             cluster remove` this machine on another member, move its state directory away, and `evenkeel cluster \
             join` here", .path.display())]
    Damaged { path: PathBuf, damage: Damage },
    /// A newer release of evenkeel wrote the store.
    #[error("{}: written by a newer evenkeel (layout {layout}, this one supports {LAYOUT}): start the newer one", .path.display())]
    Newer { path: PathBuf, layout: u64 },
    /// The disk refused an operation: it is full, read-only or fails.
    #[error("{}: {}", .path.display(), of_disk(.source))]
    Disk {
        path: PathBuf,
        source: Arc<redb::Error>,
    },
    #[error("the store was closed")]
    Ended,
}

/// The kinds of damage of a store.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Damage {
    #[error("{0}")]
    File(Arc<redb::Error>),
    #[error("checksums do not match")]
    Checksums,
    #[error("{of}: {source}")]
    Value {
        of: &'static str,
        source: Arc<InvalidEncoding>,
    },
    #[error("entry {index} of the log is missing")]
    Hole { index: u64 },
    /// A stored chunk does not match its digest.
    #[error("part {0} was changed")]
    Chunk(crate::member::Digest),
    #[error("{0}")]
    Panic(Arc<str>),
}

/// Reason why a store does not have what its member promised to the others.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Loss {
    #[error("the store is missing")]
    Missing,
    /// The store has no content at all.
    #[error("the store is empty")]
    Empty,
    #[error("the store is damaged ({0})")]
    Damaged(Damage),
    /// The store, or its promise file, is of another cluster or another member.
    #[error("the store belongs to another cluster or another member")]
    Foreign,
    /// The nonces of the store and of the promise file differ.
    #[error("the store does not belong to the promise file")]
    Untied,
    /// The store is older than the promise: it was restored from a backup.
    #[error(
        "the store is older than this member's promises to the others; was it restored from a backup?"
    )]
    Older,
    #[error("the promise file is missing or damaged")]
    Unpromised,
}

/// Describes an error of the disk, and the next step of the operator.
fn of_disk(error: &redb::Error) -> String {
    if is_full(error) {
        "no space left on the disk; the accepted version is still served; free some space, then the member \
                 resumes within 15 s"
            .to_owned()
    } else {
        format!(
            "{error}; the accepted version is still served; free some space or repair the disk, then the member \
             resumes"
        )
    }
}

fn is_full(source: &redb::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    match source {
        redb::Error::Io(error) => matches!(error.kind(), StorageFull | QuotaExceeded),
        _ => false,
    }
}
