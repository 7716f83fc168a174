//! The memory of heartbeats ([`protocol::role::vitals`]) in this process.

use nix::libc;
use protocol::role::vitals::{BYTES, WORDS};
use rustix::fs::{SealFlags, fcntl_get_seals, fstat};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::AtomicU64;

/// Maps a memory file for as long as the process lives. None where it could become
/// shorter than it is (whoever reads beyond its end is killed), or cannot be mapped.
pub fn map(file: &OwnedFd) -> Option<&'static [AtomicU64]> {
    let size = usize::try_from(fstat(file).ok()?.st_size).ok()?;
    let seals = fcntl_get_seals(file).ok()?;
    if size < BYTES || !seals.contains(SealFlags::SHRINK) {
        return None;
    }
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, which takes the place of none.
    let at = unsafe {
        libc::mmap(
            ptr::null_mut(),
            BYTES,
            protection,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    if at == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the mapping is of pages, has room for so many words, and is never undone;
    // the file cannot shrink below it. Others write to it, which is what atomics are for.
    Some(unsafe { std::slice::from_raw_parts(at.cast::<AtomicU64>(), WORDS) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::role::vitals::Vitals;
    use rustix::fs::{MemfdFlags, fcntl_add_seals, ftruncate, memfd_create};

    fn file(bytes: usize, seals: SealFlags) -> OwnedFd {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create("vitals of a test", flags).expect("a memory file");
        ftruncate(&file, bytes as u64).expect("its length");
        fcntl_add_seals(&file, seals).expect("its seals");
        file
    }

    #[test]
    fn two_mappings_of_a_file_see_each_other() {
        let file = file(BYTES, SealFlags::SHRINK | SealFlags::GROW);
        let (one, other) = (map(&file), map(&file));
        let writes = Vitals::begin(one.expect("mapped")).expect("long enough");
        let reads = Vitals::open(other.expect("mapped")).expect("begun");
        writes.claim(7, 1);
        assert!(reads.is_owner(7));
    }

    #[test]
    fn a_file_that_is_short_or_can_become_so_is_not_mapped() {
        assert!(map(&file(BYTES - 8, SealFlags::SHRINK)).is_none());
        assert!(map(&file(BYTES, SealFlags::GROW)).is_none());
    }
}
