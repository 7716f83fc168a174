//! Parses packets of real clients, and invalid bytes.

use super::super::samples::{CARD, LINK, UUID, all, association, packet};
use super::*;
use proptest::prelude::*;

#[test]
fn each_client_is_read_as_what_it_is() {
    let mut text = String::new();
    for (name, bytes) in all() {
        let read = match Request::read(&bytes, LINK, None) {
            Ok(request) => format!(
                "{} by {}, architecture {:?}, card {}, wants {:?}, {} associations{}",
                request.kind.word(),
                request.stage.word(),
                request.architecture,
                request.mac,
                request.wants,
                request.associations.len(),
                if request.is_rapid { ", at once" } else { "" },
            ),
            Err(error) => error.to_string(),
        };
        text.push_str(&format!("{name}: {read}\n"));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_card_of_the_frame_comes_before_that_of_the_address_and_that_before_the_identifier() {
    let ia = association(7, &[]);
    let of_other = [&[0, 3, 0, 1][..], &[2, 0, 0, 0, 0, 9]].concat();
    let bytes = packet(1, &[(1, &of_other), (3, &ia)]);
    let read = |from: &str, card| {
        let request = Request::read(&bytes, from.parse().unwrap(), card);
        request.map(|request| request.mac.to_string())
    };
    let frame = Mac([2, 0, 0, 0, 0, 1]);
    let link = LINK.to_string();
    assert_eq!(read(&link, Some(frame)), Ok("02:00:00:00:00:01".to_owned()));
    assert_eq!(read(&link, None), Ok(CARD.to_string()));
    assert_eq!(read("fe80::1", None), Ok("02:00:00:00:00:09".to_owned()));
    let bytes = packet(1, &[(1, UUID), (3, &ia)]);
    let read = Request::read(&bytes, "fe80::1".parse().unwrap(), None);
    assert_eq!(read, Err(Dhcpv6PacketError::Card));
}

#[test]
fn behind_a_relay_the_card_is_what_the_relay_nearest_to_the_client_says() {
    let client = packet(1, &[(1, UUID), (3, &association(7, &[]))]);
    let forward = |peer: Ipv6Addr, card: Option<&[u8]>, inner: &[u8]| {
        let mut bytes = vec![12, 0];
        bytes.extend([0; 16]);
        bytes.extend(peer.octets());
        if let Some(card) = card {
            option::put(&mut bytes, option::LINK_ADDRESS, card);
        }
        option::put(&mut bytes, option::RELAYED, inner);
        bytes
    };
    let other = "fe80::1".parse().unwrap();
    let card = [0, 1, 2, 0, 0, 0, 0, 3];
    let frame = Some(Mac([2, 0, 0, 0, 0, 1]));
    let read = |bytes: &[u8]| Request::read(bytes, other, frame).map(|request| request.mac);
    let said = forward(other, Some(&card), &client);
    assert_eq!(read(&said), Ok(Mac([2, 0, 0, 0, 0, 3])));
    assert_eq!(
        read(&forward(LINK, None, &said)),
        Ok(Mac([2, 0, 0, 0, 0, 3]))
    );
    assert_eq!(read(&forward(LINK, None, &client)), Ok(CARD));
    assert_eq!(
        read(&forward(other, None, &client)),
        Err(Dhcpv6PacketError::Card)
    );
}

#[test]
fn a_message_has_a_bounded_number_of_associations_addresses_and_options() {
    let address = "fd00:20::1".parse().unwrap();
    let many = association(1, &[address; 50]);
    let mut options: Vec<(u16, &[u8])> = vec![(1, UUID), (6, &[0; 1_000])];
    options.extend((0..50).map(|_| (3, &*many)));
    let request = Request::read(&packet(1, &options), LINK, None).unwrap();
    assert_eq!(request.associations.len(), ASSOCIATIONS_MAX);
    assert_eq!(request.associations[0].addresses.len(), ASSOCIATIONS_MAX);
    assert_eq!(request.wants.len(), WANTED_MAX);
}

proptest! {
    #[test]
    fn no_bytes_panic(
        kind in any::<u8>(),
        bytes in proptest::collection::vec(any::<u8>(), 0..2_048),
        options in proptest::collection::vec(
            (0_u16..80, proptest::collection::vec(any::<u8>(), 0..64)),
            0..16,
        ),
        relays in 0..10_usize,
    ) {
        let _ = Request::read(&bytes, LINK, None);
        let options: Vec<(u16, &[u8])> = options.iter()
            .map(|(code, data)| (*code, &**data))
            .collect();
        let mut message = packet(kind % 14, &options);
        for _ in 0..relays {
            let mut outer = vec![12, 0];
            outer.extend([7; 32]);
            option::put(&mut outer, option::RELAYED, &message);
            message = outer;
        }
        if let Ok(request) = Request::read(&message, LINK, Some(CARD)) {
            prop_assert!(request.hops.len() <= relay::HOPS_MAX);
        }
        for length in 0..message.len().min(200) {
            let _ = Request::read(&message[..length], LINK, None);
        }
    }
}
