//! Implements a scripted client, which proceeds up to a redirection, and communicates with a host
//! behind the farm.

#[path = "packets.rs"]
mod packets;

pub use packets::Person;

use lab::tls::TlsOffer;
use protocol::rdp::{ConnectionRequest, Negotiated, NegotiationRequest, Redirection, Routing, SSL};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub const SOON: Duration = Duration::from_secs(20);

pub fn request(routing: Routing, protocols: u32) -> ConnectionRequest {
    ConnectionRequest {
        routing,
        negotiation: Some(NegotiationRequest {
            flags: 0,
            protocols,
        }),
    }
}

pub fn sends(to: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(to).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream.write_all(bytes).expect("it reads");
    stream
}

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

/// Does the same as [`logs_on`], with this request.
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
    let client = lab::tls::TlsClient::new_local(&TlsOffer::default()).expect("a client");
    let name = ServerName::try_from("desktop.example.org").expect("a name");
    let session = ClientConnection::new(client.config(), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(session, stream);
    for sent in packets::answered(person) {
        stream.write_all(&sent)?;
        packet(&mut stream)?;
    }
    stream.write_all(&packets::client_info(person))?;
    let license = packet(&mut stream)?;
    assert_eq!(license.len(), 35, "{license:?}");
    assert_eq!(
        license[15..23],
        *b"\x80\0\0\0\xff\x03\x10\0",
        "no end of licensing"
    );
    Ok(Redirection::decode(&packet(&mut stream)?).expect("a redirection"))
}

/// Returns the token of a redirection, as a client repeats it.
pub fn token(redirection: &Redirection) -> Routing {
    let token = redirection.load_balance_info.strip_suffix(b"\r\n");
    Routing::Token(token.expect("its end").to_vec())
}
