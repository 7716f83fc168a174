//! Builds and reads ARP packets over Ethernet for IPv4 (RFC 826).

use super::{BROADCAST, ETHERTYPE_ARP, Mac, Manner, frame};
use std::net::Ipv4Addr;

const ARP_BYTES: usize = 28;
/// Ethernet, IPv4, and the lengths of their addresses.
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: u8 = 1;
const REPLY: u8 = 2;

fn packet(operation: u8, mac: Mac, sender: Ipv4Addr, target_mac: Mac, target: Ipv4Addr) -> Vec<u8> {
    let mut out = frame(BROADCAST, mac, ETHERTYPE_ARP, ARP_BYTES);
    out.extend(KIND);
    out.extend([0, operation]);
    out.extend(mac);
    out.extend(sender.octets());
    out.extend(target_mac);
    out.extend(target.octets());
    out
}

/// Returns an announcement as keepalived sends it: a request for the sender's own address.
pub fn gratuitous(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    packet(REQUEST, mac, address, BROADCAST, address)
}

/// Returns an announcement in the form of a reply, which some neighbours accept sooner.
pub fn reply(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    packet(REPLY, mac, address, BROADCAST, address)
}

/// Returns a request for the MAC of an address. With a sender of zeroes it is a probe (RFC 5227,
/// 2.1.1).
pub fn request(mac: Mac, sender: Ipv4Addr, address: Ipv4Addr) -> Vec<u8> {
    packet(REQUEST, mac, sender, [0; 6], address)
}

/// Parses an ARP packet for Ethernet and IPv4: the claimed address, its MAC, and the kind
/// of claim.
pub fn read(bytes: &[u8]) -> Option<(Ipv4Addr, Mac, Manner)> {
    let bytes: &[u8; ARP_BYTES] = bytes.first_chunk()?;
    let operation = u16::from_be_bytes([bytes[6], bytes[7]]);
    if bytes[..6] != KIND || ![REQUEST, REPLY].map(u16::from).contains(&operation) {
        return None;
    }
    let mac = [
        bytes[8], bytes[9], bytes[10], bytes[11], bytes[12], bytes[13],
    ];
    let sender = Ipv4Addr::new(bytes[14], bytes[15], bytes[16], bytes[17]);
    let target = Ipv4Addr::new(bytes[24], bytes[25], bytes[26], bytes[27]);
    let reply = operation == u16::from(REPLY);
    Some(match (sender.is_unspecified(), reply) {
        (true, false) => (target, mac, Manner::Probes),
        // A reply without a sender address is not a claim.
        (true, true) => return None,
        (false, _) if sender == target => (sender, mac, Manner::Announces),
        (false, true) => (sender, mac, Manner::Answers),
        (false, false) => (sender, mac, Manner::Uses),
    })
}
