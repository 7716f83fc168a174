//! Stores the data of consensus in one redb file: votes, the log, snapshots of the state, and
//! chunks of contents.
//!
//! A vote and entries are on disk before they are acknowledged; a batch of them costs one fsync.
//! Deletions are written with the next batch. The commit index is written with one of the next
//! batches, or when no writes come. Losing power at any write, or the process at any instruction,
//! keeps everything that was reported durable. The store never panics on the contents of a disk:
//! damage is an error that names the next step. A disk that refuses a write for a while delays it
//! ([`backlog`]).

mod backlog;
mod busy;
mod cache;
mod disk;
mod error;
#[cfg(test)]
pub(crate) mod held;
mod patience;
mod promise;
mod queue;
mod recover;
#[cfg(test)]
mod tests;
mod tied;
mod writer;

pub use disk::PAGES_BYTES_MAX;
pub use error::{Damage, LAYOUT, Loss, StoreError};
pub use promise::StoreOwner;
pub use recover::Recovered;
pub use tied::{OpenedStore, PromiseLocation};
pub use writer::Done;

use crate::log::{Entry, LogId, SnapshotMeta, Vote};
use crate::member::Digest;
use cache::Cache;
use disk::{Disk, Op};
use part::codec;
use part::lock;
use promise::Keeper;
use redb::StorageBackend;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};
use std::task::Waker;
use std::time::Duration;
use writer::{Executor, WriteJob};

pub const MISSING_MAX: usize = 4096;

#[derive(Default)]
struct Metadata {
    vote: Option<Vote>,
    /// Vote that is on disk and not granted yet. None if a later vote is queued.
    prepared: Option<Vote>,
    /// Vote that was queued last, and the number of votes queued so far. A repeated vote keeps its
    /// number.
    queued: (Option<Vote>, u64),
    committed: Option<LogId>,
    purged: Option<LogId>,
    last: Option<LogId>,
    snapshot: Option<SnapshotMeta>,
    cache: Cache,
    /// Bytes of entries since the last snapshot.
    grown: u64,
    /// Chunks that arrived after the last snapshot, with the index of their entry. The snapshot
    /// does not name them, and the next one must not delete them.
    fresh: BTreeMap<Digest, u64>,
    /// Chunks of snapshots that are being received or installed.
    pins: Vec<Weak<BTreeSet<Digest>>>,
    starts: u64,
    lost: Option<String>,
    /// Number of requested writes of entries.
    writes: u64,
    waiting: Vec<Waker>,
}

impl Metadata {
    /// Queues a vote. Returns its number; a vote that equals the previous one has the same number.
    fn queue_vote(&mut self, vote: Vote) -> u64 {
        if self.queued.0 != Some(vote) {
            self.queued = (Some(vote), self.queued.1 + 1);
            // Forgets the prepared vote: the queued one replaces it on the disk.
            self.prepared = None;
        }
        self.queued.1
    }

    /// Completes changes just before they are written: drops outdated snapshots, and adds the
    /// chunks that the others must keep.
    fn complete(&mut self, ops: &mut Vec<Op>) {
        // Omits a snapshot that is older than the stored one or than an earlier one of the batch.
        let mut newest = self.snapshot.as_ref().and_then(|meta| meta.last_log_id);
        ops.retain(|op| match op {
            Op::Snapshot { meta, .. } if meta.last_log_id < newest => false,
            Op::Snapshot { meta, .. } => {
                newest = meta.last_log_id;
                true
            }
            _ => true,
        });
        self.pins.retain(|pin| pin.strong_count() > 0);
        for op in ops.iter_mut() {
            if let Op::Snapshot { meta, keep, .. } = op {
                let index = meta.last_log_id.map_or(0, |id| id.index);
                keep.extend(
                    self.fresh
                        .iter()
                        .filter(|(_, at)| **at > index)
                        .map(|(digest, _)| *digest),
                );
                for pin in self.pins.iter().filter_map(Weak::upgrade) {
                    keep.extend(pin.iter().copied());
                }
            }
        }
    }

    fn written(&mut self, ops: &[Op]) {
        for op in ops {
            match op {
                Op::Append { write, .. } => self.cache.flushed(*write),
                Op::Snapshot { meta, .. } => {
                    let index = meta.last_log_id.map_or(0, |id| id.index);
                    self.fresh.retain(|_, at| *at > index);
                    self.snapshot = Some((**meta).clone());
                    self.grown = 0;
                }
                _ => {}
            }
        }
    }
}

/// The file with the votes, the log, the snapshots and the chunks of a member. Clones share it.
///
/// A function that takes `done` may return before the operation is on disk; `done` reports the
/// result. Writes take effect in the order of the calls.
#[derive(Clone)]
pub struct Store {
    disk: Arc<Disk>,
    book: Arc<Mutex<Metadata>>,
    executor: Arc<Executor>,
    /// The promises to the other members; None only in tests of the store alone.
    promises: Option<Arc<Mutex<Keeper>>>,
}

