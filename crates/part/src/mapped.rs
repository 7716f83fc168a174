//! Maps files that processes share, as words that are read and written atomically ([`AtomicU64`]):
//! sealed memory files, and private files of this user.

use nix::libc;
use rustix::fs::{FileType, Mode, SealFlags, Stat, fcntl_get_seals, fstat};
use rustix::process::geteuid;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::AtomicU64;

/// Maps the first `words` of a file for as long as the process lives. None if another user could
/// shrink the file (a read beyond the end kills the process), or if the file is shorter or cannot
/// be mapped.
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
    // SAFETY: the mapping is aligned to pages, has room for all words and is never removed; nobody
    // but this program can shrink the file, which it never does. Other processes write to it, which atomics allow.
    Some(unsafe { std::slice::from_raw_parts(at.cast::<AtomicU64>(), words) })
}

/// Maps another file at the address of `words`, so that every user of `words` sees the new file from
/// now on. Returns false if another user could shrink the file, or if it cannot be mapped; the old
/// mapping remains then.
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
    let Ok(data) = fstat(file) else {
        return false;
    };
    let is_long =
        usize::try_from(data.st_size).is_ok_and(|size| size >= words * size_of::<AtomicU64>());
    let is_sealed = || fcntl_get_seals(file).is_ok_and(|seals| seals.contains(SealFlags::SHRINK));
    is_long && (is_private(&data) || is_sealed())
}

/// Returns whether a file is a regular one that belongs to this user, and no other user may read or
/// write it.
pub fn is_private(data: &Stat) -> bool {
    data.st_uid == geteuid().as_raw()
        && FileType::from_raw_mode(data.st_mode) == FileType::RegularFile
        && !Mode::from_raw_mode(data.st_mode).intersects(Mode::RWXG | Mode::RWXO)
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

    #[test]
    fn only_a_private_file_of_this_user_is_mapped_without_a_seal() {
        let scratch = lab::ScratchDirectory::new().expect("a directory");
        for (mode, bytes, is_mapped) in [
            (0o600, BYTES, true),
            (0o600, BYTES - 8, false),
            (0o620, BYTES, false),
            (0o604, BYTES, false),
        ] {
            let path = scratch.path().join(format!("{mode:o}-{bytes}"));
            std::fs::write(&path, vec![0; bytes as usize]).expect("written");
            let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(&path, permissions).expect("its mode");
            let file = std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(&path);
            let file = file.expect("open").into();
            assert_eq!(map(&file, WORDS).is_some(), is_mapped, "{mode:o} {bytes}");
        }
    }
}
