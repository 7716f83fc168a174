//! Stores the entries of a stick table in chunks that never move and are freed only with the
//! table. So the user of an entry can change its data atomically, without a lock or another
//! lookup. The lock of a shard protects only its index and its list by age.
//!
//! An entry is a row of 32-bit words: a head of [`HEAD`], the key, the data.

use super::data::Layout;
use super::entry::HeldEntry;
use super::key::KeyType;
use super::words::StringTable;
use std::collections::hash_map::RandomState;
use std::collections::{BTreeSet, VecDeque};
use std::hash::BuildHasher;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

// Indices of the words of an entry's head.
/// Next entry of the bucket or of the free list.
const NEXT: usize = 0;
/// Entry in the list by age that was used before this one.
const OLDER: usize = 1;
/// Entry in the list by age that was used after this one.
const NEWER: usize = 2;
/// Expiry time: the lower 32 bits of a time in milliseconds.
const EXPIRES: usize = 3;
/// Expiry time that the entry had when it was last moved in the list by age.
const QUEUED: usize = 4;
const HOLDERS: usize = 5;
/// Length of the key, and flags of the updates for peers.
const STATE: usize = 6;
/// Number of words before the key.
pub(super) const HEAD: usize = 7;

/// Bit of [`STATE`]: the entry is in the list of updates for peers.
const IS_NEWS: u32 = 1 << 31;
/// Bit of [`STATE`]: the entry is in the index.
const IS_USED: u32 = 1 << 30;
/// Bit of [`STATE`]: the entry was sent to a peer at least once.
const IS_TOLD: u32 = 1 << 29;
/// Bits of [`STATE`] with the length of the key.
const LENGTH: u32 = (1 << 20) - 1;

/// Stands for "no entry" where an entry's number is expected.
const NONE: u32 = u32::MAX;
/// Maximum size of a table with a single shard. Such a table evicts exactly its oldest entry.
const ONE_SHARD_MAX: u32 = 4096;
/// Number of shards of a larger table, which evicts the oldest entry of one shard.
const SHARDS: usize = 64;
/// Number of entries of a chunk, in tables of a usual size.
const CHUNK: u32 = 256;
/// Maximum number of chunks of a shard: larger tables have larger chunks.
const CHUNKS_MAX: u32 = 4096;
/// Maximum number of entries that an eviction examines.
const EVICTION_TRIES: usize = 64;
/// Maximum number of expired entries that a lookup removes.
const LAZY_SWEEP: usize = 2;
/// Maximum number of entries that a sweep examines under one lock.
const SWEEP_MAX: usize = 256;
/// Initial number of buckets of an index.
const BUCKETS_MIN: usize = 16;
/// Maximum number of recorded keys of a table.
const NOTED_MAX: usize = 64;
pub const SIZE_MAX: u32 = 1 << 30;

/// Structure of a table. After a configuration change, two tables with equal structures share their
/// entries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Make {
    pub key: KeyType,
    /// Length of a key, bytes (`len`); for strings, the maximum.
    pub length: u32,
    /// Maximum number of entries (`size`).
    pub size: u32,
    pub layout: Layout,
}

/// Settings of a table that may change while its entries stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// `expire`, milliseconds; 0 means never.
    pub expire_ms: u32,
    pub no_purge: bool,
    /// Updates are collected for peers.
    pub has_peers: bool,
}

/// A shard: its index, and the chunks of its entries.
struct Shard {
    index: Mutex<Index>,
    chunks: Box<[OnceLock<Box<[AtomicU32]>>]>,
}

#[derive(Debug)]
struct Index {
    buckets: Vec<u32>,
    /// First entry of the free list.
    free: u32,
    /// First slot that was never used.
    fresh: u32,
    used: u32,
    oldest: u32,
    newest: u32,
    /// Entries with updates for peers, each listed once.
    updated: VecDeque<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removal {
    Removed,
    /// The entry is in use, and was not removed.
    InUse,
    Absent,
}

/// The entries of one `stick-table`.
pub struct Table {
    pub name: Box<str>,
    pub make: Make,
    expire_ms: AtomicU32,
    no_purge: AtomicBool,
    has_peers: AtomicBool,
    row_words: u32,
    shards: Box<[Shard]>,
    shard_size: u32,
    chunk: u32,
    used: AtomicU32,
    hasher: RandomState,
    /// Dictionary with the texts of `server_key`.
    pub words: StringTable,
    /// Number of keys that were refused because the table was full.
    pub refused: AtomicU64,
    /// Keys that were looked up; only recorded if requested.
    noted: OnceLock<Mutex<BTreeSet<Box<[u8]>>>>,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Table({})", self.name)
    }
}

