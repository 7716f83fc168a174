//! Sends and receives the AoE frames of one interface at a packet socket (packet(7)).

use super::bay::FrameSender;
use super::frame::{ETHER_TYPE, OVERHEAD_BYTES, SECTOR_BYTES, SECTORS_MAX};
use crate::mac::Mac;
use crate::net::{link, packet};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

pub const FRAME_BYTES_MAX: usize = OVERHEAD_BYTES + SECTOR_BYTES * SECTORS_MAX;
/// Size of the receive buffer, for bursts of writes, bytes.
const BUFFER_BYTES: usize = 1 << 20;
const MTU: usize = 1500;

#[derive(Debug)]
pub struct AoeSocket {
    socket: OwnedFd,
    index: u32,
    mtu: usize,
}

impl AoeSocket {
    /// Opens the packet socket of an interface, given by its index.
    ///
    /// # Errors
    ///
    /// A system call fails: there is no such interface, or the permission is missing.
    pub fn open(index: u32) -> io::Result<AoeSocket> {
        let socket = packet::open()?;
        set_socket_recv_buffer_size(&socket, BUFFER_BYTES)?;
        packet::bind(&socket, index, ETHER_TYPE)?;
        Ok(AoeSocket {
            mtu: mtu(&socket, index),
            socket,
            index,
        })
    }

    /// Returns whether the interface is still the one that was opened, with the same MTU.
    pub fn is_of(&self, index: u32) -> bool {
        self.index == index && self.mtu == mtu(&self.socket, index)
    }

    /// Returns the descriptor, which is readable when a frame has arrived.
    pub fn wakes(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Receives the next frame that was sent to this machine or to all, without blocking. Returns
    /// its length and its sender.
    pub fn receive(&self, frame: &mut [u8]) -> Option<(usize, Mac)> {
        loop {
            let mut from = packet::address(0, ETHER_TYPE, Mac([0; 6]));
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
            // Skips frames to other machines, which a promiscuous card or a bridge delivers, too.
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

impl FrameSender for AoeSocket {
    fn mtu(&self) -> usize {
        self.mtu
    }

    fn send(&self, to: Mac, frame: &[u8]) -> io::Result<()> {
        packet::send(&self.socket, self.index, ETHER_TYPE, to, frame)
    }
}

fn mtu(socket: &OwnedFd, index: u32) -> usize {
    let mtu = link::mtu(socket.as_fd(), index);
    mtu.and_then(|mtu| mtu.try_into().ok()).unwrap_or(MTU)
}
