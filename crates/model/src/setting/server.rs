//! Defines the address of a `server` line.

use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ServerAddress {
    /// Address and port, resolved at the start.
    Inet(SocketAddr),
    /// IP address of the server. The port is that of the client's connection plus this offset.
    SamePort(std::net::IpAddr, i32),
    Unix(PathBuf),
    Abstract(Vec<u8>),
    /// A host name that did not resolve, if `init-addr` allows that: the server starts down.
    Unresolved,
}