/// Returns the current time for entries: the lower 32 bits of milliseconds. A thread that serves
/// clients uses the time cached by its event loop, because a request needs it many times.
pub fn entry_time_now() -> u32 {
    (reactor::now().as_nanos() / 1_000_000) as u32
}

/// Returns whether a time has passed, if it is at most 24 days away.
fn is_over(at: u32, now: u32) -> bool {
    now.wrapping_sub(at) as i32 >= 0
}

fn lock<T>(index: &Mutex<T>) -> MutexGuard<'_, T> {
    index.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Position {
    pub shard: u32,
    pub slot: u32,
}

/// The words of an entry.
#[derive(Clone, Copy)]
pub(super) struct Row<'t>(&'t [AtomicU32]);

impl<'t> Row<'t> {
    fn get(self, word: usize) -> u32 {
        self.0.get(word).map_or(NONE, |word| word.load(Relaxed))
    }

    fn set(self, word: usize, value: u32) {
        if let Some(word) = self.0.get(word) {
            word.store(value, Relaxed);
        }
    }

    pub fn words(self, from: usize, count: usize) -> &'t [AtomicU32] {
        self.0.get(from..from + count).unwrap_or(&[])
    }

    pub fn key_length(self) -> usize {
        (self.get(STATE) & LENGTH) as usize
    }

    fn hold(self) {
        if let Some(holders) = self.0.get(HOLDERS) {
            holders.fetch_add(1, Acquire);
        }
    }

    pub fn release(self) {
        if let Some(holders) = self.0.get(HOLDERS) {
            holders.fetch_sub(1, Release);
        }
    }

    pub fn holders(self) -> u32 {
        self.0
            .get(HOLDERS)
            .map_or(0, |holders| holders.load(Acquire))
    }

    pub fn set_expires(self, at: u32) {
        self.set(EXPIRES, at);
    }

    pub fn expires(self) -> u32 {
        self.get(EXPIRES)
    }

    pub fn set_told(self) {
        if let Some(state) = self.0.get(STATE) {
            state.fetch_or(IS_TOLD, Relaxed);
        }
    }

    pub fn was_told(self) -> bool {
        self.get(STATE) & IS_TOLD != 0
    }

    fn key_is(self, key: &[u8]) -> bool {
        if self.key_length() != key.len() {
            return false;
        }
        let words = self.words(HEAD, key.len().div_ceil(4));
        words
            .iter()
            .zip(key.chunks(4))
            .all(|(word, bytes)| word.load(Relaxed) == pack(bytes))
    }

    fn set_key(self, key: &[u8]) {
        for (word, bytes) in self
            .words(HEAD, key.len().div_ceil(4))
            .iter()
            .zip(key.chunks(4))
        {
            word.store(pack(bytes), Relaxed);
        }
    }

    pub fn key(self, out: &mut Vec<u8>) {
        let end = out.len() + self.key_length();
        for word in self.words(HEAD, self.key_length().div_ceil(4)) {
            out.extend_from_slice(&word.load(Relaxed).to_le_bytes());
        }
        out.truncate(end);
    }
}

fn pack(bytes: &[u8]) -> u32 {
    let mut four = [0; 4];
    for (to, from) in four.iter_mut().zip(bytes) {
        *to = *from;
    }
    u32::from_le_bytes(four)
}

