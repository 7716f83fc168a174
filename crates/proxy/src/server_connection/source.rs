//! Sets the source address of a server connection: a local address, a port of a range, an
//! interface, or the client's address (`usesrc`), which requires IP_TRANSPARENT and the routes of
//! a transparent proxy.

use model::config::{Borrowed, ConnectionSource, Proxy, Server};
use model::transaction::{Endpoint, ProxyStream};
use nix::libc;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::BindToDevice;
use rustix::io::Errno;
use rustix::net::sockopt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

/// Counter that selects the first port to try in a range; all ranges share it.
static TURN: AtomicU32 = AtomicU32::new(0);

pub(super) fn bind(
    fd: &OwnedFd,
    backend: &Proxy,
    server: &Server,
    stream: &ProxyStream,
    target: &SocketAddr,
) -> io::Result<()> {
    let source = server.source(backend);
    if let Some(interface) = &source.settings.interface {
        setsockopt(fd, BindToDevice, &interface.as_ref().into()).map_err(io::Error::from)?;
    }
    if let Some(address) = borrowed(source, stream).filter(|a| a.is_ipv4() == target.is_ipv4()) {
        make_transparent(fd, address.is_ipv4())?;
        sockopt::set_socket_reuseaddr(fd, true)?;
        return Ok(rustix::net::bind(fd, &address)?);
    }
    let Some(address) = source.address else {
        return Ok(());
    };
    sockopt::set_socket_reuseaddr(fd, true)?;
    let Some((first, last)) = source.settings.ports else {
        return Ok(rustix::net::bind(fd, &address)?);
    };
    in_range(fd, address, first, last)
}

fn in_range(fd: &OwnedFd, address: SocketAddr, first: u16, last: u16) -> io::Result<()> {
    let count = u32::from(last.saturating_sub(first)) + 1;
    let begin = TURN.fetch_add(1, Ordering::Relaxed) % count;
    // Tries each port once, at most 65536.
    for step in 0..count {
        let port = first + ((begin + step) % count) as u16;
        match rustix::net::bind(fd, &SocketAddr::new(address.ip(), port)) {
            Err(Errno::ADDRINUSE) => {}
            result => return Ok(result?),
        }
    }
    Err(Errno::ADDRNOTAVAIL.into())
}

/// Returns the source address that `usesrc` selects for a stream's connection; None if the stream
/// has no such address.
pub(super) fn borrowed(source: ConnectionSource<'_>, stream: &ProxyStream) -> Option<SocketAddr> {
    let inet = |endpoint| match endpoint {
        Endpoint::Inet(address) => Some(address),
        Endpoint::Unix => None,
    };
    let address = match source.settings.borrowed.as_ref()? {
        Borrowed::Address(address) => *address,
        Borrowed::Client => inet(stream.source())?,
        Borrowed::ClientIp => SocketAddr::new(inet(stream.source())?.ip(), 0),
        Borrowed::Header(name, occurrence) => {
            let value = stream.request.fields().nth_value(name, *occurrence)?;
            let ip = std::str::from_utf8(value).ok()?.parse().ok()?;
            SocketAddr::new(ip, 0)
        }
    };
    // Treats an IPv4 client whose address is mapped into IPv6 as an IPv4 client.
    let ip = address.ip().to_canonical();
    (!ip.is_unspecified()).then(|| SocketAddr::new(ip, address.port()))
}

pub(super) fn goes_by_client(backend: &Proxy, server: &Server) -> bool {
    let borrowed = &server.source(backend).settings.borrowed;
    matches!(
        borrowed,
        Some(Borrowed::Client | Borrowed::ClientIp | Borrowed::Header(..))
    )
}

fn make_transparent(fd: &OwnedFd, ipv4: bool) -> io::Result<()> {
    let (level, name) = if ipv4 {
        (libc::IPPROTO_IP, libc::IP_TRANSPARENT)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT)
    };
    let on: libc::c_int = 1;
    // SAFETY: the option takes one int, which is live for the call.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
