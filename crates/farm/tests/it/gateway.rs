//! Tests the gateway with a scripted client: the WebSocket and the pair of two requests, passwords
//! and cookies, hosts that do not belong to the farm, and input that no real client sends.

mod proxies;
mod tunnels;

use crate::client::{SOON, packet};
use crate::scene::{farm, number, payload, peer, role, subject, why};
use access::ldap::{Grouping, LdapDirectory, Security, Server};
use access::user::{AuthorizedUser, List, SecondFactor};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use configuration::{Account, Password};
use farm::config::{Bind, Farm, Gateway, Portal};
use farm::cookie;
use farm::message::{OperatorMessage, OrderResponse};
use farm::token::{Key, NameId};
use lab::eventually;
use lab::tls::TlsOffer;
use part::codec;
use protocol::rdp::{ConnectionRequest, Negotiated, NegotiationRequest, Routing, SSL};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

const ID: &str = "{11111111-2222-3333-4444-555555555555}";

fn user(name: &str, password: &str) -> AuthorizedUser {
    AuthorizedUser::new(Account {
        name: name.to_owned(),
        groups: Vec::new(),
        password: Password::Clear(password.as_bytes().to_vec()),
    })
}

/// Creates a farm with a gateway, and returns their addresses.
fn site(hosts: &[SocketAddr]) -> (Farm, SocketAddr, SocketAddr) {
    let (mut farm, at) = farm(hosts);
    let web = SocketAddr::from(([127, 0, 0, 1], lab::free_port().expect("a port")));
    farm.web = vec![Bind {
        address: web,
        pem: farm.binds[0].pem.clone(),
        accepts_proxy: false,
    }];
    farm.gateway = Some(Gateway {
        name: "desktop.example.org".to_owned(),
        port: 443,
        idle_ms: None,
        session_ms: None,
    });
    let mut bert = user("bert", "geheim");
    bert.second_factor = SecondFactor::Codes(vec![7; 20]);
    farm.users = List {
        users: vec![user("anna", "secret"), bert],
        ..List::default()
    };
    (farm, at, web)
}

struct Client(StreamOwned<ClientConnection, TcpStream>);

#[derive(Debug)]
struct ResponseHead {
    status: u16,
    text: String,
}

fn basic(name: &str, password: &str) -> String {
    let letters = STANDARD.encode(format!("{name}:{password}"));
    format!("Authorization: Basic {letters}\r\n")
}

const COOKIE_SCHEME: &str = "RDG-Auth-Scheme: PAA\r\n";
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

impl Client {
    fn new(to: SocketAddr) -> Client {
        let stream = TcpStream::connect(to).expect("it listens");
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        Client::over(stream)
    }

    fn over(stream: TcpStream) -> Client {
        let client = lab::tls::TlsClient::new_local(&TlsOffer::default()).expect("a client");
        let name = ServerName::try_from("desktop.example.org").expect("a name");
        let session = ClientConnection::new(client.config(), name).expect("a session");
        Client(StreamOwned::new(session, stream))
    }

    fn sends(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("it reads");
    }

    /// Sends a request without a body, and reads the head of its response.
    fn asks(&mut self, method: &str, path: &str, headers: &str) -> ResponseHead {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: desktop.example.org\r\nRDG-Connection-Id: {ID}\r\n{headers}\r\n"
        );
        self.sends(request.as_bytes());
        self.head()
    }

    fn head(&mut self) -> ResponseHead {
        let mut text = Vec::new();
        let mut byte = [0];
        while !text.ends_with(b"\r\n\r\n") {
            self.0.read_exact(&mut byte).expect("a response");
            text.push(byte[0]);
        }
        let text = String::from_utf8(text).expect("text");
        let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
        ResponseHead {
            status: status.expect("a status"),
            text: text.to_ascii_lowercase(),
        }
    }

    fn gateway(&mut self, method: &str, headers: &str) -> ResponseHead {
        self.asks(method, "/remoteDesktopGateway/", headers)
    }
}

trait Tunnel {
    fn send(&mut self, bytes: &[u8]);
    fn receive(&mut self) -> io::Result<Vec<u8>>;

