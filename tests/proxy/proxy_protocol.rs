//! Tests PROXY headers between Evenkeel and a real haproxy, in both directions.

use lab::{Location, Peer, eventually, exchange, free_port};
use protocol::proxy_protocol::{
    Checksum, Endpoints, Header, MAX_HEADER_BYTES, Progress, Proxied, ProxiedTransport, Tlvs, kind,
    parse,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);

const DEFAULTS: &str = "
    defaults
        timeout client 5s
        timeout server 5s
        timeout connect 5s
";

fn here() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()))
}

fn header(source: &str, destination: &str) -> Header {
    let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
    let mut tlvs = Tlvs::default();
    tlvs.push(kind::AUTHORITY, b"www.example").unwrap();
    tlvs.push(kind::UNIQUE_ID, b"id-1").unwrap();
    Header::Proxied(Proxied {
        endpoints: Endpoints::between(ProxiedTransport::Stream, source, destination),
        tlvs,
    })
}

#[test]
fn haproxy_understands_what_we_write() {
    lab::skip_unless_installed!("haproxy");
    let address = here();
    let config = format!(
        "{DEFAULTS}
        frontend f
            mode http
            bind {address} accept-proxy
            http-request return status 200 content-type text/plain lf-string \
\"%[src] %[src_port] %[dst] %[dst_port] %[fc_pp_authority] %[fc_pp_unique_id].\"
"
    );
    let _peer = Peer::haproxy(Location::Here, &config, address).unwrap();
    let (v4, v6) = (
        header("192.0.2.1:4000", "198.51.100.2:443"),
        header("[2001:db8::1]:4000", "[2001:db8::2]:443"),
    );
    let across = header("192.0.2.1:4000", "[2001:db8::2]:443");
    for (header, told) in [
        (&v4, "192.0.2.1 4000 198.51.100.2 443 "),
        (&v6, "2001:db8::1 4000 2001:db8::2 443 "),
        (&across, "::ffff:192.0.2.1 4000 2001:db8::2 443 "),
    ] {
        let (mut text, mut plain, mut summed) = (Vec::new(), Vec::new(), Vec::new());
        header.encode_text(&mut text);
        header.encode_binary(Checksum::None, &mut plain);
        header.encode_binary(Checksum::Crc32c, &mut summed);
        for (mut bytes, tlvs) in [
            (text, " ."),
            (plain, "www.example id-1."),
            (summed, "www.example id-1."),
        ] {
            bytes.extend_from_slice(b"GET / HTTP/1.0\r\n\r\n");
            let said = exchange(Location::Here, address, &bytes, TIMEOUT).unwrap();
            let said = String::from_utf8_lossy(&said);
            assert!(said.ends_with(&format!("{told}{tlvs}")), "{said}");
        }
    }
}

#[test]
fn we_understand_what_haproxy_writes() {
    lab::skip_unless_installed!("haproxy");
    let address = here();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    for (options, with_id) in [
        ("send-proxy", false),
        ("send-proxy-v2", false),
        ("send-proxy-v2 proxy-v2-options crc32c,unique-id", true),
        ("send-proxy-v2-ssl", false),
    ] {
        let config = format!(
            "{DEFAULTS}
        listen f
            mode tcp
            bind {address}
            unique-id-format id-%ci
            server s {server} {options}
"
        );
        let _peer = Peer::haproxy(Location::Here, &config, address).unwrap();
        // The peer's readiness was a connection, too, and may have been passed on.
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"hello").unwrap();
        let (found, rest) = loop {
            let Some((found, rest)) = read(accept(&listener)) else {
                continue;
            };
            if found.endpoints.source() == Some(client.local_addr().unwrap()) {
                break (found, rest);
            }
        };
        assert_eq!(found.endpoints.destination(), Some(address), "{options}");
        assert_eq!(found.tlvs.unique_id().is_some(), with_id, "{options}");
        assert_eq!(rest, b"hello", "{options}");
    }
}

fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let mut accepted = None;
    assert!(eventually(TIMEOUT, || {
        accepted = listener.accept().ok();
        accepted.is_some()
    }));
    accepted.unwrap().0
}

/// Reads exactly the header, so that the data of the connection remains. None if the connection was
/// reset, as that of the readiness check may be.
fn read(mut stream: TcpStream) -> Option<(Proxied, Vec<u8>)> {
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut bytes = Vec::new();
    loop {
        match parse(&bytes).unwrap() {
            Progress::Incomplete { missing_bytes } => {
                assert!(bytes.len() + missing_bytes <= MAX_HEADER_BYTES);
                let start = bytes.len();
                bytes.resize(start + missing_bytes, 0);
                stream.read_exact(&mut bytes[start..]).ok()?;
            }
            Progress::Complete {
                header: Header::Proxied(proxied),
                consumed_bytes,
            } => {
                assert_eq!(consumed_bytes, bytes.len());
                let mut rest = vec![0; 5];
                let read = stream.read(&mut rest).ok()?;
                rest.truncate(read);
                return Some((proxied, rest));
            }
            Progress::Complete { .. } => panic!("a local header"),
        }
    }
}
