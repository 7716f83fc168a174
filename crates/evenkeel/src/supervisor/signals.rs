//! Signals of the supervisor: blocked, and read in its one loop.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// The signals that are read.
const READ: [Signal; 8] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGTTOU,
    Signal::SIGTTIN,
];

/// The descriptor that signals are read from.
pub struct Signals {
    fd: SignalFd,
}

fn set() -> SigSet {
    READ.into_iter().collect()
}

impl Signals {
    /// Blocks the signals, from now on also in processes that are started.
    pub fn new() -> io::Result<Signals> {
        set().thread_block()?;
        let fd = SignalFd::with_flags(&set(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Signals { fd })
    }

    /// Lets signals do what they do to any process: for one that only waits.
    pub fn unblock() {
        // Refused for an argument that is none.
        let _ = set().thread_unblock();
    }

    /// Blocks them again.
    pub fn block() {
        let _ = set().thread_block();
    }

    /// The next one.
    pub fn next(&self) -> Option<Signal> {
        let info = self.fd.read_signal().ok().flatten()?;
        Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