impl Table {
    pub fn new(name: &str, make: Make, settings: Settings) -> Table {
        let key_words = make.key.bytes(make.length).div_ceil(4);
        let row_words = HEAD as u32 + key_words + make.layout.words();
        let size = make.size.clamp(1, SIZE_MAX);
        let count = if size <= ONE_SHARD_MAX { 1 } else { SHARDS };
        // Gives each shard space for a quarter more than its share, because keys are not
        // distributed evenly.
        let shard_size = match count {
            1 => size,
            _ => size.div_ceil(SHARDS as u32) / 4 * 5 + 64,
        };
        let chunk = CHUNK.min(shard_size).max(shard_size / CHUNKS_MAX);
        let shard = || Shard {
            index: Mutex::new(Index {
                buckets: Vec::new(),
                free: NONE,
                fresh: 0,
                used: 0,
                oldest: NONE,
                newest: NONE,
                updated: VecDeque::new(),
            }),
            chunks: (0..shard_size.div_ceil(chunk))
                .map(|_| OnceLock::new())
                .collect(),
        };
        let table = Table {
            name: name.into(),
            make,
            expire_ms: AtomicU32::new(0),
            no_purge: AtomicBool::new(false),
            has_peers: AtomicBool::new(false),
            row_words,
            shards: (0..count).map(|_| shard()).collect(),
            shard_size,
            chunk,
            used: AtomicU32::new(0),
            hasher: RandomState::new(),
            words: StringTable::default(),
            refused: AtomicU64::new(0),
            noted: OnceLock::new(),
        };
        table.configure(settings);
        table
    }

    pub fn configure(&self, settings: Settings) {
        self.expire_ms.store(settings.expire_ms, Relaxed);
        self.no_purge.store(settings.no_purge, Relaxed);
        self.has_peers.store(settings.has_peers, Relaxed);
    }

    /// Returns `expire`, milliseconds; 0 means never.
    pub fn expire_ms(&self) -> u32 {
        self.expire_ms.load(Relaxed)
    }

    /// Returns the number of entries, including expired ones that were not removed yet.
    pub fn used(&self) -> u32 {
        self.used.load(Relaxed)
    }

    pub fn available(&self) -> u32 {
        self.make.size.saturating_sub(self.used())
    }

