//! Tests the packets of a remote desktop gateway ([MS-TSGU] 2.2.10), as xfreerdp 2.11 sends them,
//! and invalid ones.

use super::*;
use proptest::prelude::*;

const HANDSHAKE: &[u8] = b"\x01\0\0\0\x0e\0\0\0\x01\0\0\0\0\0";
const HANDSHAKE_COOKIE: &[u8] = b"\x01\0\0\0\x0e\0\0\0\x01\0\0\0\x02\0";
const CREATE: &[u8] = b"\x04\0\0\0\x10\0\0\0\x0d\0\0\0\0\0\0\0";
const CREATE_COOKIE: &[u8] = b"\x04\0\0\0\x1a\0\0\0\x0d\0\0\0\x01\0\0\0\x08\0a\0b\0c\0\0\0";
const CREATE_AGAIN: &[u8] = b"\x04\0\0\0\x18\0\0\0\x3f\0\0\0\x02\0\0\0\x07\0\0\0\0\0\0\x80";
const AUTHORISE: &[u8] = b"\x06\0\0\0\x12\0\0\0\0\0\x06\0P\0C\0\0\0";
const CHANNEL: &[u8] = b"\x08\0\0\0\x16\0\0\0\x01\0\x3d\x0d\x03\0\x06\0t\0s\0\0\0";
const DATA: &[u8] = b"\x0a\0\0\0\x0d\0\0\0\x03\0\x03\0\0";
const KEEP_ALIVE: &[u8] = b"\x0d\0\0\0\x08\0\0\0";
const CLOSE: &[u8] = b"\x10\0\0\0\x0c\0\0\0\0\0\0\0";
const CLOSED: &[u8] = b"\x11\0\0\0\x0c\0\0\0\0\0\0\0";
const ALL: [&[u8]; 10] = [
    HANDSHAKE,
    HANDSHAKE_COOKIE,
    CREATE,
    CREATE_COOKIE,
    CREATE_AGAIN,
    AUTHORISE,
    CHANNEL,
    DATA,
    CLOSE,
    CLOSED,
];

fn read(bytes: &[u8]) -> Result<Option<Packet>, TsguPacketError> {
    let mut packets = Packets::default();
    packets.push(bytes);
    packets.take()
}

fn one(bytes: &[u8]) -> Packet {
    read(bytes).unwrap().expect("a whole packet")
}

#[test]
fn packets_of_a_client_are_read() {
    let create = |cookie: Option<&str>, reauthenticates, capabilities| Packet::TunnelCreate {
        capabilities,
        cookie: cookie.map(str::to_owned),
        reauthenticates,
    };
    let table = [
        (
            HANDSHAKE,
            Packet::Handshake {
                major: 1,
                authentication: 0,
            },
        ),
        (
            HANDSHAKE_COOKIE,
            Packet::Handshake {
                major: 1,
                authentication: 2,
            },
        ),
        (CREATE, create(None, None, 0xd)),
        (CREATE_COOKIE, create(Some("abc"), None, 0xd)),
        (
            CREATE_AGAIN,
            create(None, Some(0x8000_0000_0000_0007), 0x3f),
        ),
        (
            AUTHORISE,
            Packet::TunnelAuthorise {
                machine: "PC".to_owned(),
            },
        ),
        (
            CHANNEL,
            Packet::ChannelCreate {
                names: vec!["ts".to_owned()],
                port: 3389,
            },
        ),
        (DATA, Packet::Data(b"\x03\0\0".to_vec())),
        (KEEP_ALIVE, Packet::KeepAlive),
        (CLOSE, Packet::Close),
        (CLOSED, Packet::Closed),
    ];
    for (bytes, packet) in table {
        assert_eq!(one(bytes), packet);
    }
}

#[test]
fn packets_of_the_gateway_have_the_bytes_of_the_specification() {
    let limits = Limits {
        redirection: 0x8000_0000,
        idle_minutes: 30,
    };
    let table: [(Vec<u8>, &[u8]); 12] = [
        (
            reply::handshake(Code::OK),
            b"\x02\0\0\0\x12\0\0\0\0\0\0\0\x01\0\x01\0\x02\0",
        ),
        (
            reply::tunnel(Ok(7)),
            b"\x05\0\0\0\x1a\0\0\0\x01\0\0\0\0\0\x03\0\0\0\x07\0\0\0\x12\0\0\0",
        ),
        (
            reply::tunnel(Err(Code::COOKIE_DENIED)),
            b"\x05\0\0\0\x12\0\0\0\x01\0\xf8\x59\x07\x80\0\0\0\0",
        ),
        (
            reply::authorised(Ok(limits)),
            b"\x07\0\0\0\x18\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\x80\x1e\0\0\0",
        ),
        (
            reply::authorised(Err(Code::NAP_DENIED)),
            b"\x07\0\0\0\x10\0\0\0\xdb\x59\x07\x80\0\0\0\0",
        ),
        (
            reply::channel(Ok(1)),
            b"\x09\0\0\0\x14\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0",
        ),
        (
            reply::channel(Err(Code::RAP_DENIED)),
            b"\x09\0\0\0\x10\0\0\0\xda\x59\x07\x80\0\0\0\0",
        ),
        (data(b"\x03\0\0"), DATA),
        (keep_alive(), KEEP_ALIVE),
        (reauthenticate(7), b"\x0c\0\0\0\x10\0\0\0\x07\0\0\0\0\0\0\0"),
        (
            close(Code::SESSION_TIMEOUT),
            b"\x10\0\0\0\x0c\0\0\0\xf6\x59\x07\x80",
        ),
        (closed(), CLOSED),
    ];
    for (found, expected) in table {
        assert_eq!(found, expected);
    }
    assert_eq!(data(&[0; 70_000]).len(), PACKET_BYTES_MAX);
}

