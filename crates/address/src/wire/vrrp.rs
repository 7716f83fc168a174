//! Sends and receives adverts on raw sockets: protocol 112 for VRRP, or 51 for authenticated
//! adverts (AH).

use super::WireError;
use super::datagram::{Ancillary, Buffers, Destination, option, send};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{
    AddressFamily, Protocol, SocketFlags, SocketType, ipproto, socket_with, sockopt,
};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

const VRRP: u8 = 112;
/// TTL of every packet (RFC 9568, section 5.1.1.3).
const TTL: u8 = 255;
/// `SO_PRIORITY`: ahead of all other traffic in the queue of the interface (`TC_PRIO_CONTROL`).
const PRIORITY: i32 = 7;
/// Type of service of network control traffic.
const CONTROL: u8 = 0xc0;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VrrpTransport {
    /// To a multicast group (224.0.0.18, ff02::12), which is joined.
    Multicast { group: IpAddr },
    Unicast {
        /// Destination address to which reception is limited; it need not exist yet.
        local: Option<IpAddr>,
        /// TTL of sent packets; None: 255.
        ttl: Option<u8>,
    },
}

/// Options of a VRRP socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VrrpOptions {
    pub ipv6: bool,
    /// Index and name of the interface to which the socket is bound; optional for unicast.
    pub interface: Option<(u32, String)>,
    pub transport: VrrpTransport,
    /// True for authenticated adverts: protocol 51 in place of 112 (IPv4). Sent data is then a
    /// whole packet with its IP header, which the authentication covers.
    pub authenticated: bool,
    /// Size of the receive buffer in bytes; None: the system's default.
    pub receive_buffer_bytes: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received<'a> {
    /// Whole packet with its IP header, which the authentication of adverts covers (IPv4). For IPv6
    /// the kernel delivers no header.
    pub packet: &'a [u8],
    pub bytes: &'a [u8],
    pub source: IpAddr,
    pub destination: IpAddr,
    pub ttl: u8,
    pub interface: u32,
}

/// A raw VRRP socket. When it is readable, call [`VrrpSocket::drain`].
#[derive(Debug)]
pub struct VrrpSocket {
    fd: Arc<OwnedFd>,
    ipv6: bool,
    interface: u32,
    buffers: Buffers,
}

/// Sending side of a [`VrrpSocket`], which another thread may use, too.
#[derive(Clone, Debug)]
pub struct VrrpSender {
    fd: Arc<OwnedFd>,
    ipv6: bool,
    interface: u32,
}

fn step<T, E: Into<io::Error>>(step: &'static str, done: Result<T, E>) -> Result<T, WireError> {
    done.map_err(|error| WireError::Open {
        step,
        error: error.into(),
    })
}

