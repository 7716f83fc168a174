//! Keeps the records of one node with their versions, holds and expiry times: finds those that have
//! expired, chooses which go first when the table is full, and tracks the changes that other nodes
//! and the journal need.

use crate::defect::Defect;
use crate::record::{Key, Record, Value};
use crate::version::{Origin, Version};
use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::ops::{Deref, DerefMut};

/// Use of a record's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    Pending,
    Connected(u32),
    /// Was held: the value stays assigned until the record expires.
    Left,
}

/// Record of a key, as one node knows it. Dereferences to its value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry<V> {
    pub value: V,
    pub version: Version,
    pub since_ms: u64,
    /// Expiry time, milliseconds; None while the value is held.
    pub until_ms: Option<u64>,
    /// Number of holds through other nodes, by the origin of their table.
    pub far: Vec<(Origin, u32)>,
    /// Number of holds at all nodes. The table sets it.
    pub holds: u32,
    /// True if there is proof that the value is in use. Records without proof are kept for a
    /// shorter time, and are the first to go when the table is full.
    pub is_proved: bool,
}

impl<V> Deref for Entry<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.value
    }
}

impl<V> DerefMut for Entry<V> {
    fn deref_mut(&mut self) -> &mut V {
        &mut self.value
    }
}

impl<V: Value> Entry<V> {
    pub fn presence(&self) -> Presence {
        match (self.holds, self.version.used) {
            (0, true) => Presence::Left,
            (0, false) => Presence::Pending,
            (holds, _) => Presence::Connected(holds),
        }
    }

    pub(crate) fn yields_to<K>(&self, record: &Record<K, V>) -> bool {
        (self.version, self.value.place()) < (record.version, record.value.place())
    }

    pub(crate) fn set_far(&mut self, origin: Origin, holds: u32) {
        self.far.retain(|(one, _)| *one != origin);
        if holds > 0 {
            self.far.push((origin, holds));
        }
    }
}

/// Times for which a record without a hold is kept, milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Retention {
    pub pending_ms: u64,
    pub keep_ms: u64,
    pub unproved_ms: u64,
}

/// Maximum numbers of records in a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    pub records: usize,
    pub unproved: usize,
}

type HeldPlace<V> = (<<V as Value>::Place as ToOwned>::Owned, u32);

/// Changed key, with the table from which the change came.
type Change<K> = (K, Option<Origin>);

/// Records of one node. Only [`crate::Directory`] changes them, so that its hooks run.
#[derive(Clone, Debug)]
pub struct Table<K: Key, V: Value> {
    origin: Origin,
    clock: u64,
    is_shared: bool,
    retention: Retention,
    bounds: Bounds,
    entries: BTreeMap<K, Entry<V>>,
    due: BTreeSet<(u64, K)>,
    unproved: BTreeSet<(u64, K)>,
    own: BTreeMap<K::Group, Vec<HeldPlace<V>>>,
    unsent: Vec<Change<K>>,
    changed: Option<BTreeSet<K>>,
    defect: Option<Defect>,
}

impl<K: Key, V: Value> Table<K, V> {
    /// Creates an empty table. A shared one tracks the changes that other nodes have to receive.
    pub fn new(origin: Origin, is_shared: bool, bounds: Bounds) -> Table<K, V> {
        Table {
            origin,
            clock: 0,
            is_shared,
            retention: Retention::default(),
            bounds,
            entries: BTreeMap::new(),
            due: BTreeSet::new(),
            unproved: BTreeSet::new(),
            own: BTreeMap::new(),
            unsent: Vec::new(),
            changed: None,
            defect: None,
        }
    }

    pub fn origin(&self) -> Origin {
        self.origin
    }

    pub fn set_retention(&mut self, retention: Retention) {
        self.retention = retention;
    }

    pub fn retention(&self) -> Retention {
        self.retention
    }

    #[cfg(any(test, feature = "defects"))]
    pub fn set_defect(&mut self, defect: Option<Defect>) {
        self.defect = defect;
    }

    pub(crate) fn has_defect(&self, defect: Defect) -> bool {
        cfg!(any(test, feature = "defects")) && self.defect == Some(defect)
    }

    pub fn keep_ms(&self, is_proved: bool) -> u64 {
        if is_proved {
            self.retention.keep_ms
        } else {
            self.retention.unproved_ms
        }
    }

    pub fn get(&self, key: K) -> Option<&Entry<V>> {
        self.entries.get(&key)
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.entries.len() >= self.bounds.records
    }

    pub fn iter(&self) -> impl Iterator<Item = (K, &Entry<V>)> {
        self.entries.iter().map(|(key, entry)| (*key, entry))
    }

    pub fn of_group(&self, group: K::Group) -> impl Iterator<Item = (K, &Entry<V>)> {
        let range = self.entries.range(K::first_of(group)..);
        let own = range.take_while(move |(key, _)| key.group() == group);
        own.map(|(key, entry)| (*key, entry))
    }

    pub(crate) fn keys_at(&self, group: K::Group, place: &V::Place) -> Vec<K> {
        let at_place = self.of_group(group);
        let at_place = at_place.filter(|(_, entry)| entry.value.place() == place);
        at_place.map(|(key, _)| key).collect()
    }

    /// Returns the number of records that wait for their expiry.
    pub fn expiring(&self) -> usize {
        self.due.len()
    }

