//! Reads and writes raw frames by packet sockets, for the relay of a wire and for a capture. The
//! module also provides what `rustix` lacks: packet addresses, interface flags, and real-time
//! scheduling.
//!
//! All functions work on the network namespace of the calling thread.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ffi::CString;
use std::io;
use std::mem::{size_of, zeroed};

/// Maximum length of a frame; segmentation offload passes on many segments as one frame.
pub const FRAME_BYTES_MAX: usize = 65_536 + 64;

/// Length of the kernel's header about checksums and segmentation in front of a frame.
pub(crate) const OFFLOAD_BYTES: usize = 10;

/// Size of the receive buffer for bursts that arrive while the reader does not run, bytes.
const RECEIVE_BUFFER_BYTES: libc::c_int = 8 * 1024 * 1024;

/// Real-time priority: above ordinary processes, below most real-time ones.
const REAL_TIME_PRIORITY: libc::c_int = 10;

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn length<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0)
}

fn set<T>(socket: BorrowedFd<'_>, level: i32, name: i32, value: &T) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of a live value.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            length::<T>(),
        )
    };
    checked(result).map(drop)
}

/// Direction of a frame at an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    In,
    Out,
}

/// Non-blocking socket that receives every frame of an interface.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Opens a socket that receives frames of both directions, and is only read.
    pub fn to_watch(interface: &str) -> io::Result<Self> {
        Self::open(interface, false)
    }

    /// Opens a socket that receives incoming frames, and sends frames. Each frame is preceded by
    /// [`OFFLOAD_BYTES`] with the sender's open work on checksums and segments.
    pub(crate) fn to_forward(interface: &str) -> io::Result<Self> {
        Self::open(interface, true)
    }

    fn open(interface: &str, forward: bool) -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // Opens the socket without a protocol, so that it receives nothing before it is bound to
        // its interface.
        //
        // SAFETY: takes no pointer; the descriptor is owned by nobody else.
        let socket = unsafe {
            let fd = checked(libc::socket(libc::AF_PACKET, kind, 0))?;
            OwnedFd::from_raw_fd(fd)
        };
        let on: libc::c_int = 1;
        if forward {
            set(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_VNET_HDR, &on)?;
            set(
                socket.as_fd(),
                libc::SOL_PACKET,
                PACKET_IGNORE_OUTGOING,
                &on,
            )?;
        }
        // Ignores an error, which means that the privileges do not allow this size.
        let size = RECEIVE_BUFFER_BYTES;
        let _ = set(
            socket.as_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            &size,
        );
        // SAFETY: all zero is a valid address of that kind.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = libc::AF_PACKET as libc::sa_family_t;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = index(interface)?;
        // SAFETY: the pointer and the length are those of a live value.
        let bound = unsafe {
            libc::bind(
                socket.as_raw_fd(),
                (&raw const address).cast(),
                length::<libc::sockaddr_ll>(),
            )
        };
        checked(bound)?;
        Ok(PacketSocket(socket))
    }

    /// Reads the next frame into the buffer, and returns its length and direction. Returns
    /// `WouldBlock` if there is none.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Way)> {
        // SAFETY: all zero is a valid address of that kind.
        let mut from: libc::sockaddr_ll = unsafe { zeroed() };
        let mut from_length = length::<libc::sockaddr_ll>();
        // SAFETY: the pointers and lengths are those of live values.
        let count = unsafe {
            libc::recvfrom(
                self.0.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                0,
                (&raw mut from).cast(),
                &raw mut from_length,
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        let way = if from.sll_pkttype == libc::PACKET_OUTGOING {
            Way::Out
        } else {
            Way::In
        };
        Ok((count.min(buffer.len()), way))
    }

    pub(crate) fn send(&self, frame: &[u8]) -> io::Result<()> {
        rustix::net::send(&self.0, frame, rustix::net::SendFlags::empty())?;
        Ok(())
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Option from `linux/if_packet.h`, which is not in every version of libc.
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

fn index(interface: &str) -> io::Result<libc::c_int> {
    let name = CString::new(interface)?;
    // SAFETY: a string that ends with zero.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => libc::c_int::try_from(index).map_err(io::Error::other),
    }
}

pub(crate) fn interfaces() -> io::Result<Vec<String>> {
    // Reads this file, which shows the thread's namespace, whereas `/sys` shows the one in which it
    // was mounted.
    let text = std::fs::read_to_string("/proc/thread-self/net/dev")?;
    let names = text.lines().filter_map(|line| line.split_once(':'));
    let names = names.map(|(name, _)| name.trim().to_owned());
    Ok(names.filter(|name| name != "lo").collect())
}

/// Switches interfaces on or off by system calls, so that only microseconds pass between the first
/// and the last.
pub(crate) fn switch(interfaces: &[String], on: bool) -> io::Result<()> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    // SAFETY: takes no pointer; the descriptor is owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(checked(libc::socket(libc::AF_INET, kind, 0))?) };
    for name in interfaces {
        // SAFETY: all zero is a valid request.
        let mut request: libc::ifreq = unsafe { zeroed() };
        // Leaves the last byte zero.
        let room = request.ifr_name.len() - 1;
        for (to, from) in request.ifr_name.iter_mut().take(room).zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        // SAFETY: both take a pointer to a request, which lives; the flags are the member of its
        // union that the first of them wrote.
        unsafe {
            checked(libc::ioctl(
                socket.as_raw_fd(),
                libc::SIOCGIFFLAGS as _,
                &raw mut request,
            ))?;
            let up = libc::IFF_UP as libc::c_short;
            let flags = request.ifr_ifru.ifru_flags;
            request.ifr_ifru.ifru_flags = if on { flags | up } else { flags & !up };
            checked(libc::ioctl(
                socket.as_raw_fd(),
                libc::SIOCSIFFLAGS as _,
                &raw mut request,
            ))?;
        }
    }
    Ok(())
}

/// Gives this thread priority over every ordinary process, so that load on the machine does not
/// disturb a measurement. Returns whether that is permitted.
pub fn raise_priority() -> bool {
    let priority: libc::c_int = REAL_TIME_PRIORITY;
    // By the system call, because the function of musl always fails.
    // SAFETY: a pointer to a live value; 0 is the calling thread.
    unsafe {
        libc::syscall(
            libc::SYS_sched_setscheduler,
            0,
            libc::SCHED_FIFO,
            &raw const priority,
        ) == 0
    }
}
