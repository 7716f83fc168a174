//! The IP authentication header (RFC 2402) with HMAC-MD5-96 (RFC 2403) before an
//! advert of version 2 over IPv4, as keepalived speaks it (`auth_type AH`).
//!
//! Its sum covers the IP header, so it takes and gives whole IP packets, for a socket
//! that sends headers as they are (`IP_HDRINCL`). What may change on the way counts as
//! zero in it; but as keepalived has it, the TTL of what goes to a group counts as it
//! is. It gives no protection against replay: keys are configured by hand and senders
//! begin at 1 again, so a number says nothing.

use super::{PROTOCOL, Refusal};
use crate::vrrp::checksum::Sum;
use md5::{Digest, Md5};
use std::net::Ipv4Addr;

/// The number of the header in an IP header.
pub const AH: u8 = 51;
/// Bytes of the header.
pub const AH_BYTES: usize = 24;

/// Bytes of an IP header without options.
const IP_BYTES: usize = 20;
/// Where the IP header's destination begins.
const TO: usize = 16;
/// Length of the truncated digest.
const SUM_BYTES: usize = 12;
/// The length that stands in the header: in words of 32 bits, less two.
const LENGTH_WORDS: u8 = 4;
/// Bytes of a block of MD5.
const BLOCK_BYTES: usize = 64;

/// The fields of the IP header of an outgoing packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// From where.
    pub from: Ipv4Addr,
    /// To where.
    pub to: Ipv4Addr,
    /// Time to live.
    pub ttl: u8,
    /// Not zero: the kernel would put another one in its place, and the sum would be wrong.
    pub identification: u16,
}

/// A packet whose sum was right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened<'a> {
    /// From where, to where.
    pub envelope: Envelope,
    /// Its number.
    pub sequence: u32,
    /// The advert.
    pub advert: &'a [u8],
}

/// An IP packet with this advert.
pub fn seal(key: &[u8; 16], envelope: &Envelope, sequence: u32, advert: &[u8]) -> Vec<u8> {
    let length = IP_BYTES + AH_BYTES + advert.len();
    let mut out = Vec::with_capacity(length);
    // Version 4, five words; internet control.
    out.extend([0x45, 0xc0]);
    // An advert of IPv4 has BYTES_MAX at most.
    out.extend((length as u16).to_be_bytes());
    out.extend(envelope.identification.to_be_bytes());
    out.extend([0, 0, envelope.ttl, AH, 0, 0]);
    out.extend(envelope.from.octets());
    out.extend(envelope.to.octets());
    let checksum = Sum::default().with(&out).checksum();
    out.extend([PROTOCOL, LENGTH_WORDS, 0, 0]);
    // keepalived's index of security parameters is the sender's address.
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
pub fn open<'a>(key: &[u8; 16], packet: &'a [u8]) -> Result<Opened<'a>, Refusal> {
    let short = Refusal::Length {
        is: packet.len(),
        should: IP_BYTES + AH_BYTES,
    };
    let (ip, rest) = packet.split_first_chunk::<IP_BYTES>().ok_or(short)?;
    let (header, advert) = rest.split_first_chunk::<AH_BYTES>().ok_or(short)?;
    // A header with options is nobody's: adverts need none.
    let plain = ip[0] == 0x45 && ip[9] == AH;
    if !plain || header[0] != PROTOCOL || header[1] != LENGTH_WORDS {
        return Err(Refusal::AuthenticationMismatch { is: 2 });
    }
    if usize::from(u16::from_be_bytes([ip[2], ip[3]])) != packet.len() {
        return Err(short);
    }
    if sum(key, packet) != header[12..] {
        return Err(Refusal::AuthenticationFailed);
    }
    Ok(Opened {
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

/// Returns the first bytes of the HMAC over a whole packet, with zeroes for the mutable
/// fields and for the digest itself.
fn sum(key: &[u8; 16], packet: &[u8]) -> [u8; SUM_BYTES] {
    let mut fixed = packet.to_vec();
    let to_a_group = packet.get(TO).is_some_and(|b| b & 0xf0 == 0xe0);
    let ttl = if to_a_group { 0..0 } else { 8..9 };
    // Type of service, fragmentation, TTL, checksum; and the sum.
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
