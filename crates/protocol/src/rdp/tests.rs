//! Tests RDP packets of the specification and of clients, and invalid bytes.

use super::*;
use proptest::prelude::*;

/// The Connection Request of [MS-RDPBCGR] 4.1.1.
const REQUEST: &[u8] =
    b"\x03\0\0\x2c\x27\xe0\0\0\0\0\0Cookie: mstshash=eltons\r\n\x01\0\x08\0\0\0\0\0";
/// The Connection Confirm of [MS-RDPBCGR] 4.1.2.
const CONFIRM: &[u8] = b"\x03\0\0\x13\x0e\xd0\0\0\x12\x34\0\x02\0\x08\0\0\0\0\0";

fn asks(routing: Routing, protocols: u32) -> ConnectionRequest {
    ConnectionRequest {
        routing,
        negotiation: Some(NegotiationRequest {
            flags: 0,
            protocols,
        }),
    }
}

fn packet(data: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    tpkt::push_data(&mut packet, data);
    packet
}

fn block(kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len() + 4).unwrap();
    [&kind.to_le_bytes(), &length.to_le_bytes(), data].concat()
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Returns a Connect Initial with these blocks.
fn connect_initial(blocks: &[Vec<u8>]) -> Vec<u8> {
    let blocks = blocks.concat();
    let per = |length: usize| u16::try_from(length | 0x8000).unwrap().to_be_bytes();
    let ber = |length: usize| {
        let length = u16::try_from(length).unwrap().to_be_bytes();
        [0x82, length[0], length[1]]
    };
    let request = b"\0\x08\0\x10\0\x01\xc0\0Duca";
    let length = per(request.len() + 2 + blocks.len());
    let user_data = [
        b"\0\x05\0\x14\x7c\0\x01",
        length.as_slice(),
        request,
        &per(blocks.len()),
        &blocks,
    ];
    let user_data = user_data.concat();
    let parameters = b"\x30\x03\x02\x01\x22";
    let body = [
        b"\x04\x01\x01\x04\x01\x01\x01\x01\xff".as_slice(),
        parameters,
        parameters,
        parameters,
        &[4],
        &ber(user_data.len()),
        &user_data,
    ];
    let body = body.concat();
    packet(&[b"\x7f\x65".as_slice(), &ber(body.len()), &body].concat())
}

fn core(client_name: &str) -> Vec<u8> {
    let mut data = vec![0; 20];
    let mut name = wide(client_name);
    name.resize(32, 0);
    data.extend(name);
    data.resize(212, 0);
    block(0xc001, &data)
}

fn channels(count: u8) -> Vec<u8> {
    let mut data = u32::from(count).to_le_bytes().to_vec();
    data.resize(4 + usize::from(count) * 12, b'c');
    block(0xc003, &data)
}

fn cluster(flags: u32) -> Vec<u8> {
    block(0xc004, &[flags.to_le_bytes(), [0; 4]].concat())
}

fn client_info(domain: &str, user: &str, password: &str) -> Vec<u8> {
    let texts = [domain, user, password, "", ""].map(wide);
    let mut info = [0_u32, 0x33].map(u32::to_le_bytes).concat();
    for text in &texts {
        info.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
    }
    for text in &texts {
        info.extend(text);
        info.extend([0, 0]);
    }
    send_data(1003, &[b"\x40\0\0\0".as_slice(), &info].concat())
}

fn send_data(channel: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len() | 0x8000).unwrap().to_be_bytes();
    let channel = channel.to_be_bytes();
    packet(&[b"\x64\0\x06".as_slice(), &channel, b"\x70", &length, data].concat())
}

fn join(channel: u16) -> Vec<u8> {
    let channel = channel.to_be_bytes();
    packet(&[b"\x38\0\x06".as_slice(), &channel].concat())
}

const ERECT: &[u8] = b"\x04\x01\0\x01\0";
const ATTACH: &[u8] = b"\x28";

/// Returns everything that a client sends until its user is known.
fn whole_logon() -> Vec<u8> {
    [
        connect_initial(&[core("WORKSTATION"), channels(3), cluster(0x0d)]),
        packet(ERECT),
        packet(ATTACH),
        [1007, 1003, 1004, 1005, 1006].map(join).concat(),
        client_info("EXAMPLE", "anna.müller-lüdenscheidt", "secret"),
    ]
    .concat()
}

#[test]
fn a_request_of_the_specification_is_read_and_written() {
    let request = ConnectionRequest::decode(REQUEST).unwrap();
    assert_eq!(request, asks(Routing::Hint("eltons".to_owned()), 0));
    assert_eq!(request.encode(), REQUEST);
    assert!(!request.takes_tls());
    let confirm = Negotiated::decode(CONFIRM).unwrap();
    let selected = Negotiated::Selected {
        flags: 0,
        protocol: 0,
    };
    assert_eq!(confirm, selected);
    assert_eq!(Negotiated::decode(&confirm.encode()), Ok(confirm));
}

