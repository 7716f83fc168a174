//! Records the unexpected ends of a role's processes as events of its report, and decides whether
//! they need attention.

use part::report::{Event, Moment};
use std::collections::VecDeque;

const KEPT_MAX: usize = 10;
/// Number of ends within [`WINDOW_MS`] from which a running role needs attention.
const MANY: usize = 2;
/// Age beyond which ends need no attention, milliseconds.
const WINDOW_MS: u64 = 600_000;

/// The last unexpected ends of a role's processes.
#[derive(Clone, Debug, Default)]
pub struct Crashes {
    /// Unexpected ends, the newest last; the oldest are dropped.
    all: VecDeque<Event>,
}

impl Crashes {
    pub fn ended(&mut self, pid: i32, words: &str, at: Moment) {
        if self.all.len() == KEPT_MAX {
            self.all.pop_front();
        }
        self.all.push_back(Event {
            at,
            from: String::new(),
            to: "restarted".to_owned(),
            why: format!("process {pid} {words}"),
        });
    }

    /// Returns all stored ends as events, the newest last.
    pub fn events(&self) -> Vec<Event> {
        self.all.iter().cloned().collect()
    }

    pub fn last(&self) -> Option<&str> {
        self.all.back().map(|one| one.why.as_str())
    }

    /// Returns why a running role needs attention: too many of its processes have ended
    /// unexpectedly in the last 10 minutes. None if it needs none.
    pub fn trouble(&self, now: Moment) -> Option<String> {
        let age_ms = |one: &Event| now.boottime_ms.saturating_sub(one.at.boottime_ms);
        let recent = self.all.iter().filter(|one| age_ms(one) < WINDOW_MS);
        let number = recent.count();
        let last = self.all.back().filter(|_| number >= MANY)?;
        let minutes = WINDOW_MS / 60_000;
        Some(format!(
            "{number} unexpected ends within {minutes} min, the last: {}",
            last.why
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(boottime_ms: u64) -> Moment {
        Moment {
            boottime_ms,
            unix_ms: 1_000_000 + boottime_ms,
        }
    }

    #[test]
    fn second_crash_within_a_short_time_needs_attention() {
        let mut crashes = Crashes::default();
        crashes.ended(7, "was killed by SIGKILL", at(0));
        assert_eq!(crashes.trouble(at(1)), None);
        crashes.ended(8, "exited with code 3", at(5_000));
        let trouble = crashes.trouble(at(6_000));
        assert_eq!(
            trouble.as_deref(),
            Some("2 unexpected ends within 10 min, the last: process 8 exited with code 3")
        );
        // The first unexpected end is older than the window and no longer counts, so one end is
        // left and is no trouble.
        assert_eq!(crashes.trouble(at(WINDOW_MS + 1)), None);
        let events = crashes.events();
        let whys: Vec<&str> = events.iter().map(|one| one.why.as_str()).collect();
        let expected = [
            "process 7 was killed by SIGKILL",
            "process 8 exited with code 3",
        ];
        assert_eq!(whys, expected);
        assert_eq!(events[1].at, at(5_000));
    }

    #[test]
    fn repeated_crashes_use_bounded_memory() {
        let mut crashes = Crashes::default();
        (0..99).for_each(|pid| crashes.ended(pid, "ended", at(0)));
        assert_eq!(crashes.events().len(), KEPT_MAX);
        assert_eq!(crashes.events()[0].why, "process 89 ended");
    }
}
