//! Schedules the attempts to load a version again that is served although this machine lacks
//! something: the addresses of a host name, or for an accepted version of a cluster also a port
//! that another program uses. The pauses grow from 5 s to 20 s. The supervisor applies the result
//! as soon as less is missing.

use std::time::{Duration, Instant};

/// Shortest interval between attempts to find what the version lacks.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LAST_PAUSE: Duration = Duration::from_secs(20);

/// Returns the pause before the next load, after this number of loads that did not find what the
/// version lacks.
fn pause(attempts: u32) -> Duration {
    let doubled = 1_u32.checked_shl(attempts).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(doubled).min(LAST_PAUSE)
}

/// The attempts to find what the version in service lacks.
#[derive(Debug, Default)]
pub struct MissingRetry {
    at: Option<Instant>,
    attempts: u32,
    /// True if the load in progress is an attempt.
    is_loading: bool,
}

impl MissingRetry {
    /// Returns whether another attempt must begin now. If an attempt is due while the supervisor is
    /// not idle (`is_idle`), it is postponed by another pause.
    pub fn poll(&mut self, lacks_something: bool, is_idle: bool, now: Instant) -> bool {
        if !lacks_something {
            (self.at, self.attempts) = (None, 0);
            return false;
        }
        let wait = pause(self.attempts);
        if *self.at.get_or_insert(now + wait) > now {
            return false;
        }
        self.at = Some(now + wait);
        if is_idle {
            self.attempts = self.attempts.saturating_add(1);
        }
        is_idle
    }

    pub fn begin_load(&mut self) {
        self.is_loading = true;
    }

    pub fn is_loading(&self) -> bool {
        self.is_loading
    }

    /// Returns whether the load that ends now was an attempt.
    pub fn end_load(&mut self) -> bool {
        std::mem::take(&mut self.is_loading)
    }

    pub fn cancel(&mut self) {
        self.at = None;
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_back_off_but_never_stop() {
        let seconds: Vec<u64> = [0, 1, 2, 3, 31, 32, u32::MAX]
            .map(|n| pause(n).as_secs())
            .into();
        assert_eq!(seconds, [5, 10, 20, 20, 20, 20, 20]);
    }

    #[test]
    fn attempts_begin_while_something_is_missing_and_nothing_else_is_in_progress() {
        let mut retry = MissingRetry::default();
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        assert!(!retry.poll(false, true, begin));
        assert_eq!(retry.deadline(), None);
        assert!(!retry.poll(true, true, begin));
        assert_eq!(retry.deadline(), Some(after(5)));
        assert!(
            !retry.poll(true, false, after(5)),
            "a reload is in progress"
        );
        assert!(!retry.poll(true, true, after(6)));
        assert!(retry.poll(true, true, after(10)));
        assert!(!retry.poll(true, true, after(10)), "once");
        assert!(retry.poll(true, true, after(15)));
        assert!(retry.poll(true, true, after(25)));
        assert_eq!(retry.deadline(), Some(after(45)));
        assert!(!retry.poll(false, true, after(45)));
        assert!(!retry.poll(true, true, after(46)));
        assert_eq!(retry.deadline(), Some(after(51)), "from the start again");
        retry.cancel();
        assert_eq!(retry.deadline(), None);
    }

    #[test]
    fn load_is_an_attempt_once() {
        let mut retry = MissingRetry::default();
        assert!(!retry.end_load());
        retry.begin_load();
        assert!(retry.is_loading());
        assert!(retry.end_load());
        assert!(!retry.end_load() && !retry.is_loading());
    }
}
