//! Keeps the entries of a list or map in order, indexed by number and by key. The cost of adding,
//! changing and removing an entry does not depend on their number.

use super::{Entry, ListError, PatternPair, Which};
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

#[derive(Clone, Default, Debug)]
pub(super) struct Entries {
    by_number: BTreeMap<u64, Entry>,
    by_key: HashMap<Box<[u8]>, Vec<u64>>,
    /// Size of all keys and values, in bytes, for the limit on what rules add.
    bytes: usize,
}

impl Entries {
    pub(super) fn of<'e>(entries: impl Iterator<Item = &'e Entry>) -> Entries {
        let mut all = Entries::default();
        entries.for_each(|entry| all.put(entry.clone()));
        all
    }

    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.by_number.values()
    }

    pub(super) fn after(&self, number: u64) -> impl Iterator<Item = &Entry> {
        let larger = (Bound::Excluded(number), Bound::Unbounded);
        self.by_number.range(larger).map(|(_, entry)| entry)
    }

    fn put(&mut self, entry: Entry) {
        self.bytes += entry.bytes();
        let numbers = self.by_key.entry(entry.key.clone()).or_default();
        numbers.push(entry.number);
        self.by_number.insert(entry.number, entry);
    }

    pub(super) fn of_key(&self, key: &[u8]) -> impl Iterator<Item = &Entry> {
        let numbers = self.by_key.get(key).into_iter().flatten();
        numbers.filter_map(|number| self.by_number.get(number))
    }

    fn meant(&self, which: &Which) -> Vec<u64> {
        match which {
            Which::Key(key) => self.by_key.get(key).cloned().unwrap_or_default(),
            Which::Number(number) if self.by_number.contains_key(number) => vec![*number],
            Which::Number(_) => Vec::new(),
        }
    }

    /// Appends entries and returns them with their numbers.
    pub(super) fn add(&mut self, pairs: Vec<PatternPair>) -> Vec<Entry> {
        let last = self.by_number.last_key_value();
        let next = last.map_or(0, |(number, _)| *number) + 1;
        let entry = |(number, (key, value))| Entry { number, key, value };
        let added: Vec<Entry> = (next..).zip(pairs).map(entry).collect();
        added.iter().for_each(|entry| self.put(entry.clone()));
        added
    }

    pub(super) fn set(&mut self, which: &Which, value: &[u8]) -> Result<Vec<Entry>, ListError> {
        let mut changed = Vec::new();
        for number in self.meant(which) {
            if let Some(entry) = self.by_number.get_mut(&number) {
                self.bytes -= entry.bytes();
                entry.value = Some(value.into());
                self.bytes += entry.bytes();
                changed.push(entry.clone());
            }
        }
        if changed.is_empty() {
            Err(ListError::NotFound)
        } else {
            Ok(changed)
        }
    }

    pub(super) fn delete(&mut self, which: &Which) -> Result<Vec<Entry>, ListError> {
        let mut removed = Vec::new();
        for number in self.meant(which) {
            let Some(entry) = self.by_number.remove(&number) else {
                continue;
            };
            self.bytes -= entry.bytes();
            if let Some(numbers) = self.by_key.get_mut(&entry.key) {
                numbers.retain(|other| *other != number);
                if numbers.is_empty() {
                    self.by_key.remove(&entry.key);
                }
            }
            removed.push(entry);
        }
        if removed.is_empty() {
            Err(ListError::NotFound)
        } else {
            Ok(removed)
        }
    }
}
