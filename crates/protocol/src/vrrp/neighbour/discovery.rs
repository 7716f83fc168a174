//! Builds and reads neighbour discovery packets over Ethernet (RFC 4861).

use super::super::checksum::Sum;
use super::{ETHERTYPE_IPV6, Mac, Manner, frame};
use std::net::{IpAddr, Ipv6Addr};

/// Protocol number of ICMPv6 in an IPv6 header.
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Required hop limit: any other value means that the packet came through a router (RFC
/// 4861, 7.1).
const HOP_LIMIT: u8 = 255;
const IP_BYTES: usize = 40;
/// Length of both messages before their options, in bytes.
const MESSAGE_BYTES: usize = 24;
/// Length of an option with an Ethernet address, in bytes.
const OPTION_BYTES: usize = 8;
/// Option with the sender's link-layer address, in a solicitation.
const SOURCE_ADDRESS: u8 = 1;
/// Option with the target's link-layer address, in an advertisement.
const TARGET_ADDRESS: u8 = 2;

const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Returns an unsolicited advertisement to all nodes, which replaces their cache entries. Its
/// source is the advertised address itself, as in keepalived.
pub fn advertisement(mac: Mac, address: Ipv6Addr, router: bool) -> Vec<u8> {
    let flags = OVERRIDE | if router { ROUTER } else { 0 };
    let head = [ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
    let option = Some((TARGET_ADDRESS, mac));
    packet(mac, address, ALL_NODES, head, address, option)
}

/// Returns a solicitation to the solicited-node multicast group of an address. From the
/// unspecified address it is duplicate address detection, and contains no MAC.
pub fn solicitation(mac: Mac, source: Option<Ipv6Addr>, address: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = address.octets();
    let end = u16::from_be_bytes([b, c]);
    let nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), end);
    let head = [SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    let option = source.map(|_| (SOURCE_ADDRESS, mac));
    let source = source.unwrap_or(Ipv6Addr::UNSPECIFIED);
    packet(mac, source, nodes, head, address, option)
}

fn packet(
    mac: Mac,
    from: Ipv6Addr,
    to: Ipv6Addr,
    head: [u8; 8],
    target: Ipv6Addr,
    option: Option<(u8, Mac)>,
) -> Vec<u8> {
    let mut message = Vec::with_capacity(MESSAGE_BYTES + OPTION_BYTES);
    message.extend(head);
    message.extend(target.octets());
    if let Some((kind, mac)) = option {
        // The length is one unit of eight bytes.
        message.extend([kind, 1]);
        message.extend(mac);
    }
    let sum = pseudo_header(from, to, message.len()).with(&message);
    if let Some(field) = message.get_mut(2..4) {
        field.copy_from_slice(&sum.checksum().to_be_bytes());
    }
    let [.., a, b, c, d] = to.octets();
    let group = [0x33, 0x33, a, b, c, d];
    let mut out = frame(group, mac, ETHERTYPE_IPV6, IP_BYTES + message.len());
    out.extend([0x60, 0, 0, 0, 0, message.len() as u8, ICMPV6, HOP_LIMIT]);
    out.extend(from.octets());
    out.extend(to.octets());
    out.extend(message);
    out
}

fn pseudo_header(from: Ipv6Addr, to: Ipv6Addr, length: usize) -> Sum {
    Sum::default().with_pseudo_header(IpAddr::V6(from), IpAddr::V6(to), ICMPV6, length)
}

/// Parses a neighbour discovery message (RFC 4861, 7.1): the claimed address, its MAC,
/// and the kind of claim. `sender` is the source MAC of the frame.
pub fn read(packet: &[u8], sender: Mac) -> Option<(Ipv6Addr, Mac, Manner)> {
    let (header, rest) = packet.split_first_chunk::<IP_BYTES>()?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if header[0] >> 4 != 6 || header[6] != ICMPV6 || header[7] != HOP_LIMIT {
        return None;
    }
    let message = rest.get(..length)?;
    let (head, options) = message.split_first_chunk::<MESSAGE_BYTES>()?;
    let from = address(header, 8)?;
    let to = address(header, 24)?;
    if pseudo_header(from, to, length).with(message).checksum() != 0 || head[1] != 0 {
        return None;
    }
    let target = address(head, 8)?;
    if target.is_multicast() || target.is_unspecified() {
        return None;
    }
    match head[0] {
        ADVERTISEMENT => {
            let named = link_address(options, TARGET_ADDRESS)?;
            let solicited = head[4] & SOLICITED != 0;
            // Refuses a solicited advertisement to a group, which no host sends.
            if solicited && to.is_multicast() {
                return None;
            }
            // The defence against duplicate address detection is an unsolicited advertisement to
            // all nodes. So such an advertisement may be a reply; only the sender of the probe can
            // tell.
            let manner = if solicited {
                Manner::Answers
            } else {
                Manner::Announces
            };
            Some((target, named.unwrap_or(sender), manner))
        }
        SOLICITATION => {
            let named = link_address(options, SOURCE_ADDRESS)?;
            if from.is_unspecified() {
                // Refuses a MAC in duplicate address detection, which contains none.
                return named.is_none().then_some((target, sender, Manner::Probes));
            }
            Some((from, named.unwrap_or(sender), Manner::Uses))
        }
        _ => None,
    }
}

fn address(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    let octets: &[u8; 16] = bytes.get(at..)?.first_chunk()?;
    Some(Ipv6Addr::from(*octets))
}

/// Returns the Ethernet address in the first option of this kind. The outer None: an option has no
/// length or is truncated, so that the whole message is invalid.
fn link_address(mut options: &[u8], kind: u8) -> Option<Option<Mac>> {
    let mut found = None;
    while let [is, units, ..] = *options {
        let (option, rest) = options.split_at_checked(usize::from(units) * OPTION_BYTES)?;
        if option.is_empty() {
            return None;
        }
        if let (true, None, [_, 1, a, b, c, d, e, f]) = (is == kind, found, option) {
            found = Some([*a, *b, *c, *d, *e, *f]);
        }
        options = rest;
    }
    options.is_empty().then_some(found)
}
