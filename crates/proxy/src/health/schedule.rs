//! Calculates the time of a server's next check. The current time and the random number are
//! arguments.

use model::state::CheckPhase;

/// Maximum value of `spread-checks`, percent.
pub const SPREAD_MAX: u32 = 50;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Schedule {
    pub inter_ms: u32,
    /// `fastinter`, milliseconds; `inter` where the file gives none.
    pub fastinter_ms: Option<u32>,
    /// `downinter`, milliseconds; `inter` where the file gives none.
    pub downinter_ms: Option<u32>,
    /// Random variation of the interval (`spread-checks`), percent.
    pub spread: u32,
}

impl Schedule {
    pub fn interval_ms(&self, phase: CheckPhase) -> u32 {
        let own = match phase {
            CheckPhase::Up => None,
            CheckPhase::Changing => self.fastinter_ms,
            CheckPhase::Down => self.downinter_ms,
        };
        own.unwrap_or(self.inter_ms).max(1)
    }

    /// Returns the time from the end of a check to the next one, milliseconds. `random` shifts it
    /// by at most `spread` percent in either direction.
    pub fn next_ms(&self, phase: CheckPhase, random: u32) -> u64 {
        let interval = u64::from(self.interval_ms(phase));
        let most = self.spread_ms(interval);
        let move_by = u64::from(random) % (2 * most + 1);
        (interval - most + move_by).max(1)
    }

    /// Returns by how much an interval may be longer or shorter than configured, milliseconds.
    pub(super) fn spread_ms(&self, interval_ms: u64) -> u64 {
        interval_ms * u64::from(self.spread.min(SPREAD_MAX)) / 100
    }

    /// Returns the time until the first check of the `n`-th of `total` servers. The first checks of
    /// a process are spread over the shortest interval of all servers, but at most over
    /// `spread_max_ms`.
    pub fn first_ms(shortest_ms: u32, spread_max_ms: Option<u32>, n: usize, total: usize) -> u64 {
        let over = spread_max_ms.map_or(shortest_ms, |max| max.min(shortest_ms));
        u64::from(over) * n as u64 / total.max(1) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule = Schedule {
        inter_ms: 2000,
        fastinter_ms: Some(500),
        downinter_ms: Some(10_000),
        spread: 0,
    };

    #[test]
    fn each_phase_has_its_interval() {
        assert_eq!(SCHEDULE.next_ms(CheckPhase::Up, 7), 2000);
        assert_eq!(SCHEDULE.next_ms(CheckPhase::Changing, 7), 500);
        assert_eq!(SCHEDULE.next_ms(CheckPhase::Down, 7), 10_000);
        let plain = Schedule {
            fastinter_ms: None,
            downinter_ms: None,
            ..SCHEDULE
        };
        assert_eq!(plain.next_ms(CheckPhase::Changing, 7), 2000);
        assert_eq!(plain.next_ms(CheckPhase::Down, 7), 2000);
    }

    #[test]
    fn spread_moves_to_both_sides_and_no_further() {
        let spread = Schedule {
            spread: 20,
            ..SCHEDULE
        };
        let all: Vec<u64> = (0..2000)
            .map(|n| spread.next_ms(CheckPhase::Up, n))
            .collect();
        assert_eq!(all.iter().min(), Some(&1600));
        assert_eq!(all.iter().max(), Some(&2400));
    }

    #[test]
    fn first_checks_are_spread_over_the_shortest_interval() {
        let first = |n| Schedule::first_ms(1000, None, n, 4);
        assert_eq!([first(0), first(1), first(2), first(3)], [0, 250, 500, 750]);
        assert_eq!(Schedule::first_ms(1000, Some(100), 3, 4), 75);
    }
}
