//! Decides when changing files have settled, from the reported events and their times. The module
//! accesses no file and reads no clock.

use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Maximum wait for files that change all the time, in multiples of the configured delay.
const DELAYS_MAX: u32 = 10;
/// Lower bound of the maximum wait for files that change all the time.
const LATEST_MIN: Duration = Duration::from_secs(5);
/// Maximum time without an event for which a file that was written to and is still open is waited
/// for, if the configured delay is not longer.
const OPEN_LIMIT: Duration = Duration::from_secs(30);
/// Maximum total time for which a file that is still open is waited for, if the configured delay is
/// not longer.
const OPEN_LATEST: Duration = Duration::from_secs(120);
const OPEN_MAX: usize = 1_024;

/// A file: watch descriptor of the directory, and name.
pub type Key = (i32, Vec<u8>);

/// Events since the files were last read.
#[derive(Debug, Default)]
pub struct Settle {
    first: Option<Instant>,
    last: Option<Instant>,
    /// Files that were written to and are still open.
    open: HashSet<Key>,
}

impl Settle {
    pub fn happened(&mut self, now: Instant) {
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    pub fn opened(&mut self, key: Key, now: Instant) {
        self.happened(now);
        if self.open.len() < OPEN_MAX {
            self.open.insert(key);
        }
    }

    /// Records that a file is complete or was removed.
    pub fn closed(&mut self, key: &Key, now: Instant) {
        self.happened(now);
        self.open.remove(key);
    }

    /// Returns when the files have settled and must be read; None without a change.
    pub fn due(&self, delay: Duration) -> Option<Instant> {
        let (first, last) = (self.first?, self.last?);
        Some(if self.open.is_empty() {
            let latest = (delay * DELAYS_MAX).max(LATEST_MIN);
            (last + delay).min(first + latest)
        } else {
            (last + delay.max(OPEN_LIMIT)).min(first + delay.max(OPEN_LATEST))
        })
    }

    pub fn begin(&mut self) {
        // Forgets open files, too: a file that is still being written counts again at the next
        // write.
        *self = Settle::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(500);

    fn key(name: &str) -> Key {
        (1, name.into())
    }

    #[test]
    fn files_are_read_after_a_quiet_time() {
        let now = Instant::now();
        let mut settle = Settle::default();
        assert_eq!(settle.due(DELAY), None);
        settle.happened(now);
        settle.happened(now + DELAY / 2);
        assert_eq!(settle.due(DELAY), Some(now + DELAY / 2 + DELAY));
        settle.begin();
        assert_eq!(settle.due(DELAY), None);
    }

    #[test]
    fn files_that_change_all_the_time_are_read_eventually() {
        let now = Instant::now();
        let mut settle = Settle::default();
        for n in 0..1000 {
            settle.happened(now + Duration::from_millis(100) * n);
        }
        assert_eq!(settle.due(DELAY), Some(now + LATEST_MIN));
    }

    #[test]
    fn incomplete_file_is_awaited_until_its_close() {
        let now = Instant::now();
        let mut settle = Settle::default();
        settle.opened(key("a"), now);
        assert_eq!(settle.due(DELAY), Some(now + OPEN_LIMIT));
        settle.opened(key("b"), now);
        let later = now + Duration::from_secs(9);
        settle.closed(&key("a"), later);
        assert_eq!(settle.due(DELAY), Some(later + OPEN_LIMIT), "b is open");
        settle.closed(&key("b"), later);
        assert_eq!(settle.due(DELAY), Some(now + LATEST_MIN));
    }
}
