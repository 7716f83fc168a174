//! Decides the reaction to the end of a role, from the given facts. The supervisor carries it out.

use crate::stop::{FAILED, exit_of};
use nix::sys::signal::Signal;
use part::spawn::ProcessExit;
use std::os::unix::process::ExitStatusExt;

/// Maximum number of restarts after a role was killed by SIGKILL before it reported readiness for
/// the first time: the configuration need not be the cause.
pub const KILLS_AT_START_MAX: u32 = 3;

/// The facts about the end of the primary role.
#[derive(Clone, Copy, Debug)]
pub struct PrimaryEnd {
    pub ending: ProcessExit,
    /// Signal by which the role reported that it ends.
    pub obeys: Option<Signal>,
    pub was_asked_to_end: bool,
    /// True if a configuration version was in service before the role ended.
    pub served: bool,
    /// Number of roles that were killed before a version was in service.
    pub killed: u32,
    /// True if the machine is a cluster member, whose cluster may have a better version.
    pub member: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    Nothing,
    Again,
    FirstFailed,
    Exit(u8),
    Ends(u8),
    Follows,
}

impl PrimaryEnd {
    pub fn next(self) -> Next {
        if self.was_asked_to_end {
            return Next::Nothing;
        }
        let status = match (self.ending, self.obeys) {
            (ProcessExit::Status(status), _) => status,
            // Ends only for a signal that the process reported itself: the exit status of a process
            // that is no child is unknown.
            (ProcessExit::Unknown, Some(signal)) => return Next::Ends(exit_of(Some(signal))),
            (ProcessExit::Unknown, None) => return Next::Follows,
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
            // Ends the program after a role that was ended on purpose, such as by `killall`.
            true if status.success()
                || matches!(signal, Some(Signal::SIGTERM | Signal::SIGINT)) =>
            {
                Next::Ends(exit_of(signal))
            }
            true => Next::Follows,
        }
    }
}

/// The facts about the end of a sidecar role.
#[derive(Clone, Copy, Debug)]
pub struct SidecarEnd {
    pub was_asked_to_end: bool,
    /// True if the role ended to make room for one of the new program.
    pub leaves: bool,
    /// True if a predecessor process of the role still works.
    pub has_predecessor: bool,
    /// True if a process of the role was ready before.
    pub served: bool,
    /// True if the version in service can be served only with the role.
    pub decides: bool,
    /// True if no role is restarted (`--dont-respawn`).
    pub once: bool,
}

/// The reaction to the end of a sidecar role.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SidecarNext {
    Released,
    Replaced,
    PredecessorContinues,
    Exits,
    Restarts,
}

impl SidecarEnd {
    pub fn next(self) -> SidecarNext {
        if self.was_asked_to_end {
            SidecarNext::Released
        } else if self.leaves {
            SidecarNext::Replaced
        } else if self.has_predecessor {
            SidecarNext::PredecessorContinues
        } else if self.once || (self.decides && !self.served) {
            // The program ends if the role never served: there is no version to continue with.
            SidecarNext::Exits
        } else {
            SidecarNext::Restarts
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sidecar_ends_the_program_only_if_it_decides_and_never_served() {
        let died = SidecarEnd {
            was_asked_to_end: false,
            leaves: false,
            has_predecessor: false,
            served: true,
            decides: true,
            once: false,
        };
        assert_eq!(died.next(), SidecarNext::Restarts);
        let first = SidecarEnd {
            served: false,
            ..died
        };
        assert_eq!(first.next(), SidecarNext::Exits);
        let other = SidecarEnd {
            decides: false,
            ..first
        };
        assert_eq!(other.next(), SidecarNext::Restarts);
        let once = SidecarEnd { once: true, ..died };
        assert_eq!(once.next(), SidecarNext::Exits);
        let replaced = SidecarEnd {
            has_predecessor: true,
            ..once
        };
        assert_eq!(replaced.next(), SidecarNext::PredecessorContinues);
        let leaves = SidecarEnd {
            leaves: true,
            ..replaced
        };
        assert_eq!(leaves.next(), SidecarNext::Replaced);
        let asked = SidecarEnd {
            was_asked_to_end: true,
            ..leaves
        };
        assert_eq!(asked.next(), SidecarNext::Released);
    }
    use std::process::ExitStatus;

    fn exited(code: i32) -> ProcessExit {
        ProcessExit::Status(ExitStatus::from_raw(code << 8))
    }

    fn ended_by(signal: Signal) -> ProcessExit {
        ProcessExit::Status(ExitStatus::from_raw(signal as i32))
    }

    fn unasked(ending: ProcessExit, served: bool) -> PrimaryEnd {
        PrimaryEnd {
            ending,
            obeys: None,
            was_asked_to_end: false,
            served,
            killed: 0,
            member: false,
        }
    }

    #[test]
    fn end_of_a_process_has_the_effect_in_the_table() {
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
            (ProcessExit::Unknown, Follows, Follows, Follows),
        ] {
            let first = unasked(ending, false);
            assert_eq!(first.next(), at_start, "{ending:?}");
            let member = PrimaryEnd {
                member: true,
                ..first
            };
            assert_eq!(member.next(), of_member, "{ending:?} of a member");
            assert_eq!(unasked(ending, true).next(), served, "{ending:?} served");
            for served in [false, true] {
                let told = PrimaryEnd {
                    was_asked_to_end: true,
                    ..unasked(ending, served)
                };
                assert_eq!(told.next(), Next::Nothing, "{ending:?} told");
            }
        }
    }

    #[test]
    fn role_killed_repeatedly_before_serving_is_given_up() {
        let mut end = unasked(ended_by(Signal::SIGKILL), false);
        end.killed = KILLS_AT_START_MAX;
        assert_eq!(end.next(), Next::Exit(1));
        end.member = true;
        assert_eq!(end.next(), Next::FirstFailed);
    }

    #[test]
    fn obeyed_signal_determines_the_exit_code() {
        for (signal, exit) in [(Signal::SIGTERM, 0), (Signal::SIGINT, 130)] {
            for served in [false, true] {
                let end = PrimaryEnd {
                    obeys: Some(signal),
                    ..unasked(ProcessExit::Unknown, served)
                };
                assert_eq!(end.next(), Next::Ends(exit));
            }
        }
    }
}
