//! Which addresses are this machine's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// The address of that family that stands for all of this machine.
pub fn unspecified(of: IpAddr) -> IpAddr {
    match of {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Whether an address is this machine's: the way to an own address begins at itself. A bind
/// would not say that, where addresses of others can be bound.
pub fn is_mine(address: IpAddr) -> bool {
    // Nothing is sent: the port does not matter.
    let way = UdpSocket::bind((unspecified(address), 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    way.is_ok_and(|from| from.ip() == address)
}
