//! Stores the responses of an HTTP cache by host and target. The oldest are evicted first.

use super::vary::{Secondary, Varies};
use http::message::HttpMessage;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Memory of an entry besides its content, bytes.
const ENTRY_BYTES: usize = 512;
/// Memory of a header field besides its content, bytes.
const FIELD_BYTES: usize = 12;

/// Settings of a `cache` section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    pub name: Box<str>,
    /// Maximum size of all stored responses, bytes (`total-max-size`).
    pub total_max: usize,
    /// Maximum size of one stored response, bytes (`max-object-size`).
    pub object_max: usize,
    pub age_max_s: u32,
    /// Stores one response per combination of the request headers in `Vary` (`process-vary`).
    pub vary: bool,
    /// Maximum number of responses per primary key (`max-secondary-entries`).
    pub secondary_max: usize,
}

#[derive(Debug)]
pub struct Entry {
    /// Status line and headers, without hop-by-hop headers.
    pub head: HttpMessage,
    pub body: Arc<[u8]>,
    /// Time of receipt, milliseconds since the process began to serve.
    pub came_ms: u64,
    /// Time of receipt by the wall clock, seconds since 1970.
    pub came_at: i64,
    /// Age at the time of receipt, seconds.
    pub age_s: u32,
    /// Maximum age for delivery, seconds, including the age at receipt.
    pub lifetime_s: u32,
    pub(crate) varies: Varies,
    pub(crate) secondary: Secondary,
}

impl Entry {
    pub fn age_s(&self, now_ms: u64) -> u64 {
        u64::from(self.age_s) + now_ms.saturating_sub(self.came_ms) / 1000
    }

    fn is_fresh(&self, now_ms: u64) -> bool {
        self.age_s(now_ms) < u64::from(self.lifetime_s)
    }

    /// Returns the number of bytes that count against the size of the cache.
    pub fn bytes(&self) -> usize {
        ENTRY_BYTES
            + self.head.wire_len()
            + self.head.fields().len() * FIELD_BYTES
            + self.body.len()
            + self.secondary.bytes()
    }
}

/// A cache and its settings.
#[derive(Debug)]
pub struct Cache {
    pub settings: Settings,
    stored: Mutex<Stored>,
    /// Bytes of responses that are being stored.
    filling: AtomicUsize,
}

/// Memory of the responses being stored: slow servers and clients must not let that grow
/// beyond the size of the cache itself.
#[derive(Debug, Default)]
pub(crate) struct Filling {
    cache: Option<Arc<Cache>>,
    bytes: usize,
}

impl Filling {
    pub(crate) fn of(cache: &Arc<Cache>) -> Self {
        Filling {
            cache: Some(Arc::clone(cache)),
            bytes: 0,
        }
    }

    /// Reserves `more` bytes, which stay reserved until this value is dropped. Returns false if the
    /// responses being stored then exceed the size of the cache; true without a cache.
    pub fn take(&mut self, more: usize) -> bool {
        let Some(cache) = &self.cache else {
            return true;
        };
        self.bytes += more;
        let all = cache.filling.fetch_add(more, Relaxed) + more;
        all <= cache.settings.total_max
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        if let Some(cache) = &self.cache {
            cache.filling.fetch_sub(self.bytes, Relaxed);
        }
    }
}

type Turned = (u64, Arc<Entry>);
pub type Keyed = (Box<[u8]>, Arc<Entry>);

#[derive(Debug, Default)]
struct Stored {
    entries: HashMap<Box<[u8]>, Vec<Turned>>,
    /// Keys by sequence number, in the order in which their entries were stored.
    turns: BTreeMap<u64, Box<[u8]>>,
    next: u64,
    bytes: usize,
}

impl Cache {
    pub fn new(settings: Settings) -> Self {
        Cache {
            settings,
            stored: Mutex::default(),
            filling: AtomicUsize::new(0),
        }
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the entry for a request if it has not expired. Removes an expired one.
    pub(crate) fn find(
        &self,
        key: &[u8],
        secondary: &Secondary,
        now_ms: u64,
    ) -> Option<Arc<Entry>> {
        let mut stored = self.stored();
        let entries = stored.entries.get(key)?;
        let fits = |entry: &Entry| entry.varies.fits(&entry.secondary, secondary);
        let (turn, entry) = entries.iter().find(|(_, entry)| fits(entry))?;
        if entry.is_fresh(now_ms) {
            return Some(Arc::clone(entry));
        }
        let turn = *turn;
        stored.remove(turn);
        None
    }

    /// Stores an entry, replaces the entry for the same requests, and evicts the oldest entries to
    /// make room. Does nothing if the entry is larger than the cache, or if its key already has
    /// `max-secondary-entries` other entries.
    pub(crate) fn insert(&self, key: Box<[u8]>, entry: Entry) {
        let bytes = entry.bytes() + key_bytes(&key);
        if bytes > self.settings.total_max {
            return;
        }
        let mut stored = self.stored();
        let mut replaced = Vec::new();
        if let Some(entries) = stored.entries.get(&key) {
            let same = |other: &Entry| other.varies.fits(&other.secondary, &entry.secondary);
            let others = entries.iter().filter(|(_, other)| same(other));
            replaced.extend(others.map(|(turn, _)| *turn));
            let most = self.settings.secondary_max.max(1);
            if entries.len() - replaced.len() >= most {
                // Refuses a further entry for a key that has the maximum number of entries.
                return;
            }
        }
        for turn in replaced {
            stored.remove(turn);
        }
        while stored.bytes + bytes > self.settings.total_max {
            let Some((&oldest, _)) = stored.turns.first_key_value() else {
                break;
            };
            stored.remove(oldest);
        }
        let turn = stored.next;
        stored.next += 1;
        stored.bytes += bytes;
        stored.turns.insert(turn, key.clone());
        let entries = stored.entries.entry(key).or_default();
        entries.push((turn, Arc::new(entry)));
    }

    pub(crate) fn forget(&self, key: &[u8]) {
        let mut stored = self.stored();
        let entries = stored.entries.get(key).into_iter().flatten();
        let turns: Vec<u64> = entries.map(|(turn, _)| *turn).collect();
        for turn in turns {
            stored.remove(turn);
        }
    }

    /// Returns the number of stored bytes, and at most `most` entries.
    pub fn report(&self, most: usize) -> (usize, Vec<Keyed>) {
        let stored = self.stored();
        let mut all = Vec::new();
        for (turn, key) in stored.turns.iter().take(most) {
            let entries = stored.entries.get(key).into_iter().flatten();
            let found = entries.filter(|(of, _)| of == turn);
            all.extend(found.map(|(_, entry)| (key.clone(), Arc::clone(entry))));
        }
        (stored.bytes, all)
    }
}

/// Returns the memory of a key, which is stored twice: with the entries and by sequence number.
pub(crate) fn key_bytes(key: &[u8]) -> usize {
    2 * key.len()
}

impl Stored {
    fn remove(&mut self, turn: u64) {
        let Some(key) = self.turns.remove(&turn) else {
            return;
        };
        let Some(entries) = self.entries.get_mut(&key) else {
            return;
        };
        if let Some(at) = entries.iter().position(|(of, _)| *of == turn) {
            let (_, entry) = entries.swap_remove(at);
            self.bytes = self.bytes.saturating_sub(entry.bytes() + key_bytes(&key));
        }
        if entries.is_empty() {
            self.entries.remove(&key);
        }
    }
}
