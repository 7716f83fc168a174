//! Limits the rate of log lines about NBD clients, which anybody who reaches the TCP port can
//! trigger.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const LINES_MAX: u32 = 5;
const SPAN: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub struct LogThrottle(Mutex<ThrottleState>);

#[derive(Debug, Default)]
struct ThrottleState {
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl LogThrottle {
    /// Returns the line to log, with the number of lines that were suppressed before it. None: the
    /// line is suppressed.
    pub fn line(&self, line: &str, now: Instant) -> Option<String> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |since| now.saturating_duration_since(since) >= SPAN;
        if said.since.is_none_or(is_over) {
            (said.since, said.lines) = (Some(now), 0);
        }
        if said.lines >= LINES_MAX {
            said.left_out += 1;
            return None;
        }
        said.lines += 1;
        Some(match std::mem::take(&mut said.left_out) {
            0 => line.to_owned(),
            more => format!("{line} ({more} similar lines suppressed)"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_lines_are_logged_each_second_and_the_others_are_counted() {
        let (voice, now) = (LogThrottle::default(), Instant::now());
        for _ in 0..LINES_MAX {
            assert_eq!(voice.line("a", now).as_deref(), Some("a"));
        }
        assert_eq!(voice.line("b", now), None);
        assert_eq!(voice.line("c", now), None);
        let later = voice.line("d", now + SPAN);
        let expected = "d (2 similar lines suppressed)";
        assert_eq!(later.as_deref(), Some(expected));
        assert_eq!(voice.line("e", now + SPAN).as_deref(), Some("e"));
    }
}
