//! When files that change have settled: a value that is told what happened and
//! when. It looks at no file and reads no clock.

use std::collections::HashSet;
use std::time::{Duration, Instant};

/// For how many delays files that are written all the time are waited for.
const DELAYS_MAX: u32 = 10;
/// The shortest such time.
const LATEST_MIN: Duration = Duration::from_secs(5);
/// How long a file that somebody has written to and holds open may be left alone.
const OPEN_LIMIT: Duration = Duration::from_secs(30);
/// How long it is waited for at all.
const OPEN_LATEST: Duration = Duration::from_secs(120);
/// Files that are written at one time and waited for; others are not.
const OPEN_MAX: usize = 1_024;

/// A file: a directory's number, and a name in it.
pub type Key = (i32, Vec<u8>);

/// What happened since the files were read.
#[derive(Debug, Default)]
pub struct Settle {
    first: Option<Instant>,
    last: Option<Instant>,
    /// Written to, and not closed yet.
    open: HashSet<Key>,
}

impl Settle {
    /// Something happened.
    pub fn happened(&mut self, now: Instant) {
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    /// Somebody has begun to write a file.
    pub fn opened(&mut self, key: Key, now: Instant) {
        self.happened(now);
        if self.open.len() < OPEN_MAX {
            self.open.insert(key);
        }
    }

    /// A file is whole, or gone.
    pub fn closed(&mut self, key: &Key, now: Instant) {
        self.happened(now);
        self.open.remove(key);
    }

    /// When the files are to be read.
    pub fn due(&self, delay: Duration) -> Option<Instant> {
        let (first, last) = (self.first?, self.last?);
        Some(match self.open.is_empty() {
            true => {
                let latest = (delay * DELAYS_MAX).max(LATEST_MIN);
                (last + delay).min(first + latest)
            }
            false => (last + delay.max(OPEN_LIMIT)).min(first + delay.max(OPEN_LATEST)),
        })
    }

    /// The files are read now.
    pub fn begin(&mut self) {
        // Who still writes is waited for again once he goes on.
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
    fn files_are_read_a_quiet_time_after_the_last_that_happened() {
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
    fn files_that_are_never_quiet_are_read_all_the_same() {
        let now = Instant::now();
        let mut settle = Settle::default();
        for n in 0..1000 {
            settle.happened(now + Duration::from_millis(100) * n);
        }
        assert_eq!(settle.due(DELAY), Some(now + LATEST_MIN));
    }

    #[test]
    fn a_file_that_is_half_written_is_waited_for_until_it_is_closed() {
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
