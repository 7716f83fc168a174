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

/// Signals of real time that keepalived has a meaning for: those below are the C
/// library's.
pub const JSON: i32 = 36;
/// The same.
pub const CLEAR_STATISTICS: i32 = 63;

/// A signal that came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caught {
    /// One with a name.
    Signal(Signal),
    /// One of real time.
    RealTime(i32),
}

/// The descriptor that signals are read from.
pub struct Signals {
    fd: SignalFd,
}

fn set() -> SigSet {
    let named: SigSet = READ.into_iter().collect();
    let mut raw = *named.as_ref();
    for number in [JSON, CLEAR_STATISTICS] {
        // SAFETY: the set is this function's own, and a number that is none is
        // refused and changes nothing.
        unsafe { nix::libc::sigaddset(&raw mut raw, number) };
    }
    // SAFETY: it was a set and is one still.
    unsafe { SigSet::from_sigset_t_unchecked(raw) }
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
    pub fn next(&self) -> Option<Caught> {
        let info = self.fd.read_signal().ok().flatten()?;
        let number = i32::try_from(info.ssi_signo).ok()?;
        Some(match Signal::try_from(number) {
            Ok(signal) => Caught::Signal(signal),
            Err(_) => Caught::RealTime(number),
        })
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
