//! Detects from the kernel's statistics that the machine at the other end of a TCP connection is
//! silent.

use std::mem::zeroed;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// Returns whether the machine has acknowledged nothing for `limit`, although the kernel has sent
/// and retransmitted data. A machine whose receive buffer is full acknowledges that, so it is not
/// silent. Returns false when the socket is not TCP.
pub(super) fn is_silent(socket: BorrowedFd<'_>, limit: Duration) -> bool {
    // SAFETY: all zeroes are a valid tcp_info.
    let mut info: libc::tcp_info = unsafe { zeroed() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the pointers are to a tcp_info and to its length, which live during the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    let is_waiting = info.tcpi_unacked > 0 && info.tcpi_retransmits > 0;
    let silent = Duration::from_millis(info.tcpi_last_ack_recv.into());
    result == 0 && is_waiting && silent >= limit
}
