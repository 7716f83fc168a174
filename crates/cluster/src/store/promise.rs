//! Reads, writes and compares the promise file: what this member has promised to the others. The
//! file is kept apart from the store, so that a store that lost something is recognised.
//!
//! A vote and an acknowledged entry are promises: the others build on them. A store that is
//! emptied, truncated, restored from a backup or of another cluster no longer has what was
//! promised. If its member votes, the cluster can diverge: an acknowledged change is lost, or two
//! leaders are elected. So a second file holds
//!
//! - the cluster and the member, and a nonce that the store holds too: the two files belong
//!   together;
//! - a lower bound of what the store has: its vote and the last entry (term and index);
//! - how often the engine was started, so that tickets of proposals are never reused;
//! - the accepted version.
//!
//! The order is: the store's fsync, then the promise, then the response that makes it a promise. So
//! a healthy store is never behind its promise file, whatever crash comes in between. Before the
//! log is truncated, or a prepared vote is replaced by an older one, the promise is lowered and
//! synced.
//!
//! A new vote or start syncs the promise file. Entries do not: that would be a second fsync for
//! each write. They overwrite one of two slots in place, which a killed process does not undo; the
//! file is synced with every [`SYNC_EVERY`]th write and when the store is idle. One loss therefore
//! goes undetected: after a power cut that undid unsynced promises, the store may lack at most that
//! many acknowledged writes.
//!
//! This module does not decide what follows from a loss: see [`super::tied`] and `raft/rejoin.rs`.

use crate::command::VersionId;
use crate::durable;
use crate::log::{LogId, Vote};
use crate::member::MemberId;
use crate::member::digest;
use crate::store::backlog::Backlog;
use crate::store::disk::Op;
use part::codec;
use redb::StorageBackend;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Size of a slot in bytes: a page, so that a torn write of one slot leaves the other intact.
const SLOT_BYTES: usize = 4096;
const FILE_BYTES: u64 = 2 * SLOT_BYTES as u64;
const MAGIC: &[u8; 8] = b"evkprom1";
const HEAD_BYTES: usize = 8 + 4 + 32;
pub(super) const SYNC_EVERY: u32 = 64;

/// Ties a store and its promise file to each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nonce(pub [u8; 16]);

/// The owner of a store.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct StoreOwner {
    pub cluster: String,
    pub member: MemberId,
}

/// Promises of this member to the other members.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Promise {
    pub owner: StoreOwner,
    /// Nonce of the store to which the file belongs.
    pub nonce: Nonce,
    /// True if the store does not have the nonce yet, because an upgrade was interrupted.
    #[serde(default)]
    pub tying: bool,
    /// The store has this vote, or a later one. None: no vote was promised.
    #[serde(default)]
    pub vote: Option<Vote>,
    /// The log of the store reaches at least this entry. None: no entry was promised.
    #[serde(default)]
    pub last: Option<LogId>,
    /// Number of the last start of the engine: no start had a higher one.
    #[serde(default)]
    pub starts: u64,
    #[serde(default)]
    pub accepted: Option<VersionId>,
    /// Sequence number of this write: the slot with the larger one is newer.
    #[serde(default)]
    pub(super) sequence: u64,
}

impl Promise {
    /// Raises the promise to what these durable changes left in the store. Returns whether the
    /// promise changed, and whether the file must be synced before the changes are acknowledged.
    fn raise(&mut self, ops: &[Op]) -> (bool, bool) {
        let before = self.clone();
        let mut sync = false;
        for op in ops {
            match op {
                Op::Append { id, .. } => self.last = Some(*id),
                Op::Truncate { last, .. } => self.last = self.last.min(*last),
                Op::Purge(to) => self.last = last_after_purge(self.last, *to),
                Op::Snapshot { meta, .. } => self.last = self.last.max(meta.last_log_id),
                Op::Vote(vote) => {
                    self.vote = Some(*vote);
                    sync = true;
                }
                Op::Starts(starts) => {
                    self.starts = self.starts.max(*starts);
                    sync = true;
                }
                _ => {}
            }
        }
        (*self != before, sync)
    }

    /// Returns a promise that the store keeps both before and after these changes.
    fn lowered(&self, ops: &[Op]) -> Promise {
        let mut lowered = self.clone();
        for op in ops {
            match op {
                Op::Truncate { last, .. } => lowered.last = lowered.last.min(*last),
                Op::Purge(to) => lowered.last = lowered.last.min(last_after_purge(self.last, *to)),
                Op::Vote(vote) if self.vote.is_some_and(|promised| !is_kept(promised, *vote)) => {
                    lowered.vote = vote_before(*vote);
                }
                _ => {}
            }
        }
        lowered
    }
}

/// Returns the last entry of the log after a purge: the purged position if it is not before the
/// last entry. The snapshot may have replaced uncommitted entries of a later term.
pub(super) fn last_after_purge(last: Option<LogId>, to: LogId) -> Option<LogId> {
    last.filter(|last| last.index > to.index).or(Some(to))
}

