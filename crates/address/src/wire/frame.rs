//! Sends and receives frames of ARP and of IPv6 neighbour discovery on one interface.

use super::WireError;
use super::datagram::{Buffers, bind, filter};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, socket_with};
use std::io;

const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const OUTGOING: u8 = 4;
/// Offset of the next header of IPv6 in a frame.
const NEXT_HEADER: u32 = 20;
/// Offset of the type of an ICMPv6 message in a frame.
const ICMP_TYPE: u32 = 54;
const ICMP6: u32 = 58;
const SOLICITATION: u32 = 135;
const ADVERTISEMENT: u32 = 136;

/// A received frame that another machine sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameSeen<'a> {
    /// Whole frame with its Ethernet header.
    pub bytes: &'a [u8],
    pub interface: u32,
}

/// Socket for frames on one interface: ARP, or neighbour solicitations and advertisements of IPv6.
/// When it is readable, call [`PacketSocket::drain`].
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
    interface: u32,
    buffers: Buffers,
}

impl PacketSocket {
    /// Opens a socket on the interface with this index.
    ///
    /// # Errors
    /// Fails with [`WireError::Open`] if the socket cannot be created, configured or bound.
    pub fn open(interface: u32, ipv6: bool) -> Result<PacketSocket, WireError> {
        let failed = |step| move |error: io::Error| WireError::Open { step, error };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // Opens the socket without a protocol, so that no frame arrives before the filter is
        // attached.
        let fd = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)
            .map_err(|errno| failed("packet socket")(errno.into()))?;
        if ipv6 {
            filter(&fd, &neighbours()).map_err(failed("SO_ATTACH_FILTER"))?;
        }
        let protocol = if ipv6 { IPV6 } else { ARP };
        let at = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: protocol.to_be(),
            sll_ifindex: interface.cast_signed(),
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        bind(&fd, &at).map_err(failed("bind"))?;
        Ok(PacketSocket {
            fd,
            interface,
            buffers: Buffers::new(),
        })
    }

    pub fn interface(&self) -> u32 {
        self.interface
    }

    /// Sends a whole frame.
    ///
    /// # Errors
    /// Fails with [`WireError::Send`] if send(2) fails. The call never waits: a full queue is an
    /// error, too.
    pub fn send(&self, frame: &[u8]) -> Result<(), WireError> {
        loop {
            match rustix::net::send(&self.fd, frame, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(WireError::Send(errno.into())),
            }
        }
    }

    /// Passes the received frames to `each`, at most [`super::DRAINED_AT_MOST`], and returns their
    /// number.
    ///
    /// # Errors
    /// Fails with [`WireError::Receive`] if the socket cannot be read. Path errors, which the
    /// kernel reports once, are skipped.
    pub fn drain(&mut self, mut each: impl FnMut(FrameSeen<'_>)) -> Result<usize, WireError> {
        self.buffers.drain(&self.fd, |bytes, beside| {
            if beside.packet_type != OUTGOING {
                each(FrameSeen {
                    bytes,
                    interface: beside.interface,
                });
            }
        })
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Returns a socket filter program that accepts only neighbour solicitations and advertisements.
fn neighbours() -> [libc::sock_filter; 7] {
    let load = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    let equal = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let give = (libc::BPF_RET | libc::BPF_K) as u16;
    let at = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    [
        at(load, 0, 0, NEXT_HEADER),
        at(equal, 0, 4, ICMP6),
        at(load, 0, 0, ICMP_TYPE),
        at(equal, 1, 0, SOLICITATION),
        at(equal, 0, 1, ADVERTISEMENT),
        at(give, 0, 0, u32::MAX),
        at(give, 0, 0, 0),
    ]
}
