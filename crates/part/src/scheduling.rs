//! Sets the scheduling of the calling thread.

use nix::libc;
use std::io;

/// Sets the policy and the real-time priority of the calling thread, by the system call: the
/// function of musl's library always fails, because POSIX demands that of a whole process.
///
/// # Errors
/// The kernel does not permit it, or the priority does not fit the policy.
pub fn set_scheduler(policy: libc::c_int, priority: libc::c_int) -> io::Result<()> {
    // SAFETY: the kernel reads one integer, which lives during the call; 0 is the calling thread.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const priority) };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_gets_the_policy() {
        std::thread::spawn(|| {
            set_scheduler(libc::SCHED_BATCH, 0).unwrap();
            // SAFETY: the call takes no pointer.
            let policy = unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0) };
            assert_eq!(policy, libc::c_long::from(libc::SCHED_BATCH));
            let error = set_scheduler(libc::SCHED_BATCH, 1).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        })
        .join()
        .unwrap();
    }
}
