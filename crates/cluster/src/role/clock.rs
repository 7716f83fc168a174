//! Provides the times of the role: from the system, or in simulations from the runtime.

use crate::lease::Boottime;
use crate::wire::Timing;
use part::clock::unix_ms;

/// Source of the time in the role.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// CLOCK_BOOTTIME, and the wall clock for displayed times only.
    System,
    #[cfg(test)]
    Runtime {
        /// Number of times this member was started.
        start: u64,
    },
}

impl Clock {
    pub fn boottime(&self) -> Boottime {
        match self {
            Clock::System => Boottime::now(),
            #[cfg(test)]
            Clock::Runtime { .. } => {
                let elapsed = turmoil::sim_elapsed().unwrap_or_default();
                Boottime(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
            }
        }
    }

    pub fn unix_s(&self) -> i64 {
        (self.seconds())()
    }

    pub fn seconds(&self) -> fn() -> i64 {
        || i64::try_from(unix_ms() / 1_000).unwrap_or(i64::MAX)
    }

    /// Returns a number for this start of the member, which is above those of earlier starts unless
    /// the clock was set back.
    pub fn incarnation(&self) -> u64 {
        match self {
            // Milliseconds of the wall clock. Gossip recovers by itself if the clock is set
            // back.
            Clock::System => unix_ms(),
            #[cfg(test)]
            Clock::Runtime { start } => *start,
        }
    }

    pub fn timing(&self) -> Timing {
        Timing::default()
    }
}
