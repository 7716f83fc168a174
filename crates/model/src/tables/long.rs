//! Counter of 63 bits in two words that are changed without a lock.
//!
//! The lower word has 31 bits of the value, and above them the lowest bit of the upper word. An
//! addition carries into that bit at once, and only then adds the carry to the upper word. A reader
//! that finds two different bits therefore knows that a carry is still missing. Two carries that are
//! missing at the same time are read as none: for that, others have to add 2 GiB while a thread is
//! between its two steps.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

const LOW_BITS: u32 = 31;
const LOW: u32 = (1 << LOW_BITS) - 1;
const VALUE_MAX: u64 = u64::MAX >> 1;

pub(super) struct LongCounter<'a> {
    low: &'a AtomicU32,
    high: &'a AtomicU32,
}

impl LongCounter<'_> {
    pub(super) fn of(words: &[AtomicU32]) -> Option<LongCounter<'_>> {
        match words {
            [low, high, ..] => Some(LongCounter { low, high }),
            _ => None,
        }
    }

    /// Adds in pieces that carry once at most, because the lower word shows only one missing carry.
    pub(super) fn add(&self, count: u64) {
        let mut left = count;
        while left > 0 {
            let piece = left.min(LOW.into());
            if self.add_low(piece as u32) {
                self.high.fetch_add(1, Release);
            }
            left -= piece;
        }
    }

    /// Adds to the lower word, and returns whether the upper word lacks the carry.
    fn add_low(&self, piece: u32) -> bool {
        let before = self.low.fetch_add(piece, AcqRel);
        (before & LOW) + piece > LOW
    }

    pub(super) fn read(&self) -> u64 {
        loop {
            let high = self.high.load(Acquire);
            let low = self.low.load(Acquire);
            // Repeats the reads if the upper word changed between them: they do not belong together.
            if self.high.load(Relaxed) == high {
                let missing = (low >> LOW_BITS) ^ (high & 1);
                let high = u64::from(high) + u64::from(missing);
                return (high << LOW_BITS) + u64::from(low & LOW);
            }
        }
    }

    /// Sets the value, to 2^63 - 1 at most.
    pub(super) fn set(&self, value: u64) {
        let value = value.min(VALUE_MAX);
        // The lower 32 bits include the lowest bit of the upper word.
        self.low.store(value as u32, Release);
        self.high.store((value >> LOW_BITS) as u32, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> [AtomicU32; 2] {
        [AtomicU32::new(0), AtomicU32::new(0)]
    }

    #[test]
    fn counter_is_read_right_before_the_carry_is_added() {
        let words = words();
        let counter = LongCounter::of(&words).unwrap();
        let mut sum = 0;
        for piece in [LOW, 1, LOW, LOW, 2, LOW, 5] {
            sum += u64::from(piece);
            let is_missing = counter.add_low(piece);
            assert_eq!(counter.read(), sum);
            counter.high.fetch_add(is_missing.into(), Relaxed);
            assert_eq!(counter.read(), sum);
        }
        counter.add(7 << 40);
        assert_eq!(counter.read(), sum + (7 << 40));
        for value in [0, 1, 1 << LOW_BITS, (1 << 32) + 7, VALUE_MAX] {
            counter.set(value);
            assert_eq!(counter.read(), value);
        }
        counter.set(u64::MAX);
        assert_eq!(counter.read(), VALUE_MAX);
    }

    #[test]
    fn counter_never_goes_back_while_another_thread_adds() {
        let words = words();
        let counter = LongCounter::of(&words).unwrap();
        let step = u64::from(u32::MAX - 3);
        std::thread::scope(|scope| {
            scope.spawn(|| (0..200_000).for_each(|_| counter.add(step)));
            let mut before = 0;
            while before < 200_000 * step {
                let now = counter.read();
                assert!(now >= before, "{now} after {before}");
                before = now;
            }
        });
    }
}
