//! Measures how long the current disk operations have been running. A stuck disk reports no error:
//! its operation only does not return.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Kind of a disk operation: at most one of each kind runs at a time.
#[derive(Clone, Copy)]
pub(super) enum Access {
    Write,
    Read,
}

#[derive(Debug)]
pub(super) struct Busy {
    began: Instant,
    /// Start of the operation of each kind, microseconds since `began`, plus one; 0 without an
    /// operation.
    since: [AtomicU64; 2],
}

impl Default for Busy {
    fn default() -> Busy {
        Busy {
            began: Instant::now(),
            since: Default::default(),
        }
    }
}

impl Busy {
    fn now(&self) -> u64 {
        let micros = self.began.elapsed().as_micros();
        u64::try_from(micros).unwrap_or(u64::MAX).saturating_add(1)
    }

    pub(super) fn while_at<T>(&self, work: Access, act: impl FnOnce() -> T) -> T {
        let since = match work {
            Access::Write => &self.since[0],
            Access::Read => &self.since[1],
        };
        since.store(self.now(), Ordering::Relaxed);
        let done = act();
        since.store(0, Ordering::Relaxed);
        done
    }

    /// Returns the running time of the longest current operation; zero without one.
    pub(super) fn longest(&self) -> Duration {
        let now = self.now();
        let waits = self.since.iter().map(|since| since.load(Ordering::Relaxed));
        let waits = waits.filter(|since| *since > 0);
        Duration::from_micros(
            waits
                .map(|since| now.saturating_sub(since))
                .max()
                .unwrap_or(0),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_is_counted_and_what_is_done_is_not() {
        let busy = Busy::default();
        assert_eq!(busy.longest(), Duration::ZERO);
        busy.while_at(Access::Write, || {
            std::thread::sleep(Duration::from_millis(5));
            let before = busy.longest();
            assert!(before >= Duration::from_millis(5));
            busy.while_at(Access::Read, || assert!(busy.longest() >= before));
            assert!(busy.longest() >= before, "the write is not done");
        });
        assert_eq!(busy.longest(), Duration::ZERO);
    }
}
