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
    /// Asks the processes to finish or to end. One that has ended already is
    /// what was wanted.
    pub fn take_leave(&self) {
        self.signal(match self.farewell {
            Farewell::Finish => Signal::USR1,
            Farewell::End => Signal::TERM,
        });
    }

    /// Sends a signal to all of them.
    pub fn signal(&self, signal: Signal) {
        for pid in &self.pids {
            if let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, signal);
            }
        }
    }
}
