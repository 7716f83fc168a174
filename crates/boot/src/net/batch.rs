//! Receives UDP packets in batches, with the time that each has waited.
//!
//! A packet that waited while this machine or this process was suspended is out of date: its
//! sender may no longer want what it requested.

use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub const PACKETS: usize = 64;
pub const BYTES: usize = 2_048;
/// Size of the control buffer, in words: more than a header and a `timespec` need.
const CONTROL: usize = 8;
/// Size of the receive buffer, bytes: for a thousand machines that are switched on at once.
const WAITING_BYTES: usize = 4 << 20;

pub struct PacketBatch {
    slots: Vec<PacketBuffer>,
    filled: usize,
}

#[derive(Clone)]
struct PacketBuffer {
    bytes: [u8; BYTES],
    control: [u64; CONTROL],
    /// Address of the sender; the structure is large enough for an IPv4 address, too.
    from: libc::sockaddr_in6,
    length: usize,
    control_length: usize,
}

#[derive(Clone, Copy, Debug)]
pub struct Received<'b> {
    pub bytes: &'b [u8],
    pub from: SocketAddr,
    /// Time that the packet has waited in the socket; zero if the kernel does not report it.
    pub waited: Duration,
}

/// Makes a socket timestamp packets, and enlarges its receive buffer.
///
/// # Errors
///
/// A system call fails.
pub fn prepare(socket: &UdpSocket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option is readable for its size, and only read during the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            std::ptr::from_ref(&on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if set != 0 {
        return Err(io::Error::last_os_error());
    }
    // Ignores an error: without the permission the buffer stays smaller.
    let _ = set_socket_recv_buffer_size_force(socket, WAITING_BYTES);
    Ok(())
}

impl Default for PacketBatch {
    fn default() -> PacketBatch {
        let slot = PacketBuffer {
            bytes: [0; BYTES],
            control: [0; CONTROL],
            // SAFETY: all zeros are a valid address.
            from: unsafe { MaybeUninit::zeroed().assume_init() },
            length: 0,
            control_length: 0,
        };
        PacketBatch {
            slots: vec![slot; PACKETS],
            filled: 0,
        }
    }
}

impl PacketBatch {
    /// Receives the waiting packets without blocking, at most one batch. Returns their number.
    pub fn receive(&mut self, socket: &UdpSocket) -> usize {
        let mut parts: Vec<libc::iovec> = Vec::with_capacity(PACKETS);
        let mut heads: Vec<libc::mmsghdr> = Vec::with_capacity(PACKETS);
        for slot in &mut self.slots {
            parts.push(libc::iovec {
                iov_base: slot.bytes.as_mut_ptr().cast(),
                iov_len: BYTES,
            });
            // SAFETY: all zeros are a valid head.
            let mut head: libc::mmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
            head.msg_hdr.msg_name = std::ptr::from_mut(&mut slot.from).cast();
            head.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            head.msg_hdr.msg_control = slot.control.as_mut_ptr().cast();
            head.msg_hdr.msg_controllen = (CONTROL * size_of::<u64>()) as _;
            head.msg_hdr.msg_iovlen = 1;
            heads.push(head);
        }
        for (head, part) in heads.iter_mut().zip(&mut parts) {
            head.msg_hdr.msg_iov = part;
        }
        // SAFETY: each head names buffers of a slot with their sizes, which live until the call ends.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                heads.as_mut_ptr(),
                heads.len() as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        self.filled = usize::try_from(received).unwrap_or(0);
        for (slot, head) in self.slots.iter_mut().zip(&heads).take(self.filled) {
            slot.length = usize::try_from(head.msg_len).unwrap_or(0).min(BYTES);
            slot.control_length = head.msg_hdr.msg_controllen as _;
        }
        self.filled
    }

    pub fn packets(&self) -> impl Iterator<Item = Received<'_>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default();
        self.slots
            .iter()
            .take(self.filled)
            .map(move |slot| Received {
                bytes: &slot.bytes[..slot.length],
                from: sender(&slot.from),
                waited: came(slot).map_or(Duration::ZERO, |came| now.saturating_sub(came)),
            })
    }
}

