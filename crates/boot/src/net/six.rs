//! Opens UDP and TCP sockets over IPv6 at one interface, and learns the MAC addresses of DHCPv6
//! senders, which their IPv6 addresses do not always contain.

use super::packet;
use super::udp::at_interface;
use crate::mac::Mac;
use rustix::net::sockopt::{
    set_ipv6_add_membership, set_ipv6_multicast_hops, set_ipv6_v6only, set_socket_reuseaddr,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen as listen_at, socket_with};
use std::collections::HashMap;
use std::io;
use std::mem::zeroed;
use std::net::{Ipv6Addr, SocketAddrV6, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

pub const SERVER: u16 = 547;
pub const CLIENT: u16 = 546;
/// Multicast address of all servers and relays of a link (RFC 8415, 7.1).
const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
const BACKLOG: i32 = 1_024;
const IPV6: u16 = 0x86dd;
const HEAD_BYTES: usize = 44;
const SENDERS_MAX: usize = 4_096;
const FRAMES_MAX: usize = 1_024;

/// Opens a UDP port over IPv6 at an interface.
///
/// # Errors
///
/// A system call fails: the port is taken, or there is no IPv6 on this machine.
pub fn open(interface: &str, port: u16) -> io::Result<UdpSocket> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET6, SocketType::DGRAM, flags, None)?;
    at_interface(&socket, interface)?;
    set_ipv6_v6only(&socket, true)?;
    bind(&socket, &any(port))?;
    Ok(UdpSocket::from(socket))
}

/// Opens the port of DHCPv6 at an interface.
///
/// # Errors
///
/// As [`open`], or the interface has no IPv6.
pub fn dhcp(interface: &str, index: u32) -> io::Result<UdpSocket> {
    let socket = open(interface, SERVER)?;
    set_ipv6_add_membership(&socket, &SERVERS, index)?;
    set_ipv6_multicast_hops(&socket, 1)?;
    Ok(socket)
}

/// Opens a TCP port over IPv6 at an interface.
///
/// # Errors
///
/// As [`open`].
pub fn listen(interface: &str, port: u16) -> io::Result<TcpListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET6, SocketType::STREAM, flags, None)?;
    at_interface(&socket, interface)?;
    set_ipv6_v6only(&socket, true)?;
    set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &any(port))?;
    listen_at(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

fn any(port: u16) -> SocketAddrV6 {
    SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0)
}

/// MAC addresses of senders to the port of DHCPv6.
#[derive(Debug)]
pub struct SenderMacs {
    socket: OwnedFd,
    known: HashMap<Ipv6Addr, Mac>,
}

impl SenderMacs {
    /// Opens the packet socket of an interface.
    ///
    /// # Errors
    ///
    /// A system call fails: there is no such interface, or the permission is missing.
    pub fn open(interface: u32) -> io::Result<SenderMacs> {
        let socket = packet::open()?;
        // Accepts IPv6 with UDP, to the port of DHCPv6.
        packet::filter(&socket, &[(6, 1, &[17]), (42, 2, &[SERVER.into()])])?;
        packet::bind(&socket, interface, IPV6)?;
        Ok(SenderMacs {
            socket,
            known: HashMap::new(),
        })
    }

    pub fn look(&mut self) {
        for _ in 0..FRAMES_MAX {
            let mut head = [0; HEAD_BYTES];
            let Some((read, mac)) = receive(&self.socket, &mut head) else {
                return;
            };
            let source = head.get(8..24).filter(|_| read >= HEAD_BYTES);
            let source: Option<[u8; 16]> = source.and_then(|octets| octets.try_into().ok());
            let Some(source) = source.filter(|_| mac.is_of_a_card()) else {
                continue;
            };
            if self.known.len() >= SENDERS_MAX {
                self.known.clear();
            }
            self.known.insert(source.into(), mac);
        }
    }

    pub fn of(&self, address: Ipv6Addr) -> Option<Mac> {
        self.known.get(&address).copied()
    }
}

/// Receives the start of a frame, and the MAC address of its sender, without blocking.
fn receive(socket: &OwnedFd, head: &mut [u8]) -> Option<(usize, Mac)> {
    // SAFETY: all zeros are a valid address.
    let mut from: libc::sockaddr_ll = unsafe { zeroed() };
    let mut length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the buffer and the address are writable for their sizes until the call ends.
    let read = unsafe {
        libc::recvfrom(
            socket.as_raw_fd(),
            head.as_mut_ptr().cast(),
            head.len(),
            libc::MSG_DONTWAIT,
            (&raw mut from).cast(),
            &raw mut length,
        )
    };
    let [a, b, c, d, e, f, ..] = from.sll_addr;
    let read = usize::try_from(read).ok()?;
    Some((read, Mac([a, b, c, d, e, f])))
}
