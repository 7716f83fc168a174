//! Tests packets of real clients, and invalid packets.

use super::super::samples::{CARD, Raw, all, packet};
use super::*;
use proptest::prelude::*;

fn read(options: &[Raw<'_>]) -> Result<Request, DhcpPacketError> {
    Request::read(&packet(0, [0; 4], [0; 4], options))
}

#[test]
fn clients_are_read_as_what_they_are() {
    let mut text = String::new();
    for (name, bytes) in all() {
        let read = Request::read(&bytes);
        text.push_str(&format!("{name}\n{read:#?}\n\n"));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_packet_cut_anywhere_is_refused_or_has_fewer_options() {
    for (name, bytes) in all() {
        let whole = Request::read(&bytes).unwrap();
        for length in 0..bytes.len() {
            match Request::read(&bytes[..length]) {
                Ok(cut) => {
                    assert_eq!(
                        (cut.kind, cut.mac),
                        (whole.kind, whole.mac),
                        "{name} {length}"
                    );
                }
                Err(why) if length < 240 => assert_eq!(why, DhcpPacketError::Short),
                Err(why) => assert_eq!(why, DhcpPacketError::Bootp, "{name} {length}"),
            }
        }
    }
}

#[test]
fn what_is_no_request_is_refused() {
    let good = packet(0, [0; 4], [0; 4], &[(53, &[1])]);
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Request::read(&bytes).unwrap_err()
    };
    assert_eq!(with(0, 2), DhcpPacketError::Reply);
    assert_eq!(with(1, 6), DhcpPacketError::NotEthernet);
    for hlen in [0, 5, 7, 16, 17, 255] {
        assert_eq!(with(2, hlen), DhcpPacketError::NotEthernet, "length {hlen}");
    }
    assert_eq!(
        with(28, 0x53),
        DhcpPacketError::NotEthernet,
        "for several receivers"
    );
    assert_eq!(with(236, 0), DhcpPacketError::Bootp, "without the magic");
    for kind in [0, 2, 5, 6, 9, 10, 18, 255] {
        assert_eq!(
            read(&[(53, &[kind])]),
            Err(DhcpPacketError::Kind),
            "kind {kind}"
        );
    }
    assert_eq!(read(&[(53, &[])]), Err(DhcpPacketError::Bootp));
    assert_eq!(read(&[]), Err(DhcpPacketError::Bootp));
    let mut none = good.clone();
    none[28..34].fill(0);
    assert_eq!(Request::read(&none), Err(DhcpPacketError::NotEthernet));
}

#[test]
fn options_go_on_in_the_fields_for_names_and_never_round_in_a_circle() {
    let mut bytes = packet(0, [0; 4], [0; 4], &[(52, &[3])]);
    bytes[108..112].copy_from_slice(&[53, 1, 3, 255]);
    bytes[44..51].copy_from_slice(&[50, 4, 10, 20, 0, 9, 255]);
    let request = Request::read(&bytes).unwrap();
    assert_eq!(request.kind, DhcpMessageType::Request);
    assert_eq!(request.claims.wants, Some(Ipv4Addr::new(10, 20, 0, 9)));
    // Only the field that is named.
    bytes[242] = 1;
    assert_eq!(Request::read(&bytes).unwrap().claims.wants, None);
    bytes[242] = 2;
    assert_eq!(Request::read(&bytes), Err(DhcpPacketError::Bootp));
    // The overload option inside such a field is ignored.
    bytes[242] = 1;
    bytes[111..115].copy_from_slice(&[52, 1, 2, 255]);
    assert_eq!(Request::read(&bytes).unwrap().claims.wants, None);
}

#[test]
fn parts_of_an_option_are_joined_and_the_last_of_several_counts() {
    let name = [b'a'; 40];
    let request = read(&[(53, &[1]), (12, &name), (12, &name)]).unwrap();
    assert_eq!(request.host_name.len(), 63);
    let addresses: &[Raw<'_>] = &[
        (53, &[3]),
        (50, &[1, 2, 3, 4]),
        (12, b"x"),
        (50, &[1, 2, 3, 5]),
    ];
    let request = read(addresses).unwrap();
    assert_eq!(request.claims.wants, Some(Ipv4Addr::new(1, 2, 3, 5)));
    assert_eq!(
        read(&[(53, &[3]), (50, &[1, 2, 3])]).unwrap().claims.wants,
        None
    );
    assert_eq!(
        read(&[(53, &[3]), (50, &[0; 4])]).unwrap().claims.wants,
        None
    );
    let long: Vec<Raw<'_>> = vec![
        (53, &[1]),
        (61, &[7; 255]),
        (61, &[7; 255]),
        (61, &[7; 255]),
    ];
    assert_eq!(read(&long).unwrap().echo.client.len(), OPTION_MAX);
}

#[test]
fn an_answer_is_as_long_as_the_client_takes_and_a_frame_has() {
    let room = |data: &[u8]| read(&[(53, &[1]), (57, data)]).unwrap().room;
    assert_eq!(read(&[(53, &[1])]).unwrap().room, 548);
    let table = [
        (0, 548),
        (300, 548),
        (576, 548),
        (577, 549),
        (1_260, 1_232),
        (1_500, 1_472),
        (9_000, 1_472),
        (u16::MAX, 1_472),
    ];
    for (told, expected) in table {
        assert_eq!(room(&told.to_be_bytes()), expected, "{told}");
    }
    assert_eq!(room(&[4]), 548);
}

#[test]
fn a_relay_names_the_network_of_its_client_or_lies() {
    let link = |data: &[u8]| read(&[(53, &[1]), (82, data)]).unwrap().route.link;
    assert_eq!(
        link(&[5, 4, 10, 30, 0, 0]),
        Some(Ipv4Addr::new(10, 30, 0, 0))
    );
    assert_eq!(
        link(&[1, 2, 7, 7, 5, 4, 10, 30, 0, 0]),
        Some(Ipv4Addr::new(10, 30, 0, 0))
    );
    for lie in [
        &[5, 4, 10, 30, 0][..],
        &[5, 3, 10, 30, 0],
        &[1, 200, 5, 4, 1, 2, 3, 4],
        &[5],
        &[],
    ] {
        assert_eq!(link(lie), None, "{lie:?}");
    }
    let selected = read(&[(53, &[1]), (118, &[10, 40, 0, 0])]).unwrap();
    assert_eq!(selected.route.link, Some(Ipv4Addr::new(10, 40, 0, 0)));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_none_are_kept_without_bound(
        bytes in proptest::collection::vec(any::<u8>(), 0..2_048),
        options in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..256)), 0..16),
    ) {
        let _ = Request::read(&bytes);
        let mut raw: Vec<Raw<'_>> = vec![(53, &[1])];
        raw.extend(options.iter().map(|(code, data)| (*code, &**data)));
        if let Ok(request) = read(&raw) {
            prop_assert_eq!(request.mac, CARD);
            prop_assert!(request.echo.client.len() <= OPTION_MAX);
            prop_assert!(request.echo.relay.len() <= OPTION_MAX);
            prop_assert!(request.host_name.len() <= HOST_NAME_MAX);
        }
    }
}
