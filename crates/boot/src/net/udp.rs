//! UDP at one interface.

use crate::mac::Mac;
use rustix::net::sockopt::set_socket_broadcast;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

/// The port of servers.
pub const SERVER: u16 = 67;
/// The port of clients.
pub const CLIENT: u16 = 68;
/// The port of proxyDHCP.
pub const PROXY: u16 = 4011;

/// Opens a port for all that comes in at an interface, and for no other program there: two would each
/// get a part of the packets.
///
/// # Errors
/// The system's: the port is taken, or there is no such interface.
pub fn open(interface: &str, port: u16) -> io::Result<UdpSocket> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    at_interface(&socket, interface)?;
    set_socket_broadcast(&socket, true)?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?;
    Ok(UdpSocket::from(socket))
}

/// Binds a socket to an interface (SO_BINDTODEVICE).
pub(super) fn at_interface(socket: &OwnedFd, interface: &str) -> io::Result<()> {
    // SAFETY: the name is readable for its length, and only read during the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            interface.as_ptr().cast(),
            interface.len() as libc::socklen_t,
        )
    };
    match set {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The address of an interface's card.
pub fn mac_of(interface: &str) -> Option<Mac> {
    let text = std::fs::read_to_string(format!("/sys/class/net/{interface}/address")).ok()?;
    text.trim().parse().ok()
}
