//! Describes descriptors by their numbers for the next program image of this process, in which they
//! stay open.

use part::role::HandedSocket;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Returns the number of a descriptor, which stays open in the next image.
pub fn number(fd: &(impl AsFd + ?Sized)) -> u32 {
    fd.as_fd().as_raw_fd().cast_unsigned()
}

/// Returns the description of a listening socket with its path.
pub fn socket(fd: &dyn AsFd, path: &Path) -> HandedSocket {
    HandedSocket {
        descriptor: number(fd),
        path: path.as_os_str().as_bytes().to_vec(),
    }
}
