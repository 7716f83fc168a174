//! Parses the relay messages around messages of clients, and builds those around the replies (RFC
//! 8415, 19). Finds the MAC address of a client in relay options and link-local addresses.

use super::option::{self, Options};
use crate::mac::Mac;
use std::net::Ipv6Addr;

/// Message type RELAY-FORW, from a relay to a server.
const FORWARD: u8 = 12;
/// Message type RELAY-REPL, from a server to a relay.
const REPLY: u8 = 13;
/// Limit of relays between a client and this server (HOP_COUNT_LIMIT).
pub const HOPS_MAX: usize = 8;
/// Longest Interface-Id of a relay, bytes.
const INTERFACE_MAX: usize = 255;
const ETHERNET: [u8; 2] = [0, 1];

/// Relay on the path of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RelayHop {
    /// Hop count: number of relays that the message passed before this relay.
    pub count: u8,
    /// Link address: an address in the client's network, or zero.
    pub link: Ipv6Addr,
    /// Peer address: the client, or the previous relay on the path.
    pub peer: Ipv6Addr,
    /// Interface-Id of the relay, which the reply repeats.
    pub interface: Option<Vec<u8>>,
    /// MAC address of the client, as the relay states it.
    pub card: Option<Mac>,
}

/// Parses the relay messages of a packet, the relay nearest to this server first. Returns them,
/// and the message of the client. None: a relay message is malformed, or there are too many.
pub fn read(packet: &[u8]) -> Option<(Vec<RelayHop>, &[u8])> {
    let (mut hops, mut message) = (Vec::new(), packet);
    while let [FORWARD, count, rest @ ..] = message {
        if hops.len() >= HOPS_MAX {
            return None;
        }
        let options = Options(rest.get(32..)?);
        let interface = options.find(option::INTERFACE_ID);
        if interface.is_some_and(|name| name.len() > INTERFACE_MAX) {
            return None;
        }
        hops.push(RelayHop {
            count: *count,
            link: option::address(rest)?,
            peer: option::address(&rest[16..])?,
            interface: interface.map(<[u8]>::to_vec),
            card: options.find(option::LINK_ADDRESS).and_then(card),
        });
        message = options.find(option::RELAYED)?;
    }
    Some((hops, message))
}

/// Returns the MAC address in some data that begins with the Ethernet hardware type. None: another
/// hardware type, or not the address of a card.
pub fn card(data: &[u8]) -> Option<Mac> {
    let mac = data.strip_prefix(&ETHERNET)?;
    let mac = Mac(mac.try_into().ok()?);
    mac.is_of_a_card().then_some(mac)
}

/// Returns the MAC address from which a machine derived its link-local address (RFC 4291, appendix
/// A). None: the address was not derived from a MAC address.
pub fn card_of(address: Ipv6Addr) -> Option<Mac> {
    let [0xfe, 0x80, 0, 0, 0, 0, 0, 0, a, b, c, 0xff, 0xfe, d, e, f] = address.octets() else {
        return None;
    };
    let mac = Mac([a ^ 2, b, c, d, e, f]);
    mac.is_of_a_card().then_some(mac)
}

/// Wraps a reply in the messages for the relays.
pub fn wrap(hops: &[RelayHop], reply: Vec<u8>) -> Vec<u8> {
    hops.iter().rev().fold(reply, |inner, hop| {
        let mut bytes = vec![REPLY, hop.count];
        bytes.extend(hop.link.octets());
        bytes.extend(hop.peer.octets());
        if let Some(interface) = &hop.interface {
            option::put(&mut bytes, option::INTERFACE_ID, interface);
        }
        option::put(&mut bytes, option::RELAYED, &inner);
        bytes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 1);
    const PEER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0xff, 0xfe00, 7);
    const CARD: Mac = Mac([0x52, 0x54, 0, 0, 0, 7]);

    fn forward(count: u8, further: &[(u16, &[u8])], message: &[u8]) -> Vec<u8> {
        let mut bytes = vec![FORWARD, count];
        bytes.extend(LINK.octets());
        bytes.extend(PEER.octets());
        for (code, data) in further {
            option::put(&mut bytes, *code, data);
        }
        option::put(&mut bytes, option::RELAYED, message);
        bytes
    }

    #[test]
    fn a_message_comes_out_of_its_relays_and_its_reply_goes_back_the_same_way() {
        let card = [0, 1, 0x52, 0x54, 0, 0, 0, 7];
        let further: [(u16, &[u8]); 2] = [
            (option::INTERFACE_ID, b"eth7"),
            (option::LINK_ADDRESS, &card),
        ];
        let packet = forward(1, &[], &forward(0, &further, b"client"));
        let (hops, message) = read(&packet).unwrap();
        assert_eq!(message, b"client");
        let outer = RelayHop {
            count: 1,
            link: LINK,
            peer: PEER,
            interface: None,
            card: None,
        };
        let inner = RelayHop {
            count: 0,
            interface: Some(b"eth7".to_vec()),
            card: Some(CARD),
            ..outer.clone()
        };
        assert_eq!(hops, [outer, inner]);
        let back = wrap(&hops, b"reply".to_vec());
        let mut expected = forward(0, &further[..1], b"reply");
        expected[0] = REPLY;
        let mut expected = forward(1, &[], &expected);
        expected[0] = REPLY;
        assert_eq!(back, expected);
        for length in 0..packet.len() {
            assert_eq!(read(&packet[..length]).filter(|_| length > 1), None);
        }
    }

    #[test]
    fn more_relays_than_may_be_are_refused() {
        let nested =
            |count: usize| (0..count).fold(b"client".to_vec(), |inner, _| forward(0, &[], &inner));
        let packet = nested(HOPS_MAX);
        assert_eq!(read(&packet).unwrap().0.len(), HOPS_MAX);
        assert_eq!(read(&nested(HOPS_MAX + 1)), None);
        let long = [7; INTERFACE_MAX + 1];
        assert_eq!(
            read(&forward(0, &[(option::INTERFACE_ID, &long)], b"client")),
            None
        );
    }

    #[test]
    fn a_card_is_found_in_an_address_that_was_made_of_it() {
        assert_eq!(card_of(PEER), Some(CARD));
        assert_eq!(card_of(LINK), None);
        assert_eq!(card_of("fe80::1".parse().unwrap()), None);
        assert_eq!(card(&[0, 1, 0x53, 0, 0, 0, 0, 7]), None, "for several");
        assert_eq!(card(&[0, 2, 0x52, 0, 0, 0, 0, 7]), None, "not Ethernet");
        assert_eq!(card(&[0, 1, 0x52, 0, 0, 0, 7]), None);
    }
}
