//! The entries of one table. They live in chunks that never move and are never
//! freed while the table is there, so that who holds an entry changes its data
//! by atomics, without a lock and without looking it up again. A shard's lock
//! covers its index and its order of age, for the few steps of one look-up.
//!
//! An entry is a row of 32-bit words: a head of [`HEAD`], the key, the data.

use super::data::Layout;
use super::entry::Held;
use super::key::KeyType;
use super::words::Words;
use std::collections::hash_map::RandomState;
use std::collections::{BTreeSet, VecDeque};
use std::hash::BuildHasher;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

// The words of an entry's head.
/// The next entry of its bucket, or of the free ones.
const NEXT: usize = 0;
/// The entry that was touched before it.
const OLDER: usize = 1;
/// The entry that was touched behind it.
const NEWER: usize = 2;
/// When it expires: the low bits of milliseconds.
const EXPIRES: usize = 3;
/// When it was to expire as it came to its place in the order of age.
const QUEUED: usize = 4;
/// Who holds it.
const HOLDERS: usize = 5;
/// Its key's length, and whether peers are to be told of it.
const STATE: usize = 6;
/// Words before the key.
pub(super) const HEAD: usize = 7;

/// Set in [`STATE`] while the entry stands in the list of news.
const IS_NEWS: u32 = 1 << 31;
/// Set in [`STATE`] while the entry is in the index.
const IS_USED: u32 = 1 << 30;
/// Set in [`STATE`] once a peer was told of the entry.
const IS_TOLD: u32 = 1 << 29;
/// The key's length in [`STATE`].
const LENGTH: u32 = (1 << 20) - 1;

/// No entry.
const NONE: u32 = u32::MAX;
/// Entries of tables up to this size are kept in one shard: the oldest of all goes.
const ONE_SHARD_MAX: u32 = 4096;
/// Shards of larger ones; the oldest of its shard goes.
const SHARDS: usize = 64;
/// Entries of a chunk, in tables of a usual size.
const CHUNK: u32 = 256;
/// Chunks that a shard has at most: larger tables have larger ones.
const CHUNKS_MAX: u32 = 4096;
/// Entries that are looked at for one that can go.
const EVICTION_TRIES: usize = 64;
/// Entries that one look-up removes, where they have expired.
const LAZY_SWEEP: usize = 2;
/// Entries that a sweep looks at under one lock.
const SWEEP_MAX: usize = 256;
/// Buckets that an index begins with.
const BUCKETS_MIN: usize = 16;
/// Keys that are noted of one table.
const NOTED_MAX: usize = 64;
/// Largest `size`.
pub const SIZE_MAX: u32 = 1 << 30;

/// What a table is made of. Two of the same share their entries over a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Make {
    /// `type`
    pub key: KeyType,
    /// Its `len`.
    pub length: u32,
    /// `size`
    pub size: u32,
    /// `store`
    pub layout: Layout,
}

/// What may change of a table while its entries stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// `expire`, milliseconds; 0 is never.
    pub expire_ms: u32,
    /// `nopurge`
    pub no_purge: bool,
    /// Somebody takes its news.
    pub has_peers: bool,
}

/// One shard: its index, and the chunks of its entries.
struct Shard {
    index: Mutex<Index>,
    chunks: Box<[OnceLock<Box<[AtomicU32]>>]>,
}

#[derive(Debug)]
struct Index {
    buckets: Vec<u32>,
    /// The first of those that were used and are not.
    free: u32,
    /// From here on none was ever used.
    fresh: u32,
    used: u32,
    oldest: u32,
    newest: u32,
    /// Entries that peers are to be told of, each once.
    news: VecDeque<u32>,
}

/// What became of an entry that was to be removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removal {
    /// It is no more.
    Removed,
    /// Somebody holds it.
    InUse,
    /// There was none.
    Absent,
}

