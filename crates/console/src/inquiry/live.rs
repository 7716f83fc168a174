//! Runs the queries of live pages to the proxy. Browsers with the same query share it, and it runs
//! once per poll of the platform. The number of different queries is bounded.

use super::{ProxyQuery, ProxyResponse};
use crate::platform::Platform;
use part::lock;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

const LIVE_MAX: usize = 16;

#[derive(Debug, Default)]
pub struct SharedQueries {
    known: Mutex<BTreeMap<(String, ProxyQuery), Weak<SharedQuery>>>,
}

/// A query to one machine that live pages share. It is dropped when the last of them closes.
#[derive(Debug)]
pub struct SharedQuery {
    /// Name of the machine to query. Empty: this machine.
    pub on: String,
    pub ask: ProxyQuery,
    /// Last response, and the poll of the platform to which it belongs. The task that sends the
    /// query holds the lock, so no query runs twice.
    pub last: tokio::sync::Mutex<Option<(Arc<Platform>, Arc<ProxyResponse>)>>,
}

impl SharedQueries {
    /// Joins the pages that have the same query. None if the limit of different queries is reached.
    pub fn follow(&self, on: &str, ask: &ProxyQuery) -> Option<Arc<SharedQuery>> {
        let mut known = lock(&self.known);
        known.retain(|_, one| one.strong_count() > 0);
        let key = (on.to_owned(), ask.clone());
        if let Some(one) = known.get(&key).and_then(Weak::upgrade) {
            return Some(one);
        }
        if known.len() >= LIVE_MAX {
            return None;
        }
        let one = Arc::new(SharedQuery {
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
    fn equal_queries_are_shared_and_distinct_ones_are_bounded() {
        let all = SharedQueries::default();
        let ask = |id| ProxyQuery::Request { id };
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
