//! Makes system calls of sockets that rustix does not have: options of raw sockets, many datagrams
//! per read, and a source address for a single send. All `unsafe` code of [`crate::wire`] is here,
//! within safe functions.

use super::{DRAINED_AT_MOST, WireError};
use rustix::fd::{AsFd, AsRawFd};
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr::{from_mut, from_ref, null_mut};

const BATCH: usize = 32;
/// Maximum size of a datagram in bytes. A VRRP packet may contain up to 4 KiB of addresses, but no
/// sender uses that many.
pub(super) const DATAGRAM_BYTES: usize = 2048;
const CONTROL_BYTES: usize = 128;

/// Sets an option whose value is plain data.
pub(super) fn option<T: Copy>(fd: impl AsFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    // SAFETY: the descriptor is open, value is readable for its size, and the kernel only reads it
    // during the call.
    let done = unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            level,
            name,
            from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Attaches a filter program: the socket receives only the frames that it accepts.
pub(super) fn filter(fd: impl AsFd, program: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        // Casts the pointer, because the kernel copies the program and never writes to it.
        filter: program.as_ptr().cast_mut(),
    };
    option(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

pub(super) fn bind<T: Copy>(fd: impl AsFd, address: &T) -> io::Result<()> {
    // SAFETY: address is readable for its size, and only read during the call.
    let done = unsafe {
        libc::bind(
            fd.as_fd().as_raw_fd(),
            from_ref(address).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Ancillary data of a datagram.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ancillary {
    /// Source address (a raw IPv4 datagram contains it in its header, too).
    pub source: Option<IpAddr>,
    pub destination: Option<IpAddr>,
    pub interface: u32,
    /// Hop limit (IPv6) or TTL (IPv4), if the socket option for it is set.
    pub hops: Option<u8>,
    /// `PACKET_OUTGOING` or another packet type, of a packet socket.
    pub packet_type: u8,
    /// True if the datagram was larger than [`DATAGRAM_BYTES`].
    pub truncated: bool,
}

/// Buffers for a batch of datagrams.
pub(super) struct Buffers {
    data: Vec<[u8; DATAGRAM_BYTES]>,
    control: Vec<ControlBuffer>,
    names: Vec<libc::sockaddr_storage>,
}

/// Aligned like the structures that the kernel writes into it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct ControlBuffer([u8; CONTROL_BYTES]);

impl std::fmt::Debug for Buffers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffers")
            .field("datagrams", &self.data.len())
            .finish()
    }
}

/// Returns whether an error is reported only once, so that the socket can be read again afterwards.
fn passes(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::EHOSTUNREACH
                | libc::EHOSTDOWN
                | libc::ECONNREFUSED
                | libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::EMSGSIZE
        )
    )
}

impl Buffers {
    pub fn new() -> Buffers {
        // SAFETY: sockaddr_storage is plain data for which all zeroes are valid.
        let name: libc::sockaddr_storage = unsafe { zeroed() };
        Buffers {
            data: vec![[0; DATAGRAM_BYTES]; BATCH],
            control: vec![ControlBuffer([0; CONTROL_BYTES]); BATCH],
            names: vec![name; BATCH],
        }
    }

    /// Reads the waiting datagrams, at most [`DRAINED_AT_MOST`], passes each to `each`, and
    /// returns their number.
    pub fn drain(
        &mut self,
        fd: impl AsFd,
        mut each: impl FnMut(&[u8], Ancillary),
    ) -> Result<usize, WireError> {
        let mut count = 0;
        while count < DRAINED_AT_MOST {
            match self.read(&fd, &mut each) {
                Ok(0) => break,
                Ok(some) => count += some,
                // Continues after a path error (ICMP, an interface that is down), which the kernel
                // reports once; the socket remains usable.
                Err(error) if passes(&error) => count += 1,
                Err(error) => return Err(WireError::Receive(error)),
            }
        }
        Ok(count)
    }

    /// Reads the waiting datagrams, at most a batch, passes each to `each`, and returns
    /// their number.
    ///
    /// # Errors
    /// The errors of `recvmmsg`, except `EAGAIN` and `EINTR`.
    pub fn read(
        &mut self,
        fd: impl AsFd,
        mut each: impl FnMut(&[u8], Ancillary),
    ) -> io::Result<usize> {
        let mut vectors: Vec<libc::iovec> = self
            .data
            .iter_mut()
            .map(|d| libc::iovec {
                iov_base: d.as_mut_ptr().cast(),
                iov_len: DATAGRAM_BYTES,
            })
            .collect();
        let mut headers: Vec<libc::mmsghdr> = Vec::with_capacity(BATCH);
        let places = vectors
            .iter_mut()
            .zip(&mut self.control)
            .zip(&mut self.names);
        for ((vector, control), name) in places {
            // SAFETY: mmsghdr is plain data for which all zeroes are valid.
            let mut header: libc::mmsghdr = unsafe { zeroed() };
            header.msg_hdr.msg_name = from_mut(name).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL_BYTES as _;
            headers.push(header);
        }
        let count = loop {
            // SAFETY: each header points to buffers of the given lengths, which live
            // and are not touched during the call; there are BATCH of them.
            let count = unsafe {
                libc::recvmmsg(
                    fd.as_fd().as_raw_fd(),
                    headers.as_mut_ptr(),
                    BATCH as libc::c_uint,
                    libc::MSG_DONTWAIT as _,
                    null_mut(),
                )
            };
            if let Ok(count) = usize::try_from(count) {
                break count;
            }
            match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                error => return Err(error),
            }
        };
        let came = headers.iter().zip(&self.data).zip(&self.names).take(count);
        for ((header, data), name) in came {
            let length = (header.msg_len as usize).min(DATAGRAM_BYTES);
            // SAFETY: the kernel filled this header, and its buffers still live.
            let beside = unsafe { beside(&header.msg_hdr, name) };
            each(data.get(..length).unwrap_or(&[]), beside);
        }
        Ok(count)
    }
}