    /// Sends a packet, and returns the response without its head.
    fn asks(&mut self, packet: &[u8]) -> Vec<u8> {
        self.send(packet);
        self.receive().expect("a response")
    }

    fn opens(&mut self, extended: u8, cookie: Option<&str>) -> Vec<u8> {
        self.opens_with(extended, cookie, None)
    }

    /// Does the same as [`Tunnel::opens`], to authenticate a tunnel again.
    fn opens_with(&mut self, extended: u8, cookie: Option<&str>, again: Option<u64>) -> Vec<u8> {
        let hello = self.asks(&[1, 0, 0, 0, 14, 0, 0, 0, 1, 0, 0, 0, extended, 0]);
        assert_eq!(hello[8..12], [0; 4], "{hello:?}");
        let present = u8::from(cookie.is_some()) | u8::from(again.is_some()) << 1;
        let mut fields = vec![0x3f, 0, 0, 0, present, 0, 0, 0];
        if let Some(number) = again {
            fields.extend(number.to_le_bytes());
        }
        if let Some(cookie) = cookie {
            fields.extend(blob(cookie));
        }
        self.asks(&framed(4, &fields))
    }

    /// Opens a channel to a host.
    fn reaches(&mut self, host: &str, port: u16) -> u32 {
        let authorised = self.asks(&framed(6, &[&[0, 0][..], &blob("PC")].concat()));
        assert_eq!(authorised[8..12], [0; 4], "{authorised:?}");
        let port = port.to_le_bytes();
        let fields = [&[1, 0][..], &port, &[3, 0], &blob(host)].concat();
        let answer = self.asks(&framed(8, &fields));
        u32::from_le_bytes(answer[8..12].try_into().expect("a code"))
    }

    fn data(&mut self, bytes: &[u8]) {
        let length = u16::try_from(bytes.len()).expect("short").to_le_bytes();
        self.send(&framed(10, &[&length, bytes].concat()));
    }

    /// Returns the content of the next data packet of the host.
    fn hears(&mut self) -> Vec<u8> {
        let packet = self.receive().expect("data");
        assert_eq!(packet[0], 10, "{packet:?}");
        packet[10..].to_vec()
    }

    fn meets_a_host(&mut self) {
        let request = ConnectionRequest {
            routing: Routing::Hint("anna".to_owned()),
            negotiation: Some(NegotiationRequest {
                flags: 0,
                protocols: SSL,
            }),
        };
        self.data(&request.encode());
        let confirm = packet(&mut self.hears().as_slice()).expect("a packet");
        Negotiated::decode(&confirm).expect("a confirmation");
        self.data(b"hello");
        assert_eq!(self.hears(), b"1hello");
    }
}

fn framed(kind: u8, fields: &[u8]) -> Vec<u8> {
    let length = u32::try_from(8 + fields.len())
        .expect("short")
        .to_le_bytes();
    [&[kind, 0, 0, 0][..], &length, fields].concat()
}

fn blob(text: &str) -> Vec<u8> {
    let wide: Vec<u8> = text
        .encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect();
    let length = u16::try_from(wide.len()).expect("short");
    [&length.to_le_bytes()[..], &wide].concat()
}

/// A tunnel within a WebSocket.
struct WebSocketTunnel(Client);

impl WebSocketTunnel {
    fn new(to: SocketAddr, headers: &str) -> WebSocketTunnel {
        let mut client = Client::new(to);
        let head = client.gateway("RDG_OUT_DATA", &format!("{headers}{UPGRADE}"));
        assert_eq!(head.status, 101, "{head:?}");
        assert!(
            head.text.contains("s3pplmbitxaq9kygzzhzrbk+xoo="),
            "{head:?}"
        );
        WebSocketTunnel(client)
    }

    fn frame(&mut self, first: u8, is_masked: bool, bytes: &[u8]) {
        let length = u16::try_from(bytes.len()).expect("short");
        let mask = if is_masked { 0x80 } else { 0 };
        let mut frame = match u8::try_from(length) {
            Ok(short @ 0..=125) => vec![first, mask | short],
            _ => [&[first, mask | 126][..], &length.to_be_bytes()].concat(),
        };
        let key = [9, 8, 7, 6];
        if is_masked {
            frame.extend(key);
            let bytes = bytes.iter().zip(key.iter().cycle());
            frame.extend(bytes.map(|(byte, key)| byte ^ key));
        } else {
            frame.extend(bytes)
        }
        self.0.sends(&frame);
    }

