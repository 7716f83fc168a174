//! Recognises the local addresses of this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

pub fn unspecified(of: IpAddr) -> IpAddr {
    match of {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Returns whether an address is local: the route to a local address starts at the address itself.
/// A bind would not prove that, because a machine may allow binding foreign addresses.
pub fn is_mine(address: IpAddr) -> bool {
    // Uses any port, because nothing is sent.
    let way = UdpSocket::bind((unspecified(address), 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    way.is_ok_and(|from| from.ip() == address)
}
