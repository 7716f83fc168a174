//! Opens the UDP sockets of the TFTP server, and receives requests. A listener reports the local
//! address and the interface of a request; a transfer has a socket with a port of its own and a
//! single peer (RFC 1350, section 4).

use crate::net::link;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::from_ref;

const IPV4_BYTES: u32 = 20;
const IPV6_BYTES: u32 = 40;
const UDP_AND_DATA_BYTES: u32 = 8 + 4;
/// MTU where the interface does not report it, bytes.
const USUAL_MTU: u32 = 1_500;
const CONTROL_BYTES: usize = 128;

#[derive(Clone, Copy, Debug)]
pub(super) struct ReceivedDatagram {
    /// Length, bytes; datagrams longer than the buffer are not reported.
    pub(super) bytes: usize,
    pub(super) from: SocketAddr,
    pub(super) to: IpAddr,
    pub(super) interface: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Receive {
    Came(ReceivedDatagram),
    /// Datagram that no server answers: broadcast, multicast, or longer than any request.
    Other,
    Empty,
}

/// Buffer for the control messages of a datagram, aligned for their headers.
#[repr(C, align(8))]
struct ControlMessageBuffer([MaybeUninit<u8>; CONTROL_BYTES]);

/// Makes a UDP socket non-blocking, and lets it report the destination address of datagrams.
///
/// # Errors
///
/// The descriptor is not a UDP socket.
pub(super) fn listen(fd: BorrowedFd<'_>) -> io::Result<()> {
    let address = rustix::net::getsockname(fd)?;
    let (level, name) = match SocketAddr::try_from(address)? {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    set(fd, level, name, &1_i32.to_ne_bytes())?;
    rustix::io::ioctl_fionbio(fd, true)?;
    Ok(())
}

fn set(fd: BorrowedFd<'_>, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of a slice, which the kernel only reads.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            value.as_ptr().cast(),
            value.len() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Receives a datagram without blocking.
///
/// # Errors
///
/// The socket has a pending error, which this call reports.
pub(super) fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Receive> {
    let mut control = ControlMessageBuffer([MaybeUninit::uninit(); CONTROL_BYTES]);
    let mut vector = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: these are plain data for which all zeroes are valid.
    let (mut header, mut name): (libc::msghdr, libc::sockaddr_storage) =
        unsafe { (zeroed(), zeroed()) };
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = CONTROL_BYTES as _;
    // SAFETY: the header points to buffers of the given lengths that live through the call.
    let read = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
    let Ok(bytes) = usize::try_from(read) else {
        let error = io::Error::last_os_error();
        return match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(Receive::Empty),
            _ => Err(error),
        };
    };
    if header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
        return Ok(Receive::Other);
    }
    // SAFETY: the kernel has filled the header, and its buffers live.
    let (from, info) = unsafe { (source(&name), destination(&header)) };
    Ok(match (from, info) {
        (Some(from), Some((to, interface))) => Receive::Came(ReceivedDatagram {
            bytes,
            from,
            to,
            interface,
        }),
        _ => Receive::Other,
    })
}

/// Reads the address of a sender.
///
/// # Safety
/// The kernel has filled `name`.
unsafe fn source(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is what the storage holds.
            let from = unsafe { &*from_ref(name).cast::<libc::sockaddr_in>() };
            let address = Ipv4Addr::from_bits(u32::from_be(from.sin_addr.s_addr));
            Some((address, u16::from_be(from.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that this is what the storage holds.
            let from = unsafe { &*from_ref(name).cast::<libc::sockaddr_in6>() };
            let address = Ipv6Addr::from(from.sin6_addr.s6_addr);
            let port = u16::from_be(from.sin6_port);
            Some(SocketAddrV6::new(address, port, 0, from.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// Reads to which address of this machine a datagram came, and at which interface. None: to a
/// broadcast or multicast address, which RFC 1123 (4.2.3.5) says to ignore.
///
/// # Safety
/// The kernel has filled the header, and the buffers that it points to live.
unsafe fn destination(header: &libc::msghdr) -> Option<(IpAddr, u32)> {
    // SAFETY: the header's control buffer is what the kernel filled.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !next.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give places within the buffer that hold a whole
        // header; the data behind it has the type that level and kind say, read unaligned.
        unsafe {
            let data = libc::CMSG_DATA(next);
            match ((*next).cmsg_level, (*next).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    let is_own = info.ipi_addr.s_addr == info.ipi_spec_dst.s_addr;
                    let to = Ipv4Addr::from_bits(u32::from_be(info.ipi_addr.s_addr));
                    return is_own.then_some((to.into(), info.ipi_ifindex.cast_unsigned()));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    let to = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                    return (!to.is_multicast()).then_some((to.into(), info.ipi6_ifindex));
                }
                _ => next = libc::CMSG_NXTHDR(header, next),
            }
        }
    }
    None
}

/// Opens a socket for one client, with a port of its own at the address to which the request was
/// sent.
///
/// # Errors
///
/// There are no more descriptors, the interface has gone, or there is no route.
pub(super) fn open(came: &ReceivedDatagram, interface: Option<&str>) -> io::Result<OwnedFd> {
    let (family, local) = match came.to {
        IpAddr::V4(to) => (AddressFamily::INET, SocketAddr::from((to, 0))),
        IpAddr::V6(to) => {
            let scope = if to.is_unicast_link_local() {
                came.interface
            } else {
                0
            };
            let local = SocketAddrV6::new(to, 0, 0, scope);
            (AddressFamily::INET6, local.into())
        }
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::DGRAM, flags, None)?;
    if let Some(interface) = interface {
        let name = interface.as_bytes();
        set(
            socket.as_fd(),
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            name,
        )?;
    }
    bind(&socket, &local)?;
    connect(&socket, &came.from)?;
    Ok(socket)
}

pub(super) fn block_max(fd: BorrowedFd<'_>, came: &ReceivedDatagram) -> u16 {
    let ip = match came.to {
        IpAddr::V4(_) => IPV4_BYTES,
        IpAddr::V6(_) => IPV6_BYTES,
    };
    let block = link::mtu(fd, came.interface)
        .unwrap_or(USUAL_MTU)
        .saturating_sub(ip + UDP_AND_DATA_BYTES);
    u16::try_from(block).unwrap_or(u16::MAX)
}
