//! What lines of a server set that holds no rule.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Where a server is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ServerAddress {
    /// Address and port, resolved at the start.
    Inet(SocketAddr),
    /// The address of the host; the port of the client's connection, plus the offset.
    SamePort(std::net::IpAddr, i32),
    /// A Unix socket in the file system.
    Unix(PathBuf),
    /// A Unix socket in the abstract name space.
    Abstract(Vec<u8>),
    /// A name that did not resolve, where `init-addr` allows it: the server starts down.
    Unresolved,
}