#[test]
fn requests_of_clients_are_read() {
    let tls = asks(Routing::None, SSL | HYBRID | HYBRID_EX);
    let guarded = ConnectionRequest {
        routing: Routing::None,
        negotiation: Some(NegotiationRequest {
            flags: RESTRICTED_ADMIN,
            protocols: SSL | HYBRID,
        }),
    };
    let token = Routing::Token(b"Cookie: msts=3640205228.15629.0000".to_vec());
    let collection = b"tsv://MS Terminal Services Plugin.1.Office".to_vec();
    let old = ConnectionRequest {
        routing: Routing::Hint(String::new()),
        negotiation: None,
    };
    for (request, takes_tls) in [
        (tls, true),
        (guarded, false),
        (asks(Routing::None, HYBRID), false),
        (asks(token, SSL), true),
        (asks(Routing::Token(collection), SSL), true),
        (old, false),
    ] {
        let packet = request.encode();
        assert_eq!(ConnectionRequest::decode(&packet).as_ref(), Ok(&request));
        assert_eq!(request.takes_tls(), takes_tls, "{request:?}");
        let whole = TpktFrame::Complete {
            packet_bytes: packet.len(),
        };
        assert_eq!(frame(&packet, REQUEST_BYTES_MAX), Ok(whole));
    }
    // A negotiation with a correlation identifier that contains CR LF.
    let mut packet = b"\x03\0\0\x37\x32\xe0\0\0\0\0\0\x01\x08\x08\0\x03\0\0\0\x06\0\x24\0".to_vec();
    packet.extend(b"0123456789\r\n3456".iter().chain(&[0; 16]));
    let request = ConnectionRequest::decode(&packet).unwrap();
    assert_eq!(request.routing, Routing::None);
    assert_eq!(request.negotiation.map(|one| one.protocols), Some(3));
    // A token that does not fit into a request is truncated.
    let long = asks(Routing::Token(vec![b'a'; 4096]), SSL).encode();
    assert_eq!(long.len(), REQUEST_BYTES_MAX);
    assert!(ConnectionRequest::decode(&long).is_ok());
}

#[test]
fn invalid_requests_are_refused_with_the_field() {
    let change = |at: usize, byte: u8| {
        let mut packet = REQUEST.to_vec();
        packet[at] = byte;
        ConnectionRequest::decode(&packet).unwrap_err().to_string()
    };
    let pdu = "the X.224 Connection Request";
    for (at, byte, told) in [
        (4, 0x26, format!("{pdu} has an invalid length indicator")),
        (5, 0xd0, format!("0xd0 instead of {pdu}")),
        (10, 0x40, format!("{pdu} has an invalid class")),
        (
            34,
            b' ',
            format!("{pdu} has an invalid routing token without its end"),
        ),
        (36, 9, format!("{pdu} has an invalid type of negotiation")),
        (37, 8, format!("{pdu} is truncated")),
        (
            38,
            9,
            format!("{pdu} has an invalid length of the negotiation"),
        ),
    ] {
        assert_eq!(change(at, byte), told, "{at}");
    }
    assert_eq!(
        frame(b"GET /", 64).unwrap_err().to_string(),
        "not RDP: the first byte is 0x47, not 0x03"
    );
    let long = "a packet of 65535 bytes; the maximum is 259";
    assert_eq!(
        frame(b"\x03\0\xff\xff", REQUEST_BYTES_MAX)
            .unwrap_err()
            .to_string(),
        long
    );
    assert!(frame(b"\x03\0\0\x04", REQUEST_BYTES_MAX).is_err());
    for missing in 1..REQUEST.len() {
        let told = frame(&REQUEST[..REQUEST.len() - missing], REQUEST_BYTES_MAX);
        let Ok(TpktFrame::Incomplete { missing_bytes }) = told else {
            panic!("{told:?}");
        };
        assert!((1..=missing).contains(&missing_bytes));
    }
}

