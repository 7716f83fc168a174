//! Defines the layout of the store's file, and opens, checks, reads and writes it. All functions
//! block; [`super::writer`] decides which thread calls them.

use crate::log::{Entry, LogId, SnapshotMeta, Vote};
use crate::member::Digest;
use crate::store::backlog::Backlog;
use crate::store::error::{Damage, LAYOUT, StoreError};
use part::codec;
use redb::backends::FileBackend;
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageBackend,
    TableDefinition, WriteTransaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub const PAGES_BYTES_MAX: usize = 2 << 20;

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const CHUNKS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("chunks");

const VOTE: &str = "vote";
const COMMITTED: &str = "committed";
const PURGED: &str = "purged";
const STARTS: &str = "starts";
const LAYOUT_KEY: &str = "layout";
const DAMAGED: &str = "damaged";
const SNAPSHOT_META: &str = "snapshot.meta";
const SNAPSHOT_IMAGE: &str = "snapshot.image";
/// Owner of the store, and the nonce of its promise file.
pub(super) const TIE: &str = "tie";
/// Reason why the other members must admit this member again.
pub(super) const LOST: &str = "lost";
/// Set if another member knows of a promise that this store does not have.
pub(super) const CONDEMNED: &str = "condemned";

/// A change of the file.
pub(super) enum Op {
    /// An entry as bytes, with the number of the write that contains it.
    Append {
        id: LogId,
        bytes: Vec<u8>,
        write: u64,
    },
    /// Removes the entries from this index on; `last` is then the last one.
    Truncate {
        from: u64,
        last: Option<LogId>,
    },
    Purge(LogId),
    Vote(Vote),
    Committed(Option<LogId>),
    Starts(u64),
    /// Clears the loss, because the other members admitted this one again.
    Found,
    /// Marks the store as lacking promised data.
    Condemn,
    Value(&'static str, Vec<u8>),
    Chunk {
        digest: Digest,
        bytes: Vec<u8>,
    },
    /// Replaces the last snapshot. Only these chunks are kept.
    Snapshot {
        meta: Box<SnapshotMeta>,
        image: Vec<u8>,
        keep: BTreeSet<Digest>,
    },
}

/// The content of the store at the start.
pub(super) struct StartContent {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    pub(super) last: Option<LogId>,
    pub(super) starts: u64,
    pub(super) snapshot: Option<SnapshotMeta>,
    pub(super) lost: Option<String>,
}

pub(super) struct Disk {
    /// The database; None only during the shutdown.
    database: Option<Database>,
    file: Backlog,
    path: PathBuf,
    /// Digests of the stored chunks, perhaps with additional ones. None until the first deletion,
    /// which reads the digests of all stored chunks.
    pieces: Mutex<Option<BTreeSet<Digest>>>,
}

impl Disk {
    pub(super) fn open(path: &Path) -> Result<Disk, StoreError> {
        let backend = guarded(path, || {
            let file = std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)
                .map_err(redb::Error::Io)?;
            FileBackend::new(file).map_err(redb::Error::from)
        })?;
        Disk::with(path, backend)
    }

    /// Opens the store on a backend that is not a file.
    pub(super) fn with_backend(backend: impl StorageBackend) -> Result<Disk, StoreError> {
        Disk::with(Path::new("(memory)"), backend)
    }

    fn with(path: &Path, backend: impl StorageBackend) -> Result<Disk, StoreError> {
        let file = Backlog::new(backend);
        let mut builder = Database::builder();
        builder.set_cache_size(PAGES_BYTES_MAX);
        let opened = || builder.create_with_backend(file.clone());
        let database = guarded(path, || opened().map_err(redb::Error::from))?;
        let mut disk = Disk {
            database: Some(database),
            file,
            path: path.to_owned(),
            pieces: Mutex::default(),
        };
        // Checks the whole file: redb does not check one that was closed properly, and a bit that
        // flipped since would be found in the middle of a later operation.
        let database = disk.database.as_mut();
        let whole = guarded(path, || match database {
            Some(database) => database.check_integrity().map_err(redb::Error::from),
            None => Err(redb::Error::DatabaseClosed),
        })?;
        disk.begin_layout(whole)?;
        disk.flush()?;
        Ok(disk)
    }

