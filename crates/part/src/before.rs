//! The processes that one takes over from, as a command line names them: at last they are
//! told to finish (`-sf`) or to end (`-st`).

use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;

/// The signal that the previous process gets when this one serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Farewell {
    /// `-sf`: to finish what it has.
    #[default]
    Finish,
    /// `-st`: to end at once.
    End,
}

/// The process before, as the command line names it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Before {
    /// Its statistics socket; None where nothing is fetched.
    pub socket: Option<OsString>,
    /// Its process ids.
    pub pids: Vec<u32>,
    /// The signal for the previous processes.
    pub farewell: Farewell,
}

impl Before {
    /// Asks the processes to finish or to end. Returns those that got the signal: one that
    /// has ended already is what was wanted.
    pub fn take_leave(&self) -> Vec<u32> {
        self.signal(match self.farewell {
            Farewell::Finish => Signal::USR1,
            Farewell::End => Signal::TERM,
        })
    }

    /// Sends a signal to all of them; returns those that got it.
    pub fn signal(&self, signal: Signal) -> Vec<u32> {
        let gets = |pid: &&u32| {
            let pid = i32::try_from(**pid).ok().and_then(Pid::from_raw);
            pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
        };
        self.pids.iter().filter(gets).copied().collect()
    }
}