    /// Returns the first byte and the content of the next frame.
    fn next(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.0.0.read_exact(&mut head)?;
        let mut length = usize::from(head[1]);
        if length == 126 {
            let mut long = [0; 2];
            self.0.0.read_exact(&mut long)?;
            length = u16::from_be_bytes(long).into();
        }
        let mut bytes = vec![0; length];
        self.0.0.read_exact(&mut bytes)?;
        Ok((head[0], bytes))
    }
}

impl Tunnel for WebSocketTunnel {
    fn send(&mut self, bytes: &[u8]) {
        self.frame(0x82, true, bytes);
    }

    fn receive(&mut self) -> io::Result<Vec<u8>> {
        match self.next()? {
            (0x82, bytes) => Ok(bytes),
            other => Err(io::Error::other(format!("{other:?}"))),
        }
    }
}

/// A tunnel in two requests.
struct PairedTunnel {
    out: Client,
    input: Client,
}

impl PairedTunnel {
    fn new(to: SocketAddr, headers: &str, is_out_first: bool) -> PairedTunnel {
        let (mut out, mut input) = (Client::new(to), Client::new(to));
        let chunked = format!("{headers}Transfer-Encoding: chunked\r\n");
        let request = |client: &mut Client, method: &str| {
            let request = format!(
                "{method} /remoteDesktopGateway/ HTTP/1.1\r\nHost: a\r\nRDG-Connection-Id: {ID}\r\n{chunked}\r\n"
            );
            client.sends(request.as_bytes());
        };
        // The first request has no body and only authenticates, as clients do it.
        let head = input.gateway("RDG_IN_DATA", headers);
        assert_eq!(head.status, 200, "{head:?}");
        if !is_out_first {
            request(&mut input, "RDG_IN_DATA");
        }
        let head = out.gateway("RDG_OUT_DATA", headers);
        assert_eq!(head.status, 200, "{head:?}");
        if is_out_first {
            request(&mut input, "RDG_IN_DATA");
        }
        let mut pair = PairedTunnel { out, input };
        assert_eq!(pair.receive().expect("the seed").len(), 10);
        pair
    }
}

impl Tunnel for PairedTunnel {
    fn send(&mut self, bytes: &[u8]) {
        let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        self.input.sends(&chunk);
    }

    fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            self.out.0.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        let text = String::from_utf8(line).map_err(io::Error::other)?;
        let length = usize::from_str_radix(text.trim(), 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; length + 2];
        self.out.0.read_exact(&mut chunk)?;
        chunk.truncate(length);
        Ok(chunk)
    }
}

/// Returns the cookie of a user of the farm.
fn cookie(farm: &Farm, user: &str) -> String {
    let proof = access::session::credentials_digest(&farm.users, user);
    let office = NameId::of("office");
    cookie::issue(&Key::new(&[7; 32]), office, user, proof, u32::MAX)
}

#[test]
fn a_websocket_leads_to_the_farm_and_to_its_hosts() {
    let host = peer(b'1');
    let (farm, at, web) = site(&[host.address]);
    let mut role = role(&farm, None);
    let mut socket = WebSocketTunnel::new(web, &basic("EXAMPLE\\Anna", "secret"));
    assert_eq!(socket.opens(0, None)[10..14], [0; 4]);
    assert_eq!(socket.reaches("Desktop.example.org", at.port()), 0);
    // The farm requests the name over TLS, or routes by a hint: here it requests the name.
    let request = ConnectionRequest {
        routing: Routing::None,
        negotiation: Some(NegotiationRequest {
            flags: 0,
            protocols: SSL,
        }),
    };
    socket.data(&request.encode());
    let confirm = packet(&mut socket.hears().as_slice()).expect("a packet");
    assert!(matches!(
        Negotiated::decode(&confirm),
        Ok(Negotiated::Selected { .. })
    ));
    assert_eq!(number(&role, "tunnels"), 1);
    drop(socket);
    assert!(eventually(SOON, || number(&role, "tunnels") == 0));
    let mut socket = WebSocketTunnel::new(web, &basic("anna", "secret"));
    socket.opens(0, None);
    assert_eq!(socket.reaches("ts1", host.address.port()), 0);
    socket.meets_a_host();
    // The client ends the channel.
    assert_eq!(socket.asks(&framed(0x10, &[0; 4])), framed(0x11, &[0; 4]));
    let asked = why(&mut role, "anna");
    let steps: Vec<&str> = asked.farms[0]
        .steps
        .iter()
        .map(|step| step.got.as_str())
        .collect();
    assert_eq!(steps, ["a tunnel to the farm", "a tunnel to ts1"]);
}