    /// Writes the changes that the disk refused, if there are any. Fails if the disk still refuses
    /// them.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.file.flush().map_err(|error| StoreError::Disk {
            path: self.path.clone(),
            source: Arc::new(redb::Error::Io(error)),
        })
    }

    fn database(&self) -> Result<&Database, redb::Error> {
        self.database.as_ref().ok_or(redb::Error::DatabaseClosed)
    }

    /// Creates the tables; refuses a newer layout or damage. A damaged file that redb repaired may
    /// lack promised data, so it stays refused.
    fn begin_layout(&self, whole: bool) -> Result<(), StoreError> {
        let (layout, damaged) = self.guarded(|| {
            let transaction = self.database()?.begin_write()?;
            let (layout, damaged);
            {
                let mut meta = transaction.open_table(META)?;
                transaction.open_table(LOG)?;
                transaction.open_table(CHUNKS)?;
                layout = meta.get(LAYOUT_KEY)?.map(|value| value.value().to_vec());
                if layout.is_none() {
                    meta.insert(LAYOUT_KEY, codec::encode(&LAYOUT).as_slice())?;
                }
                damaged = meta.get(DAMAGED)?.is_some();
                if !whole && !damaged {
                    meta.insert(DAMAGED, [1u8].as_slice())?;
                }
            }
            transaction.commit()?;
            Ok((layout, damaged))
        })?;
        if damaged || !whole {
            return Err(self.damaged(Damage::Checksums));
        }
        let layout = match layout {
            Some(bytes) => self.value("the layout", &bytes)?,
            None => LAYOUT,
        };
        if layout > LAYOUT {
            return Err(StoreError::Newer {
                path: self.path.clone(),
                layout,
            });
        }
        Ok(())
    }

    pub(super) fn begin(&self) -> Result<StartContent, StoreError> {
        let purged: Option<LogId> = self.meta(PURGED)?;
        let ends = self.guarded(|| {
            let transaction = self.database()?.begin_read()?;
            let log = transaction.open_table(LOG)?;
            let first = log.first()?.map(|(index, _)| index.value());
            let last = log
                .last()?
                .map(|(index, bytes)| (index.value(), bytes.value().to_vec()));
            Ok((first, last, log.len()?))
        })?;
        let last = match &ends {
            (Some(first), Some((last, bytes)), entries) => {
                // Accepts older entries: a purge that was requested and not yet executed leaves
                // them.
                if last - first + 1 != *entries {
                    return Err(self.damaged(Damage::Hole { index: *first }));
                }
                let expected = purged.map_or(0, |id| id.index + 1);
                if *first > expected {
                    return Err(self.damaged(Damage::Hole { index: expected }));
                }
                let entry: Entry = self.value("the last entry", bytes)?;
                Some(entry.log_id)
            }
            _ => purged,
        };
        Ok(StartContent {
            vote: self.meta(VOTE)?,
            committed: self.meta(COMMITTED)?,
            purged,
            last: last.max(purged),
            starts: self.meta(STARTS)?.unwrap_or(0),
            snapshot: self.meta(SNAPSHOT_META)?,
            lost: self.meta(LOST)?,
        })
    }

    /// Executes all changes in one transaction. With `durable` they are on disk on
    /// return.
    pub(super) fn write(&self, ops: &[Op], durable: bool) -> Result<(), StoreError> {
        self.guarded(|| {
            let mut transaction = self.database()?.begin_write()?;
            transaction
                .set_durability(if durable {
                    Durability::Immediate
                } else {
                    Durability::None
                })
                .map_err(|_| redb::Error::ImmediateDurabilityRequired)?;
            for op in ops {
                self.apply(&transaction, op)?;
            }
            transaction.commit()?;
            Ok(())
        })
    }

    fn apply(&self, transaction: &WriteTransaction, op: &Op) -> Result<(), redb::Error> {
        apply(transaction, op)?;
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        match (op, &mut *pieces) {
            (Op::Chunk { digest, .. }, Some(pieces)) => {
                pieces.insert(*digest);
            }
            (Op::Snapshot { keep, .. }, Some(pieces)) if pieces.is_subset(keep) => {}
            (Op::Snapshot { keep, .. }, pieces) => {
                keep_only(transaction, keep)?;
                *pieces = Some(keep.clone());
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns entries of a range, in order, up to this many bytes; at least one, if
    /// there is one.
    pub(super) fn entries(
        &self,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let raw = self.guarded(|| {
            let transaction = self.database()?.begin_read()?;
            let log = transaction.open_table(LOG)?;
            let mut raw: Vec<(u64, Vec<u8>)> = Vec::new();
            let mut bytes = 0;
            for entry in log.range(range.clone())? {
                let (index, value) = entry?;
                let value = value.value();
                if !raw.is_empty() && bytes + value.len() > bytes_max {
                    break;
                }
                bytes += value.len();
                raw.push((index.value(), value.to_vec()));
            }
            Ok(raw)
        })?;
        let mut entries = Vec::with_capacity(raw.len());
        let mut next = None;
        for (index, bytes) in raw {
            if next.is_some_and(|next| next != index) {
                return Err(self.damaged(Damage::Hole { index: index - 1 }));
            }
            next = Some(index + 1);
            entries.push(self.value("an entry of the log", &bytes)?);
        }
        Ok(entries)
    }

    pub(super) fn chunk(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let bytes = self.guarded(|| {
            let transaction = self.database()?.begin_read()?;
            let chunks = transaction.open_table(CHUNKS)?;
            Ok(chunks.get(&digest.0)?.map(|bytes| bytes.value().to_vec()))
        })?;
        match bytes {
            Some(bytes) if crate::member::digest(&bytes) != *digest => {
                Err(self.damaged(Damage::Chunk(*digest)))
            }
            found => Ok(found),
        }
    }

    pub(super) fn missing(
        &self,
        wanted: &BTreeSet<Digest>,
        max: usize,
    ) -> Result<Vec<Digest>, StoreError> {
        self.guarded(|| {
            let transaction = self.database()?.begin_read()?;
            let chunks = transaction.open_table(CHUNKS)?;
            let mut missing = Vec::new();
            for digest in wanted {
                if missing.len() >= max {
                    break;
                }
                if chunks.get(&digest.0)?.is_none() {
                    missing.push(*digest);
                }
            }
            Ok(missing)
        })
    }

    pub(super) fn snapshot(&self) -> Result<Option<(SnapshotMeta, Vec<u8>)>, StoreError> {
        let found = self.guarded(|| {
            let transaction = self.database()?.begin_read()?;
            let meta = transaction.open_table(META)?;
            let head = meta.get(SNAPSHOT_META)?.map(|bytes| bytes.value().to_vec());
            let image = meta
                .get(SNAPSHOT_IMAGE)?
                .map(|bytes| bytes.value().to_vec());
            Ok(head.zip(image))
        })?;
        match found {
            Some((head, image)) => Ok(Some((self.value("the snapshot", &head)?, image))),
            None => Ok(None),
        }
    }

    pub(super) fn damaged(&self, damage: Damage) -> StoreError {
        StoreError::Damaged {
            path: self.path.clone(),
            damage,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn meta<T: DeserializeOwned>(
        &self,
        key: &'static str,
    ) -> Result<Option<T>, StoreError> {
        let bytes = self.guarded(|| {
            let transaction = self.database()?.begin_read()?;
            let meta = transaction.open_table(META)?;
            Ok(meta.get(key)?.map(|bytes| bytes.value().to_vec()))
        })?;
        bytes.map(|bytes| self.value(key, &bytes)).transpose()
    }

    pub(super) fn value<T: DeserializeOwned>(
        &self,
        of: &'static str,
        bytes: &[u8],
    ) -> Result<T, StoreError> {
        codec::decode(bytes).map_err(|source| {
            self.damaged(Damage::Value {
                of,
                source: Arc::new(source),
            })
        })
    }

    fn guarded<T>(&self, work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, StoreError> {
        guarded(&self.path, work)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // redb writes when it closes, and may panic on a damaged file.
        let database = self.database.take();
        let _ = guarded(&self.path, || {
            drop(database);
            Ok(())
        });
    }
}

/// Runs an operation of redb. A panic of redb, which corrupt bytes may cause, is returned as
/// damage.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(classify(path, error)),
        Err(panic) => {
            let words = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("redb gave up");
            Err(StoreError::Damaged {
                path: path.to_owned(),
                damage: Damage::Panic(words.into()),
            })
        }
    }
}

fn classify(path: &Path, error: redb::Error) -> StoreError {
    let path = path.to_owned();
    match error {
        redb::Error::DatabaseAlreadyOpen => StoreError::InUse { path },
        // Counts a file that ends too early as damaged, and not as a failing disk.
        redb::Error::Io(ref inner)
            if matches!(
                inner.kind(),
                std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof
            ) =>
        {
            StoreError::Damaged {
                path,
                damage: Damage::File(Arc::new(error)),
            }
        }
        redb::Error::Io(_) | redb::Error::PreviousIo | redb::Error::DatabaseClosed => {
            StoreError::Disk {
                path,
                source: Arc::new(error),
            }
        }
        other => StoreError::Damaged {
            path,
            damage: Damage::File(Arc::new(other)),
        },
    }
}

fn apply(transaction: &WriteTransaction, op: &Op) -> Result<(), redb::Error> {
    match op {
        Op::Append { id, bytes, .. } => {
            transaction
                .open_table(LOG)?
                .insert(id.index, bytes.as_slice())?;
        }
        Op::Truncate { from, .. } => {
            transaction
                .open_table(LOG)?
                .retain_in::<u64, _>(*from.., |_, _| false)?;
        }
        Op::Purge(id) => {
            transaction
                .open_table(LOG)?
                .retain_in::<u64, _>(..=id.index, |_, _| false)?;
            put(transaction, PURGED, id)?;
        }
        Op::Vote(vote) => put(transaction, VOTE, vote)?,
        Op::Committed(committed) => match committed {
            Some(id) => put(transaction, COMMITTED, id)?,
            None => {
                transaction.open_table(META)?.remove(COMMITTED)?;
            }
        },
        Op::Starts(starts) => put(transaction, STARTS, starts)?,
        Op::Found => {
            transaction.open_table(META)?.remove(LOST)?;
        }
        Op::Condemn => put(transaction, CONDEMNED, &true)?,
        Op::Value(key, bytes) => {
            transaction
                .open_table(META)?
                .insert(*key, bytes.as_slice())?;
        }
        Op::Chunk { digest, bytes } => {
            transaction
                .open_table(CHUNKS)?
                .insert(&digest.0, bytes.as_slice())?;
        }
        Op::Snapshot { meta, image, .. } => {
            put(transaction, SNAPSHOT_META, meta)?;
            transaction
                .open_table(META)?
                .insert(SNAPSHOT_IMAGE, image.as_slice())?;
        }
    }
    Ok(())
}

fn keep_only(transaction: &WriteTransaction, keep: &BTreeSet<Digest>) -> Result<(), redb::Error> {
    let mut chunks = transaction.open_table(CHUNKS)?;
    let mut over = Vec::new();
    for entry in chunks.iter()? {
        let digest = *entry?.0.value();
        if !keep.contains(&Digest(digest)) {
            over.push(digest);
        }
    }
    for digest in over {
        chunks.remove(&digest)?;
    }
    Ok(())
}

fn put<T: Serialize>(
    transaction: &WriteTransaction,
    key: &str,
    value: &T,
) -> Result<(), redb::Error> {
    transaction
        .open_table(META)?
        .insert(key, codec::encode(value).as_slice())?;
    Ok(())
}
