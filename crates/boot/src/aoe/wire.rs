//! The frames of AoE at one interface (packet(7)).

use super::bay::Outlet;
use super::frame::{ETHER_TYPE, OVERHEAD_BYTES, SECTOR_BYTES, SECTORS_MAX};
use crate::mac::Mac;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Bytes of the longest frame.
pub const FRAME_BYTES_MAX: usize = OVERHEAD_BYTES + SECTOR_BYTES * SECTORS_MAX;
/// Room for bursts of writes, bytes.
const BUFFER_BYTES: usize = 1 << 20;
/// An Ethernet without anything said of it.
const MTU: usize = 1500;

/// The frames of an interface.
#[derive(Debug)]
pub struct Wire {
    socket: OwnedFd,
    index: u32,
    mtu: usize,
}

impl Wire {
    /// Opens the frames of an interface, which is known by its name and its number.
    ///
    /// # Errors
    /// The system's: there is no such interface, or the right is missing.
    pub fn open(interface: &str, index: u32) -> io::Result<Wire> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // Of no protocol until it is bound to the interface.
        let socket = socket_with(AddressFamily::PACKET, SocketType::DGRAM, flags, None)?;
        set_socket_recv_buffer_size(&socket, BUFFER_BYTES)?;
        let to = address(index, Mac([0; 6]));
        // SAFETY: the address is readable for its size, and only read during the call.
        let bound = unsafe {
            libc::bind(
                socket.as_raw_fd(),
                std::ptr::from_ref(&to).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        match bound {
            0 => Ok(Wire {
                socket,
                index,
                mtu: mtu(interface),
            }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Whether the interface is still the one that was opened.
    pub fn is_of(&self, interface: &str, index: u32) -> bool {
        self.index == index && self.mtu == mtu(interface)
    }

    /// Readable when a frame has come.
    pub fn wakes(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Takes the next frame that has come to this machine or to all: its length and its sender. It never
    /// waits.
    pub fn receive(&self, frame: &mut [u8]) -> Option<(usize, Mac)> {
        loop {
            let mut from = address(0, Mac([0; 6]));
            let mut length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            // SAFETY: the frame and the address are writable for their sizes during the call.
            let read = unsafe {
                libc::recvfrom(
                    self.socket.as_raw_fd(),
                    frame.as_mut_ptr().cast(),
                    frame.len(),
                    libc::MSG_DONTWAIT,
                    std::ptr::from_mut(&mut from).cast(),
                    &raw mut length,
                )
            };
            let read = usize::try_from(read).ok()?.min(frame.len());
            let [a, b, c, d, e, f, ..] = from.sll_addr;
            let mac = Mac([a, b, c, d, e, f]);
            // Those of other machines a card or a bridge passes on that listens to everything.
            let is_ours = [
                libc::PACKET_HOST,
                libc::PACKET_BROADCAST,
                libc::PACKET_MULTICAST,
            ]
            .contains(&from.sll_pkttype);
            if is_ours && mac.is_of_a_card() {
                return Some((read, mac));
            }
        }
    }
}

impl Outlet for Wire {
    fn mtu(&self) -> usize {
        self.mtu
    }

    fn send(&self, to: Mac, frame: &[u8]) -> io::Result<()> {
        let to = address(self.index, to);
        // SAFETY: the frame and the address are readable for their sizes, and only read during the call.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
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
}

fn address(index: u32, mac: Mac) -> libc::sockaddr_ll {
    let [a, b, c, d, e, f] = mac.0;
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: ETHER_TYPE.to_be(),
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [a, b, c, d, e, f, 0, 0],
    }
}

fn mtu(interface: &str) -> usize {
    let text = std::fs::read_to_string(format!("/sys/class/net/{interface}/mtu"));
    { text.ok() }
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(MTU)
}