impl Store {
    /// Opens or creates the file. One thread writes, and another one reads what is not in memory.
    ///
    /// # Errors
    /// Fails if another process has the store open, if it is damaged, if a newer release of
    /// evenkeel wrote it, if the disk fails, or if the threads cannot be started.
    pub fn open(path: &Path) -> Result<Store, StoreError> {
        Store::threaded(Disk::open(path)?, path)
    }

    fn threaded(disk: Disk, path: &Path) -> Result<Store, StoreError> {
        let disk = Arc::new(disk);
        let book = Arc::new(Mutex::new(Store::book(&disk)?));
        let executor = Executor::threads(&disk, &book).map_err(|error| StoreError::Disk {
            path: path.to_owned(),
            source: Arc::new(redb::Error::Io(error)),
        })?;
        Ok(Store {
            disk,
            book,
            executor: Arc::new(executor),
            promises: None,
        })
    }

    /// As [`Store::open`], on a backend that is not a file.
    #[cfg(test)]
    pub(crate) fn with_slow_backend(backend: impl StorageBackend) -> Result<Store, StoreError> {
        Store::threaded(Disk::with_backend(backend)?, Path::new("(memory)"))
    }

    /// Opens a store on a backend that is not a file, for simulations. Each write is done before
    /// the call for it returns.
    ///
    /// # Errors
    /// Fails if the store is damaged, if a newer release of evenkeel wrote it, or if the backend
    /// fails.
    pub fn with_backend(backend: impl StorageBackend) -> Result<Store, StoreError> {
        let disk = Arc::new(Disk::with_backend(backend)?);
        let book = Arc::new(Mutex::new(Store::book(&disk)?));
        let executor = Executor::inline(&disk, &book);
        Ok(Store {
            disk,
            book,
            executor: Arc::new(executor),
            promises: None,
        })
    }

    /// Executes the writes that were requested since the last call. From the first call on, writes
    /// to a store of [`Store::with_backend`] are delayed until the next call.
    #[cfg(test)]
    pub(crate) fn write_delayed(&self) {
        self.executor.write_delayed();
    }

    fn book(disk: &Disk) -> Result<Metadata, StoreError> {
        let begin = disk.begin()?;
        Ok(Metadata {
            vote: begin.vote,
            committed: begin.committed,
            purged: begin.purged,
            last: begin.last,
            snapshot: begin.snapshot,
            starts: begin.starts,
            lost: begin.lost,
            ..Metadata::default()
        })
    }

    /// Counts a start of an engine on this store, so that its tickets differ from those
    /// of earlier starts. Returns the number of the start, which is valid once `done`
    /// reports it on disk.
    pub fn start(&self, done: Done) -> u64 {
        let starts = {
            let mut book = lock(&self.book);
            book.starts += 1;
            book.starts
        };
        self.write(vec![Op::Starts(starts)], true, 0, done);
        starts
    }

    pub fn vote(&self) -> Option<Vote> {
        lock(&self.book).vote
    }

    pub fn ends(&self) -> (Option<LogId>, Option<LogId>) {
        let book = lock(&self.book);
        (book.purged, book.last)
    }

    /// Returns whether the log has entries after `end`. If not, `waker` is woken when entries are
    /// appended.
    pub fn has_behind(&self, end: Option<LogId>, waker: &Waker) -> bool {
        let mut book = lock(&self.book);
        if book.last > end {
            return true;
        }
        if !book.waiting.iter().any(|waits| waits.will_wake(waker)) {
            book.waiting.push(waker.clone());
        }
        false
    }

    pub fn committed(&self) -> Option<LogId> {
        lock(&self.book).committed
    }

    /// Returns how long the current disk operation has been running or refused; a stuck operation
    /// does not return.
    pub fn busy_for(&self) -> Duration {
        self.executor.busy_for()
    }

    /// Selects what happens to a write that the disk refuses: it waits until the disk accepts it,
    /// or fails at once (the default).
    pub fn set_waits_for_disk(&self, waits: bool) {
        self.executor.be_patient(waits);
    }

    pub fn refused(&self) -> Option<StoreError> {
        self.executor.refused()
    }

    /// Retries refused writes in a store without threads. With threads, the writer thread retries
    /// by itself.
    pub fn try_again(&self) {
        self.executor.try_again();
    }

    /// Returns the bytes of entries since the last snapshot, or since the start.
    pub fn grown(&self) -> u64 {
        lock(&self.book).grown
    }

    pub fn cached(&self) -> usize {
        lock(&self.book).cache.bytes()
    }

