//! Keeps every configuration that a stream or connection still uses, until the runtime has the
//! last reference. So the drop of that reference, which frees the whole configuration, never
//! happens on a thread that serves clients.

use model::config::Config;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VersionReport {
    /// Number of the configuration, from 1 upwards.
    pub number: u64,
    pub since: SystemTime,
    pub connections: u64,
    /// New requests and connections use this configuration.
    pub newest: bool,
}

#[derive(Debug)]
struct Living {
    config: Arc<Config>,
    since: SystemTime,
}

/// All configurations that are still in use, the newest last.
#[derive(Debug, Default)]
pub(super) struct Versions(Mutex<Vec<Living>>);

impl Versions {
    fn list(&self) -> MutexGuard<'_, Vec<Living>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, config: Arc<Config>) {
        let since = SystemTime::now();
        self.list().push(Living { config, since });
    }

    pub(super) fn report(&self) -> Vec<VersionReport> {
        let list = self.list();
        let newest = list.len();
        list.iter()
            .enumerate()
            .map(|(at, living)| VersionReport {
                number: living.config.version,
                since: living.since,
                connections: living.config.sessions.current(),
                newest: at + 1 == newest,
            })
            .collect()
    }

    pub(super) fn has_unused(&self) -> bool {
        let older = self.list();
        let mut older = older.iter().rev().skip(1);
        older.any(|living| Arc::strong_count(&living.config) == 1)
    }

    /// Drops the configurations that nothing else references; returns their number.
    pub(super) fn forget_unused(&self) -> usize {
        let mut unused = Vec::new();
        {
            let mut list = self.list();
            // If this is the only reference to a configuration, nothing can create another.
            let last = list.len().saturating_sub(1);
            let mut at = 0;
            list.retain(|living| {
                let keeps = at == last || Arc::strong_count(&living.config) > 1;
                at += 1;
                if !keeps {
                    unused.push(Arc::clone(&living.config));
                }
                keeps
            });
        }
        // The configurations are freed after the lock is released, because freeing a large one
        // takes time.
        unused.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(version: u64) -> Arc<Config> {
        Arc::new(Config {
            version,
            ..Config::default()
        })
    }

    #[test]
    fn unused_versions_are_freed_except_the_newest() {
        let versions = Versions::default();
        let held = numbered(1);
        versions.add(Arc::clone(&held));
        versions.add(numbered(2));
        versions.add(numbered(3));
        assert!(versions.has_unused());
        assert_eq!(versions.forget_unused(), 1);
        assert!(!versions.has_unused());
        let numbers = |versions: &Versions| -> Vec<(u64, bool)> {
            let report = versions.report();
            report.iter().map(|one| (one.number, one.newest)).collect()
        };
        assert_eq!(numbers(&versions), [(1, false), (3, true)]);
        drop(held);
        assert_eq!(versions.forget_unused(), 1);
        assert_eq!(versions.forget_unused(), 0);
        assert_eq!(numbers(&versions), [(3, true)]);
    }
}
