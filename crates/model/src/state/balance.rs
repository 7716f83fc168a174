//! What balancing keeps of a backend, whatever the tree: which servers changed.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the algorithms of a backend have in common, whatever the tree.
#[derive(Debug, Default)]
pub struct State {
    /// For each living tree's line, the uids of servers about which
    /// something changed. Each is on it once, unless several trees live.
    pub(crate) news: Mutex<Vec<News>>,
    /// Servers of it that the newest tree has no more, and others may have.
    pub(crate) retired: AtomicU32,
}

#[derive(Debug)]
pub(crate) struct News {
    /// Set when there is some. Nobody else has it: the line is no more.
    pub(crate) bell: Arc<AtomicBool>,
    pub(crate) uids: Vec<u32>,
    /// How many there may be until repeats are taken out.
    pub(crate) most: usize,
}

/// So many news of a line are never looked through for repeats.
pub(crate) const NEWS_MIN: usize = 64;
/// News that one choice looks at; the rest are for the next ones. A change of
/// ten thousand servers must not fall on one stream.
pub(crate) const NEWS_AT_ONCE: usize = 256;

impl State {
    pub(crate) fn news(&self) -> MutexGuard<'_, Vec<News>> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a server on the lists of those to look at.
    pub fn list(&self, uid: u32) {
        let mut news = self.news();
        news.retain(|one| Arc::strong_count(&one.bell) > 1);
        for one in news.iter_mut() {
            if one.uids.len() >= one.most {
                // Of a line that nobody asks while others clear the marks.
                one.uids.sort_unstable();
                one.uids.dedup();
                one.most = NEWS_MIN.max(2 * one.uids.len());
            }
            one.uids.push(uid);
            one.bell.store(true, Ordering::SeqCst);
        }
    }

    /// How many servers of the backend were removed and still live.
    pub(crate) fn retired(&self) -> u32 {
        self.retired.load(Ordering::SeqCst)
    }

    /// A server was removed.
    pub(crate) fn retire_one(&self) {
        self.retired.fetch_add(1, Ordering::SeqCst);
    }

    /// One that was removed is gone.
    pub(crate) fn forget_one(&self) {
        self.retired.fetch_sub(1, Ordering::SeqCst);
    }

    /// A line is told what happens from now on.
    pub(crate) fn subscribe(&self, bell: &Arc<AtomicBool>) {
        let mut news = self.news();
        news.retain(|one| Arc::strong_count(&one.bell) > 1);
        if !news.iter().any(|one| Arc::ptr_eq(&one.bell, bell)) {
            news.push(News {
                bell: Arc::clone(bell),
                uids: Vec::new(),
                most: NEWS_MIN,
            });
        }
    }

    /// Some of the news for a line.
    pub(crate) fn news_for(&self, bell: &Arc<AtomicBool>) -> Vec<u32> {
        let mut news = self.news();
        let Some(one) = news.iter_mut().find(|one| Arc::ptr_eq(&one.bell, bell)) else {
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