    pub(crate) fn next_expired(&self, now_ms: u64) -> Option<K> {
        let first = self.due.first().filter(|(until_ms, _)| *until_ms <= now_ms);
        first.map(|(_, key)| *key)
    }

    /// Returns the record that goes first to make room: one without proof if there are too many of
    /// these, and of a full table the oldest without proof, or else the one that expires first.
    /// None if there is room, an error if each record is held.
    pub(crate) fn next_evicted(&self) -> Result<Option<K>, ()> {
        if self.unproved.len() >= self.bounds.unproved
            && let Some((_, key)) = self.unproved.first()
        {
            return Ok(Some(*key));
        }
        if !self.is_full() {
            return Ok(None);
        }
        let mut all = self.unproved.iter().chain(&self.due);
        all.next().map(|(_, key)| Some(*key)).ok_or(())
    }

    pub fn observe(&mut self, version: Version) {
        if !self.has_defect(Defect::ClockStands) {
            self.clock = self.clock.max(version.clock);
        }
    }

    pub fn tick_clock(&mut self) -> u64 {
        self.clock = self.clock.saturating_add(1);
        self.clock
    }

    /// Returns the version of a new record. `over`: the version that it replaces.
    pub fn next_version(&mut self, over: Option<Version>, used: bool) -> Version {
        let stands = self.has_defect(Defect::GenerationStands);
        let next = |over: Version| over.generation.saturating_add(u64::from(!stands));
        Version {
            generation: over.map_or(0, next),
            used,
            clock: self.tick_clock(),
            origin: self.origin,
        }
    }

    /// Removes a record. [`crate::Directory::leave`] calls it.
    pub fn remove(&mut self, key: K) -> Option<Entry<V>> {
        let entry = self.entries.remove(&key)?;
        if let Some(until_ms) = entry.until_ms {
            self.due.remove(&(until_ms, key));
        }
        self.unproved.remove(&(entry.since_ms, key));
        self.note(key);
        Some(entry)
    }

    /// Inserts a record. The known holds determine its presence and expiry.
    /// [`crate::Directory::enter`] calls it.
    pub fn insert(&mut self, key: K, mut entry: Entry<V>, now_ms: u64) {
        let far = entry.far.iter().map(|(_, holds)| *holds);
        let own = self.holds(key.group(), entry.value.place());
        entry.holds = far.fold(own, u32::saturating_add);
        let time_ms = match entry.presence() {
            Presence::Connected(_) => None,
            Presence::Left => Some(self.keep_ms(entry.is_proved)),
            Presence::Pending => Some(self.retention.pending_ms),
        };
        entry.until_ms = time_ms.map(|time_ms| {
            let until_ms = now_ms.saturating_add(time_ms);
            entry.until_ms.unwrap_or(until_ms)
        });
        if let Some(until_ms) = entry.until_ms {
            self.due.insert((until_ms, key));
            if !entry.is_proved {
                self.unproved.insert((entry.since_ms, key));
            }
        }
        self.note(key);
        self.entries.insert(key, entry);
    }

    pub(crate) fn set_hold(&mut self, group: K::Group, place: &V::Place, begins: bool) {
        let places = self.own.entry(group).or_default();
        match places.iter_mut().find(|(one, _)| one.borrow() == place) {
            Some((_, holds)) if begins => *holds = holds.saturating_add(1),
            Some((_, holds)) => *holds = holds.saturating_sub(1),
            None if begins => places.push((place.to_owned(), 1)),
            None => {}
        }
        places.retain(|(_, holds)| *holds > 0);
        if places.is_empty() {
            self.own.remove(&group);
        }
    }

    pub fn holds(&self, group: K::Group, place: &V::Place) -> u32 {
        let mut places = self.own.get(&group).into_iter().flatten();
        let found = places.find(|(one, _)| one.borrow() == place);
        found.map_or(0, |(_, holds)| *holds)
    }

    pub(crate) fn record(&self, key: K, now_ms: u64) -> Option<Record<K, V>> {
        let entry = self.entries.get(&key)?;
        let left = |until_ms: u64| until_ms.saturating_sub(now_ms);
        Some(Record {
            key,
            value: entry.value.clone(),
            version: entry.version,
            age_ms: now_ms.saturating_sub(entry.since_ms),
            left_ms: entry.until_ms.map_or(self.keep_ms(entry.is_proved), left),
            holds: self.holds(key.group(), entry.value.place()),
            is_proved: entry.is_proved,
        })
    }

    /// Notes that other nodes have to receive a record. `from`: the table that has sent it.
    pub fn touch(&mut self, key: K, from: Option<Origin>) {
        if self.is_shared && !(from.is_some() && self.has_defect(Defect::NotForwarded)) {
            self.unsent.push((key, from));
        }
    }

    /// Takes the keys whose latest record other nodes lack.
    pub fn take_unsent(&mut self) -> Vec<Change<K>> {
        std::mem::take(&mut self.unsent)
    }

    /// Collects changed keys from now on, for [`Table::take_changed`].
    pub fn watch(&mut self) {
        self.changed.get_or_insert_default();
    }

    /// Takes the keys whose record has changed or is gone: what a journal writes, and a watcher
    /// shows.
    pub fn take_changed(&mut self) -> BTreeSet<K> {
        self.changed
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    fn note(&mut self, key: K) {
        if let Some(changed) = &mut self.changed {
            changed.insert(key);
        }
    }
}
