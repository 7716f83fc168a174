//! What follows from the end of a role. It is decided here, from what is known, and done by
//! the supervisor.

use crate::stop::{FAILED, exit_of};
use nix::sys::signal::Signal;
use part::spawn::Ending;
use std::os::unix::process::ExitStatusExt;

/// Roles that are started again when they were killed before the first of them
/// said that it serves: it may have served already, and nothing is wrong with it.
pub const KILLS_AT_START_MAX: u32 = 3;

/// What is known when the role that serves ends.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// How it ended.
    pub ending: Ending,
    /// It said that it ends by this signal.
    pub obeys: Option<Signal>,
    /// It was told to end.
    pub told: bool,
    /// Something was served before.
    pub served: bool,
    /// How many were killed before anything was served.
    pub killed: u32,
    /// There may be a better version: the machine belongs to a cluster.
    pub member: bool,
}

/// What follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Nothing.
    Nothing,
    /// Another one begins as this one did.
    Again,
    /// The first version cannot be served.
    FirstFailed,
    /// The command exits with this.
    Exit(u8),
    /// The service ends, and the command exits with this.
    Ends(u8),
    /// Another one follows it.
    Follows,
}

impl End {
    /// What follows from it.
    pub fn next(self) -> Next {
        if self.told {
            return Next::Nothing;
        }
        let status = match (self.ending, self.obeys) {
            (Ending::Status(status), _) => status,
            // Nobody tells how a process ended that is no child, but itself.
            (Ending::Unknown, Some(signal)) => return Next::Ends(exit_of(Some(signal))),
            (Ending::Unknown, None) => return Next::Follows,
        };
        let signal = status.signal().map(Signal::try_from).and_then(Result::ok);
        let killed = signal == Some(Signal::SIGKILL);
        match self.served {
            false if killed && self.killed < KILLS_AT_START_MAX => Next::Again,
            false if self.member => Next::FirstFailed,
            false => {
                let code = status.code().and_then(|code| u8::try_from(code).ok());
                Next::Exit(code.unwrap_or(FAILED))
            }
            // Somebody ended it on purpose, as `killall` does.
            true if status.success()
                || matches!(signal, Some(Signal::SIGTERM | Signal::SIGINT)) =>
            {
                Next::Ends(exit_of(signal))
            }
            true => Next::Follows,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::ExitStatus;

    fn exited(code: i32) -> Ending {
        Ending::Status(ExitStatus::from_raw(code << 8))
    }

    fn ended_by(signal: Signal) -> Ending {
        Ending::Status(ExitStatus::from_raw(signal as i32))
    }

    /// Of one that nobody told to end.
    fn unasked(ending: Ending, served: bool) -> End {
        End {
            ending,
            obeys: None,
            told: false,
            served,
            killed: 0,
            member: false,
        }
    }

    #[test]
    fn what_follows_from_an_end_is_as_the_table_says() {
        use Next::{Again, Ends, Exit, FirstFailed, Follows};
        for (ending, at_start, of_member, served) in [
            (exited(0), Exit(0), FirstFailed, Ends(0)),
            (exited(1), Exit(1), FirstFailed, Follows),
            (exited(7), Exit(7), FirstFailed, Follows),
            (ended_by(Signal::SIGTERM), Exit(1), FirstFailed, Ends(0)),
            (ended_by(Signal::SIGINT), Exit(1), FirstFailed, Ends(130)),
            (ended_by(Signal::SIGKILL), Again, Again, Follows),
            (ended_by(Signal::SIGSEGV), Exit(1), FirstFailed, Follows),
            (ended_by(Signal::SIGABRT), Exit(1), FirstFailed, Follows),
            (Ending::Unknown, Follows, Follows, Follows),
        ] {
            let first = unasked(ending, false);
            assert_eq!(first.next(), at_start, "{ending:?}");
            let member = End {
                member: true,
                ..first
            };
            assert_eq!(member.next(), of_member, "{ending:?} of a member");
            assert_eq!(unasked(ending, true).next(), served, "{ending:?} served");
            for served in [false, true] {
                let told = End {
                    told: true,
                    ..unasked(ending, served)
                };
                assert_eq!(told.next(), Next::Nothing, "{ending:?} told");
            }
        }
    }

    #[test]
    fn one_that_is_killed_again_and_again_before_it_serves_is_given_up() {
        let mut end = unasked(ended_by(Signal::SIGKILL), false);
        end.killed = KILLS_AT_START_MAX;
        assert_eq!(end.next(), Next::Exit(1));
        end.member = true;
        assert_eq!(end.next(), Next::FirstFailed);
    }

    #[test]
    fn one_that_is_no_child_says_itself_by_which_signal_it_ends() {
        for (signal, exit) in [(Signal::SIGTERM, 0), (Signal::SIGINT, 130)] {
            for served in [false, true] {
                let end = End {
                    obeys: Some(signal),
                    ..unasked(Ending::Unknown, served)
                };
                assert_eq!(end.next(), Next::Ends(exit));
            }
        }
    }
}
