//! Decodes received VRRP adverts, and refuses those with another version, router id, authentication
//! or checksum than expected.

use super::super::checksum::Sum;
use super::{
    ADVERTISEMENT, AUTHENTICATION_BYTES, Advert, AdvertError, CENTISECONDS_MAX, HEADER_BYTES,
    PROTOCOL,
};
use crate::vrrp::{Authentication, VrrpVersion};
use std::net::IpAddr;
use std::time::Duration;

/// Expected values of a received packet.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    pub version: VrrpVersion,
    pub vrid: u8,
    /// Required authentication. An authentication header was already checked by
    /// [`super::ah::open`].
    pub authentication: Option<&'a Authentication>,
    pub from: IpAddr,
    /// Possible destination addresses of the packet: the checksum of version 3 must match one of
    /// them. With `old_unicast_checksum`, [`super::GROUP_V4`] is among them.
    pub to: &'a [IpAddr],
}

/// Returns the virtual router id of an unchecked packet.
pub fn router_id(bytes: &[u8]) -> Option<u8> {
    bytes.get(1).copied()
}

/// Decodes an advert from a packet without its IP header. The caller checks TTL, source, interval
/// and the list of addresses. Although the RFC does not allow it, the list may be empty:
/// keepalived sends that if all of its addresses are excluded ones.
///
/// # Errors
/// The packet is malformed, or fails a check against `expected`.
pub fn decode(bytes: &[u8], expected: &Expected<'_>) -> Result<Advert, AdvertError> {
    let &[first, vrid, priority, count, fifth, sixth, _, _, ..] = bytes else {
        return Err(too_short(bytes));
    };
    let version = expected.version;
    match (first >> 4, version) {
        (2, VrrpVersion::V2) | (3, VrrpVersion::V3) => {}
        (is, _) => return Err(AdvertError::Version { is }),
    }
    let ipv6 = expected.from.is_ipv6();
    let address_bytes = if ipv6 { 16 } else { 4 };
    let behind = match version {
        VrrpVersion::V2 => AUTHENTICATION_BYTES,
        VrrpVersion::V3 => 0,
    };
    let should = HEADER_BYTES + usize::from(count) * address_bytes + behind;
    if bytes.len() != should {
        let is = bytes.len();
        return Err(AdvertError::Length { is, should });
    }
    if !checksum_fits(bytes, expected) {
        return Err(AdvertError::Checksum);
    }
    if first & 0xf != ADVERTISEMENT {
        return Err(AdvertError::Type { is: first & 0xf });
    }
    if vrid != expected.vrid {
        return Err(AdvertError::Router { is: vrid });
    }
    let body = bytes.get(HEADER_BYTES..).unwrap_or_default();
    let (addresses, data) = body
        .split_at_checked(usize::from(count) * address_bytes)
        .ok_or_else(|| too_short(bytes))?;
    let interval = match version {
        VrrpVersion::V2 => {
            authenticate(fifth, data, expected.authentication)?;
            Duration::from_secs(u64::from(sixth))
        }
        // Four bits are reserved and ignored.
        VrrpVersion::V3 => {
            let hundredths = u16::from_be_bytes([fifth, sixth]) & CENTISECONDS_MAX;
            Duration::from_millis(u64::from(hundredths) * 10)
        }
    };
    if interval.is_zero() {
        return Err(AdvertError::Interval);
    }
    Ok(Advert {
        version,
        vrid,
        priority,
        interval,
        addresses: read_addresses(addresses, ipv6),
        authentication: match version {
            VrrpVersion::V2 => expected.authentication.cloned(),
            VrrpVersion::V3 => None,
        },
    })
}

fn too_short(bytes: &[u8]) -> AdvertError {
    AdvertError::Length {
        is: bytes.len(),
        should: HEADER_BYTES,
    }
}

fn checksum_fits(bytes: &[u8], expected: &Expected<'_>) -> bool {
    let from = expected.from;
    match expected.version {
        VrrpVersion::V2 => Sum::default().with(bytes).checksum() == 0,
        VrrpVersion::V3 => expected.to.iter().any(|&to| {
            let sum = Sum::default().with_pseudo_header(from, to, PROTOCOL, bytes.len());
            sum.with(bytes).checksum() == 0
        }),
    }
}

fn authenticate(number: u8, data: &[u8], ours: Option<&Authentication>) -> Result<(), AdvertError> {
    match (number, ours) {
        (0, None) | (2, Some(Authentication::Ah(_))) => Ok(()),
        (1, Some(Authentication::Pass(password))) if data == password => Ok(()),
        (1, Some(Authentication::Pass(_))) => Err(AdvertError::AuthenticationFailed),
        (is @ 0..=2, _) => Err(AdvertError::AuthenticationMismatch { is }),
        (is, _) => Err(AdvertError::AuthenticationUnknown { is }),
    }
}

fn read_addresses(bytes: &[u8], ipv6: bool) -> Vec<IpAddr> {
    if ipv6 {
        let (whole, _) = bytes.as_chunks::<16>();
        whole.iter().map(|a| IpAddr::from(*a)).collect()
    } else {
        let (whole, _) = bytes.as_chunks::<4>();
        whole.iter().map(|a| IpAddr::from(*a)).collect()
    }
}
