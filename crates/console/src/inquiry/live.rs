//! What live pages ask at one time: each once for all browsers that see the same, and once for each
//! look at the platform; and a bound for how much that is.

use super::{Answer, Ask};
use crate::platform::Platform;
use part::lock;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

/// Different ones at one time.
const LIVE_MAX: usize = 16;

/// All of them.
#[derive(Debug, Default)]
pub struct Inquiries {
    known: Mutex<BTreeMap<(String, Ask), Weak<Inquiry>>>,
}

/// What some live pages ask of one machine, until the last of them is closed.
#[derive(Debug)]
pub struct Inquiry {
    /// The machine; empty: this one.
    pub on: String,
    /// What is asked.
    pub ask: Ask,
    /// The last answer, and the look that it belongs to. Who asks holds it, so nobody asks twice.
    pub last: tokio::sync::Mutex<Option<(Arc<Platform>, Arc<Answer>)>>,
}

impl Inquiries {
    /// Joins those who ask the same. None: so many different things are asked that no more is.
    pub fn follow(&self, on: &str, ask: &Ask) -> Option<Arc<Inquiry>> {
        let mut known = lock(&self.known);
        known.retain(|_, one| one.strong_count() > 0);
        let key = (on.to_owned(), ask.clone());
        if let Some(one) = known.get(&key).and_then(Weak::upgrade) {
            return Some(one);
        }
        if known.len() >= LIVE_MAX {
            return None;
        }
        let one = Arc::new(Inquiry {
            on: on.to_owned(),
            ask: ask.clone(),
            last: tokio::sync::Mutex::default(),
        });
        known.insert(key, Arc::downgrade(&one));
        Some(one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_ask_the_same_share_it_and_the_number_of_different_ones_is_bounded() {
        let all = Inquiries::default();
        let ask = |id| Ask::Request { id };
        let one = all.follow("", &ask(0)).unwrap();
        let same = all.follow("", &ask(0)).unwrap();
        assert!(Arc::ptr_eq(&one, &same));
        assert!(!Arc::ptr_eq(&one, &all.follow("beta", &ask(0)).unwrap()));
        let mut kept: Vec<_> = (0..LIVE_MAX as u64)
            .filter_map(|id| all.follow("", &ask(id)))
            .collect();
        assert_eq!(kept.len(), LIVE_MAX);
        assert!(all.follow("", &ask(99)).is_none());
        assert!(all.follow("", &ask(3)).is_some());
        kept.pop();
        assert!(all.follow("", &ask(99)).is_some());
    }
}