#[test]
fn user_name_is_extracted_from_a_client() {
    let bytes = whole_logon();
    let (mut input, mut out) = (bytes.as_slice(), Vec::new());
    let mut acceptor = Acceptor::new(SSL | HYBRID);
    let Ok(RdpAcceptorStep::Known(logon)) = acceptor.handle(&mut input, &mut out) else {
        panic!("it is not known");
    };
    let expected = Logon {
        domain: "EXAMPLE".to_owned(),
        user: "anna.müller-lüdenscheidt".to_owned(),
        client_name: "WORKSTATION".to_owned(),
        follows: true,
    };
    assert_eq!(logon, expected);
    assert!(input.is_empty());
    // The response: its packet, MCS, GCC, then the blocks with the requested protocols and 3
    // channels.
    let response = b"\x03\0\0\x71\x02\xf0\x80\x7f\x66\x82\0\x65\x0a\x01\0\x02\x01\0\
        \x30\x1a\x02\x01\x22\x02\x01\x03\x02\x01\0\x02\x01\x01\x02\x01\0\x02\x01\x01\x02\x03\0\xff\xf8\x02\x01\x02\
        \x04\x82\0\x3f\0\x05\0\x14\x7c\0\x01\x2a\x14\x76\x0a\x01\x01\0\x01\xc0\0McDn\x80\x28\
        \x01\x0c\x0c\0\x04\0\x08\0\x03\0\0\0\
        \x03\x0c\x10\0\xeb\x03\x03\0\xec\x03\xed\x03\xee\x03\0\0\
        \x02\x0c\x0c\0\0\0\0\0\0\0\0\0";
    let attached = b"\x03\0\0\x0b\x02\xf0\x80\x2e\0\0\x06";
    let joined = |low: u8| {
        [
            b"\x03\0\0\x0f\x02\xf0\x80\x3e\0\0\x06\x03".as_slice(),
            &[low, 3, low],
        ]
        .concat()
    };
    let joined = [0xef, 0xeb, 0xec, 0xed, 0xee].map(joined).concat();
    assert_eq!(out, [response.as_slice(), attached, &joined].concat());
}

#[test]
fn names_are_read_as_clients_write_them() {
    let known = |info: Vec<u8>| {
        let bytes = [
            connect_initial(&[core("")]),
            packet(ERECT),
            packet(ATTACH),
            info,
        ]
        .concat();
        match Acceptor::new(SSL).handle(&mut bytes.as_slice(), &mut Vec::new()) {
            Ok(RdpAcceptorStep::Known(logon)) => Ok((logon.domain, logon.user, logon.follows)),
            Ok(RdpAcceptorStep::Read) => panic!("it waits"),
            Err(error) => Err(error.to_string()),
        }
    };
    let told = |domain: &str, user: &str| Ok((domain.to_owned(), user.to_owned(), false));
    assert_eq!(known(client_info("", "", "")), told("", ""));
    let long = "n".repeat(NAME_BYTES_MAX / 2);
    assert_eq!(known(client_info("", &long, "p")), told("", &long));
    let longer = "n".repeat(NAME_BYTES_MAX / 2 + 1);
    let invalid = |field: &str| Err(format!("the Client Info has an invalid {field}"));
    assert_eq!(known(client_info("", &longer, "p")), invalid("UserName"));
    assert_eq!(known(client_info(&longer, "", "p")), invalid("Domain"));
    // A code page: ASCII is the same in all of them, other letters are not.
    let old = |name: &[u8]| {
        let length = u16::try_from(name.len()).unwrap().to_le_bytes();
        let info = [
            b"\x40\0\0\0\x09\x04\0\0\x03\0\0\0\0\0".as_slice(),
            &length,
            b"\0\0\0\0\0\0\0",
            name,
            b"\0",
        ];
        send_data(1003, &info.concat())
    };
    assert_eq!(known(old(b"anna")), told("", "anna"));
    assert_eq!(known(old(b"\xe4nna")), invalid("UserName"));
    let half = send_data(
        1003,
        &[
            b"\x40\0\0\0\0\0\0\0\x10\0\0\0\0\0\x02\0\0\0\0\0\0\0\0\0",
            b"\x3d\xd8\0\0".as_slice(),
        ]
        .concat(),
    );
    assert_eq!(known(half), invalid("UserName"));
}

