//! A client by hand: it goes as far as a redirection, and speaks with a host behind the farm.

use lab::tls::Offer;
use protocol::rdp::{ConnectionRequest, Negotiated, NegotiationRequest, Redirection, Routing, SSL};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long anything takes at most.
pub const SOON: Duration = Duration::from_secs(20);

/// What a client says of itself.
#[derive(Clone, Copy)]
pub struct Person<'a> {
    pub domain: &'a str,
    pub user: &'a str,
    pub machine: &'a str,
    pub follows: bool,
}

impl<'a> Person<'a> {
    pub fn named(user: &'a str) -> Person<'a> {
        Person {
            domain: "",
            user,
            machine: "PC",
            follows: true,
        }
    }
}

pub fn request(routing: Routing, protocols: u32) -> ConnectionRequest {
    ConnectionRequest {
        routing,
        negotiation: Some(NegotiationRequest {
            flags: 0,
            protocols,
        }),
    }
}

/// Connects and sends bytes.
pub fn sends(to: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(to).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream.write_all(bytes).expect("it reads");
    stream
}

/// Reads one packet.
pub fn packet(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    stream.read_exact(&mut bytes)?;
    let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
    bytes.resize(length, 0);
    stream.read_exact(&mut bytes[4..])?;
    Ok(bytes)
}

/// Connects and reads the confirmation.
pub fn negotiates(
    to: SocketAddr,
    request: &ConnectionRequest,
) -> (TcpStream, io::Result<Negotiated>) {
    let mut stream = sends(to, &request.encode());
    let confirm =
        packet(&mut stream).map(|packet| Negotiated::decode(&packet).expect("a confirmation"));
    (stream, confirm)
}

/// Logs on over TLS; returns the redirection.
pub fn logs_on(to: SocketAddr, person: Person<'_>) -> io::Result<Redirection> {
    logs_on_with(to, &request(Routing::None, SSL), person)
}

/// As [`logs_on`], with this request.
pub fn logs_on_with(
    to: SocketAddr,
    request: &ConnectionRequest,
    person: Person<'_>,
) -> io::Result<Redirection> {
    let (stream, confirm) = negotiates(to, request);
    let selected = Negotiated::Selected {
        flags: 0,
        protocol: SSL,
    };
    assert_eq!(confirm?, selected);
    let client = lab::tls::TlsClient::here(&Offer::default()).expect("a client");
    let name = ServerName::try_from("desktop.example.org").expect("a name");
    let session = ClientConnection::new(client.config(), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(session, stream);
    stream.write_all(&connect_initial(person))?;
    packet(&mut stream)?;
    stream.write_all(&[data(b"\x04\x01\0\x01\0"), data(b"\x28")].concat())?;
    packet(&mut stream)?;
    for channel in [1007, 1003, 1004_u16] {
        let channel = channel.to_be_bytes();
        stream.write_all(&data(&[b"\x38\0\x06".as_slice(), &channel].concat()))?;
        packet(&mut stream)?;
    }
    stream.write_all(&client_info(person))?;
    let license = packet(&mut stream)?;
    assert_eq!(license.len(), 35, "{license:?}");
    assert_eq!(
        license[15..23],
        *b"\x80\0\0\0\xff\x03\x10\0",
        "no end of licensing"
    );
    Ok(Redirection::decode(&packet(&mut stream)?).expect("a redirection"))
}

/// The token of a redirection, as a client repeats it.
pub fn token(redirection: &Redirection) -> Routing {
    let token = redirection.load_balance_info.strip_suffix(b"\r\n");
    Routing::Token(token.expect("its end").to_vec())
}

fn data(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len() + 7).expect("short").to_be_bytes();
    [b"\x03\0".as_slice(), &length, b"\x02\xf0\x80", bytes].concat()
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn block(kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len() + 4).expect("short");
    [&kind.to_le_bytes(), &length.to_le_bytes(), data].concat()
}

fn connect_initial(person: Person<'_>) -> Vec<u8> {
    let mut core = vec![0; 20];
    let mut name = wide(person.machine);
    name.resize(32, 0);
    core.extend(name);
    core.resize(212, 0);
    let net = [b"\x01\0\0\0".as_slice(), b"cliprdr\0", b"\0\0\0\0"].concat();
    let cluster = [u8::from(person.follows), 0, 0, 0, 0, 0, 0, 0];
    let blocks = [
        block(0xc001, &core),
        block(0xc003, &net),
        block(0xc004, &cluster),
    ]
    .concat();
    let per = |length: usize| u16::try_from(length | 0x8000).expect("short").to_be_bytes();
    let request = b"\0\x08\0\x10\0\x01\xc0\0Duca";
    let length = per(request.len() + 2 + blocks.len());
    let user_data = [
        b"\0\x05\0\x14\x7c\0\x01".as_slice(),
        &length,
        request,
        &per(blocks.len()),
        &blocks,
    ];
    let user_data = user_data.concat();
    let ber = |length: usize| {
        [
            vec![0x82],
            u16::try_from(length).expect("short").to_be_bytes().to_vec(),
        ]
        .concat()
    };
    let parameters = b"\x30\x03\x02\x01\x22";
    let head = b"\x04\x01\x01\x04\x01\x01\x01\x01\xff";
    let body = [
        head.as_slice(),
        parameters,
        parameters,
        parameters,
        &[4],
        &ber(user_data.len()),
        &user_data,
    ];
    let body = body.concat();
    data(&[b"\x7f\x65".as_slice(), &ber(body.len()), &body].concat())
}

fn client_info(person: Person<'_>) -> Vec<u8> {
    let texts = [person.domain, person.user, "secret", "", ""].map(wide);
    let mut info = [0_u32, 0x33].map(u32::to_le_bytes).concat();
    for text in &texts {
        info.extend(u16::try_from(text.len()).expect("short").to_le_bytes());
    }
    for text in &texts {
        info.extend(text);
        info.extend([0, 0]);
    }
    let info = [b"\x40\0\0\0".as_slice(), &info].concat();
    let length = u16::try_from(info.len() | 0x8000)
        .expect("short")
        .to_be_bytes();
    data(&[b"\x64\0\x06\x03\xeb\x70".as_slice(), &length, &info].concat())
}
