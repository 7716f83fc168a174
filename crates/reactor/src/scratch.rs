//! Lends the calling thread's reusable buffer for building data that is sent at once, such as
//! message heads.

use std::cell::Cell;

/// Largest scratch buffer that is kept, in bytes.
const SCRATCH_KEPT: usize = 256 * 1024;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Returns an empty buffer for building heads; its memory is reused.
#[inline]
pub fn scratch() -> ScratchBuffer {
    ScratchBuffer(SCRATCH.take())
}

/// The thread's scratch buffer, returned when dropped.
pub struct ScratchBuffer(Vec<u8>);

impl std::ops::Deref for ScratchBuffer {
    type Target = Vec<u8>;
    #[inline]
    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl std::ops::DerefMut for ScratchBuffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for ScratchBuffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.0);
        if bytes.capacity() <= SCRATCH_KEPT {
            bytes.clear();
            SCRATCH.set(bytes);
        }
    }
}
