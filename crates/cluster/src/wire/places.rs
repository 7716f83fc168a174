//! Limits the number of items (connections, requests) that each key holds at once.

use part::lock;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

/// Number of items that each key holds. Keys without items are absent.
#[derive(Debug)]
pub(crate) struct QuotaTable<K: Hash + Eq + Copy>(Arc<Mutex<HashMap<K, usize>>>);

impl<K: Hash + Eq + Copy> Default for QuotaTable<K> {
    fn default() -> Self {
        QuotaTable(Arc::default())
    }
}

/// A counted item; released when dropped.
#[derive(Debug)]
pub(crate) struct QuotaSlot<K: Hash + Eq + Copy> {
    of: Arc<Mutex<HashMap<K, usize>>>,
    key: K,
}

impl<K: Hash + Eq + Copy> QuotaTable<K> {
    /// Adds an item for a key if `is_free` permits it. `is_free` receives the key's count and the
    /// counts of all keys.
    pub(crate) fn acquire_slot(
        &self,
        key: K,
        is_free: impl FnOnce(usize, &HashMap<K, usize>) -> bool,
    ) -> Option<QuotaSlot<K>> {
        let mut all = lock(&self.0);
        let own = all.get(&key).copied().unwrap_or_default();
        if !is_free(own, &all) {
            return None;
        }
        all.insert(key, own + 1);
        let of = Arc::clone(&self.0);
        Some(QuotaSlot { of, key })
    }
}

impl<K: Hash + Eq + Copy> Drop for QuotaSlot<K> {
    fn drop(&mut self) {
        let mut all = lock(&self.of);
        if let Some(own) = all.get_mut(&self.key) {
            *own -= 1;
            if *own == 0 {
                all.remove(&self.key);
            }
        }
    }
}
