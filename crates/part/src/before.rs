//! Signals the processes that a start replaces, as named on the command line, once the new process
//! serves: to finish (`-sf`) or to end (`-st`).

use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;

/// The signal that the previous processes get when this one serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PredecessorSignal {
    /// `-sf`: finish existing connections, then end.
    #[default]
    Finish,
    /// `-st`: end at once.
    End,
}

/// The previous processes, as named on the command line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Before {
    /// Statistics socket of the previous process; None if no listeners are taken over.
    pub socket: Option<OsString>,
    pub pids: Vec<u32>,
    pub farewell: PredecessorSignal,
}

impl Before {
    /// Signals the processes to finish or to end. Returns those that got the signal; processes that
    /// have ended already are no error.
    pub fn signal_predecessors(&self) -> Vec<u32> {
        self.signal(match self.farewell {
            PredecessorSignal::Finish => Signal::USR1,
            PredecessorSignal::End => Signal::TERM,
        })
    }

    /// Sends a signal to all previous processes. Returns those that got it.
    pub fn signal(&self, signal: Signal) -> Vec<u32> {
        let gets = |pid: &&u32| {
            let pid = i32::try_from(**pid).ok().and_then(Pid::from_raw);
            pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
        };
        self.pids.iter().filter(gets).copied().collect()
    }
}
