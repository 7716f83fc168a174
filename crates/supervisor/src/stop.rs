//! Stopping: by which signal, how long it may take, and with what the command
//! exits.

use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

/// How long a role that was told to end may take.
const HARD_LIMIT: Duration = Duration::from_secs(2);
/// How much later than `hard-stop-after`, which the role knows itself.
const SOFT_MARGIN: Duration = Duration::from_secs(5);
/// What a start that failed exits with.
pub const FAILED: u8 = 1;
/// Exit code of a process that a signal ended: this plus the signal, as in a shell.
const BY_SIGNAL: u8 = 128;

/// A stop that was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stop {
    /// The last signal.
    pub signal: Signal,
    /// When the role is ended by force.
    pub until: Option<Instant>,
}

impl Stop {
    /// What a signal asks for; None for one that does not ask for an end.
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

    /// Whether it waits for connections to finish.
    pub fn is_soft(&self) -> bool {
        self.signal == Signal::SIGUSR1
    }

    /// With what the command exits: INT leaves its mark, TERM and USR1 do not.
    pub fn exit(&self) -> u8 {
        exit_of(Some(self.signal))
    }
}

/// With what the command exits when its role was ended by somebody else.
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