#[test]
fn two_requests_find_each_other_in_either_order() {
    let host = peer(b'1');
    let (farm, _, web) = site(&[host.address]);
    let role = role(&farm, None);
    for is_out_first in [true, false] {
        let mut pair = PairedTunnel::new(web, &basic("anna", "secret"), is_out_first);
        pair.opens(0, None);
        assert_eq!(pair.reaches("ts1", host.address.port()), 0);
        pair.meets_a_host();
        assert_eq!(pair.asks(&framed(0x10, &[0; 4])), framed(0x11, &[0; 4]));
        // Both requests of the pair end.
        assert_eq!(pair.receive().expect("the last chunk").len(), 0);
        assert_eq!(pair.input.head().status, 200);
        // The client disconnects without closing the channel.
        let mut pair = PairedTunnel::new(web, &basic("anna", "secret"), is_out_first);
        pair.opens(0, None);
        pair.reaches("ts1", host.address.port());
        pair.meets_a_host();
        assert_eq!(number(&role, "tunnels"), 1);
        drop(pair.out);
        assert!(eventually(SOON, || number(&role, "tunnels") == 0));
    }
}

#[test]
fn a_cookie_lets_in_who_has_a_second_factor_and_a_password_does_not() {
    let host = peer(b'1');
    let (farm, _, web) = site(&[host.address]);
    let mut role = role(&farm, None);
    let port = host.address.port();
    let mut client = Client::new(web);
    let head = client.gateway(
        "RDG_OUT_DATA",
        &format!("{}{UPGRADE}", basic("bert", "geheim")),
    );
    assert_eq!(head.status, 401, "{head:?}");
    let mut socket = WebSocketTunnel::new(web, COOKIE_SCHEME);
    assert_eq!(
        socket.opens(2, Some(&cookie(&farm, "bert")))[10..14],
        [0; 4]
    );
    assert_eq!(socket.reaches("ts1", port), 0);
    socket.meets_a_host();
    let mut pair = PairedTunnel::new(web, COOKIE_SCHEME, true);
    assert_eq!(pair.opens(2, Some(&cookie(&farm, "anna")))[10..14], [0; 4]);
    assert_eq!(pair.reaches("ts1", port), 0);
    // Cookies of an unknown user, a forged cookie, no cookie, and a client that cannot send one.
    let denied = 0x8007_59f8_u32.to_le_bytes();
    for bad in [
        cookie(&farm, "cleo"),
        cookie(&farm, "bert") + "A",
        "evenkeel1.".to_owned(),
    ] {
        let mut socket = WebSocketTunnel::new(web, COOKIE_SCHEME);
        assert_eq!(socket.opens(2, Some(&bad))[10..14], denied, "{bad}");
        assert!(matches!(socket.next(), Ok((0x88, _)) | Err(_)));
    }
    let mut socket = WebSocketTunnel::new(web, COOKIE_SCHEME);
    assert_eq!(socket.opens(2, None)[10..14], 0x8007_59f7_u32.to_le_bytes());
    let mut socket = WebSocketTunnel::new(web, COOKIE_SCHEME);
    let hello = socket.asks(&[1, 0, 0, 0, 14, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    assert_eq!(hello[8..12], 0x8007_59f9_u32.to_le_bytes());
    assert_eq!(number(&role, "gateway unknown"), 6);
    let asked = why(&mut role, "bert");
    let step = &asked.farms[0].steps[0];
    assert!(
        step.got == "refused" && step.why.contains("second factor"),
        "{step:?}"
    );
}

#[test]
fn users_of_a_directory_come_in_by_basic_or_a_cookie_and_not_by_ntlm() {
    lab::skip_unless_installed!("slapd");
    let people = "dn: uid=anna,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: anna\ncn: A\nsn: A\n\
        userPassword: secret\n\n";
    let slapd = lab::Slapd::start(people).expect("a directory");
    let host = peer(b'1');
    let (mut farm, _, web) = site(&[host.address]);
    farm.users = List {
        directory: Some(LdapDirectory {
            servers: vec![Server {
                name: lab::Slapd::NAME.to_owned(),
                port: slapd.tls_port(),
                addresses: vec![([127, 0, 0, 1], slapd.tls_port()).into()],
                security: Security::Tls,
            }],
            authorities: slapd.authority_pem().into(),
            base: lab::Slapd::BASE.to_owned(),
            account: Some((lab::Slapd::ACCOUNT.to_owned(), lab::Slapd::PASSWORD.into())),
            filter: "(uid=%u)".to_owned(),
            grouping: Grouping::Attribute("memberOf".to_owned()),
            only: Vec::new(),
            named: Vec::new(),
            second_factors: Default::default(),
            second_factor_required: false,
        }),
        ..List::default()
    };
    let role = role(&farm, None);
    for wrong in [
        basic("anna", "geheim"),
        basic("anna", ""),
        basic("*", "secret"),
        String::new(),
    ] {
        let mut client = Client::new(web);
        let head = client.gateway("RDG_OUT_DATA", &format!("{wrong}{UPGRADE}"));
        assert_eq!(head.status, 401, "{head:?}");
        let text = head.text.to_lowercase();
        assert!(text.contains("www-authenticate: basic") && !text.contains("ntlm"));
    }
    let credentials = basic("EXAMPLE\\Anna", "secret");
    let mut socket = WebSocketTunnel::new(web, &credentials);
    assert_eq!(socket.opens(0, None)[10..14], [0; 4]);
    assert_eq!(socket.reaches("ts1", host.address.port()), 0);
    socket.meets_a_host();
    let mut socket = WebSocketTunnel::new(web, COOKIE_SCHEME);
    assert_eq!(
        socket.opens(2, Some(&cookie(&farm, "anna")))[10..14],
        [0; 4]
    );
    drop(role);
}

#[test]
fn hosts_outside_the_farm_are_refused_and_logged() {
    let (host, other) = (peer(b'1'), peer(b'2'));
    let (farm, _, web) = site(&[host.address]);
    let mut role = role(&farm, None);
    for (name, port) in [
        ("127.0.0.1", other.address.port()),
        ("localhost", host.address.port()),
        ("evil.example.org", 3389),
        ("ts1", 22),
        ("desktop.example.org", web.port()),
    ] {
        let mut socket = WebSocketTunnel::new(web, &basic("anna", "secret"));
        socket.opens(0, None);
        assert_eq!(socket.reaches(name, port), 0x8007_59da, "{name}");
    }
    assert_eq!(number(&role, "gateway denied"), 5);
    let asked = why(&mut role, "anna");
    let step = &asked.farms[0].steps[2];
    assert_eq!(
        step.why,
        "evil.example.org port 3389 is not a host of this farm"
    );
    let shown = format!("{:?}", subject(&role).facts);
    assert!(
        shown.contains("anna from 127.0.0.1: desktop.example.org port"),
        "{shown}"
    );
}

#[test]
fn guessing_is_rate_limited_without_hints() {
    let host = peer(b'1');
    let (farm, _, web) = site(&[host.address]);
    let role = role(&farm, None);
    let mut client = Client::new(web);
    let head = client.gateway("RDG_OUT_DATA", UPGRADE);
    assert_eq!(head.status, 401);
    assert!(head.text.contains("www-authenticate: ntlm\r\n"), "{head:?}");
    assert!(
        head.text.contains("www-authenticate: basic realm="),
        "{head:?}"
    );
    assert_eq!(client.asks("GET", "/other", "").status, 404);
    assert_eq!(client.gateway("GET", "").status, 405);
    assert_eq!(
        client
            .gateway("RDG_OUT_DATA", "Authorization: NTLM AAAA\r\n")
            .status,
        401
    );
    for name in ["anna", "nobody", "anna", "nobody", "anna"] {
        let head = client.gateway("RDG_OUT_DATA", &basic(name, "wrong"));
        assert_eq!(head.status, 401);
    }
    let head = client.gateway("RDG_OUT_DATA", &basic("anna", "secret"));
    assert_eq!(head.status, 429, "{head:?}");
    assert_eq!(number(&role, "gateway unknown"), 6);
    // A WebSocket needs the version and the key, a pair its connection identifier.
    let headers = COOKIE_SCHEME.to_owned() + "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    assert_eq!(client.gateway("RDG_OUT_DATA", &headers).status, 400);
    let request =
        format!("RDG_OUT_DATA /remoteDesktopGateway/ HTTP/1.1\r\nHost: a\r\n{COOKIE_SCHEME}\r\n");
    client.sends(request.as_bytes());
    assert_eq!(client.head().status, 400);
}

#[test]
fn a_websocket_may_be_cut_anywhere_and_a_wrong_one_ends() {
    let host = peer(b'1');
    let (farm, _, web) = site(&[host.address]);
    let role = role(&farm, None);
    let anna = basic("anna", "secret");
    let mut socket = WebSocketTunnel::new(web, &anna);
    socket.opens(0, None);
    socket.frame(0x89, true, b"there?");
    assert_eq!(socket.next().expect("a pong"), (0x8a, b"there?".to_vec()));
    // Sends a packet in three fragments with a ping between them, then two packets in one frame.
    let packet = framed(6, &[&[0, 0][..], &blob("PC")].concat());
    socket.frame(0x02, true, &packet[..3]);
    socket.frame(0x89, true, b"");
    socket.frame(0x00, true, &packet[3..9]);
    socket.frame(0x80, true, &packet[9..]);
    assert_eq!(socket.next().expect("a pong").0, 0x8a);
    assert_eq!(socket.receive().expect("a response")[0], 7);
    let port = host.address.port().to_le_bytes();
    let channel = framed(8, &[&[1, 0][..], &port, &[3, 0], &blob("ts1")].concat());
    let alive = framed(0xd, &[]);
    socket.frame(0x82, true, &[alive, channel].concat());
    assert_eq!(socket.receive().expect("a response")[0], 9);
    socket.meets_a_host();
    drop(socket);
    let before = number(&role, "gateway malformed");
    let long = [b"\x0a\0\0\0\xff\xff\xff\x7f".as_slice(), &[0; 100]].concat();
    let hostile: [(u8, bool, &[u8]); 6] = [
        // Invalid frames: without a mask, a text, an unknown kind, reserved bits, an empty
        // fragment, a packet that is too long.
        (0x82, false, b"\x0d\0\0\0\x08\0\0\0"),
        (0x81, true, b"text"),
        (0x83, true, b""),
        (0xf2, true, b""),
        (0x80, true, b""),
        (0x82, true, &long),
    ];
    for (first, is_masked, bytes) in hostile {
        let mut socket = WebSocketTunnel::new(web, &anna);
        socket.frame(first, is_masked, bytes);
        while let Ok((first, _)) = socket.next() {
            assert_eq!(first, 0x88, "only its end");
        }
    }
    let count = before + 6;
    assert!(eventually(SOON, || number(&role, "gateway malformed") == count));
}

#[test]
fn a_user_authenticates_again_and_the_tunnel_goes_on() {
    let host = peer(b'1');
    let (mut farm, _, web) = site(&[host.address]);
    farm.gateway.as_mut().expect("a gateway").session_ms = Some(100);
    let role = role(&farm, None);
    let port = host.address.port();
    let mut first = WebSocketTunnel::new(web, &basic("anna", "secret"));
    first.opens(0, None);
    assert_eq!(first.reaches("ts1", port), 0);
    let mut asked = || {
        let packet = first.receive().expect("a packet");
        assert_eq!(packet[..8], [0xc, 0, 0, 0, 16, 0, 0, 0]);
        u64::from_le_bytes(packet[8..].try_into().expect("a number"))
    };
    let mut number_before = 0;
    for _ in 0..2 {
        let number = asked();
        assert_ne!(number, number_before);
        number_before = number;
        // Neither another user nor another number wakes the tunnel.
        for (cookie, number) in [("bert", number), ("anna", number ^ 1)] {
            let mut other = WebSocketTunnel::new(web, COOKIE_SCHEME);
            let answer = other.opens_with(2, Some(&self::cookie(&farm, cookie)), Some(number));
            assert_eq!(answer[10..14], 0x8007_59fa_u32.to_le_bytes());
        }
        let mut again = WebSocketTunnel::new(web, &basic("anna", "secret"));
        assert_eq!(again.opens_with(0, None, Some(number))[10..14], [0; 4]);
        let authorised = again.asks(&framed(6, &[&[0, 0][..], &blob("PC")].concat()));
        assert_eq!(authorised[8..12], [0; 4]);
        // The tunnel serves only to authenticate.
        let port = port.to_le_bytes();
        let channel = framed(8, &[&[1, 0][..], &port, &[3, 0], &blob("ts1")].concat());
        assert_ne!(again.asks(&channel)[8..12], [0; 4]);
    }
    asked();
    assert_eq!(number(&role, "gateway expired"), 0);
    assert_eq!(number(&role, "tunnels"), 1);
}

fn portal(farm: &Farm) -> Portal {
    Portal {
        authority: "desktop.example.org".to_owned(),
        desktop: Some(farm::config::Desktop {
            title: "Full desktop".to_owned(),
            groups: Vec::new(),
            hosts: Default::default(),
        }),
        apps: Vec::new(),
        consoles: Vec::new(),
        signs: farm.binds[0].pem.clone(),
    }
}

#[test]
fn a_request_that_is_refused_gets_a_response() {
    let (mut farm, _, web) = site(&[]);
    farm.portal = Some(portal(&farm));
    let _role = role(&farm, None);
    let host = "Host: desktop.example.org\r\n";
    let body = "x".repeat(100_000);
    let post = |headers: &str, body: &str| {
        format!(
            "POST /sign-in HTTP/1.1\r\n{host}Origin: https://desktop.example.org\r\n{headers}\r\n{body}"
        )
    };
    let form = |body: &str| post(&format!("Content-Length: {}\r\n", body.len()), body);
    let chunked = "Transfer-Encoding: chunked\r\n";
    let chunks = "3\r\na=b\r\n0\r\n\r\n";
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\n{host}{host}\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}\r\n"), 303),
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), 303),
        (format!("GET / HTTP/1.1\r\n{host}Cookie: {body}{body}"), 431),
        (form(&body), 413),
        (form(&body.repeat(30)), 413),
        (
            post(&format!("Content-Length: 13\r\n{chunked}"), chunks),
            400,
        ),
        (
            post(&format!("{chunked}Content-Length: 13\r\n"), chunks),
            400,
        ),
        (post(chunked, chunks), 400),
        (
            "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(),
            421,
        ),
        (
            "GET / HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n".to_owned(),
            303,
        ),
    ] {
        let mut client = Client::new(web);
        client.sends(request.as_bytes());
        let head = client.head();
        assert_eq!(head.status, status, "{}", &request[..request.len().min(90)]);
        assert_eq!(head.text.matches("\r\ndate: ").count(), 1, "{head:?}");
    }
}

#[test]
fn other_requests_are_passed_to_the_portal() {
    let (mut farm, _, web) = site(&[]);
    farm.portal = Some(portal(&farm));
    let _role = role(&farm, None);
    let mut client = Client::new(web);
    let form = "user=anna&password=secret";
    let request = format!(
        "POST /sign-in HTTP/1.1\r\nHost: desktop.example.org\r\nOrigin: https://desktop.example.org\r\n\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    );
    client.0.write_all(request.as_bytes()).expect("a request");
    let mut bytes = vec![0; 4_096];
    let read = client.0.read(&mut bytes).expect("a response");
    let text = String::from_utf8_lossy(&bytes[..read]);
    assert!(text.starts_with("HTTP/1.1 303"), "{text}");
    assert!(
        text.contains("set-cookie: __Host-evenkeel-desktop="),
        "{text}"
    );
    assert!(
        text.contains("content-security-policy: default-src 'none'"),
        "{text}"
    );
}
