//! Measures a rate of events over a sliding period: the events of the current period, and of the
//! previous period the share that is still in the window. The rate is three words, changed
//! without a lock. An event that is counted when a period ends may become visible slightly late,
//! but is never lost.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Parts of a rate: elapsed time of the current period, events in it, and events in the previous
/// period.
#[derive(Clone, Copy, Default)]
pub struct RateParts {
    pub age_ms: u32,
    pub current: u32,
    pub previous: u32,
}

/// Access to the three words that store a rate.
pub struct Rate<'w> {
    began: &'w AtomicU32,
    current: &'w AtomicU32,
    previous: &'w AtomicU32,
}

impl<'w> Rate<'w> {
    pub fn of(words: &'w [AtomicU32]) -> Option<Rate<'w>> {
        let [began, current, previous, ..] = words else {
            return None;
        };
        Some(Rate {
            began,
            current,
            previous,
        })
    }

    /// Counts events at a time in milliseconds, which wraps around.
    pub fn add(&self, now_ms: u32, period_ms: u32, count: u32) {
        loop {
            let began = self.began.load(Relaxed);
            if began == 0 {
                // Begins the first period at 1 or later, because 0 means that nothing was counted
                // yet.
                let first = now_ms.max(1);
                let _ = self.began.compare_exchange(0, first, Relaxed, Relaxed);
                continue;
            }
            let age = now_ms.wrapping_sub(began);
            // Counts in the current period also if the clock of this thread is slightly behind that
            // of the thread that began the period.
            if age < period_ms || age > u32::MAX / 2 {
                self.current.fetch_add(count, Relaxed);
                return;
            }
            let follows = age / 2 < period_ms;
            let next = if follows {
                began.wrapping_add(period_ms)
            } else {
                now_ms
            };
            let turned = self.began.compare_exchange(began, next, Relaxed, Relaxed);
            if turned.is_ok() {
                let ended = self.current.swap(count, Relaxed);
                self.previous
                    .store(if follows { ended } else { 0 }, Relaxed);
                return;
            }
        }
    }

    pub fn read(&self, now_ms: u32, period_ms: u32) -> u32 {
        let mut age = now_ms.wrapping_sub(self.began.load(Relaxed));
        if age > u32::MAX / 2 {
            age = 0;
        }
        let (mut current, mut previous) = (self.current.load(Relaxed), self.previous.load(Relaxed));
        if age >= period_ms {
            age -= period_ms;
            (current, previous) = (0, current);
            if age >= period_ms {
                return 0;
            }
        }
        // Counts a single event of the previous period as one: rounding would drop it at once.
        if previous <= 1 && current == 0 {
            return previous;
        }
        let left = u64::from(previous) * u64::from(period_ms - age) / u64::from(period_ms.max(1));
        current.saturating_add(left as u32)
    }

    /// Begins a period now with this count, and clears the count of the previous one.
    pub fn set(&self, now_ms: u32, count: u32) {
        // Stores a time other than 0, which would mean that nothing was counted yet.
        self.began.store(now_ms.max(1), Relaxed);
        self.previous.store(0, Relaxed);
        self.current.store(count, Relaxed);
    }

    /// Returns the parts of the rate, to send it to another process.
    pub fn parts(&self, now_ms: u32) -> RateParts {
        RateParts {
            age_ms: now_ms.wrapping_sub(self.began.load(Relaxed)),
            current: self.current.load(Relaxed),
            previous: self.previous.load(Relaxed),
        }
    }

    pub fn set_parts(&self, now_ms: u32, parts: RateParts) {
        self.began.store(now_ms.wrapping_sub(parts.age_ms), Relaxed);
        self.current.store(parts.current, Relaxed);
        self.previous.store(parts.previous, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_counts_as_far_as_it_reaches_into_the_window() {
        let words: [AtomicU32; 3] = Default::default();
        let rate = Rate::of(&words).expect("three words");
        let period = 1000;
        rate.add(50_000, period, 10);
        assert_eq!(rate.read(50_000, period), 10);
        assert_eq!(rate.read(50_999, period), 10);
        assert_eq!(rate.read(51_500, period), 5);
        rate.add(51_500, period, 4);
        assert_eq!(rate.read(51_500, period), 9);
        assert_eq!(rate.read(51_750, period), 6);
        assert_eq!(rate.read(52_000, period), 4);
        assert_eq!(rate.read(53_000, period), 0);
        rate.add(60_000, period, 1);
        assert_eq!(rate.read(60_000, period), 1);
    }

    #[test]
    fn the_first_period_ends_whatever_the_clock_says() {
        for now in [0, 5000, u32::MAX / 2 + 5000, u32::MAX] {
            let words: [AtomicU32; 3] = Default::default();
            let rate = Rate::of(&words).expect("three words");
            rate.add(now, 1000, 7);
            assert_eq!(rate.read(now, 1000), 7, "{now}");
            assert_eq!(rate.read(now.wrapping_add(2100), 1000), 0, "{now}");
        }
    }

    #[test]
    fn the_clock_may_wrap_around() {
        let words: [AtomicU32; 3] = Default::default();
        let rate = Rate::of(&words).expect("three words");
        rate.add(u32::MAX - 10, 1000, 3);
        assert_eq!(rate.read(100, 1000), 3);
        rate.add(100, 1000, 1);
        assert_eq!(rate.read(100, 1000), 4);
    }
}