/// Returns whether a store with this vote keeps the promised one.
pub(super) fn is_kept(promised: Vote, vote: Vote) -> bool {
    vote >= promised
}

/// Returns a vote of the term before that of `vote`, which is older than every vote of that term. A
/// promise lowered to it also holds after `vote` has replaced a prepared vote that was never
/// granted.
fn vote_before(vote: Vote) -> Option<Vote> {
    let term = vote.leader_id.term.checked_sub(1)?;
    Some(Vote::new(term, MemberId(0)))
}

#[derive(Debug)]
pub(super) struct Keeper {
    file: Backlog,
    promise: Promise,
    /// Writes since the last sync.
    unsynced: u32,
}

impl Keeper {
    /// Writes this promise as the first content of a file. On a disk the file must already exist.
    pub(super) fn make(file: Backlog, promise: Promise) -> io::Result<Keeper> {
        let mut keeper = Keeper {
            file,
            promise,
            unsynced: 0,
        };
        keeper.file.set_len(FILE_BYTES)?;
        keeper.put(true)?;
        keeper.flush()?;
        Ok(keeper)
    }

    /// Reads the file; None if it contains no promise: it is empty, torn or of another
    /// kind.
    pub(super) fn read(file: Backlog) -> io::Result<Option<Keeper>> {
        let bytes = usize::try_from(file.len()?.min(FILE_BYTES)).unwrap_or(0);
        let mut image = vec![0; bytes];
        file.read(0, &mut image)?;
        let slots = image.chunks(SLOT_BYTES).filter_map(decode);
        let newest = slots.max_by_key(|promise| promise.sequence);
        Ok(newest.map(|promise| Keeper {
            file,
            promise,
            unsynced: 0,
        }))
    }

    pub(super) fn promise(&self) -> &Promise {
        &self.promise
    }

    /// Lowers the promise before the store truncates its log or replaces a prepared vote.
    pub(super) fn before(&mut self, ops: &[Op]) -> io::Result<()> {
        let lowered = self.promise.lowered(ops);
        if lowered == self.promise {
            return Ok(());
        }
        self.promise = lowered;
        self.put(true)
    }

    pub(super) fn after(&mut self, ops: &[Op]) -> io::Result<()> {
        let (changed, sync) = self.promise.raise(ops);
        if changed { self.put(sync) } else { Ok(()) }
    }

    /// Changes the promise as the caller wants, and syncs the file.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Promise)) -> io::Result<()> {
        let before = self.promise.clone();
        change(&mut self.promise);
        if self.promise != before {
            self.put(true)?;
        }
        self.flush()
    }

    /// Writes the changes to the file that the disk refused, if any. Fails if the disk still
    /// refuses them.
    pub(super) fn flush(&self) -> io::Result<()> {
        self.file.flush()
    }

    /// Syncs outstanding writes while nothing is being written.
    pub(super) fn idle(&mut self) -> io::Result<()> {
        if self.unsynced > 0 {
            self.file.sync_data()?;
            self.unsynced = 0;
        }
        Ok(())
    }

    fn put(&mut self, sync: bool) -> io::Result<()> {
        self.promise.sequence += 1;
        let slot = self.promise.sequence % 2;
        self.file
            .write(slot * SLOT_BYTES as u64, &encode(&self.promise))?;
        self.unsynced += 1;
        if sync || self.unsynced >= SYNC_EVERY {
            self.idle()
        } else {
            Ok(())
        }
    }
}

fn encode(promise: &Promise) -> Vec<u8> {
    let body = codec::encode(promise);
    let mut slot = Vec::with_capacity(HEAD_BYTES + body.len());
    slot.extend_from_slice(MAGIC);
    slot.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
    slot.extend_from_slice(&digest(&body).0);
    slot.extend_from_slice(&body);
    slot
}

fn decode(slot: &[u8]) -> Option<Promise> {
    let (magic, rest) = slot.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<32>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let body = rest.get(..length)?;
    let whole = magic == MAGIC && digest(body).0 == *sum;
    whole.then(|| codec::decode(body).ok()).flatten()
}

#[derive(Debug)]
struct OnDisk(File);

impl StorageBackend for OnDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}

/// Opens the promise file; None where there is none.
pub(super) fn open(path: &Path) -> io::Result<Option<Backlog>> {
    let options = OpenOptions::new().read(true).write(true).open(path);
    match options {
        Ok(file) => Ok(Some(Backlog::new(OnDisk(file)))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Creates a promise file in place of the previous one. All its blocks are written, so
/// that later promises fit even if the disk is full.
pub(super) fn make(path: &Path) -> io::Result<Backlog> {
    durable::write(path, &[0; FILE_BYTES as usize])?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
        .open(path)?;
    Ok(Backlog::new(OnDisk(file)))
}
