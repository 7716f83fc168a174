//! A disk behind the page cache: what that can do at once needs no engine, which would cost more
//! than the operation.
//!
//! A write to the page cache may block, where the kernel bounds what is not on the disk yet. After
//! one that did, the engine does them for a while, so that reads do not wait behind it.

use super::Step;
use rustix::fs::{Advice, fadvise};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A write to the page cache that takes longer was made to wait.
const SLOW: Duration = Duration::from_millis(5);
/// For so long the engine writes after that.
const PAUSE: Duration = Duration::from_secs(1);

/// A file that is used through the page cache.
pub(super) struct Cached {
    file: Arc<File>,
    /// Until then writes may block.
    blocks_until: Option<Instant>,
}

impl Cached {
    pub(super) fn new(file: &Arc<File>) -> Cached {
        Cached {
            file: Arc::clone(file),
            blocks_until: None,
        }
    }

    /// Does what can be done at once: a write, or a read of what the page cache has. `None`: the
    /// engine has to.
    ///
    /// # Safety
    /// As [`Step::run`].
    pub(super) unsafe fn run(&mut self, step: Step) -> Option<Result<usize, Errno>> {
        match step {
            // SAFETY: the caller's promise.
            Step::Read { .. } => unsafe { step.read_cached(self.file.as_fd()) }.map(Ok),
            Step::Write { fua: false, .. } => {
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

    /// After a failed flush the page cache may have what the disk could not take, and reads
    /// would return it until it is evicted: they return what the disk has.
    pub(super) fn forget(&self) {
        let _ = fadvise(&self.file, 0, None, Advice::DontNeed);
    }
}
