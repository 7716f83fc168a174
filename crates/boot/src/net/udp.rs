//! Opens the UDP sockets of DHCP over IPv4 at one interface, and finds the interface's MAC address.

use crate::mac::Mac;
use rustix::net::sockopt::set_socket_broadcast;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

/// UDP port of DHCP servers.
pub const SERVER: u16 = 67;
/// UDP port of DHCP clients.
pub const CLIENT: u16 = 68;
pub const PROXY: u16 = 4011;

/// Opens a port at an interface exclusively: otherwise two programs would each get some of the
/// packets.
///
/// # Errors
///
/// A system call fails: the port is taken, or there is no such interface.
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

/// Returns the MAC address of an Ethernet interface. The query uses a socket, because `/sys` may be
/// that of another network namespace.
pub fn mac_of(interface: &str) -> Option<Mac> {
    // Any socket can be used for this query.
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None).ok()?;
    // SAFETY: this is plain data for which all zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte remains the terminating NUL.
    let room = request.ifr_name.len() - 1;
    for (slot, byte) in request
        .ifr_name
        .iter_mut()
        .take(room)
        .zip(interface.as_bytes())
    {
        *slot = byte.cast_signed();
    }
    // SAFETY: the kernel reads and writes a value of this type for this request.
    let result = unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCGIFHWADDR as _,
            &raw mut request,
        )
    };
    // SAFETY: the kernel has written this member or none, and all bytes are valid for it.
    let address = unsafe { request.ifr_ifru.ifru_hwaddr };
    let mac = address.sa_data.first_chunk::<6>()?.map(i8::cast_unsigned);
    (result == 0 && address.sa_family == libc::ARPHRD_ETHER).then_some(Mac(mac))
}
