//! Detects two machines that run as the same member, by the random number that each run of its
//! process has. A process that has ended does not return, so a former run that connects again and
//! again is a second machine with the same identity.

use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

const FORMER_MAX: usize = 8;
/// Consecutive returns of former runs that indicate two machines. A single one may be a
/// connection that was accepted late.
const RETURNS_MIN: u32 = 2;
/// After this time without a return, the second machine counts as gone.
const CLONED_FOR: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct Runs {
    present: Option<u64>,
    former: VecDeque<u64>,
    returns: u32,
    returned: Option<Instant>,
}

impl Runs {
    /// Records a connection of a process run. Returns whether two machines use the identity.
    pub(crate) fn connected(&mut self, run: u64, now: Instant) -> bool {
        if self.present == Some(run) {
            return self.is_cloned(now);
        }
        let is_recent = self.has_returned_recently(now);
        if self.former.contains(&run) {
            self.returns = if is_recent {
                self.returns.saturating_add(1)
            } else {
                1
            };
            self.returned = Some(now);
        }
        self.former.retain(|one| *one != run);
        if let Some(present) = self.present.replace(run) {
            self.former.push_back(present);
        }
        if self.former.len() > FORMER_MAX {
            self.former.pop_front();
        }
        self.is_cloned(now)
    }

    pub(crate) fn is_cloned(&self, now: Instant) -> bool {
        self.returns >= RETURNS_MIN && self.has_returned_recently(now)
    }

    fn has_returned_recently(&self, now: Instant) -> bool {
        self.returned
            .is_some_and(|at| now.duration_since(at) < CLONED_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_are_no_second_machine_and_alternating_runs_are() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut runs = Runs::default();
        for restart in 0..40 {
            assert!(!runs.connected(restart, at(restart)));
            assert!(!runs.connected(restart, at(restart)));
        }
        // A late connection of the former process is no second machine.
        assert!(!runs.connected(38, at(40)));
        assert!(!runs.connected(41, at(41)));
        let mut runs = Runs::default();
        let told: Vec<bool> = (0..6).map(|n| runs.connected(n % 2, at(n))).collect();
        assert_eq!(told, [false, false, false, true, true, true]);
        assert!(runs.is_cloned(at(64)) && !runs.is_cloned(at(65)));
        // Former runs are bounded.
        (10..1_000).for_each(|run| {
            runs.connected(run, at(100));
        });
        assert_eq!(runs.former.len(), FORMER_MAX);
    }
}
