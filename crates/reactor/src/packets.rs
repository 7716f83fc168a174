//! Packet statistics of a TCP connection from the kernel (TCP_INFO).

use super::WeakSocket;
use nix::libc;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd};

/// How the packets of a connection do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacketFacts {
    /// The time of a round trip, microseconds.
    pub rtt_us: u32,
    /// How much that varies, microseconds.
    pub rtt_variance_us: u32,
    /// Segments that were sent and not acknowledged.
    pub unacked: u32,
    /// Segments that were acknowledged out of their order.
    pub sacked: u32,
    /// Segments that are sent again now.
    pub retransmitted: u32,
    /// Segments up to the last one that was acknowledged out of order.
    pub fackets: u32,
    /// Segments that are taken for lost.
    pub lost: u32,
    /// How far segments arrive out of their order.
    pub reordering: u32,
}

impl WeakSocket {
    /// How its packets do. None: it is closed, or not TCP.
    pub fn packets(&self) -> Option<PacketFacts> {
        self.with_fd(read).flatten()
    }
}

fn read(fd: BorrowedFd<'_>) -> Option<PacketFacts> {
    // SAFETY: integers only, of which 0 is a value.
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
