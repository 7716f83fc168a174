//! Answers IPv6 router solicitations of machines (RFC 4861) with "this node is no router". Without
//! a response iPXE waits 16 seconds for one before it boots. Where a section has IPv6, the same
//! socket advertises that addresses come from DHCPv6 ([`crate::dhcp6::advert`]).
//!
//! The response is unicast to the machine that sent the solicitation. Its router lifetime is
//! zero, so no machine takes this node for a router, and another router of the network is not
//! affected (RFC 4861, 6.3.4).

use super::udp::at_interface;
use crate::mac::Mac;
use rustix::net::sockopt::{
    set_ipv6_add_membership, set_ipv6_multicast_hops, set_ipv6_multicast_loop,
    set_ipv6_unicast_hops,
};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType, ipproto, recvfrom,
    sendto, socket_with,
};
use std::io;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// All-nodes multicast address of a link.
const MACHINES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const HEAD_BYTES: usize = 8;
/// All-routers multicast address of a link.
const ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;
const SOURCE_CARD: u8 = 1;
/// Option of raw sockets that filters ICMPv6 types (RFC 3542, 3.2).
const ICMP6_FILTER: libc::c_int = 1;

/// Socket for router solicitations at one interface.
#[derive(Debug)]
pub struct RouterSocket {
    socket: OwnedFd,
    interface: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouterSolicitation {
    pub from: SocketAddrV6,
    /// MAC address of the machine; None: the packet does not contain it.
    pub mac: Option<Mac>,
}

impl RouterSolicitation {
    /// Returns the address for a unicast response; None: the machine has no address yet.
    pub fn address(&self) -> Option<SocketAddrV6> {
        Some(self.from).filter(|from| from.ip().is_unicast_link_local())
    }
}

impl RouterSocket {
    /// Opens the socket of an interface.
    ///
    /// # Errors
    ///
    /// A system call fails: there is no IPv6 on this machine or interface, or the permission is
    /// missing.
    pub fn open(interface: &str, index: u32) -> io::Result<RouterSocket> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(
            AddressFamily::INET6,
            SocketType::RAW,
            flags,
            Some(ipproto::ICMPV6),
        )?;
        only_solicitations(socket.as_fd())?;
        at_interface(&socket, interface)?;
        set_ipv6_unicast_hops(&socket, Some(255))?;
        set_ipv6_multicast_hops(&socket, 255)?;
        set_ipv6_multicast_loop(&socket, false)?;
        set_ipv6_add_membership(&socket, &ROUTERS, index)?;
        Ok(RouterSocket {
            socket,
            interface: index,
        })
    }

    /// Returns the descriptor, which is readable when a solicitation has arrived.
    pub fn wakes(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub fn question(&self) -> Option<RouterSolicitation> {
        loop {
            let mut packet = [0; 256];
            let (read, _, from) =
                recvfrom(&self.socket, &mut packet[..], RecvFlags::DONTWAIT).ok()?;
            let Some(Ok(from)) = from.map(SocketAddrV6::try_from) else {
                continue;
            };
            // Skips a packet from another address: only a neighbour sends from a link-local or
            // unspecified address, since no router forwards such a packet.
            let address = from.ip();
            if !(address.is_unicast_link_local() || address.is_unspecified()) {
                continue;
            }
            let packet = &packet[..read.min(packet.len())];
            if packet.len() >= HEAD_BYTES && packet[..2] == [SOLICITATION, 0] {
                let mac = asker(packet);
                return Some(RouterSolicitation { from, mac });
            }
        }
    }

    /// Sends an advertisement with router lifetime zero, without blocking.
    ///
    /// # Errors
    ///
    /// A system call fails.
    pub fn answer(&self, to: SocketAddrV6) -> io::Result<()> {
        // The kernel adds the checksum. Hop limit, flags, lifetime and timers are zero.
        let packet = [ADVERTISEMENT, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        self.send(to, &packet)
    }

    /// Sends an advertisement to one machine, or to all, without blocking.
    ///
    /// # Errors
    ///
    /// A system call fails.
    pub fn advertise(&self, to: Option<SocketAddrV6>, packet: &[u8]) -> io::Result<()> {
        let all = SocketAddrV6::new(MACHINES, 0, 0, self.interface);
        self.send(to.unwrap_or(all), packet)
    }

    fn send(&self, to: SocketAddrV6, packet: &[u8]) -> io::Result<()> {
        let to = SocketAddrAny::from(to);
        sendto(&self.socket, packet, SendFlags::DONTWAIT, &to)?;
        Ok(())
    }
}

fn asker(packet: &[u8]) -> Option<Mac> {
    if packet.first() != Some(&SOLICITATION) || packet.get(1) != Some(&0) {
        return None;
    }
    let mut options = packet.get(8..)?;
    while let [kind, eights, ..] = options {
        let (option, rest) = options.split_at_checked(usize::from(*eights) * 8)?;
        if *kind == SOURCE_CARD {
            let mac: [u8; 6] = option.get(2..8)?.try_into().ok()?;
            return Some(Mac(mac)).filter(|mac| mac.is_of_a_card());
        }
        // Stops at an option of length zero, which would cause an endless loop.
        if option.is_empty() {
            return None;
        }
        options = rest;
    }
    None
}

fn only_solicitations(socket: BorrowedFd<'_>) -> io::Result<()> {
    // A set bit in the filter blocks a type.
    let mut blocked = [u32::MAX; 8];
    blocked[usize::from(SOLICITATION >> 5)] &= !(1 << (SOLICITATION & 31));
    // SAFETY: the filter is readable for its size, and only read during the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_ICMPV6,
            ICMP6_FILTER,
            blocked.as_ptr().cast(),
            size_of_val(&blocked) as libc::socklen_t,
        )
    };
    match set {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_known_by_its_card() {
        let mut packet = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(asker(&packet), None);
        packet.extend([
            14,
            1,
            1,
            2,
            3,
            4,
            5,
            6,
            SOURCE_CARD,
            1,
            0x52,
            0x54,
            0,
            0,
            0,
            7,
        ]);
        assert_eq!(asker(&packet), Some(Mac([0x52, 0x54, 0, 0, 0, 7])));
        for length in 0..packet.len() {
            assert_eq!(asker(&packet[..length]), None);
        }
        packet[9] = 0;
        assert_eq!(asker(&packet), None, "an option of no length");
        packet[0] = ADVERTISEMENT;
        assert_eq!(asker(&packet), None);
    }
}