#[test]
fn packets_out_of_order_or_too_many_are_refused() {
    let refused = |bytes: Vec<u8>| {
        let mut input = bytes.as_slice();
        let step = Acceptor::new(SSL).handle(&mut input, &mut Vec::new());
        step.unwrap_err().to_string()
    };
    let begun = |rest: &[Vec<u8>]| {
        let begin = [
            connect_initial(&[core("a"), channels(1)]),
            packet(ERECT),
            packet(ATTACH),
        ];
        refused([begin.concat(), rest.concat()].concat())
    };
    insta::assert_snapshot!(
        [
            refused(packet(ATTACH)),
            refused(connect_initial(&[])),
            refused(connect_initial(&[core("a"), channels(32)])),
            refused(connect_initial(&vec![block(0xc0ff, &[]); 40])),
            refused([connect_initial(&[core("a")]), packet(ATTACH)].concat()),
            begun(&[join(1006)]),
            begun(&[send_data(1004, b"")]),
            begun(&[send_data(1003, b"\x80\0\0\0")]),
            begun(&[packet(b"\x21\x80")]),
            begun(&vec![join(1003); 40]),
            refused(b"\x03\0\x7f\xff".to_vec()),
        ]
        .join("\n"),
        @r"
    0x28 instead of the MCS Connect Initial
    the GCC Conference Create Request has an invalid set of blocks: no core data
    the GCC Conference Create Request has an invalid number of channels
    the GCC Conference Create Request has an invalid number of blocks
    0x28 instead of the MCS Erect Domain Request
    the MCS Channel Join Request has an invalid channelId
    the MCS Send Data has an invalid channelId
    the MCS Send Data has an invalid security header
    0x21 instead of the MCS Channel Join Request
    more than 36 packets before the Client Info
    a packet of 32767 bytes; the maximum is 16384
    "
    );
}

#[test]
fn a_redirection_has_the_bytes_of_the_specification() {
    let redirection = Redirection {
        target_net_address: "10.0.0.1".to_owned(),
        load_balance_info: b"Cookie: msts=1.2.3\r\n".to_vec(),
        target_fqdn: String::new(),
    };
    let bytes = redirection.encode();
    let expected = [
        b"\x03\0\0\x5a\x02\xf0\x80\x68\0\x01\x03\xeb\x70\x80\x4b".as_slice(),
        // Header of a share control PDU.
        b"\x4b\0\x1a\0\xea\x03\0\0",
        // SEC_REDIRECTION_PKT, the length, no session, the fields that follow.
        b"\0\x04\x3a\0\0\0\0\0\x03\0\0\0",
        b"\x12\0\0\x001\x000\0.\x000\0.\x000\0.\x001\0\0\0",
        b"\x14\0\0\0Cookie: msts=1.2.3\r\n",
        &[0; 9],
    ];
    assert_eq!(bytes, expected.concat());
    assert_eq!(Redirection::decode(&bytes), Ok(redirection));
    let named = Redirection {
        target_fqdn: "desktop.example.org".to_owned(),
        ..Redirection::default()
    };
    assert_eq!(Redirection::decode(&named.encode()), Ok(named));
}

#[test]
fn the_end_of_licensing_has_the_bytes_of_the_specification() {
    let head = b"\x03\0\0\x23\x02\xf0\x80\x68\0\x01\x03\xeb\x70\x80\x14";
    let alert = b"\x80\0\0\0\xff\x03\x10\0\x07\0\0\0\x02\0\0\0\x04\0\0\0";
    assert_eq!(valid_client(), [head.as_slice(), alert].concat());
}

/// Returns the acceptor's response to bytes that arrive in these two pieces.
fn said(pieces: [&[u8]; 2]) -> (Vec<u8>, Result<RdpAcceptorStep, RdpPacketError>) {
    let mut acceptor = Acceptor::new(SSL);
    let (mut held, mut out, mut step) = (Vec::new(), Vec::new(), Ok(RdpAcceptorStep::Read));
    for piece in pieces {
        held.extend_from_slice(piece);
        let mut input = held.as_slice();
        step = acceptor.handle(&mut input, &mut out);
        if step != Ok(RdpAcceptorStep::Read) {
            break;
        }
        held = input.to_vec();
    }
    (out, step)
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = frame(&bytes, REQUEST_BYTES_MAX);
        let _ = ConnectionRequest::decode(&bytes);
        let _ = Negotiated::decode(&bytes);
        let _ = Redirection::decode(&bytes);
        let _ = said([&bytes, &packet(&bytes)]);
    }

    #[test]
    fn no_change_of_a_logon_makes_it_panic(
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = whole_logon();
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let _ = said([&bytes, b""]);
    }

    #[test]
    fn a_logon_is_the_same_in_two_pieces(at in 0_usize..700) {
        let bytes = whole_logon();
        let (one, two) = bytes.split_at(at.min(bytes.len()));
        prop_assert_eq!(said([one, two]), said([&bytes, b""]));
    }

    #[test]
    fn a_request_is_read_as_it_was_written(
        token in "[ -~]{1,100}", flags in 0_u8..4, protocols: u32,
    ) {
        let negotiation = Some(NegotiationRequest { flags, protocols });
        let routing = match token.strip_prefix("Cookie: mstshash=") {
            Some(hint) => Routing::Hint(hint.to_owned()),
            None => Routing::Token(token.clone().into_bytes()),
        };
        let request = ConnectionRequest { routing, negotiation };
        prop_assert_eq!(ConnectionRequest::decode(&request.encode()), Ok(request));
    }
}
