//! Reads the packet statistics of a TCP connection from the kernel (TCP_INFO).

use super::WeakSocket;
use nix::libc;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacketFacts {
    pub rtt_us: u32,
    pub rtt_variance_us: u32,
    /// Number of segments sent and not yet acknowledged.
    pub unacked: u32,
    /// Number of segments acknowledged out of order.
    pub sacked: u32,
    pub retransmitted: u32,
    /// Number of segments up to the last one acknowledged out of order.
    pub fackets: u32,
    pub lost: u32,
    /// Distance by which segments arrive out of order, in segments.
    pub reordering: u32,
}

impl WeakSocket {
    /// Returns the packet statistics; `None` when the socket is closed or not TCP.
    pub fn packets(&self) -> Option<PacketFacts> {
        self.with_fd(read).flatten()
    }
}

fn read(fd: BorrowedFd<'_>) -> Option<PacketFacts> {
    // SAFETY: the structure has only integers, for which 0 is a valid value.
    let mut info: libc::tcp_info = unsafe { zeroed() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: both pointers are live, and the length is that of the structure.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    (result == 0).then_some(PacketFacts {
        rtt_us: info.tcpi_rtt,
        rtt_variance_us: info.tcpi_rttvar,
        unacked: info.tcpi_unacked,
        sacked: info.tcpi_sacked,
        retransmitted: info.tcpi_retrans,
        fackets: info.tcpi_fackets,
        lost: info.tcpi_lost,
        reordering: info.tcpi_reordering,
    })
}