/// Reads the ancillary data of a datagram.
///
/// # Safety
/// The kernel filled the header, and the buffers that it points to live.
unsafe fn beside(header: &libc::msghdr, name: &libc::sockaddr_storage) -> Ancillary {
    let mut beside = Ancillary {
        truncated: header.msg_flags & libc::MSG_TRUNC != 0,
        ..Ancillary::default()
    };
    match i32::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the address family says that the storage contains this structure.
            let from = unsafe { &*from_ref(name).cast::<libc::sockaddr_in>() };
            let from = u32::from_be(from.sin_addr.s_addr);
            beside.source = Some(Ipv4Addr::from_bits(from).into());
        }
        libc::AF_INET6 => {
            // SAFETY: the address family says that the storage contains this structure.
            let from = unsafe { &*from_ref(name).cast::<libc::sockaddr_in6>() };
            beside.source = Some(IpAddr::from(from.sin6_addr.s6_addr));
        }
        libc::AF_PACKET => {
            // SAFETY: as above.
            let from = unsafe { &*from_ref(name).cast::<libc::sockaddr_ll>() };
            beside.packet_type = from.sll_pkttype;
            beside.interface = from.sll_ifindex.cast_unsigned();
        }
        _ => {}
    }
    // SAFETY: the header's control buffer is what the kernel filled.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !next.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give places within the buffer that
        // hold a whole header; the data behind it has the type that level and kind
        // say, read unaligned.
        unsafe {
            let data = libc::CMSG_DATA(next);
            match ((*next).cmsg_level, (*next).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    beside.interface = info.ipi_ifindex.cast_unsigned();
                    let to = u32::from_be(info.ipi_addr.s_addr);
                    beside.destination = Some(Ipv4Addr::from_bits(to).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    beside.interface = info.ipi6_ifindex;
                    beside.destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                }
                (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                    beside.hops = u8::try_from(data.cast::<i32>().read_unaligned()).ok();
                }
                _ => {}
            }
            next = libc::CMSG_NXTHDR(header, next);
        }
    }
    beside
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Destination {
    pub to: IpAddr,
    /// Source address; None: the kernel chooses.
    pub from: Option<IpAddr>,
    /// Index of the interface; zero: the kernel chooses.
    pub interface: u32,
}

/// Sends one datagram, and retries if the call is interrupted.
pub(super) fn send(fd: impl AsFd, bytes: &[u8], way: Destination) -> io::Result<()> {
    let mut control = ControlBuffer([0; CONTROL_BYTES]);
    let mut vector = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: these are plain data for which all zeroes are valid.
    let (mut header, mut four, mut six): (libc::msghdr, libc::sockaddr_in, libc::sockaddr_in6) =
        unsafe { (zeroed(), zeroed(), zeroed()) };
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    match way.to {
        IpAddr::V4(to) => {
            four.sin_family = libc::AF_INET as libc::sa_family_t;
            four.sin_addr.s_addr = to.to_bits().to_be();
            header.msg_name = from_mut(&mut four).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        }
        IpAddr::V6(to) => {
            six.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            six.sin6_addr.s6_addr = to.octets();
            if to.is_multicast() || to.is_unicast_link_local() {
                six.sin6_scope_id = way.interface;
            }
            header.msg_name = from_mut(&mut six).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
        }
    }
    if way.from.is_some() || way.interface != 0 {
        write_source(&mut header, &mut control, way);
    }
    loop {
        // SAFETY: the header points to values that live through the call; the kernel
        // only reads them.
        let sent = unsafe {
            libc::sendmsg(
                fd.as_fd().as_raw_fd(),
                &raw const header,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        if sent >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn write_source(header: &mut libc::msghdr, control: &mut ControlBuffer, way: Destination) {
    header.msg_control = control.0.as_mut_ptr().cast();
    match way.to {
        IpAddr::V4(_) => {
            let source = match way.from {
                Some(IpAddr::V4(from)) => from,
                _ => Ipv4Addr::UNSPECIFIED,
            };
            let info = libc::in_pktinfo {
                ipi_ifindex: way.interface.cast_signed(),
                ipi_spec_dst: libc::in_addr {
                    s_addr: source.to_bits().to_be(),
                },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            beside_out(header, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
        }
        IpAddr::V6(_) => {
            let source = match way.from {
                Some(IpAddr::V6(from)) => from,
                _ => Ipv6Addr::UNSPECIFIED,
            };
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr {
                    s6_addr: source.octets(),
                },
                ipi6_ifindex: way.interface,
            };
            beside_out(header, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
        }
    }
}

/// Writes one value into the control buffer of a header, which has [`CONTROL_BYTES`].
fn beside_out<T: Copy>(header: &mut libc::msghdr, level: i32, kind: i32, value: T) {
    let size = size_of::<T>() as u32;
    // SAFETY: CMSG_SPACE of the two structures passed here is at most 40, less than the size of the
    // buffer, so the first header and its data lie within it; it is aligned.
    unsafe {
        header.msg_controllen = libc::CMSG_SPACE(size) as _;
        let first = libc::CMSG_FIRSTHDR(header);
        (*first).cmsg_level = level;
        (*first).cmsg_type = kind;
        (*first).cmsg_len = libc::CMSG_LEN(size) as _;
        libc::CMSG_DATA(first).cast::<T>().write_unaligned(value);
    }
}
