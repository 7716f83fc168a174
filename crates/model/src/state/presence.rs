//! Counts objects that exist at the moment, such as streams: each thread has its own count, so
//! that a change is cheap; a reader adds up all of them.

use reactor::{shard_count, shard_here};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The count of one thread, on a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Share(AtomicU64);

/// Number of existing objects, without contention between threads.
#[derive(Default)]
pub struct Presence {
    shares: OnceLock<Box<[Share]>>,
}

impl Clone for Presence {
    fn clone(&self) -> Self {
        Presence::default()
    }
}

impl std::fmt::Debug for Presence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Presence({})", self.current())
    }
}

impl Presence {
    fn here(&self) -> &AtomicU64 {
        let make = || (0..shard_count()).map(|_| Share::default()).collect();
        let shares: &[Share] = self.shares.get_or_init(make);
        &shares[shard_here(shares.len())].0
    }

    pub fn increment(&self) {
        self.here().fetch_add(1, Relaxed);
    }

    /// Subtracts one. The object may have begun on another thread: the count of one thread may
    /// wrap around below zero, and the sum is still right.
    pub fn decrement(&self) {
        self.here().fetch_sub(1, Relaxed);
    }

    /// Returns the number of objects, slightly outdated.
    pub fn current(&self) -> u64 {
        let shares = self.shares.get().map_or(&[][..], |shares| shares);
        let sum = shares
            .iter()
            .fold(0u64, |sum, share| sum.wrapping_add(share.0.load(Relaxed)));
        // Returns 0 for a negative sum, which is possible for a moment if an object that began on
        // one thread ends on another during the read.
        if sum > u64::MAX / 2 { 0 } else { sum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_on_one_thread_and_left_on_another_is_gone() {
        let presence = Presence::default();
        assert_eq!(presence.current(), 0);
        presence.increment();
        std::thread::scope(|scope| {
            scope.spawn(|| presence.increment());
        });
        assert_eq!(presence.current(), 2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                reactor::set_shard(0);
                presence.decrement();
                presence.decrement();
            });
        });
        assert_eq!(presence.current(), 0);
    }
}