/// The entries of one `stick-table`.
pub struct Table {
    /// Its name: of its proxy, or `peers/table`.
    pub name: Box<str>,
    /// What it is made of.
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
    /// The texts of `server_key`.
    pub words: Words,
    /// Keys that found no room.
    pub refused: AtomicU64,
    /// The keys that were looked for, where that is noted.
    noted: OnceLock<Mutex<BTreeSet<Box<[u8]>>>>,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Table({})", self.name)
    }
}

/// The low bits of the time, which entries are dated with. On a thread that serves it
/// is that of the turn of its loop: a request asks many times.
pub fn moment() -> u32 {
    (reactor::now().as_nanos() / 1_000_000) as u32
}

/// Whether a moment is over; of times up to 24 days.
fn is_over(at: u32, now: u32) -> bool {
    now.wrapping_sub(at) as i32 >= 0
}

fn lock<T>(index: &Mutex<T>) -> MutexGuard<'_, T> {
    index.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where an entry stands.
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

    /// So many words from one on.
    pub fn words(self, from: usize, count: usize) -> &'t [AtomicU32] {
        self.0.get(from..from + count).unwrap_or(&[])
    }

    pub fn key_length(self) -> usize {
        (self.get(STATE) & LENGTH) as usize
    }

    /// One more holds it.
    fn hold(self) {
        if let Some(holders) = self.0.get(HOLDERS) {
            holders.fetch_add(1, Acquire);
        }
    }

    /// One less.
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

    /// A peer was told of it.
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

    /// Appends its key.
    pub fn key(self, out: &mut Vec<u8>) {
        let end = out.len() + self.key_length();
        for word in self.words(HEAD, self.key_length().div_ceil(4)) {
            out.extend_from_slice(&word.load(Relaxed).to_le_bytes());
        }
        out.truncate(end);
    }
}

/// Up to four bytes of a key as a word.
fn pack(bytes: &[u8]) -> u32 {
    let mut four = [0; 4];
    for (to, from) in four.iter_mut().zip(bytes) {
        *to = *from;
    }
    u32::from_le_bytes(four)
}

