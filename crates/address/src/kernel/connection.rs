//! Lists the TCP connections of local sockets at an address with `NETLINK_SOCK_DIAG`, as `ss` does.
//! The kernel filters by address.

use super::KernelError;
use super::message::{INET, INET6, Incoming, NetlinkMessage, flag, octets};
use super::socket::NetlinkSocket;
use rustix::io::Errno;
use rustix::net::netlink;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Type of the netlink message `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
const TCP: u8 = 6;
/// Bit mask of all states except LISTEN (10) and CLOSE (7).
const STATES: u32 = 0x1ffe & !(1 << 10 | 1 << 7);

/// Attribute type `INET_DIAG_REQ_BYTECODE`, whose value is a filter program.
const PROGRAM: u16 = 1;
/// Operation `INET_DIAG_BC_S_COND` of a filter program: compares the local address.
const OWN_ADDRESS_IS: u8 = 7;
/// Length of `struct inet_diag_bc_op` and `struct inet_diag_hostcond`, without the address.
const CONDITION: usize = 4 + 8;
const ANY_PORT: i32 = -1;

/// A connection of a local socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Connection {
    pub own: SocketAddr,
    pub client: SocketAddr,
}

pub(super) fn of(address: IpAddr) -> Result<Vec<Connection>, KernelError> {
    let mut socket = NetlinkSocket::open(Some(netlink::SOCK_DIAG))?;
    // Queries both families for an IPv4 address, because an IPv6 socket may have IPv4 connections.
    let families: &[u8] = match address {
        IpAddr::V4(_) => &[INET, INET6],
        IpAddr::V6(_) => &[INET6],
    };
    let mut all = Vec::new();
    for family in families {
        let ask = question(*family, address);
        let read = |m: &Incoming<'_>| m.read_as(BY_FAMILY, |m| connection(m.body));
        match socket.dump("list the connections of an address", ask, read) {
            Ok(some) => all.extend(some.into_iter().filter(|c| c.own.ip() == address)),
            // Ignores the error, because a kernel without IPv6 has no table of IPv6 sockets.
            Err(error) if *family == INET6 && address.is_ipv4() && error.is(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

fn question(family: u8, address: IpAddr) -> NetlinkMessage {
    let mut body = [0; 56];
    body[0] = family;
    body[1] = TCP;
    body[4..8].copy_from_slice(&STATES.to_ne_bytes());
    let mut message = NetlinkMessage::new(BY_FAMILY, flag::REQUEST | flag::DUMP, &body);
    let octets = octets(address);
    let length = CONDITION + octets.len();
    // Ends the filter program if the condition is true; otherwise jumps beyond its end.
    let holds = u8::try_from(length).unwrap_or(0);
    let fails = u16::from(holds) + 4;
    let mut program = vec![OWN_ADDRESS_IS, holds];
    program.extend(fails.to_ne_bytes());
    let bits = u8::try_from(octets.len() * 8).unwrap_or(0);
    program.extend([super::message::family(address), bits, 0, 0]);
    program.extend(ANY_PORT.to_ne_bytes());
    program.extend(octets);
    message.attribute(PROGRAM, &program);
    message
}

fn connection(body: &[u8]) -> Option<Connection> {
    let family = *body.first()?;
    let port = |at: usize| Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?));
    let ip = |at: usize| -> Option<IpAddr> {
        let bytes: [u8; 16] = body.get(at..at + 16)?.try_into().ok()?;
        let [a, b, c, d, ..] = bytes;
        Some(match family {
            INET => IpAddr::from([a, b, c, d]),
            _ => Ipv6Addr::from(bytes).to_canonical(),
        })
    };
    Some(Connection {
        own: SocketAddr::new(ip(8)?, port(4)?),
        client: SocketAddr::new(ip(24)?, port(6)?),
    })
}