    /// Records the commit index. A later batch writes it, never before the entries that it covers;
    /// not every batch that has only entries includes it.
    pub fn save_committed(&self, committed: Option<LogId>) {
        lock(&self.book).committed = committed;
        self.executor.write(WriteJob {
            ops: vec![Op::Committed(committed)],
            durable: false,
            lazy: true,
            bytes: 0,
            done: Box::new(|_| ()),
        });
    }

    pub fn save_vote(&self, vote: Vote, done: Done) {
        let mut book = lock(&self.book);
        book.vote = Some(vote);
        let is_prepared = book.prepared == Some(vote);
        if !is_prepared {
            book.queue_vote(vote);
            drop(book);
            self.write(vec![Op::Vote(vote)], true, 0, done);
            return;
        }
        // Waits for the earlier entries: openraft takes a saved vote as proof that they are on
        // disk, too.
        let has_all_entries = book.cache.last_flushed() == book.writes;
        drop(book);
        if has_all_entries {
            done(Ok(()));
        } else {
            self.sync(done);
        }
    }

    /// Returns whether this vote is the current or the prepared one, so that saving it takes no
    /// time.
    pub fn has_written(&self, vote: Vote) -> bool {
        let book = lock(&self.book);
        book.vote == Some(vote) || book.prepared == Some(vote)
    }

    /// Writes a vote that may be granted soon, so that [`Store::save_vote`] of it takes no time.
    /// After a restart the vote counts as granted. Writes nothing if the vote is prepared already,
    /// or unless its term is newer than those of the granted vote and of every other queued vote.
    pub fn prepare_vote(&self, vote: Vote, done: Done) {
        let book = self.book.clone();
        let mut known = lock(&book);
        let term = |vote: Vote| vote.leader_id.term;
        let other = known.queued.0.filter(|queued| *queued != vote);
        if known.prepared == Some(vote)
            || known.vote.map(term).max(other.map(term)) >= Some(term(vote))
        {
            drop(known);
            return done(Ok(()));
        }
        let number = known.queue_vote(vote);
        drop(known);
        let written = move |result: Result<(), StoreError>| {
            let mut known = lock(&book);
            // Counts the vote as prepared unless another one was queued meanwhile, which replaces
            // it on the disk.
            if result.is_ok() && known.queued.1 == number {
                known.prepared = Some(vote);
            }
            drop(known);
            done(result);
        };
        self.write(vec![Op::Vote(vote)], true, 0, Box::new(written));
    }

    /// Appends entries, which must follow the last one. They can be read at once; `done` is called
    /// when they are on disk. Returns the size of all of them in bytes.
    pub fn append(&self, entries: impl IntoIterator<Item = Entry>, done: Done) -> usize {
        let mut ops = Vec::new();
        let mut all = 0;
        let mut book = lock(&self.book);
        book.writes += 1;
        let write = book.writes;
        for entry in entries {
            let bytes = codec::encode(&entry);
            all += bytes.len();
            book.last = Some(entry.log_id);
            book.grown += bytes.len() as u64;
            let id = entry.log_id;
            book.cache.push(entry, bytes.len(), write);
            ops.push(Op::Append { id, bytes, write });
        }
        let waiting = std::mem::take(&mut book.waiting);
        drop(book);
        self.write(ops, true, all, done);
        waiting.into_iter().for_each(Waker::wake);
        all
    }

    pub fn truncate_after(&self, last: Option<LogId>, done: Done) {
        let from = last.map_or(0, |id| id.index + 1);
        let mut book = lock(&self.book);
        book.cache.truncate(from);
        book.last = last.max(book.purged);
        let last = book.last;
        drop(book);
        self.write(vec![Op::Truncate { from, last }], false, 0, done);
    }

    /// Removes the entries up to and including `to`, which a snapshot covers.
    pub fn purge(&self, to: LogId, done: Done) {
        let mut book = lock(&self.book);
        book.cache.purge(to.index + 1);
        book.purged = book.purged.max(Some(to));
        book.last = promise::last_after_purge(book.last, to);
        drop(book);
        self.write(vec![Op::Purge(to)], false, 0, done);
    }

    /// Removes the entries that the stored snapshot replaces. A crash between the write of a
    /// received snapshot and its purge leaves a log that ends before the snapshot, or with another
    /// entry at its index.
    pub fn purge_replaced(&self, done: Done) {
        let (last, snapshot) = {
            let book = lock(&self.book);
            let snapshot = book.snapshot.as_ref().and_then(|meta| meta.last_log_id);
            (book.last, snapshot)
        };
        match snapshot {
            Some(to) if promise::last_after_purge(last, to) != last => self.purge(to, done),
            _ => done(Ok(())),
        }
    }

