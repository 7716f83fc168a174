//! Opens, filters and binds packet sockets for frames of one Ethernet type at one interface, and
//! sends frames (packet(7)). The kernel adds the Ethernet header.

use crate::mac::Mac;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

pub const VALUES_MAX: usize = 200;

/// Opens a socket that receives nothing, since it has no protocol until it is bound.
///
/// # Errors
///
/// A system call fails: the permission is missing.
pub fn open() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let kind = SocketType::DGRAM;
    Ok(socket_with(AddressFamily::PACKET, kind, flags, None)?)
}

/// Filters the frames of a socket by these fields: each is an offset, the length (1, 2 or 4
/// bytes), and the accepted values, at most [`VALUES_MAX`].
///
/// # Errors
///
/// A system call fails.
pub fn filter(socket: &impl AsFd, wanted: &[(u32, u8, &[u32])]) -> io::Result<()> {
    let step = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let mut program = Vec::new();
    for (at, bytes, values) in wanted {
        let size = match bytes {
            1 => libc::BPF_B,
            2 => libc::BPF_H,
            _ => libc::BPF_W,
        };
        program.push(step(libc::BPF_LD | size | libc::BPF_ABS, 0, 0, *at));
        let values = &values[..values.len().min(VALUES_MAX)];
        for (index, value) in values.iter().enumerate() {
            // Jumps over the remaining values and the instruction that drops the frame.
            let over = u8::try_from(values.len() - index).unwrap_or(u8::MAX);
            program.push(step(
                libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
                over,
                0,
                *value,
            ));
        }
        program.push(step(libc::BPF_RET | libc::BPF_K, 0, 0, 0));
    }
    program.push(step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX));
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the filter names a program that lives until the call has ended, and is only read.
    let set = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            std::ptr::from_ref(&filter).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    match set {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Binds the socket to frames of this type at an interface.
///
/// # Errors
///
/// A system call fails: there is no such interface.
pub fn bind(socket: &impl AsFd, interface: u32, kind: u16) -> io::Result<()> {
    let to = address(interface, kind, Mac([0; 6]));
    // SAFETY: the address is readable for its size, and only read during the call.
    let bound = unsafe {
        libc::bind(
            socket.as_fd().as_raw_fd(),
            std::ptr::from_ref(&to).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    match bound {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends a frame of this type to a MAC address, without blocking.
///
/// # Errors
///
/// A system call fails.
pub fn send(
    socket: &impl AsFd,
    interface: u32,
    kind: u16,
    to: Mac,
    frame: &[u8],
) -> io::Result<()> {
    let to = address(interface, kind, to);
    // SAFETY: the frame and the address are readable for their sizes, and only read during the call.
    let sent = unsafe {
        libc::sendto(
            socket.as_fd().as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            libc::MSG_DONTWAIT,
            std::ptr::from_ref(&to).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    match sent {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

pub fn address(interface: u32, kind: u16, mac: Mac) -> libc::sockaddr_ll {
    let [a, b, c, d, e, f] = mac.0;
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: kind.to_be(),
        sll_ifindex: interface.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [a, b, c, d, e, f, 0, 0],
    }
}
