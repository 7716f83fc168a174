//! Describes how a long command ends early: by a signal or an error, with the exit code that shells
//! expect. Also blocks the signals, so that a command can read them.

use crate::refuse;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::fmt;
use std::process::ExitCode;

/// Signals that end a command. The last one is sent when the terminal is closed.
const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Returns a pending signal, without waiting.
pub fn arrived(signals: &SignalFd) -> Option<Signal> {
    let signal = signals.read_signal().ok().flatten()?;
    Signal::try_from(signal.ssi_signo as i32).ok()
}

/// Reason why a command is incomplete.
pub enum Stopped {
    Failed(String),
    By(Signal),
}

impl From<String> for Stopped {
    fn from(words: String) -> Stopped {
        Stopped::Failed(words)
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stopped::Failed(words) => f.write_str(words),
            Stopped::By(signal) => write!(f, "interrupted ({signal})"),
        }
    }
}

impl Stopped {
    /// Prints the reason followed by `after`, the consequence. Returns the exit code: 128 and the
    /// number of the signal after a signal.
    pub fn exit(&self, after: &str) -> ExitCode {
        let code = refuse(format_args!("{self}{after}"));
        match self {
            Stopped::Failed(_) => code,
            Stopped::By(signal) => ExitCode::from(128 + (*signal as i32) as u8),
        }
    }
}

/// Blocks the signals, and returns the descriptor that reads them.
pub fn signals() -> Result<SignalFd, Stopped> {
    let failed = |error: nix::errno::Errno| format!("cannot wait for signals: {error}");
    let set: SigSet = ENDING.into_iter().collect();
    set.thread_block().map_err(failed)?;
    let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK);
    Ok(signals.map_err(failed)?)
}
