//! Determines how a signal stops the program: softly or at once, when roles are killed, and the
//! exit code.

use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

const HARD_LIMIT: Duration = Duration::from_secs(2);
/// Time after `hard-stop-after`, which the role applies itself, until the role is killed.
const SOFT_MARGIN: Duration = Duration::from_secs(5);
pub const FAILED: u8 = 1;
/// Base of the exit code for a process that a signal ended: this plus the signal number, as in a
/// shell.
const BY_SIGNAL: u8 = 128;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stop {
    pub signal: Signal,
    /// Time at which the role is killed; None without a limit.
    pub until: Option<Instant>,
}

impl Stop {
    /// Returns the stop that a signal requests; None if the signal does not end the program.
    pub fn by(signal: Signal, hard_stop_after_ms: Option<u64>, now: Instant) -> Option<Stop> {
        let limit = match signal {
            Signal::SIGINT | Signal::SIGTERM => Some(HARD_LIMIT),
            Signal::SIGUSR1 => {
                hard_stop_after_ms.map(|ms| Duration::from_millis(ms).saturating_add(SOFT_MARGIN))
            }
            _ => return None,
        };
        Some(Stop {
            signal,
            until: limit.and_then(|limit| now.checked_add(limit)),
        })
    }

    /// Returns whether the stop waits for connections to finish.
    pub fn is_soft(&self) -> bool {
        self.signal == Signal::SIGUSR1
    }

    /// Returns the exit code of the command: 130 after INT, 0 after TERM and USR1.
    pub fn exit(&self) -> u8 {
        exit_of(Some(self.signal))
    }
}

/// Returns the exit code for the signal that ended the program or its role: 130 for INT, otherwise
/// 0.
pub fn exit_of(signal: Option<Signal>) -> u8 {
    match signal {
        Some(Signal::SIGINT) => BY_SIGNAL + 2,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn int_ends_with_130_and_term_and_usr1_with_0() {
        let now = Instant::now();
        for (signal, exit, soft) in [
            (Signal::SIGINT, 130, false),
            (Signal::SIGTERM, 0, false),
            (Signal::SIGUSR1, 0, true),
        ] {
            let stop = Stop::by(signal, None, now).unwrap();
            assert_eq!((stop.exit(), stop.is_soft()), (exit, soft), "{signal}");
        }
        assert_eq!(Stop::by(Signal::SIGHUP, None, now), None);
    }

    #[test]
    fn a_soft_stop_is_bounded_only_by_hard_stop_after() {
        let now = Instant::now();
        let until = |ms| Stop::by(Signal::SIGUSR1, ms, now).unwrap().until;
        assert_eq!(until(None), None);
        assert_eq!(until(Some(1_000)), Some(now + Duration::from_secs(6)));
    }
}
