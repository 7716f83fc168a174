//! Queries the properties of an interface (netdevice(7)).

use rustix::fd::{AsRawFd, BorrowedFd};
use std::mem::zeroed;

/// Returns the MTU of an interface of the network namespace to which a socket belongs. None: there is
/// no such interface.
pub fn mtu(fd: BorrowedFd<'_>, interface: u32) -> Option<u32> {
    let name = rustix::net::netdevice::index_to_name_inlined(fd, interface).ok()?;
    // SAFETY: this is plain data for which all zeroes are valid.
    let mut request: libc::ifreq = unsafe { zeroed() };
    // The last byte remains the terminating NUL.
    let room = request.ifr_name.len() - 1;
    for (slot, byte) in request.ifr_name.iter_mut().take(room).zip(name.as_bytes()) {
        *slot = byte.cast_signed();
    }
    // SAFETY: the kernel reads and writes a value of this type for this request.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::SIOCGIFMTU as _, &raw mut request) };
    // SAFETY: the kernel has written this member or none, and all bytes are valid for it.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    u32::try_from(mtu).ok().filter(|_| result == 0)
}