    /// Returns entries of a range, up to this many bytes; at least one, if the range has one. A
    /// separate thread reads entries that are not in memory.
    pub fn entries(
        &self,
        range: Range<u64>,
        bytes_max: usize,
        done: impl FnOnce(Result<Vec<Entry>, StoreError>) + Send + 'static,
    ) {
        let book = lock(&self.book);
        let begin = book.purged.map_or(0, |id| id.index + 1);
        let end = book.last.map_or(0, |id| id.index + 1);
        let range = range.start.max(begin)..range.end.min(end);
        if range.is_empty() {
            drop(book);
            return done(Ok(Vec::new()));
        }
        if book.cache.first().is_some_and(|first| first <= range.start) {
            let entries = book.cache.range(range, bytes_max);
            drop(book);
            return done(Ok(entries));
        }
        // Entries that are only in memory begin at the cache's first index.
        let split = book
            .cache
            .first()
            .map_or(range.end, |first| first.min(range.end));
        drop(book);
        let book = self.book.clone();
        self.read(move |disk| {
            let result = disk.entries(range.start..split, bytes_max);
            done(result.map(|mut entries| {
                let bytes: usize = entries.iter().map(size_about).sum();
                if entries.len() as u64 == split - range.start
                    && split < range.end
                    && bytes < bytes_max
                {
                    let book = lock(&book);
                    if book.cache.first() == Some(split) {
                        entries.extend(book.cache.range(split..range.end, bytes_max - bytes));
                    }
                }
                entries
            }));
        });
    }

    /// Stores a chunk of a content, which arrived with the entry of this index.
    pub fn put_chunk(&self, digest: Digest, bytes: Vec<u8>, index: u64, done: Done) {
        let mut book = lock(&self.book);
        let at = book.fresh.entry(digest).or_insert(index);
        *at = (*at).max(index);
        drop(book);
        self.write_chunk(digest, bytes, done);
    }

    /// Stores a chunk. If no snapshot names it yet, the caller must have pinned it.
    pub fn write_chunk(&self, digest: Digest, bytes: Vec<u8>, done: Done) {
        let size = bytes.len();
        self.write(vec![Op::Chunk { digest, bytes }], false, size, done);
    }

    /// Keeps these chunks as long as the returned value exists, for a snapshot that names them and
    /// is not installed yet. A snapshot whose write began before may still delete them.
    pub fn pin_chunks(&self, digests: BTreeSet<Digest>) -> Arc<BTreeSet<Digest>> {
        let pin = Arc::new(digests);
        lock(&self.book).pins.push(Arc::downgrade(&pin));
        pin
    }

    pub fn chunk(
        &self,
        digest: Digest,
        done: impl FnOnce(Result<Option<Vec<u8>>, StoreError>) + Send + 'static,
    ) {
        self.read(move |disk| done(disk.chunk(&digest)));
    }

    pub fn missing(
        &self,
        wanted: BTreeSet<Digest>,
        done: impl FnOnce(Result<Vec<Digest>, StoreError>) + Send + 'static,
    ) {
        self.read(move |disk| done(disk.missing(&wanted, MISSING_MAX)));
    }

    pub fn snapshot_meta(&self) -> Option<SnapshotMeta> {
        lock(&self.book).snapshot.clone()
    }

    pub fn snapshot(
        &self,
        done: impl FnOnce(Result<Option<(SnapshotMeta, Vec<u8>)>, StoreError>) + Send + 'static,
    ) {
        self.read(move |disk| done(disk.snapshot()));
    }

    /// Replaces the last snapshot. Chunks that it does not name are deleted, unless they arrived
    /// after it or are pinned.
    pub fn save_snapshot(
        &self,
        meta: SnapshotMeta,
        image: Vec<u8>,
        keep: BTreeSet<Digest>,
        done: Done,
    ) {
        let bytes = image.len();
        let op = Op::Snapshot {
            meta: Box::new(meta),
            image,
            keep,
        };
        self.write(vec![op], true, bytes, done);
    }

    pub(crate) fn hole(&self, index: u64) -> StoreError {
        self.disk.damaged(Damage::Hole { index })
    }

    /// Waits for all earlier operations: `done` is called when they are on disk.
    pub fn sync(&self, done: Done) {
        self.write(Vec::new(), true, 0, done);
    }

    fn write(&self, ops: Vec<Op>, durable: bool, bytes: usize, done: Done) {
        self.executor.write(WriteJob {
            ops,
            durable,
            lazy: false,
            bytes,
            done,
        });
    }

    fn read(&self, look: impl FnOnce(&Disk) + Send + 'static) {
        self.executor.read(&self.disk, Box::new(look));
    }
}

fn size_about(entry: &Entry) -> usize {
    const HEAD: usize = 64;
    match &entry.payload {
        openraft::EntryPayload::Normal(proposed) => match &proposed.command.body {
            crate::command::CommandBody::Chunk { bytes, .. } => bytes.len() + HEAD,
            _ => 4 * HEAD,
        },
        _ => HEAD,
    }
}
