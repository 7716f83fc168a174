//! Encodes and decodes VRRP adverts of versions 2 and 3 (RFC 3768, section 5; RFC 9568, section
//! 5), without the IP header; and the IP authentication header that keepalived can put before
//! those of version 2 ([`ah`]).
//!
//! The sender supplies source and destination, and the receiver supplies the expected values.
//! [`fn@decode`] refuses everything but a well-formed advert of the expected version and router,
//! with a reason and the counter of keepalived's statistics.

pub mod ah;
mod decode;
mod encode;
mod refusal;

pub use decode::{Expected, decode, router_id};
pub use refusal::AdvertError;

use super::{Authentication, VrrpVersion};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Protocol number of VRRP in an IP header.
pub const PROTOCOL: u8 = 112;
pub const GROUP_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));
pub const GROUP_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12));
/// TTL of multicast packets; packets with another TTL came through a router.
pub const TTL: u8 = 255;
/// Maximum number of addresses in an advert: its count is a byte.
pub const ADDRESSES_MAX: usize = 255;
/// Number of bytes before the addresses.
pub const HEADER_BYTES: usize = 8;
/// Number of authentication bytes after the addresses (version 2).
pub const AUTHENTICATION_BYTES: usize = 8;
pub const BYTES_MAX: usize = HEADER_BYTES + ADDRESSES_MAX * 16 + AUTHENTICATION_BYTES;

/// Type of an advertisement; there is no other.
const ADVERTISEMENT: u8 = 1;
/// Maximum interval of version 3, in hundredths of a second: twelve bits.
const CENTISECONDS_MAX: u16 = 0xfff;

/// A VRRP advertisement without its IP header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Advert {
    pub version: VrrpVersion,
    pub vrid: u8,
    /// Priority of the sender; 255 owns the addresses, 0 announces a stop.
    pub priority: u8,
    /// Time between two adverts; see [`on_wire`] for its rounding.
    pub interval: Duration,
    /// Virtual addresses, [`ADDRESSES_MAX`] at most.
    pub addresses: Vec<IpAddr>,
    /// Authentication data, in version 2 only.
    pub authentication: Option<Authentication>,
}

/// Rounds an interval as it is sent: whole seconds from 1 to 255 in version 2, hundredths
/// from 0.01 to 40.95 s in version 3, to the nearest value, as in keepalived.
pub fn on_wire(version: VrrpVersion, interval: Duration) -> Duration {
    match version {
        VrrpVersion::V2 => Duration::from_secs(u64::from(seconds(interval))),
        VrrpVersion::V3 => Duration::from_millis(u64::from(centiseconds(interval)) * 10),
    }
}

fn seconds(interval: Duration) -> u8 {
    let rounded = (interval.as_millis() + 500) / 1000;
    u8::try_from(rounded).unwrap_or(u8::MAX).max(1)
}

fn centiseconds(interval: Duration) -> u16 {
    let rounded = (interval.as_micros() + 5000) / 10_000;
    let rounded = u16::try_from(rounded).unwrap_or(u16::MAX);
    rounded.clamp(1, CENTISECONDS_MAX)
}

#[cfg(test)]
mod tests;
