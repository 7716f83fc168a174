//! Sets the options of listening sockets. [`fixed`] sets those that a socket must have before it
//! is bound; [`Options`] are those that can also be changed later.

use model::config::{Bind, Config, KeepAlive, Proxy, ProxyOption};
use nix::libc;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

/// Length of the kernel's accept queue if neither `backlog` nor `maxconn` is set.
const BACKLOG_DEFAULT: i32 = 4096;
const FAST_OPEN_QUEUE: i32 = 256;
/// Socket option that marks buffer sizes as set by the program, so that the kernel does not adjust
/// them.
const SO_BUF_LOCK: i32 = 72;

/// Options that can be changed on a listening socket. Accepted connections inherit most of them,
/// so no system call per connection is needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Options {
    pub backlog: i32,
    keepalive: bool,
    keepalive_pace: KeepAlive,
    user_timeout_ms: u32,
    mss: Option<i32>,
    defer_accept: bool,
    fast_open: bool,
    receive_bytes: Option<u32>,
    send_bytes: Option<u32>,
    unsent_bytes: Option<u32>,
    /// No other socket can be bound to the address (`noreuseport`).
    exclusive: bool,
}

impl Options {
    pub fn of(config: &Config, proxy: &Proxy, bind: &Bind) -> Options {
        let backlog = bind
            .backlog
            .or(proxy.backlog)
            .or(proxy.maxconn.filter(|n| *n > 0));
        Options {
            backlog: backlog.map_or(BACKLOG_DEFAULT, |n| i32::try_from(n).unwrap_or(i32::MAX)),
            keepalive: proxy.has(ProxyOption::ClientTcpKeepAlive),
            keepalive_pace: proxy.client_keep_alive,
            user_timeout_ms: bind.tcp_user_timeout_ms.unwrap_or(0),
            mss: bind.mss,
            defer_accept: bind.defer_accept,
            fast_open: bind.tcp_fast_open,
            receive_bytes: config.global.tune.rcvbuf_client,
            send_bytes: config.global.tune.sndbuf_client,
            unsent_bytes: config.global.tune.unsent_client,
            exclusive: config.global.exclusive_ports,
        }
    }

    /// Sets the options on a new TCP socket before listen(2), because the window that the
    /// handshake announces is fixed by then.
    pub fn set_on_new(&self, fd: &OwnedFd) -> Result<(), Errno> {
        sockopt::set_tcp_nodelay(fd, true)?;
        if self.keepalive {
            sockopt::set_socket_keepalive(fd, true)?;
        }
        self.keepalive_pace.apply(fd)?;
        if self.user_timeout_ms > 0 {
            sockopt::set_tcp_user_timeout(fd, self.user_timeout_ms)?;
        }
        if self.mss.is_some() {
            self.set_segment_size(fd)?;
        }
        if self.defer_accept {
            set_int_option(fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 1)?;
        }
        if self.fast_open {
            set_int_option(fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, FAST_OPEN_QUEUE)?;
        }
        if let Some(bytes) = self.unsent_bytes {
            set_unsent(fd, bytes)?;
        }
        self.set_buffer_sizes(fd)
    }

    /// Sets the options on a TCP socket that already listens. Options that are not configured
    /// return to the system's defaults.
    pub fn set_on_listening(&self, fd: &OwnedFd) -> Result<(), Errno> {
        self.share_port(fd);
        sockopt::set_tcp_nodelay(fd, true)?;
        sockopt::set_socket_keepalive(fd, self.keepalive)?;
        self.keepalive_pace.apply(fd)?;
        sockopt::set_tcp_user_timeout(fd, self.user_timeout_ms)?;
        set_int_option(fd, libc::IPPROTO_TCP, libc::TCP_MAXSEG, 0)?;
        if self.mss.is_some() {
            self.set_segment_size(fd)?;
        }
        let defer = i32::from(self.defer_accept);
        set_int_option(fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, defer)?;
        if self.fast_open {
            set_int_option(fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, FAST_OPEN_QUEUE)?;
        } else {
            // Fails on a system without Fast Open, where there is nothing to disable.
            let _ = set_int_option(fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, 0);
        }
        // The value 0 selects the default of the system.
        set_unsent(fd, self.unsent_bytes.unwrap_or(0))?;
        self.free_buffer_sizes(fd);
        self.set_buffer_sizes(fd)
    }

    /// Allows other sockets on the same address, unless `noreuseport` forbids it: an older
    /// Evenkeel process, HAProxy, or the listener that this one replaces may still accept there.
    pub fn share_port(&self, fd: &OwnedFd) {
        // If the option is refused, bind(2) fails and reports it.
        let _ = sockopt::set_socket_reuseport(fd, !self.exclusive);
    }

    /// Sets `mss`; a negative value is relative to the system's segment size.
    fn set_segment_size(&self, fd: &OwnedFd) -> Result<(), Errno> {
        let size = match self.mss {
            None => return Ok(()),
            Some(size) if size > 0 => size,
            Some(less) => segment_size(fd)? + less,
        };
        set_int_option(fd, libc::IPPROTO_TCP, libc::TCP_MAXSEG, size)
    }