impl VrrpSocket {
    /// Opens a socket with these options.
    ///
    /// # Errors
    /// - [`WireError::Family`]: the addresses are of different families, or authentication is
    ///   combined with IPv6.
    /// - [`WireError::NoInterface`]: multicast needs an interface, or the name of the interface is
    ///   too long.
    /// - [`WireError::Open`]: the socket cannot be created, configured or bound.
    pub fn open(options: &VrrpOptions) -> Result<VrrpSocket, WireError> {
        if options.ipv6 && options.authenticated {
            return Err(WireError::Family);
        }
        let family = if options.ipv6 {
            AddressFamily::INET6
        } else {
            AddressFamily::INET
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let protocol = if options.authenticated {
            ipproto::AH
        } else {
            protocol()
        };
        let fd = step(
            "raw socket",
            socket_with(family, SocketType::RAW, flags, Some(protocol)),
        )?;
        let interface = options.interface.as_ref().map_or(0, |(index, _)| *index);
        let socket = VrrpSocket {
            fd: Arc::new(fd),
            ipv6: options.ipv6,
            interface,
            buffers: Buffers::new(),
        };
        socket.set_up(options)?;
        if let Some((_, name)) = &options.interface {
            socket.bind_to_device(name)?;
        }
        match &options.transport {
            VrrpTransport::Multicast { group } => socket.join(*group)?,
            VrrpTransport::Unicast { local, ttl } => {
                socket.unicast(*local, ttl.unwrap_or(TTL))?;
            }
        }
        Ok(socket)
    }

    fn set_up(&self, options: &VrrpOptions) -> Result<(), WireError> {
        let fd = &self.fd;
        step(
            "SO_PRIORITY",
            option(fd, libc::SOL_SOCKET, libc::SO_PRIORITY, &PRIORITY),
        )?;
        if let Some(bytes) = options.receive_buffer_bytes {
            let bytes = bytes as usize;
            // Tries to exceed the system's limit, which a privileged process may; others get at
            // most the limit.
            if sockopt::set_socket_recv_buffer_size_force(fd, bytes).is_err() {
                step("SO_RCVBUF", sockopt::set_socket_recv_buffer_size(fd, bytes))?;
            }
        }
        if self.ipv6 {
            let set = |name| option(fd, libc::IPPROTO_IPV6, name, &1_i32);
            step("IPV6_RECVPKTINFO", set(libc::IPV6_RECVPKTINFO))?;
            step("IPV6_RECVHOPLIMIT", set(libc::IPV6_RECVHOPLIMIT))?;
            step("IPV6_FREEBIND", sockopt::set_ipv6_freebind(fd, true))?;
            // Allows to send from an address that the interface has just lost, as the advert of
            // priority zero is. Without this option the kernel refuses to send it, and the other
            // nodes wait for silence.
            let _ = set(libc::IPV6_TRANSPARENT);
            step(
                "IPV6_MULTICAST_LOOP",
                sockopt::set_ipv6_multicast_loop(fd, false),
            )?;
            step(
                "IPV6_MULTICAST_HOPS",
                sockopt::set_ipv6_multicast_hops(fd, TTL.into()),
            )?;
            step("IPV6_TCLASS", sockopt::set_ipv6_tclass(fd, CONTROL.into()))?;
            // Receives only the groups that this socket joined. A kernel older than 4.20 lacks the
            // option, and delivers no other router group on a raw socket of protocol 112 anyway.
            let _ = option(fd, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_ALL, &0_i32);
        } else {
            let set = |name, value: i32| option(fd, libc::IPPROTO_IP, name, &value);
            step("IP_PKTINFO", set(libc::IP_PKTINFO, 1))?;
            step("IP_FREEBIND", sockopt::set_ip_freebind(fd, true))?;
            // Allows the advert of priority zero from an address that the interface has just lost,
            // as for IPv6 above.
            let _ = set(libc::IP_TRANSPARENT, 1);
            step(
                "IP_MULTICAST_LOOP",
                sockopt::set_ip_multicast_loop(fd, false),
            )?;
            step(
                "IP_MULTICAST_TTL",
                sockopt::set_ip_multicast_ttl(fd, TTL.into()),
            )?;
            step("IP_MULTICAST_ALL", set(libc::IP_MULTICAST_ALL, 0))?;
            step("IP_TOS", sockopt::set_ip_tos(fd, CONTROL))?;
            if options.authenticated {
                step("IP_HDRINCL", set(libc::IP_HDRINCL, 1))?;
            }
            step(
                "IP_MTU_DISCOVER",
                set(libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT),
            )?;
        }
        Ok(())
    }

    fn bind_to_device(&self, name: &str) -> Result<(), WireError> {
        let mut bytes = [0_u8; libc::IFNAMSIZ];
        let room = bytes
            .get_mut(..name.len())
            .filter(|room| room.len() < libc::IFNAMSIZ);
        let room = room.ok_or(WireError::NoInterface)?;
        room.copy_from_slice(name.as_bytes());
        let bound = option(&self.fd, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, &bytes);
        step("SO_BINDTODEVICE", bound)
    }

    fn join(&self, group: IpAddr) -> Result<(), WireError> {
        if self.interface == 0 {
            return Err(WireError::NoInterface);
        }
        let index = self.interface;
        match (group, self.ipv6) {
            (IpAddr::V4(group), false) => {
                let any = Ipv4Addr::UNSPECIFIED;
                let joined =
                    sockopt::set_ip_add_membership_with_ifindex(&self.fd, &group, &any, index);
                step("IP_ADD_MEMBERSHIP", joined)?;
                let out = sockopt::set_ip_multicast_if_with_ifindex(&self.fd, &any, &any, index);
                step("IP_MULTICAST_IF", out)
            }
            (IpAddr::V6(group), true) => {
                let joined = sockopt::set_ipv6_add_membership(&self.fd, &group, self.interface);
                step("IPV6_JOIN_GROUP", joined)?;
                let out = sockopt::set_ipv6_multicast_if(&self.fd, self.interface);
                step("IPV6_MULTICAST_IF", out)
            }
            _ => Err(WireError::Family),
        }
    }

    fn unicast(&self, local: Option<IpAddr>, ttl: u8) -> Result<(), WireError> {
        if local.is_some_and(|local| local.is_ipv6() != self.ipv6) {
            return Err(WireError::Family);
        }
        if self.ipv6 {
            step(
                "IPV6_UNICAST_HOPS",
                sockopt::set_ipv6_unicast_hops(&self.fd, Some(ttl)),
            )?;
        } else {
            step("IP_TTL", sockopt::set_ip_ttl(&self.fd, ttl.into()))?;
        }
        let Some(local) = local else { return Ok(()) };
        let at = match local {
            IpAddr::V6(a) if a.is_unicast_link_local() => {
                SocketAddr::from(std::net::SocketAddrV6::new(a, 0, 0, self.interface))
            }
            other => SocketAddr::new(other, 0),
        };
        step("bind", rustix::net::bind(&self.fd, &at))
    }

    pub fn ipv6(&self) -> bool {
        self.ipv6
    }

    /// Returns the index of the interface that the socket is bound to; zero: none.
    pub fn interface(&self) -> u32 {
        self.interface
    }

    /// Sends a packet like [`VrrpSender::send`].
    ///
    /// # Errors
    /// The errors of [`VrrpSender::send`].
    pub fn send(&self, from: Option<IpAddr>, to: IpAddr, bytes: &[u8]) -> Result<(), WireError> {
        self.sender().send(from, to, bytes)
    }

    pub fn sender(&self) -> VrrpSender {
        VrrpSender {
            fd: Arc::clone(&self.fd),
            ipv6: self.ipv6,
            interface: self.interface,
        }
    }

    /// Passes the received packets to `each`, at most [`super::DRAINED_AT_MOST`], and returns
    /// their number. Packets without a complete IP header are ignored.
    ///
    /// # Errors
    /// Fails with [`WireError::Receive`] if the socket cannot be read. Path errors, which the
    /// kernel reports once, are skipped.
    pub fn drain(&mut self, mut each: impl FnMut(Received<'_>)) -> Result<usize, WireError> {
        let ipv6 = self.ipv6;
        self.buffers.drain(&self.fd, |bytes, beside| {
            let received = if ipv6 {
                received6(bytes, beside)
            } else {
                received4(bytes, beside)
            };
            if let Some(received) = received {
                each(received);
            }
        })
    }
}

impl VrrpSender {
    /// Sends a packet. `from`: a local address, or the kernel's choice; authenticated packets
    /// contain it in their header. The call never waits: a full queue is an error.
    ///
    /// # Errors
    /// The address family differs from that of the socket, or the system does not send the packet.
    pub fn send(&self, from: Option<IpAddr>, to: IpAddr, bytes: &[u8]) -> Result<(), WireError> {
        if to.is_ipv6() != self.ipv6 || from.is_some_and(|from| from.is_ipv6() != self.ipv6) {
            return Err(WireError::Family);
        }
        let way = Destination {
            to,
            from,
            interface: self.interface,
        };
        send(&self.fd, bytes, way).map_err(WireError::Send)
    }

    /// Returns whether both senders use the same socket.
    pub fn is_same(&self, other: &VrrpSender) -> bool {
        Arc::ptr_eq(&self.fd, &other.fd)
    }
}

impl AsFd for VrrpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn protocol() -> Protocol {
    let number = std::num::NonZeroU32::new(VRRP.into()).unwrap_or(std::num::NonZeroU32::MIN);
    Protocol::from_raw(number)
}

fn received4(datagram: &[u8], beside: Ancillary) -> Option<Received<'_>> {
    let first = *datagram.first()?;
    let length = usize::from(first & 0x0f) * 4;
    if first >> 4 != 4 || length < 20 || beside.truncated {
        return None;
    }
    let address = |at: usize| -> Option<IpAddr> {
        let bytes: [u8; 4] = datagram.get(at..at + 4)?.try_into().ok()?;
        Some(bytes.into())
    };
    Some(Received {
        packet: datagram,
        bytes: datagram.get(length..)?,
        source: address(12)?,
        destination: address(16)?,
        ttl: *datagram.get(8)?,
        interface: beside.interface,
    })
}

fn received6(datagram: &[u8], beside: Ancillary) -> Option<Received<'_>> {
    if beside.truncated {
        return None;
    }
    Some(Received {
        packet: datagram,
        bytes: datagram,
        source: beside.source?,
        destination: beside
            .destination
            .unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        ttl: beside.hops?,
        interface: beside.interface,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_datagram_is_taken_apart_without_panic(
            bytes in prop::collection::vec(prop_oneof![Just(0x45_u8), any::<u8>()], 0..80),
        ) {
            if let Some(received) = received4(&bytes, Ancillary::default()) {
                prop_assert!(received.packet.ends_with(received.bytes));
                prop_assert!(received.packet.len() >= received.bytes.len() + 20);
            }
            prop_assert_eq!(received6(&bytes, Ancillary::default()), None);
        }
    }
}
