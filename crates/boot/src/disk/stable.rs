//! When the changes of a machine that are kept are on stable storage.
//!
//! A mark counts after a power failure only if it is in the second table, and it comes there when its block
//! is on the disk: so a block is either as it was flushed, or as the disk has it, and never empty. Another
//! process of the same run of the node uses the first table, which loses nothing.

use part::lock;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;

/// Flushes, one after the other.
#[derive(Debug, Default)]
pub(super) struct Stable {
    /// One has failed: the kernel reports lost data once, so all fail from then on.
    has_failed: Mutex<bool>,
}

impl Stable {
    /// Brings the file to stable storage, and then the marks that `take` returns, with their place: those of
    /// blocks that are in the file.
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
        let flushed = file.sync_data().and_then(|()| match marks.is_empty() {
            true => Ok(()),
            false => { file.write_all_at(&marks, at) }.and_then(|()| file.sync_data()),
        });
        *has_failed = flushed.is_err();
        flushed
    }
}