impl Table {
    /// One without entries.
    pub fn new(name: &str, make: Make, settings: Settings) -> Table {
        let key_words = make.key.bytes(make.length).div_ceil(4);
        let row_words = HEAD as u32 + key_words + make.layout.words();
        let size = make.size.clamp(1, SIZE_MAX);
        let count = if size <= ONE_SHARD_MAX { 1 } else { SHARDS };
        // Keys do not spread evenly: a shard has a quarter more than its part.
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
                news: VecDeque::new(),
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
            words: Words::default(),
            refused: AtomicU64::new(0),
            noted: OnceLock::new(),
        };
        table.configure(settings);
        table
    }

    /// Takes over what a newer file says of it.
    pub fn configure(&self, settings: Settings) {
        self.expire_ms.store(settings.expire_ms, Relaxed);
        self.no_purge.store(settings.no_purge, Relaxed);
        self.has_peers.store(settings.has_peers, Relaxed);
    }

    /// `expire`, milliseconds; 0 is never.
    pub fn expire_ms(&self) -> u32 {
        self.expire_ms.load(Relaxed)
    }

    /// Entries that there are, expired ones that were not yet found among them.
    pub fn used(&self) -> u32 {
        self.used.load(Relaxed)
    }

    /// Entries that there is room for.
    pub fn available(&self) -> u32 {
        self.make.size.saturating_sub(self.used())
    }

    /// Bytes of memory that entries and their index have taken.
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

    /// Notes from now on which keys are looked for: the first [`NOTED_MAX`].
    pub fn note_keys(&self) {
        self.noted.get_or_init(Mutex::default);
    }

    /// The keys that were.
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

    /// The entry of a key; it is no access.
    pub fn find(self: &Arc<Self>, key: &[u8]) -> Option<Held> {
        self.note(key);
        let (at, hash) = self.hash(key);
        let shard = self.shards.get(at)?;
        let index = lock(&shard.index);
        let slot = self.slot(shard, &index, key, hash)?;
        let row = self.chunk_row(shard, slot);
        if self.has_expired(row, moment()) && row.holders() == 0 {
            return None;
        }
        row.hold();
        Some(self.held(at, slot))
    }

    /// The entry of a key, made where there is none; None where there is no room.
    /// It counts as an access.
    pub fn get(self: &Arc<Self>, key: &[u8]) -> Option<Held> {
        self.note(key);
        let now = moment();
        if key.len() > self.make.key.bytes(self.make.length) as usize {
            // It would not fit into its row.
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
            // Another shard may have one to spare; its lock is another one.
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
        // Its place may stand in the list of news still, where it stands once.
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

    fn held(self: &Arc<Self>, shard: usize, slot: u32) -> Held {
        Held::new(
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

    /// Finds a key in a shard.
    fn slot(&self, shard: &Shard, index: &Index, key: &[u8], hash: usize) -> Option<u32> {
        let bucket = hash & index.buckets.len().checked_sub(1)?;
        let mut slot = *index.buckets.get(bucket)?;
        // A chain cannot be longer than the shard is large.
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

    /// A place for one more entry of a shard.
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

    /// Puts an entry into the index, as the newest.
    fn enter(&self, shard: &Shard, index: &mut Index, slot: u32, hash: usize) {
        let row = self.chunk_row(shard, slot);
        let bucket = hash & index.buckets.len().saturating_sub(1);
        if let Some(first) = index.buckets.get_mut(bucket) {
            row.set(NEXT, *first);
            *first = slot;
        }
        self.append(shard, index, slot);
    }

    /// Makes the index larger where entries would stand in long chains.
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

    /// The newest in the order of age.
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

    /// Takes it out of the order of age.
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

    /// Removes the oldest entry that nobody holds.
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
        // It may be in the list of updates, whose reader ignores it.
        row.set(STATE, row.get(STATE) & IS_NEWS);
        row.set(NEXT, index.free);
        index.free = slot;
        index.used -= 1;
        self.used.fetch_sub(1, Relaxed);
    }

    /// Removes what has expired, looking at so many entries; says how many it
    /// looked at before it found one that has not.
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
                    // It is held: it lives on.
                    self.touch(row, now);
                }
                self.to_newest(shard, index, slot);
            }
        }
        max
    }

    /// Removes all that has expired. No lock is held for long.
    pub fn sweep(&self) {
        let now = moment();
        for shard in &self.shards {
            let mut looked = 0;
            while looked < self.shard_size as usize * 2 {
                let some = self.sweep_some(shard, &mut lock(&shard.index), now, SWEEP_MAX);
                looked += some;
                if some < SWEEP_MAX {
                    break;
                }
                // Who waits for the lock is first.
                std::thread::yield_now();
            }
        }
    }

    /// Removes the entry of a key.
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

    /// The keys of all entries, in no order.
    pub fn keys(&self) -> Vec<Box<[u8]>> {
        let now = moment();
        let mut keys = Vec::with_capacity(self.used() as usize);
        for at in 0..self.shards.len() {
            self.keys_of(at, now, &mut keys);
        }
        keys
    }

    /// The shards that it has.
    pub fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// The keys of one shard.
    pub fn keys_of(&self, at: usize, now: u32, keys: &mut Vec<Box<[u8]>>) {
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

    /// Peers are to be told of an entry.
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
            lock(&shard.index).news.push_back(place.slot);
        }
    }

    /// Takes up to so many keys that peers are to be told of.
    pub fn take_news(&self, max: usize) -> Vec<Box<[u8]>> {
        let mut keys = Vec::new();
        for shard in &self.shards {
            let mut index = lock(&shard.index);
            while keys.len() < max {
                let Some(slot) = index.news.pop_front() else {
                    break;
                };
                let row = self.chunk_row(shard, slot);
                let Some(state) = row.0.get(STATE) else {
                    continue;
                };
                // Before its data is read: what comes later is news again.
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
