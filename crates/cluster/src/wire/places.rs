//! Limits on how many items (connections, requests) each key holds at once.

use part::lock;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

/// Number of items that each key holds. Keys without items are absent.
#[derive(Debug)]
pub(crate) struct Places<K: Hash + Eq + Copy>(Arc<Mutex<HashMap<K, usize>>>);

impl<K: Hash + Eq + Copy> Default for Places<K> {
    fn default() -> Self {
        Places(Arc::default())
    }
}

/// A counted item; released when dropped.
#[derive(Debug)]
pub(crate) struct Place<K: Hash + Eq + Copy> {
    of: Arc<Mutex<HashMap<K, usize>>>,
    key: K,
}

impl<K: Hash + Eq + Copy> Places<K> {
    /// Adds an item for a key if `is_free` permits it. `is_free` receives the key's count
    /// and the total.
    pub(crate) fn take(
        &self,
        key: K,
        is_free: impl FnOnce(usize, &HashMap<K, usize>) -> bool,
    ) -> Option<Place<K>> {
        let mut all = lock(&self.0);
        let own = all.get(&key).copied().unwrap_or_default();
        if !is_free(own, &all) {
            return None;
        }
        all.insert(key, own + 1);
        let of = Arc::clone(&self.0);
        Some(Place { of, key })
    }
}

impl<K: Hash + Eq + Copy> Drop for Place<K> {
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
