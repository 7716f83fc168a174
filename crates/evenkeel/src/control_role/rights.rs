//! The privileges that a control role drops (capabilities, files that are not its own,
//! system calls that it does not need), and what it needs so that a busy machine does not
//! look dead: the lowest real-time priority, and memory that is not swapped out.
//!
//! Its threads have these, too, because some of them write the log to disk. The programs
//! that it starts (`git`, `hg`) run with ordinary priority again ([`cluster::follow`]).

use crate::confinement::{self, Confinement, ConfinementError};
use nix::libc;
use std::path::Path;

/// Of SCHED_RR: below every other real-time process.
const PRIORITY: i32 = 1;
/// How long it may run without sleeping before the kernel ends it, microseconds: a
/// loop that went mad must not hold a processor for ever, and another role follows.
const RTTIME_US: u64 = 10_000_000;

/// Takes what is permitted, then confines the process to its state directory, the
/// directory of its socket, and the programs of the system. To be called by the only
/// thread of the process.
pub fn give_up(state: &Path, runtime: Option<&Path>) -> Result<(), ConfinementError> {
    // Wished for, not needed: in a container neither is granted.
    let _ = round_robin();
    let _ = lock_memory();
    confinement::apply(&Confinement::control(state, runtime)).map(drop)
}

fn granted(result: libc::c_int) -> std::io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

fn round_robin() -> std::io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: RTTIME_US,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: the limit is a whole structure that lives during the call.
    granted(unsafe { libc::setrlimit(libc::RLIMIT_RTTIME, &raw const limit) })?;
    let parameters = libc::sched_param {
        sched_priority: PRIORITY,
    };
    // SAFETY: as above; zero is the calling thread.
    granted(unsafe { libc::sched_setscheduler(0, libc::SCHED_RR, &raw const parameters) })
}

fn lock_memory() -> std::io::Result<()> {
    let unlimited = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // What comes later is locked, too, when the capability for it is gone.
    // SAFETY: the limit is a whole structure that lives during the call.
    granted(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const unlimited) })?;
    // Pages are locked when they are first used, so that it takes no more than else.
    let flags = libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT;
    // SAFETY: it takes no pointer.
    granted(unsafe { libc::mlockall(flags) })
}
