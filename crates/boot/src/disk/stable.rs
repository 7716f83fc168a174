//! Flushes a kept overlay to stable storage, so that it can be used after a power failure.
//!
//! The bitmap on disk marks the blocks that the overlay has. After a power failure only marks in
//! the second bitmap count, and a mark is written there after its block is on disk. So a block has
//! either its flushed content, or that of the base disk, and is never empty. A new process without
//! a reboot of the node uses the first bitmap, so it loses nothing.

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
    /// Syncs the file, and then writes the marks that `take` returns with their offset. These are
    /// marks of blocks that are in the file.
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