    /// Sets the buffer sizes of `tune.rcvbuf.client` and `tune.sndbuf.client`.
    fn set_buffer_sizes(&self, fd: &OwnedFd) -> Result<(), Errno> {
        if let Some(bytes) = self.receive_bytes {
            sockopt::set_socket_recv_buffer_size(fd, bytes as usize)?;
        }
        if let Some(bytes) = self.send_bytes {
            sockopt::set_socket_send_buffer_size(fd, bytes as usize)?;
        }
        Ok(())
    }

    /// Lets the kernel choose buffer sizes again that were configured before: sets the size of a
    /// new socket and removes the mark. Kernels before 5.15 keep the configured sizes.
    fn free_buffer_sizes(&self, fd: &OwnedFd) {
        if int_option(fd, libc::SOL_SOCKET, SO_BUF_LOCK).is_ok_and(|locked| locked != 0) {
            let _ = back_to_system(fd);
        }
    }
}

/// Sets the amount of unsent data, in bytes, that makes a socket unwritable.
pub(crate) fn set_unsent(fd: &OwnedFd, bytes: u32) -> Result<(), Errno> {
    let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
    set_int_option(fd, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, bytes)
}

fn back_to_system(fd: &OwnedFd) -> Result<(), Errno> {
    let fresh = create(sockopt::socket_domain(fd)?)?;
    // The kernel reports twice the size that is set, for its own bookkeeping.
    let receive = sockopt::socket_recv_buffer_size(&fresh)? / 2;
    let send = sockopt::socket_send_buffer_size(&fresh)? / 2;
    sockopt::set_socket_recv_buffer_size(fd, receive)?;
    sockopt::set_socket_send_buffer_size(fd, send)?;
    set_int_option(fd, libc::SOL_SOCKET, SO_BUF_LOCK, 0)
}

pub(super) fn create(family: AddressFamily) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    rustix::net::socket_with(family, SocketType::STREAM, flags, None)
}

pub(super) fn create_for_datagrams(family: AddressFamily) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    rustix::net::socket_with(family, SocketType::DGRAM, flags, None)
}

/// Sets the options that a socket must have before it is bound. A different value of one of them
/// means a different listener.
pub(super) fn fixed(fd: &OwnedFd, bind: &Bind, address: SocketAddr) -> Result<(), Errno> {
    sockopt::set_socket_reuseaddr(fd, true)?;
    // Allows an address that this machine does not have (yet).
    if address.is_ipv4() {
        let _ = sockopt::set_ip_freebind(fd, true);
    } else {
        let _ = sockopt::set_ipv6_freebind(fd, true);
        sockopt::set_ipv6_v6only(fd, bind.v6only.unwrap_or(false))?;
    }
    if let Some(interface) = &bind.interface {
        let (level, name) = (libc::SOL_SOCKET, libc::SO_BINDTODEVICE);
        set_option(fd, level, name, interface.as_bytes())?;
    }
    if bind.transparent {
        let (level, name) = transparent(address.is_ipv4());
        set_int_option(fd, level, name, 1)?;
    }
    Ok(())
}

/// Clears the options that only bind(2) needs. HAProxy would otherwise consider the socket a
/// different listener and not use it.
pub(super) fn unfix(fd: &OwnedFd, address: SocketAddr) {
    let _ = match address {
        SocketAddr::V4(_) => sockopt::set_ip_freebind(fd, false),
        SocketAddr::V6(_) => sockopt::set_ipv6_freebind(fd, false),
    };
}

/// Returns the level and name of the socket option for `transparent`.
pub(super) fn transparent(ipv4: bool) -> (i32, i32) {
    if ipv4 {
        (libc::IPPROTO_IP, libc::IP_TRANSPARENT)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT)
    }
}

pub(super) fn segment_size(fd: &OwnedFd) -> Result<i32, Errno> {
    int_option(fd, libc::IPPROTO_TCP, libc::TCP_MAXSEG)
}

/// Reads an integer option that rustix does not support.
pub(super) fn int_option(fd: &OwnedFd, level: i32, name: i32) -> Result<i32, Errno> {
    let mut bytes = [0; size_of::<i32>()];
    get_option(fd, level, name, &mut bytes)?;
    Ok(i32::from_ne_bytes(bytes))
}

/// Reads an option that rustix does not support; returns its length in bytes.
pub(super) fn get_option(
    fd: &OwnedFd,
    level: i32,
    name: i32,
    value: &mut [u8],
) -> Result<usize, Errno> {
    let mut length = value.len() as libc::socklen_t;
    // SAFETY: both pointers are live, and the length is that of the slice.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            level,
            name,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        Ok(value.len().min(length as usize))
    } else {
        Err(Errno::from_raw_os_error(nix::errno::Errno::last_raw()))
    }
}

fn set_int_option(fd: &OwnedFd, level: i32, name: i32, value: i32) -> Result<(), Errno> {
    set_option(fd, level, name, &value.to_ne_bytes())
}

fn set_option(fd: &OwnedFd, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
    // SAFETY: the pointer and the length are those of a live slice, which the
    // kernel only reads.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            value.as_ptr().cast(),
            value.len() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(Errno::from_raw_os_error(nix::errno::Errno::last_raw()))
    }
}
