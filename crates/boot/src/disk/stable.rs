//! Flushes a kept overlay to stable storage, so that it can be used after a power failure.
//!
//! The first bitmap of the file marks the blocks that the overlay has; a new process uses this
//! bitmap, unless the node was rebooted. After a reboot only marks in the second bitmap count, and
//! a mark is written there after its block is on disk. So a marked block has at least its flushed
//! content, and any other block has the content of the base disk.

use part::lock;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;

/// Serializes the flushes of an overlay.
#[derive(Debug, Default)]
pub(super) struct OverlayFlusher {
    /// True if a flush has failed: the kernel reports lost data only once, so all later flushes
    /// fail, too.
    has_failed: Mutex<bool>,
}

impl OverlayFlusher {
    /// Syncs the file, then writes the marks that `take` returns at the offset that it returns, and
    /// syncs again; without marks, syncs once. The blocks of these marks must be in the file
    /// already. After one failure, all later calls fail.
    pub(super) fn flush(
        &self,
        file: &File,
        take: impl FnOnce() -> (u64, Vec<u8>),
    ) -> io::Result<()> {
        let mut has_failed = lock(&self.has_failed);
        if *has_failed {
            return Err(io::Error::other("an earlier flush failed"));
        }
        let (at, marks) = take();
        let flushed = file.sync_data().and_then(|()| {
            if marks.is_empty() {
                Ok(())
            } else {
                file.write_all_at(&marks, at)
                    .and_then(|()| file.sync_data())
            }
        });
        *has_failed = flushed.is_err();
        flushed
    }
}
