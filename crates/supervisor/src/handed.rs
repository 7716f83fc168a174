//! Descriptors as the next image of this process knows them.

use part::role::HandedSocket;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// As the next image knows it.
pub fn number(fd: &(impl AsFd + ?Sized)) -> u32 {
    fd.as_fd().as_raw_fd().cast_unsigned()
}

/// As the next image knows a socket that listens at a path.
pub fn socket(fd: &dyn AsFd, path: &Path) -> HandedSocket {
    HandedSocket {
        descriptor: number(fd),
        path: path.as_os_str().as_bytes().to_vec(),
    }
}
