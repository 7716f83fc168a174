//! Builds announcements and probes to neighbours: ARP (RFC 826, 5227) and neighbour discovery
//! (RFC 4861), as complete Ethernet frames and without IO.
//!
//! [`announce`] builds gratuitous ARPs and unsolicited neighbour advertisements, with the same
//! bytes as keepalived. [`probe`] asks for the owner of an address. [`fn@claim`] returns what a
//! frame says about the owner of an address: a reply to a probe, or another host that uses a
//! virtual address. InfiniBand is not supported.

mod arp;
mod claim;
mod discovery;

pub use arp::reply as gratuitous_reply;
pub use claim::{AddressClaim, Manner, claim};

use std::net::IpAddr;

pub type Mac = [u8; 6];

pub const BROADCAST: Mac = [0xff; 6];
pub const ETHERTYPE_ARP: u16 = 0x0806;
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// [`fn@claim`] needs at most this many bytes of a frame.
pub const FRAME_BYTES_MAX: usize = 1514;

const ETHERNET_BYTES: usize = 14;

/// Returns the announcement to all neighbours that an address is at this MAC. `router`: this
/// machine forwards packets, which only IPv6 advertisements report.
pub fn announce(mac: Mac, address: IpAddr, router: bool) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp::gratuitous(mac, address),
        IpAddr::V6(address) => discovery::advertisement(mac, address, router),
    }
}

/// Returns the request for the owner of an address. Without a source of the same family it is a
/// probe that changes no neighbour's table: ARP with a sender of zeroes (RFC 5227), or a
/// solicitation from the unspecified address as in duplicate address detection (RFC 4862), to
/// which replies go to all nodes.
pub fn probe(mac: Mac, address: IpAddr, source: Option<IpAddr>) -> Vec<u8> {
    match (address, source) {
        (IpAddr::V4(address), Some(IpAddr::V4(source))) => arp::request(mac, source, address),
        (IpAddr::V4(address), _) => arp::request(mac, std::net::Ipv4Addr::UNSPECIFIED, address),
        (IpAddr::V6(address), Some(IpAddr::V6(source))) => {
            discovery::solicitation(mac, Some(source), address)
        }
        (IpAddr::V6(address), _) => discovery::solicitation(mac, None, address),
    }
}

fn frame(to: Mac, from: Mac, ethertype: u16, carries: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(ETHERNET_BYTES + carries);
    out.extend(to);
    out.extend(from);
    out.extend(ethertype.to_be_bytes());
    out
}

#[cfg(test)]
mod tests;