    /// Returns the memory of the entries and their index, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        let of_shard = |shard: &Shard| {
            let chunks = shard.chunks.iter().filter(|chunk| chunk.get().is_some());
            chunks.count() as u64 * u64::from(self.chunk) * u64::from(self.row_words) * 4
                + lock(&shard.index).buckets.capacity() as u64 * 4
        };
        self.shards.iter().map(of_shard).sum()
    }

    fn hash(&self, key: &[u8]) -> (usize, usize) {
        let hash = self.hasher.hash_one(key);
        let shard = (hash >> 40) as usize % self.shards.len();
        (shard, hash as u32 as usize)
    }

    fn chunk_row<'t>(&self, shard: &'t Shard, slot: u32) -> Row<'t> {
        let chunk = shard.chunks.get((slot / self.chunk) as usize);
        let words = chunk.and_then(|chunk| chunk.get()).map_or(&[][..], |c| c);
        let row_words = self.row_words as usize;
        let from = (slot % self.chunk) as usize * row_words;
        Row(words.get(from..from + row_words).unwrap_or(&[]))
    }

    pub(super) fn row(&self, place: Position) -> Row<'_> {
        match self.shards.get(place.shard as usize) {
            Some(shard) => self.chunk_row(shard, place.slot),
            None => Row(&[]),
        }
    }

    /// Starts to record the keys that are looked up: the first [`NOTED_MAX`].
    pub fn note_keys(&self) {
        self.noted.get_or_init(Mutex::default);
    }

    pub fn noted_keys(&self) -> Vec<Box<[u8]>> {
        let noted = self.noted.get().map(lock);
        noted.iter().flat_map(|keys| keys.iter().cloned()).collect()
    }

    #[inline]
    fn note(&self, key: &[u8]) {
        if let Some(noted) = self.noted.get() {
            let mut noted = lock(noted);
            if noted.len() < NOTED_MAX {
                noted.insert(key.into());
            }
        }
    }

    /// Returns the entry of a key without counting as an access.
    pub fn find(self: &Arc<Self>, key: &[u8]) -> Option<HeldEntry> {
        self.note(key);
        let (at, hash) = self.hash(key);
        let shard = self.shards.get(at)?;
        let index = lock(&shard.index);
        let slot = self.slot(shard, &index, key, hash)?;
        let row = self.chunk_row(shard, slot);
        if self.has_expired(row, entry_time_now()) && row.holders() == 0 {
            return None;
        }
        row.hold();
        Some(self.held(at, slot))
    }

    /// Returns the entry of a key, and creates it if needed; None if the key is too long or the
    /// table is full. Counts as an access.
    pub fn get(self: &Arc<Self>, key: &[u8]) -> Option<HeldEntry> {
        self.note(key);
        let now = entry_time_now();
        if key.len() > self.make.key.bytes(self.make.length) as usize {
            // Refuses a longer key, which would overwrite the data that follows it.
            return None;
        }
        let (at, hash) = self.hash(key);
        let shard = self.shards.get(at)?;
        let mut index = lock(&shard.index);
        self.sweep_some(shard, &mut index, now, LAZY_SWEEP);
        if let Some(slot) = self.slot(shard, &index, key, hash) {
            let row = self.chunk_row(shard, slot);
            if self.has_expired(row, now) && row.holders() == 0 {
                self.clear_data(row);
            }
            row.hold();
            self.touch(row, now);
            self.to_newest(shard, &mut index, slot);
            return Some(self.held(at, slot));
        }
        let full = self.used() >= self.make.size || index.used >= self.shard_size;
        let no_purge = self.no_purge.load(Relaxed);
        if full && (no_purge || !self.evict(shard, &mut index)) {
            // Tries to evict an entry of another shard. The lock of this shard is released first,
            // because the other has its own.
            drop(index);
            if no_purge || !self.evict_elsewhere(at) {
                self.refused.fetch_add(1, Relaxed);
                return None;
            }
            index = lock(&shard.index);
            if let Some(slot) = self.slot(shard, &index, key, hash) {
                self.chunk_row(shard, slot).hold();
                return Some(self.held(at, slot));
            }
        }
        let slot = self.place(shard, &mut index)?;
        let row = self.chunk_row(shard, slot);
        // Keeps the flag of a removed entry that is still in the list of updates, so that the slot
        // is listed only once.
        let news = row.get(STATE) & IS_NEWS;
        row.set(STATE, news | IS_USED | (key.len() as u32 & LENGTH));
        row.set_key(key);
        self.clear_data(row);
        self.touch(row, now);
        row.hold();
        self.grow(shard, &mut index);
        self.enter(shard, &mut index, slot, hash);
        index.used += 1;
        self.used.fetch_add(1, Relaxed);
        Some(self.held(at, slot))
    }

    fn held(self: &Arc<Self>, shard: usize, slot: u32) -> HeldEntry {
        HeldEntry::new(
            Arc::clone(self),
            Position {
                shard: shard as u32,
                slot,
            },
        )
    }

    fn clear_data(&self, row: Row<'_>) {
        let data = HEAD + self.make.key.bytes(self.make.length).div_ceil(4) as usize;
        for word in row.words(data, self.make.layout.words() as usize) {
            word.store(0, Relaxed);
        }
    }

    pub(super) fn touch(&self, row: Row<'_>, now: u32) {
        row.set_expires(now.wrapping_add(self.expire_ms()));
    }

    fn has_expired(&self, row: Row<'_>, now: u32) -> bool {
        self.expire_ms() != 0 && is_over(row.expires(), now)
    }

    fn slot(&self, shard: &Shard, index: &Index, key: &[u8], hash: usize) -> Option<u32> {
        let bucket = hash & index.buckets.len().checked_sub(1)?;
        let mut slot = *index.buckets.get(bucket)?;
        // Limits the number of steps to the size of the shard, so that the loop ends in any case.
        for _ in 0..self.shard_size {
            if slot == NONE {
                return None;
            }
            let row = self.chunk_row(shard, slot);
            if row.key_is(key) {
                return Some(slot);
            }
            slot = row.get(NEXT);
        }
        None
    }

    /// Allocates a slot for another entry of a shard.
    fn place(&self, shard: &Shard, index: &mut Index) -> Option<u32> {
        if index.free != NONE {
            let slot = index.free;
            index.free = self.chunk_row(shard, slot).get(NEXT);
            return Some(slot);
        }
        if index.fresh >= self.shard_size {
            return None;
        }
        let slot = index.fresh;
        let chunk = shard.chunks.get((slot / self.chunk) as usize)?;
        chunk.get_or_init(|| {
            let words = u64::from(self.chunk) * u64::from(self.row_words);
            (0..words).map(|_| AtomicU32::new(0)).collect()
        });
        index.fresh += 1;
        Some(slot)
    }

    /// Adds an entry to the index, as the newest one.
    fn enter(&self, shard: &Shard, index: &mut Index, slot: u32, hash: usize) {
        let row = self.chunk_row(shard, slot);
        let bucket = hash & index.buckets.len().saturating_sub(1);
        if let Some(first) = index.buckets.get_mut(bucket) {
            row.set(NEXT, *first);
            *first = slot;
        }
        self.append(shard, index, slot);
    }

    /// Doubles the index before chains become long.
    fn grow(&self, shard: &Shard, index: &mut Index) {
        if (index.used as usize) < index.buckets.len() {
            return;
        }
        let count = (index.buckets.len() * 2).max(BUCKETS_MIN);
        index.buckets.clear();
        index.buckets.shrink_to_fit();
        index.buckets.resize(count, NONE);
        let mut key = Vec::new();
        let mut slot = index.oldest;
        for _ in 0..index.used {
            let row = self.chunk_row(shard, slot);
            key.clear();
            row.key(&mut key);
            let bucket = self.hash(&key).1 & (count - 1);
            if let Some(first) = index.buckets.get_mut(bucket) {
                row.set(NEXT, *first);
                *first = slot;
            }
            slot = row.get(NEWER);
        }
    }

    /// Adds an entry at the newest end of the list by age.
    fn append(&self, shard: &Shard, index: &mut Index, slot: u32) {
        let row = self.chunk_row(shard, slot);
        row.set(QUEUED, row.expires());
        row.set(OLDER, index.newest);
        row.set(NEWER, NONE);
        if index.newest == NONE {
            index.oldest = slot;
        } else {
            self.chunk_row(shard, index.newest).set(NEWER, slot);
        }
        index.newest = slot;
    }

    /// Removes an entry from the list by age.
    fn take_out(&self, shard: &Shard, index: &mut Index, slot: u32) {
        let row = self.chunk_row(shard, slot);
        let (older, newer) = (row.get(OLDER), row.get(NEWER));
        match older {
            NONE => index.oldest = newer,
            older => self.chunk_row(shard, older).set(NEWER, newer),
        }
        match newer {
            NONE => index.newest = older,
            newer => self.chunk_row(shard, newer).set(OLDER, older),
        }
    }

    fn to_newest(&self, shard: &Shard, index: &mut Index, slot: u32) {
        if index.newest == slot {
            let row = self.chunk_row(shard, slot);
            row.set(QUEUED, row.expires());
            return;
        }
        self.take_out(shard, index, slot);
        self.append(shard, index, slot);
    }

    /// Removes the oldest entry that has no holder. If entries expire, an entry that was used since
    /// it was last moved in the list by age is skipped, too. Returns false if there is none among
    /// the [`EVICTION_TRIES`] entries that are examined.
    fn evict(&self, shard: &Shard, index: &mut Index) -> bool {
        for _ in 0..EVICTION_TRIES {
            let slot = index.oldest;
            if slot == NONE {
                return false;
            }
            let row = self.chunk_row(shard, slot);
            let touched_since = row.expires() != row.get(QUEUED) && self.expire_ms() != 0;
            if row.holders() > 0 || touched_since {
                self.to_newest(shard, index, slot);
                continue;
            }
            self.remove_slot(shard, index, slot);
            return true;
        }
        false
    }

    fn evict_elsewhere(&self, not: usize) -> bool {
        let others = self.shards.iter().enumerate().filter(|(at, _)| *at != not);
        others
            .into_iter()
            .any(|(_, shard)| self.evict(shard, &mut lock(&shard.index)))
    }

    fn remove_slot(&self, shard: &Shard, index: &mut Index, slot: u32) {
        let row = self.chunk_row(shard, slot);
        let mut key = Vec::with_capacity(row.key_length() + 3);
        row.key(&mut key);
        let bucket = self.hash(&key).1 & index.buckets.len().saturating_sub(1);
        let next = row.get(NEXT);
        let mut before = index.buckets.get(bucket).copied().unwrap_or(NONE);
        if before == slot {
            index.buckets[bucket] = next;
        } else {
            for _ in 0..index.used {
                let row = self.chunk_row(shard, before);
                if row.get(NEXT) == slot {
                    row.set(NEXT, next);
                    break;
                }
                before = row.get(NEXT);
            }
        }
        self.take_out(shard, index, slot);
        // Keeps the flag of a slot that is still in the list of updates; the reader of that list
        // ignores unused slots.
        row.set(STATE, row.get(STATE) & IS_NEWS);
        row.set(NEXT, index.free);
        index.free = slot;
        index.used -= 1;
        self.used.fetch_sub(1, Relaxed);
    }

    /// Removes expired entries, and examines at most `max`. Returns how many were examined up to
    /// the first entry that has not expired.
    fn sweep_some(&self, shard: &Shard, index: &mut Index, now: u32, max: usize) -> usize {
        if self.expire_ms() == 0 {
            return 0;
        }
        for looked in 0..max {
            let slot = index.oldest;
            if slot == NONE {
                return looked;
            }
            let row = self.chunk_row(shard, slot);
            if !is_over(row.get(QUEUED), now) {
                return looked;
            }
            if self.has_expired(row, now) && row.holders() == 0 {
                self.remove_slot(shard, index, slot);
            } else {
                if self.has_expired(row, now) {
                    // Extends the expiry time of an entry that is held.
                    self.touch(row, now);
                }
                self.to_newest(shard, index, slot);
            }
        }
        max
    }

    /// Removes all expired entries without holding a lock for long.
    pub fn sweep(&self) {
        let now = entry_time_now();
        for shard in &self.shards {
            let mut looked = 0;
            while looked < self.shard_size as usize * 2 {
                let some = self.sweep_some(shard, &mut lock(&shard.index), now, SWEEP_MAX);
                looked += some;
                if some < SWEEP_MAX {
                    break;
                }
                // Lets threads that wait for the lock go first.
                std::thread::yield_now();
            }
        }
    }

    pub fn remove(&self, key: &[u8]) -> Removal {
        let (at, hash) = self.hash(key);
        let Some(shard) = self.shards.get(at) else {
            return Removal::Absent;
        };
        let mut index = lock(&shard.index);
        let Some(slot) = self.slot(shard, &index, key, hash) else {
            return Removal::Absent;
        };
        if self.chunk_row(shard, slot).holders() > 0 {
            return Removal::InUse;
        }
        self.remove_slot(shard, &mut index, slot);
        Removal::Removed
    }

    /// Returns the keys of all entries that have not expired or are held, in no particular order.
    pub fn keys(&self) -> Vec<Box<[u8]>> {
        let mut keys = Vec::with_capacity(self.used() as usize);
        for at in 0..self.shards.len() {
            self.keys_of(at, &mut keys);
        }
        keys
    }

    pub fn shard_count(&self) -> usize {
        self.shards.len()
    }

    pub fn keys_of(&self, at: usize, keys: &mut Vec<Box<[u8]>>) {
        let now = entry_time_now();
        let Some(shard) = self.shards.get(at) else {
            return;
        };
        let index = lock(&shard.index);
        let mut slot = index.oldest;
        for _ in 0..index.used {
            let row = self.chunk_row(shard, slot);
            if !self.has_expired(row, now) || row.holders() > 0 {
                let mut key = Vec::with_capacity(row.key_length().next_multiple_of(4));
                row.key(&mut key);
                keys.push(key.into());
            }
            slot = row.get(NEWER);
        }
    }

    /// Adds an entry to the list of updates for peers.
    pub(super) fn note_news(&self, place: Position) {
        if !self.has_peers.load(Relaxed) {
            return;
        }
        let Some(shard) = self.shards.get(place.shard as usize) else {
            return;
        };
        let Some(state) = self.chunk_row(shard, place.slot).0.get(STATE) else {
            return;
        };
        if state.load(Relaxed) & IS_NEWS == 0 && state.fetch_or(IS_NEWS, AcqRel) & IS_NEWS == 0 {
            lock(&shard.index).updated.push_back(place.slot);
        }
    }

    /// Takes up to `max` keys of the list of updates for peers.
    pub fn take_updated_keys(&self, max: usize) -> Vec<Box<[u8]>> {
        let mut keys = Vec::new();
        for shard in &self.shards {
            let mut index = lock(&shard.index);
            while keys.len() < max {
                let Some(slot) = index.updated.pop_front() else {
                    break;
                };
                let row = self.chunk_row(shard, slot);
                let Some(state) = row.0.get(STATE) else {
                    continue;
                };
                // Clears the flag before the data is read, so that a change after the read causes
                // another update.
                if state.fetch_and(!IS_NEWS, AcqRel) & IS_USED == 0 {
                    continue;
                }
                let mut key = Vec::new();
                row.key(&mut key);
                keys.push(key.into());
            }
        }
        keys
    }
}
