//! Seals and opens VRRP adverts of version 2 over IPv4 with the IP authentication header (RFC
//! 2402) and HMAC-MD5-96 (RFC 2403), as in keepalived (`auth_type AH`).
//!
//! The digest covers the IP header, so this module handles whole IP packets, for a socket that
//! sends headers unchanged (`IP_HDRINCL`). Fields that may change in transit count as zero in it,
//! except that the TTL of multicast packets counts unchanged, as in keepalived. There is no
//! protection against replay: keys are configured manually and senders restart at sequence number
//! 1, so a number proves nothing.

use super::{AdvertError, PROTOCOL};
use crate::vrrp::checksum::Sum;
use md5::{Digest, Md5};
use std::net::Ipv4Addr;

/// Protocol number of the authentication header in an IP header.
pub const AH: u8 = 51;
pub const AH_BYTES: usize = 24;

/// Length of an IP header without options, in bytes.
const IP_BYTES: usize = 20;
/// Offset of the destination address in the IP header.
const TO: usize = 16;
/// Length of the truncated digest.
const SUM_BYTES: usize = 12;
/// Value of the length field: the length in 32-bit words, minus two.
const LENGTH_WORDS: u8 = 4;
/// Block size of MD5 in bytes.
const BLOCK_BYTES: usize = 64;

/// IP header fields of an outgoing packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Envelope {
    pub from: Ipv4Addr,
    pub to: Ipv4Addr,
    pub ttl: u8,
    /// Identification field. Must not be zero, because the kernel would replace a zero and make
    /// the digest wrong.
    pub identification: u16,
}

/// A packet with a valid digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AuthenticatedAdvert<'a> {
    pub envelope: Envelope,
    pub sequence: u32,
    pub advert: &'a [u8],
}

pub fn seal(key: &[u8; 16], envelope: &Envelope, sequence: u32, advert: &[u8]) -> Vec<u8> {
    let length = IP_BYTES + AH_BYTES + advert.len();
    let mut out = Vec::with_capacity(length);
    // First bytes of an IP header: version 4, five words; internetwork control.
    out.extend([0x45, 0xc0]);
    // An IPv4 advert has at most BYTES_MAX.
    out.extend((length as u16).to_be_bytes());
    out.extend(envelope.identification.to_be_bytes());
    out.extend([0, 0, envelope.ttl, AH, 0, 0]);
    out.extend(envelope.from.octets());
    out.extend(envelope.to.octets());
    let checksum = Sum::default().with(&out).checksum();
    out.extend([PROTOCOL, LENGTH_WORDS, 0, 0]);
    // keepalived uses the sender's address as the security parameters index.
    out.extend(envelope.from.octets());
    out.extend(sequence.to_be_bytes());
    out.extend([0; SUM_BYTES]);
    out.extend_from_slice(advert);
    let sum = sum(key, &out);
    if let Some(field) = out.get_mut(10..12) {
        field.copy_from_slice(&checksum.to_be_bytes());
    }
    if let Some(field) = out.get_mut(32..44) {
        field.copy_from_slice(&sum);
    }
    out
}

/// Verifies the authentication header of an IP packet, and returns the advert.
///
/// # Errors
/// The header is invalid, or the digest is wrong.
pub fn open<'a>(key: &[u8; 16], packet: &'a [u8]) -> Result<AuthenticatedAdvert<'a>, AdvertError> {
    let short = AdvertError::Length {
        is: packet.len(),
        should: IP_BYTES + AH_BYTES,
    };
    let (ip, rest) = packet.split_first_chunk::<IP_BYTES>().ok_or(short)?;
    let (header, advert) = rest.split_first_chunk::<AH_BYTES>().ok_or(short)?;
    // Adverts need no IP options, so a header with options is refused.
    let plain = ip[0] == 0x45 && ip[9] == AH;
    if !plain || header[0] != PROTOCOL || header[1] != LENGTH_WORDS {
        return Err(AdvertError::AuthenticationMismatch { is: 2 });
    }
    if usize::from(u16::from_be_bytes([ip[2], ip[3]])) != packet.len() {
        return Err(short);
    }
    if sum(key, packet) != header[12..] {
        return Err(AdvertError::AuthenticationFailed);
    }
    Ok(AuthenticatedAdvert {
        envelope: Envelope {
            from: Ipv4Addr::new(ip[12], ip[13], ip[14], ip[15]),
            to: Ipv4Addr::new(ip[16], ip[17], ip[18], ip[19]),
            ttl: ip[8],
            identification: u16::from_be_bytes([ip[4], ip[5]]),
        },
        sequence: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
        advert,
    })
}

/// Returns the truncated HMAC over a whole packet, with zeroes for the mutable fields and for the
/// digest itself.
fn sum(key: &[u8; 16], packet: &[u8]) -> [u8; SUM_BYTES] {
    let mut fixed = packet.to_vec();
    let to_a_group = packet.get(TO).is_some_and(|b| b & 0xf0 == 0xe0);
    let ttl = if to_a_group { 0..0 } else { 8..9 };
    // Type of service, fragmentation, TTL, checksum; and the digest.
    for place in [1..2, 6..8, ttl, 10..12, 32..44] {
        if let Some(field) = fixed.get_mut(place) {
            field.fill(0);
        }
    }
    let [mut inner, mut outer] = [[0x36; BLOCK_BYTES], [0x5c; BLOCK_BYTES]];
    for ((i, o), k) in inner.iter_mut().zip(&mut outer).zip(key) {
        *i ^= k;
        *o ^= k;
    }
    let digest = Md5::new().chain_update(inner).chain_update(&fixed);
    let digest = Md5::new()
        .chain_update(outer)
        .chain_update(digest.finalize())
        .finalize();
    let mut out = [0; SUM_BYTES];
    out.iter_mut().zip(digest).for_each(|(o, d)| *o = d);
    out
}
