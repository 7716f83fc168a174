//! Maps memory files that processes share, as words that are read and written atomically
//! ([`AtomicU64`]).

use nix::libc;
use rustix::fs::{SealFlags, fcntl_get_seals, fstat};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::AtomicU64;

/// Maps the first `words` of a memory file for as long as the process lives. None if the
/// file could shrink (a read beyond the end kills the process) or cannot be mapped.
pub fn map(file: &OwnedFd, words: usize) -> Option<&'static [AtomicU64]> {
    if !keeps_its_length(file, words) {
        return None;
    }
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the kernel chooses the address, so the new mapping replaces no other one.
    let at = unsafe {
        libc::mmap(
            ptr::null_mut(),
            words * size_of::<AtomicU64>(),
            protection,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    if at == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the mapping is aligned to pages, has room for all words and is never removed; the
    // file cannot shrink. Other processes write to it, which atomics allow.
    Some(unsafe { std::slice::from_raw_parts(at.cast::<AtomicU64>(), words) })
}

/// Maps another memory file at the address of `words`, so that every user of `words` sees the new
/// file from now on. Returns false if the file may shrink or cannot be mapped; the old mapping
/// remains then.
pub fn replace(words: &'static [AtomicU64], file: &OwnedFd) -> bool {
    if !keeps_its_length(file, words.len()) {
        return false;
    }
    let bytes = size_of_val(words);
    let place = words.as_ptr().cast_mut().cast::<libc::c_void>();
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_FIXED;
    // SAFETY: the address is a mapping of `map` of the same length, which is never removed. The
    // kernel replaces the pages atomically; users access whole words atomically and expect other
    // processes to change them at any time.
    let at = unsafe { libc::mmap(place, bytes, protection, flags, file.as_raw_fd(), 0) };
    at != libc::MAP_FAILED
}

fn keeps_its_length(file: &OwnedFd, words: usize) -> bool {
    let size = fstat(file).ok().map(|data| usize::try_from(data.st_size));
    let seals = fcntl_get_seals(file);
    matches!(size, Some(Ok(size)) if size >= words * size_of::<AtomicU64>())
        && seals.is_ok_and(|seals| seals.contains(SealFlags::SHRINK))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, fcntl_add_seals, ftruncate, memfd_create};
    use std::sync::atomic::Ordering::Relaxed;

    const WORDS: usize = 600;
    const BYTES: u64 = 8 * WORDS as u64;

    fn file(bytes: u64, seals: SealFlags) -> OwnedFd {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create("memory of a test", flags).expect("a memory file");
        ftruncate(&file, bytes).expect("its length");
        fcntl_add_seals(&file, seals).expect("its seals");
        file
    }

    #[test]
    fn two_mappings_of_a_file_see_each_other() {
        let file = file(BYTES, SealFlags::SHRINK | SealFlags::GROW);
        let (one, other) = (map(&file, WORDS), map(&file, WORDS));
        let (writes, reads) = (one.expect("mapped"), other.expect("mapped"));
        writes[7].store(1, Relaxed);
        assert_eq!(reads[7].load(Relaxed), 1);
    }

    #[test]
    fn remapped_file_is_read_at_the_same_address() {
        let (first, second) = (
            file(BYTES, SealFlags::SHRINK | SealFlags::GROW),
            file(BYTES, SealFlags::SHRINK | SealFlags::GROW),
        );
        let words = map(&first, WORDS).expect("mapped");
        words[0].store(7, Relaxed);
        let other = map(&second, WORDS).expect("mapped");
        other[0].store(8, Relaxed);
        assert!(!replace(words, &file(BYTES, SealFlags::GROW)), "may shrink");
        assert_eq!(words[0].load(Relaxed), 7, "the first one stays");
        assert!(replace(words, &second));
        assert_eq!(words[0].load(Relaxed), 8);
        other[0].store(9, Relaxed);
        assert_eq!(words[0].load(Relaxed), 9);
    }

    #[test]
    fn a_file_that_is_short_or_can_become_so_is_not_mapped() {
        assert!(map(&file(BYTES - 8, SealFlags::SHRINK), WORDS).is_none());
        assert!(map(&file(BYTES, SealFlags::GROW), WORDS).is_none());
    }
}
