//! Opens the UDP sockets of bidirectional forwarding detection (RFC 5881), and receives and sends
//! its packets: one socket per address family receives for all sessions, and each session sends
//! from its own port.

use super::datagram::{Buffers, option};
use super::{DRAINED_AT_MOST, WireError};
use protocol::bfd::{PORT, SOURCE_PORTS};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::net::sockopt::{set_ip_ttl, set_ipv6_unicast_hops, set_ipv6_v6only};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Number of ports that a session tries before its socket counts as failed.
const PORTS_TRIED: u16 = 64;
/// Size of the receive buffer of a sending socket, in bytes: its input is never read.
const UNREAD_BYTES: usize = 1;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BfdSeen<'a> {
    pub from: IpAddr,
    pub to: Option<IpAddr>,
    pub ttl: u8,
    pub bytes: &'a [u8],
}

/// Receiving socket for all sessions of a family. When it is readable, call [`BfdListener::drain`].
#[derive(Debug)]
pub struct BfdListener {
    socket: UdpSocket,
    ipv6: bool,
    buffers: Buffers,
}

fn unbound(ipv6: bool) -> Result<UdpSocket, WireError> {
    let family = if ipv6 {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::DGRAM, flags, None)
        .map_err(|errno| failed("BFD socket")(errno.into()))?;
    if ipv6 {
        set_ipv6_v6only(&socket, true).map_err(|errno| failed("IPV6_V6ONLY")(errno.into()))?;
    }
    Ok(UdpSocket::from(socket))
}

fn failed(step: &'static str) -> impl Fn(io::Error) -> WireError {
    move |error| WireError::Open { step, error }
}

fn anywhere(ipv6: bool) -> IpAddr {
    if ipv6 {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    }
}

impl BfdListener {
    /// Listens on the BFD port. A successor of this process may listen at the same time.
    ///
    /// # Errors
    /// Fails with [`WireError::Open`] if the socket cannot be created, configured or bound.
    pub fn open(ipv6: bool) -> Result<BfdListener, WireError> {
        let socket = unbound(ipv6)?;
        let on = 1_i32;
        let (level, wanted) = if ipv6 {
            (
                libc::IPPROTO_IPV6,
                [libc::IPV6_RECVHOPLIMIT, libc::IPV6_RECVPKTINFO],
            )
        } else {
            (libc::IPPROTO_IP, [libc::IP_RECVTTL, libc::IP_PKTINFO])
        };
        for name in wanted {
            option(&socket, level, name, &on).map_err(failed("BFD: TTL and destination"))?;
        }
        set_socket_reuseaddr(&socket, true)
            .map_err(|errno| failed("SO_REUSEADDR")(errno.into()))?;
        bind(&socket, &SocketAddr::new(anywhere(ipv6), PORT))
            .map_err(|errno| failed("port 3784 of BFD")(errno.into()))?;
        Ok(BfdListener {
            socket,
            ipv6,
            buffers: Buffers::new(),
        })
    }

    pub fn is_ipv6(&self) -> bool {
        self.ipv6
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Passes received packets to `each`, [`DRAINED_AT_MOST`] at most. A packet whose TTL the
    /// kernel did not report counts as one with a TTL of zero.
    ///
    /// # Errors
    /// Fails with [`WireError::Receive`] if the socket cannot be read.
    pub fn drain(&mut self, mut each: impl FnMut(BfdSeen<'_>)) -> Result<(), WireError> {
        let mut seen = 0;
        while seen < DRAINED_AT_MOST {
            let count = self.buffers.read(&self.socket, |bytes, beside| {
                if let Some(from) = beside.source {
                    each(BfdSeen {
                        from,
                        to: beside.destination,
                        ttl: beside.hops.unwrap_or(0),
                        bytes,
                    });
                }
            });
            match count.map_err(WireError::Receive)? {
                0 => break,
                count => seen += count,
            }
        }
        Ok(())
    }
}

/// The sending socket of a session.
#[derive(Debug)]
pub struct BfdSender {
    socket: UdpSocket,
    to: SocketAddr,
}

impl BfdSender {
    /// Opens the sending socket of a session, on the first free one of at most `PORTS_TRIED`
    /// ports. The search begins at the port with the index `first` in [`SOURCE_PORTS`].
    ///
    /// # Errors
    /// Fails with [`WireError::Family`] if `from` is of another address family, and with
    /// [`WireError::Open`] if the socket cannot be created or configured, or if none of the ports
    /// is free.
    pub fn open(
        from: Option<IpAddr>,
        to: IpAddr,
        ttl: u8,
        first: u16,
    ) -> Result<BfdSender, WireError> {
        if from.is_some_and(|from| from.is_ipv4() != to.is_ipv4()) {
            return Err(WireError::Family);
        }
        let ipv6 = to.is_ipv6();
        let socket = unbound(ipv6)?;
        if ipv6 {
            set_ipv6_unicast_hops(&socket, Some(ttl))
        } else {
            set_ip_ttl(&socket, u32::from(ttl))
        }
        .map_err(|errno| failed("TTL of BFD")(errno.into()))?;
        // Requests a small buffer, whose size the kernel raises to its minimum.
        set_socket_recv_buffer_size(&socket, UNREAD_BYTES)
            .map_err(|errno| failed("SO_RCVBUF")(errno.into()))?;
        let from = from.unwrap_or(anywhere(ipv6));
        let ports = u32::from(SOURCE_PORTS.end() - SOURCE_PORTS.start()) + 1;
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for next in 0..PORTS_TRIED {
            let place = (u32::from(first) + u32::from(next)) % ports;
            // Cannot overflow: the index is less than the number of ports, which have 16 bits.
            let port = SOURCE_PORTS.start() + place as u16;
            match bind(&socket, &SocketAddr::new(from, port)) {
                Ok(()) => {
                    let to = SocketAddr::new(to, PORT);
                    return Ok(BfdSender { socket, to });
                }
                Err(rustix::io::Errno::ADDRINUSE) => {}
                Err(errno) => {
                    last = errno.into();
                    break;
                }
            }
        }
        Err(failed("port that BFD sends from")(last))
    }

    /// Sends a packet to the other end of the session.
    ///
    /// # Errors
    /// Fails with [`WireError::Send`] if the system does not send the packet. The call never waits:
    /// a full queue is an error, too.
    pub fn send(&self, bytes: &[u8]) -> Result<(), WireError> {
        let sent = self.socket.send_to(bytes, self.to);
        sent.map(|_| ()).map_err(WireError::Send)
    }
}
