//! Work that nobody waits for, beside those who serve: freeing versions that
//! nobody holds any more. Never done by a thread that serves.
//!
//! Free memory goes back to the system where the process has become quiet after
//! work: malloc_trim(3) takes the locks of all arenas in turn, and requests of a busy
//! process were seen to wait for it, a tenth of a second at worst.

use proxy::runtime::Runtime;
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Looks in a row, a second apart, in which a process must have been quiet.
const QUIET_LOOKS: u32 = 3;
/// Processor time between two of them at most.
const QUIET_WORK: Duration = Duration::from_millis(50);
/// Processor time since memory was last given back at least: without work there is
/// nothing new to be given.
const WORK_MIN: Duration = Duration::from_millis(500);

/// When memory is given back to the system.
#[derive(Debug, Default)]
pub struct Memory {
    /// Processor time of the process at the last look, and when memory was last given.
    looked: Duration,
    gave: Duration,
    quiet: u32,
}

/// The next step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    Nothing,
    /// The threads release spare memory.
    Release,
    /// The C library gives it to the system.
    Trim,
}

impl Memory {
    /// To be called about once a second.
    pub fn look(&mut self, shared: &'static Runtime) {
        let used = clock_gettime(ClockId::ProcessCPUTime);
        let used = Duration::new(used.tv_sec as u64, used.tv_nsec as u32);
        match self.next(used) {
            Next::Nothing => {}
            Next::Release => (0..shared.threads()).for_each(|thread| {
                // Refused by a loop that is ending: it frees all.
                let _ = reactor::inject(thread, || {
                    reactor::release_pools();
                    proxy::compression::release_kept();
                });
            }),
            Next::Trim => {
                let thread = std::thread::Builder::new().name("spare".into());
                // Without room for a thread it is tried again after more work.
                let _ = thread.spawn(|| {
                    step_back();
                    // SAFETY: it only gives free memory of the allocator back.
                    #[cfg(target_env = "gnu")]
                    unsafe {
                        nix::libc::malloc_trim(0);
                    }
                });
            }
        }
    }

    fn next(&mut self, used: Duration) -> Next {
        let quiet = used.saturating_sub(self.looked) < QUIET_WORK;
        self.looked = used;
        self.quiet = if quiet {
            self.quiet.saturating_add(1)
        } else {
            0
        };
        let worked = used.saturating_sub(self.gave) >= WORK_MIN;
        match self.quiet {
            QUIET_LOOKS if worked => Next::Release,
            n if n > QUIET_LOOKS && worked => {
                self.gave = used;
                Next::Trim
            }
            _ => Next::Nothing,
        }
    }
}

/// Of a thread that works beside those that serve.
const NICENESS: i32 = 10;

/// This thread takes what processor time those who serve leave. Without the
/// right to say so it takes its share.
pub fn step_back() {
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
}

/// Frees what nobody holds any more, on a thread of its own: a tree of ten
/// thousand servers takes its time.
pub fn forget(shared: &'static Runtime) {
    let thread = std::thread::Builder::new().name("spare".into());
    let started = thread.spawn(move || {
        step_back();
        shared.forget_unused();
    });
    if started.is_err() {
        // No room for a thread: all the more reason to free something.
        shared.forget_unused();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_once_after_work_and_only_when_it_is_quiet() {
        let mut memory = Memory::default();
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
