//! Does low-priority work beside the serving threads: frees configuration versions that nothing
//! uses any more, and returns free memory to the system when the process is quiet after work.
//!
//! malloc_trim(3) takes the locks of all arenas in turn. Requests of a busy process were seen to
//! wait for it, a tenth of a second at worst.

use proxy::runtime::Runtime;
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Consecutive polls, a second apart, in which the process must be quiet.
const QUIET_LOOKS: u32 = 3;
/// Maximum processor time between two polls of a quiet process.
const QUIET_WORK: Duration = Duration::from_millis(50);
/// Minimum processor time since memory was last returned: without work there is nothing new to
/// return.
const WORK_MIN: Duration = Duration::from_millis(500);

/// Decides when memory is returned to the system.
#[derive(Debug, Default)]
pub struct MemoryTrimmer {
    /// Processor time at the last poll.
    polled_time: Duration,
    trimmed_time: Duration,
    quiet: u32,
}

/// Next step of returning memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    Nothing,
    Release,
    Trim,
}

impl MemoryTrimmer {
    /// Returns memory if the process has become quiet. Has to be called about once a second.
    pub fn poll_process(&mut self, shared: &'static Runtime) {
        let used = clock_gettime(ClockId::ProcessCPUTime);
        let used = Duration::new(used.tv_sec as u64, used.tv_nsec as u32);
        match self.next(used) {
            Next::Nothing => {}
            Next::Release => (0..shared.threads()).for_each(|thread| {
                // Ignores a loop that is ending, which frees everything itself.
                let _ = reactor::inject(thread, || {
                    reactor::release_pools();
                    proxy::compression::release_kept();
                });
            }),
            Next::Trim => {
                let thread = std::thread::Builder::new().name("spare".into());
                // Ignores a failure to start the thread: memory is returned after more work.
                let _ = thread.spawn(|| {
                    lower_thread_priority();
                    // SAFETY: malloc_trim only returns free memory of the allocator to the system.
                    #[cfg(target_env = "gnu")]
                    unsafe {
                        nix::libc::malloc_trim(0);
                    }
                });
            }
        }
    }

    fn next(&mut self, used: Duration) -> Next {
        let quiet = used.saturating_sub(self.polled_time) < QUIET_WORK;
        self.polled_time = used;
        self.quiet = if quiet {
            self.quiet.saturating_add(1)
        } else {
            0
        };
        let worked = used.saturating_sub(self.trimmed_time) >= WORK_MIN;
        match self.quiet {
            QUIET_LOOKS if worked => Next::Release,
            n if n > QUIET_LOOKS && worked => {
                self.trimmed_time = used;
                Next::Trim
            }
            _ => Next::Nothing,
        }
    }
}

const NICENESS: i32 = 10;

/// Lowers the priority of this thread below that of the serving threads. A failure is ignored.
pub fn lower_thread_priority() {
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
}

/// Frees unused versions on a separate thread: a configuration of ten thousand servers takes a
/// while.
pub fn free_unused_versions(shared: &'static Runtime) {
    let thread = std::thread::Builder::new().name("spare".into());
    let started = thread.spawn(move || {
        lower_thread_priority();
        shared.forget_unused();
    });
    if started.is_err() {
        // Frees the memory here if no thread can be started.
        shared.forget_unused();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_returned_once_when_idle() {
        let mut memory = MemoryTrimmer::default();
        let mut used = 0;
        let mut look = |more: u64| {
            used += more;
            memory.next(Duration::from_millis(used))
        };
        assert!((0..20).all(|_| look(1) == Next::Nothing), "no work yet");
        assert!((0..20).all(|_| look(900) == Next::Nothing), "busy");
        let then: Vec<Next> = (0..6).map(|_| look(10)).collect();
        let (no, release, trim) = (Next::Nothing, Next::Release, Next::Trim);
        assert_eq!(then, [no, no, release, trim, no, no]);
    }
}
