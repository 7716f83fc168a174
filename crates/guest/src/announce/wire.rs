//! Sends Ethernet frames on a bridge (packet(7)).

use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, netdevice::name_to_index, socket_with,
};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Opens a packet socket that receives nothing, since it has no protocol and is not bound.
fn open() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(
        AddressFamily::PACKET,
        SocketType::RAW,
        flags,
        None,
    )?)
}

/// Sends complete frames on an interface without blocking.
///
/// # Errors
/// A system call fails: there is no such interface, it is down, or its queue is full.
pub(super) fn send(interface: &str, frames: &[Vec<u8>]) -> io::Result<()> {
    let index = index(interface)?;
    let socket = open()?;
    frames
        .iter()
        .try_for_each(|frame| send_one(socket.as_fd(), index, frame))
}

pub(super) fn index(interface: &str) -> io::Result<u32> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    Ok(name_to_index(&socket, interface)?)
}

fn send_one(socket: BorrowedFd<'_>, interface: u32, frame: &[u8]) -> io::Result<()> {
    let to = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: interface.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0; 8],
    };
    // SAFETY: the frame and the address are readable for their sizes, and only read during the call.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            SendFlags::DONTWAIT.bits() as libc::c_int,
            std::ptr::from_ref(&to).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    match sent {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
