//! Blocks the supervisor's signals, and reads them from a descriptor in the main loop.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

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

/// Number of keepalived's real-time signal for a dump as JSON, `SIGRTMIN + 2` of the C library.
pub const JSON: i32 = 36;
pub const CLEAR_STATISTICS: i32 = 63;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caught {
    Signal(Signal),
    RealTime(i32),
}

pub struct Signals {
    fd: SignalFd,
}

fn set() -> SigSet {
    let named: SigSet = READ.into_iter().collect();
    let mut raw = *named.as_ref();
    for number in [JSON, CLEAR_STATISTICS] {
        // SAFETY: the set is local to this function; an invalid number is refused and changes
        // nothing.
        unsafe { nix::libc::sigaddset(&raw mut raw, number) };
    }
    // SAFETY: the value is an initialized signal set.
    unsafe { SigSet::from_sigset_t_unchecked(raw) }
}

impl Signals {
    /// Blocks the signals in this process and in its later child processes.
    pub fn new() -> io::Result<Signals> {
        set().thread_block()?;
        let fd = SignalFd::with_flags(&set(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Signals { fd })
    }

    pub fn unblock() {
        // The error is ignored: sigprocmask(2) only fails for invalid arguments.
        let _ = set().thread_unblock();
    }

    pub fn block() {
        let _ = set().thread_block();
    }

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
