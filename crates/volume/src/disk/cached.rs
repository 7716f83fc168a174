//! Executes disk operations that complete at once through the page cache, without the engine, which
//! would cost more than the operation.
//!
//! A write to the page cache may block when the kernel throttles dirty pages. After a write that
//! blocked, the engine does the writes for a while, so that reads do not wait for them.

use super::DiskStep;
use rustix::fs::{Advice, fadvise};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Duration above which a write counts as blocked by the kernel.
const SLOW: Duration = Duration::from_millis(5);
const PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Cached {
    file: Arc<File>,
    /// End of the time in which the engine does the writes, because they may block.
    blocks_until: Option<Instant>,
}

impl Cached {
    pub(super) fn new(file: &Arc<File>) -> Cached {
        Cached {
            file: Arc::clone(file),
            blocks_until: None,
        }
    }

    /// Runs a step that completes at once: a write to the page cache, or a read from it. Returns
    /// `None` if the engine has to run the step.
    ///
    /// # Safety
    /// As [`DiskStep::run`].
    pub(super) unsafe fn run(&mut self, step: DiskStep) -> Option<Result<usize, Errno>> {
        match step {
            // SAFETY: the caller's promise.
            DiskStep::Read { .. } => unsafe { step.read_cached(self.file.as_fd()) }.map(Ok),
            DiskStep::Write { fua: false, .. } => {
                let begin = Instant::now();
                if self.blocks_until.is_some_and(|until| begin < until) {
                    return None;
                }
                // SAFETY: the caller's promise. The flag matters for zeroes only.
                let result = unsafe { step.run(self.file.as_fd(), false) };
                let end = Instant::now();
                self.blocks_until = (end - begin >= SLOW).then(|| end + PAUSE);
                Some(result)
            }
            _ => None,
        }
    }

    /// Drops the cached pages after a failed flush. The page cache may contain data that the disk
    /// did not accept, and reads would return that data until the kernel drops it.
    pub(super) fn forget(&self) {
        let _ = fadvise(&self.file, 0, None, Advice::DontNeed);
    }
}