#[test]
fn a_stream_is_cut_wherever_its_pieces_end() {
    let stream = [HANDSHAKE, CREATE_COOKIE, KEEP_ALIVE, DATA, CLOSE].concat();
    let all = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut packets, mut found) = (Packets::default(), Vec::new());
        for piece in pieces {
            packets.push(piece);
            while let Some(packet) = packets.take().unwrap() {
                found.push(packet);
            }
        }
        found
    };
    let whole = all(&mut std::iter::once(stream.as_slice()));
    assert_eq!(whole.len(), 5);
    for size in 1..stream.len() {
        assert_eq!(all(&mut stream.chunks(size)), whole, "{size}");
    }
}

#[test]
fn false_lengths_are_refused() {
    for packet in ALL {
        for length in 0..packet.len() {
            assert_eq!(read(&packet[..length]), Ok(None));
            // The same packet with a matching length in its header.
            if length >= 8 {
                let mut cut = packet[..length].to_vec();
                cut[4] = u8::try_from(length).unwrap();
                assert!(read(&cut).is_err(), "{cut:?}");
            }
        }
        let mut longer = [packet, b"\0"].concat();
        longer[4] += 1;
        assert!(read(&longer).is_err(), "{longer:?}");
    }
    for bytes in [0, 7, PACKET_BYTES_MAX + 1, 0x7fff_ffff, 0xffff_ffff] {
        let length = u32::try_from(bytes).unwrap().to_le_bytes();
        let head = [b"\x0a\0\0\0".as_slice(), &length].concat();
        assert!(
            matches!(read(&head), Err(TsguPacketError::Length { .. })),
            "{bytes}"
        );
    }
    // A name with half a letter, one with a zero inside, no name, and seventeen names.
    for bad in [
        b"\x08\0\0\0\x13\0\0\0\x01\0\x3d\x0d\x03\0\x03\0t\0s".as_slice(),
        b"\x08\0\0\0\x14\0\0\0\x01\0\x3d\x0d\x03\0\x04\0\0\0s\0",
        b"\x08\0\0\0\x0e\0\0\0\0\0\x3d\x0d\x03\0",
        b"\x08\0\0\0\x10\0\0\0\x01\x10\x3d\x0d\x03\0\0\0",
    ] {
        assert!(
            matches!(read(bad), Err(TsguPacketError::Field { .. })),
            "{bad:?}"
        );
    }
}

#[test]
fn tunnel_states_follow_their_order() {
    let mut tunnel = Tunnel::new(true);
    let reply = tunnel.handle(one(HANDSHAKE)).unwrap();
    assert_eq!(reply, TsguRequest::Reply(reply::handshake(Code::OK)));
    let admit = tunnel.handle(one(CREATE)).unwrap();
    let expected = TsguRequest::Admit {
        cookie: None,
        reauthenticates: None,
    };
    assert_eq!(admit, expected);
    // Before the response, only a keep-alive is allowed.
    assert!(tunnel.handle(one(AUTHORISE)).is_err());
    assert_eq!(tunnel.handle(Packet::KeepAlive), Ok(TsguRequest::Nothing));
    tunnel.admit(Ok(1));
    let machine = "PC".to_owned();
    assert_eq!(
        tunnel.handle(one(AUTHORISE)),
        Ok(TsguRequest::Authorise { machine })
    );
    tunnel.authorise(Ok(Limits::default()));
    assert!(tunnel.handle(one(DATA)).is_err() && !tunnel.is_open());
    let connect = tunnel.handle(one(CHANNEL)).unwrap();
    assert!(matches!(connect, TsguRequest::Connect { port: 3389, .. }));
    tunnel.connect(Ok(1));
    assert!(tunnel.is_open());
    let bytes = b"\x03\0\0".to_vec();
    assert_eq!(tunnel.handle(one(DATA)), Ok(TsguRequest::Data(bytes)));
    assert_eq!(tunnel.handle(one(CLOSE)), Ok(TsguRequest::Close));
    assert!(tunnel.handle(Packet::KeepAlive).is_err());
}

#[test]
fn a_refusal_ends_a_tunnel() {
    let code = |asked| match asked {
        Ok(TsguRequest::Refuse(_, code)) => code,
        other => panic!("{other:?}"),
    };
    let nobody = Tunnel::new(false).handle(one(HANDSHAKE));
    assert_eq!(code(nobody), Code::UNSUPPORTED_AUTHENTICATION);
    let newer = Packet::Handshake {
        major: 2,
        authentication: 2,
    };
    assert_eq!(code(Tunnel::new(true).handle(newer)), Code::NOT_SUPPORTED);
    let mut tunnel = Tunnel::new(false);
    assert!(matches!(
        tunnel.handle(one(HANDSHAKE_COOKIE)),
        Ok(TsguRequest::Reply(_))
    ));
    tunnel.handle(one(CREATE_COOKIE)).unwrap();
    tunnel.admit(Err(Code::COOKIE_DENIED));
    for packet in ALL {
        assert!(tunnel.handle(one(packet)).is_err());
    }
}

proptest! {
    #[test]
    fn tunnel_survives_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0..10_usize, byte in 0..40_usize, value: u8) {
        let mut changed = ALL[at].to_vec();
        let byte = byte % changed.len();
        changed[byte] = value;
        for bytes in [bytes, changed] {
            let mut packets = Packets::default();
            packets.push(&bytes);
            let mut tunnel = Tunnel::new(true);
            while let Ok(Some(packet)) = packets.take() {
                if tunnel.handle(packet).is_err() {
                    break;
                }
            }
        }
    }
}
