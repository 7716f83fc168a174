//! Confines the control role: drops the capabilities, access to files and system calls that it does
//! not need. Before that, the module sets the lowest real-time priority and locks memory, so that a
//! busy machine does not look dead to the other members.
//!
//! All threads inherit these settings, because several of them write the log to disk. Programs that
//! the role starts (`git`, `hg`) get normal priority again ([`cluster::follow`]).

use confinement::{Confinement, ConfinementError};
use nix::libc;
use std::path::Path;

/// Priority of SCHED_RR: below every other real-time process.
const PRIORITY: i32 = 1;
/// Time in microseconds that a thread may run without a blocking system call, after which the
/// kernel kills the role. An endless loop must not block a processor; the supervisor starts another
/// role.
const RTTIME_US: u64 = 10_000_000;

/// Sets priority and memory locking where the kernel permits it, then confines the process to its
/// state directory, the directory of its socket, and the system's programs. Must be called while
/// the process has only one thread.
pub fn give_up(state: &Path, runtime: Option<&Path>) -> Result<(), ConfinementError> {
    // Ignores failures: a container usually permits neither.
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
    part::scheduling::set_scheduler(libc::SCHED_RR, PRIORITY)
}

fn lock_memory() -> std::io::Result<()> {
    let unlimited = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // Removes the limit first: memory allocated after the capability is dropped is locked, too.
    // SAFETY: the kernel reads the structure, which lives until the call returns.
    granted(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const unlimited) })?;
    // Locks pages only when they are first used, so that memory usage does not grow.
    let flags = libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT;
    // SAFETY: it takes no pointer.
    granted(unsafe { libc::mlockall(flags) })
}
