//! Lists the servers of a backend that changed (state, weight), for each configuration that still
//! balances over them.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
pub struct SharedBalanceState {
    /// For each configuration that balances over the servers, the uids of changed servers. A
    /// server is listed once, unless several configurations are in use.
    pub(crate) changes: Mutex<Vec<News>>,
    /// Number of removed servers that older configurations may still use.
    pub(crate) retired: AtomicU32,
}

#[derive(Debug)]
pub(crate) struct News {
    /// Set while there are changes. If nothing else owns this flag, its configuration was dropped.
    pub(crate) has_changes: Arc<AtomicBool>,
    pub(crate) uids: Vec<u32>,
    /// Number of entries at which duplicates are removed.
    pub(crate) most: usize,
}

/// Minimum number of changes for a configuration before duplicates are removed.
pub(crate) const NEWS_MIN: usize = 64;
/// Maximum number of changes that are applied before one choice of a server. A change of ten
/// thousand servers must not delay a single stream.
pub(crate) const NEWS_AT_ONCE: usize = 256;

impl SharedBalanceState {
    pub(crate) fn lock_changes(&self) -> MutexGuard<'_, Vec<News>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a server to the changes for all configurations.
    pub fn list(&self, uid: u32) {
        let mut news = self.lock_changes();
        news.retain(|one| Arc::strong_count(&one.has_changes) > 1);
        for one in news.iter_mut() {
            if one.uids.len() >= one.most {
                // Removes duplicates, which arise if the configuration of `one` is not in use: the
                // one in use resets the marks that prevent duplicates.
                one.uids.sort_unstable();
                one.uids.dedup();
                one.most = NEWS_MIN.max(2 * one.uids.len());
            }
            one.uids.push(uid);
            one.has_changes.store(true, Ordering::SeqCst);
        }
    }

    pub(crate) fn retired(&self) -> u32 {
        self.retired.load(Ordering::SeqCst)
    }

    pub(crate) fn retire_one(&self) {
        self.retired.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn forget_one(&self) {
        self.retired.fetch_sub(1, Ordering::SeqCst);
    }

    /// Starts to collect changes for a configuration; `bell` is its flag.
    pub(crate) fn subscribe(&self, bell: &Arc<AtomicBool>) {
        let mut news = self.lock_changes();
        news.retain(|one| Arc::strong_count(&one.has_changes) > 1);
        if !news.iter().any(|one| Arc::ptr_eq(&one.has_changes, bell)) {
            news.push(News {
                has_changes: Arc::clone(bell),
                uids: Vec::new(),
                most: NEWS_MIN,
            });
        }
    }

    /// Removes and returns the changes for the configuration with this flag, at most
    /// [`NEWS_AT_ONCE`].
    pub(crate) fn take_changes(&self, bell: &Arc<AtomicBool>) -> Vec<u32> {
        let mut news = self.lock_changes();
        let Some(one) = news
            .iter_mut()
            .find(|one| Arc::ptr_eq(&one.has_changes, bell))
        else {
            bell.store(false, Ordering::SeqCst);
            return Vec::new();
        };
        if one.uids.len() <= NEWS_AT_ONCE {
            bell.store(false, Ordering::SeqCst);
            return std::mem::take(&mut one.uids);
        }
        one.uids.drain(..NEWS_AT_ONCE).collect()
    }
}