fn sender(from: &libc::sockaddr_in6) -> SocketAddr {
    if i32::from(from.sin6_family) == libc::AF_INET6 {
        let address = Ipv6Addr::from(from.sin6_addr.s6_addr);
        let port = u16::from_be(from.sin6_port);
        return SocketAddrV6::new(address, port, 0, from.sin6_scope_id).into();
    }
    // SAFETY: an address of IPv4 is smaller, less aligned, and valid for all bytes.
    let from: libc::sockaddr_in =
        unsafe { std::ptr::from_ref(from).cast::<libc::sockaddr_in>().read() };
    let address = Ipv4Addr::from(from.sin_addr.s_addr.to_ne_bytes());
    (address, u16::from_be(from.sin_port)).into()
}

/// Returns the receive time of a packet since 1970. None: the kernel does not report it.
fn came(slot: &PacketBuffer) -> Option<Duration> {
    let word = size_of::<u64>();
    let head = size_of::<libc::cmsghdr>();
    let whole = head + size_of::<libc::timespec>();
    if slot.control_length < whole || whole > CONTROL * word {
        return None;
    }
    // SAFETY: the words are as many bytes as a head and a time have, and aligned for both.
    let (kind, time) = unsafe {
        let at = slot.control.as_ptr();
        let kind: libc::cmsghdr = at.cast::<libc::cmsghdr>().read();
        (kind, at.byte_add(head).cast::<libc::timespec>().read())
    };
    if (kind.cmsg_level, kind.cmsg_type) != (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) {
        return None;
    }
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let nanoseconds = u32::try_from(time.tv_nsec).ok()?;
    Some(Duration::new(seconds, nanoseconds.min(999_999_999)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_each_packet_with_its_sender_and_its_wait() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        prepare(&socket).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = socket.local_addr().unwrap();
        let mut batch = PacketBatch::default();
        assert_eq!(batch.receive(&socket), 0, "nothing has come");
        for number in 0..PACKETS as u8 + 3 {
            sender.send_to(&vec![number; number.into()], to).unwrap();
        }
        assert_eq!(batch.receive(&socket), PACKETS);
        for (number, packet) in batch.packets().enumerate() {
            assert_eq!(packet.bytes, vec![number as u8; number]);
            assert_eq!(packet.from.port(), sender.local_addr().unwrap().port());
            assert_eq!(packet.from.ip(), Ipv4Addr::LOCALHOST);
            assert!(packet.waited < Duration::from_secs(60));
        }
        assert_eq!(batch.receive(&socket), 3);
        assert_eq!(batch.packets().count(), 3);
        assert_eq!(batch.receive(&socket), 0);
        assert_eq!(batch.packets().count(), 0);
    }

    #[test]
    fn a_batch_has_senders_of_ipv6() {
        let socket = UdpSocket::bind("[::1]:0").unwrap();
        prepare(&socket).unwrap();
        let sender = UdpSocket::bind("[::1]:0").unwrap();
        sender
            .send_to(b"six", socket.local_addr().unwrap())
            .unwrap();
        let mut batch = PacketBatch::default();
        assert_eq!(batch.receive(&socket), 1);
        let packet = batch.packets().next().unwrap();
        assert_eq!(
            (packet.bytes, packet.from),
            (&b"six"[..], sender.local_addr().unwrap())
        );
        assert!(came(&batch.slots[0]).is_some(), "the system says it");
    }

    #[test]
    fn an_overlong_packet_is_cut_and_the_time_of_a_packet_is_read() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        prepare(&socket).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = socket.local_addr().unwrap();
        sender.send_to(&[7; BYTES + 100], to).unwrap();
        let mut batch = PacketBatch::default();
        assert_eq!(batch.receive(&socket), 1);
        assert_eq!(batch.packets().next().unwrap().bytes.len(), BYTES);
        assert!(came(&batch.slots[0]).is_some(), "the system says it");
        batch.slots[0].control_length = 20;
        assert_eq!(came(&batch.slots[0]), None);
    }
}
