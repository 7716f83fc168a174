//! Finds the address to which the health checks of a server connect.

use super::{Server, ServerAddress};
use std::net::SocketAddr;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum CheckAddress {
    Inet(SocketAddr),
    Unix(std::path::PathBuf),
    /// A Unix socket with an abstract name.
    Abstract(Vec<u8>),
}

/// Returns the address of a server's checks: `addr` and `port`, completed from the server's own
/// address. Returns None if there is no address.
pub fn target(server: &Server) -> Option<CheckAddress> {
    target_at(server, None, None)
}

/// Variant of [`target`] for a step of a check script with an address or port of its own.
pub fn target_at(
    server: &Server,
    address: Option<&ServerAddress>,
    port: Option<u16>,
) -> Option<CheckAddress> {
    let set = server.state.address_override();
    let own = set.as_ref().unwrap_or(&server.address);
    let (ip_set, port_set) = server.state.check_set();
    let host_set = ip_set.map(|ip| ServerAddress::SamePort(ip, 0));
    let host = address
        .or(host_set.as_ref())
        .or(server.options.check_host.as_ref())
        .unwrap_or(own);
    let port_of = |address: &ServerAddress| match address {
        ServerAddress::Inet(address) => Some(address.port()),
        _ => None,
    };
    let ip = match host {
        ServerAddress::Inet(address) => address.ip(),
        ServerAddress::SamePort(ip, _) => *ip,
        ServerAddress::Unix(path) => return Some(CheckAddress::Unix(path.clone())),
        ServerAddress::Abstract(name) => return Some(CheckAddress::Abstract(name.clone())),
        ServerAddress::Unresolved => return None,
    };
    let port = port
        .or_else(|| address.and_then(port_of))
        .or(port_set)
        .or(server.options.check_port)
        .or_else(|| port_of(host))
        .or_else(|| port_of(own))?;
    Some(CheckAddress::Inet(SocketAddr::new(ip, port)))
}
