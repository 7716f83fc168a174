//! Opens TCP listeners over IPv4 at one interface.

use super::udp::at_interface;
use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen as listen_at, socket_with};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

const BACKLOG: i32 = 1_024;

/// Opens a TCP port over IPv4 for connections at an interface.
///
/// # Errors
///
/// A system call fails: the port is taken, or there is no such interface.
pub fn listen(interface: &str, port: u16) -> io::Result<TcpListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    at_interface(&socket, interface)?;
    set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?;
    listen_at(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}
