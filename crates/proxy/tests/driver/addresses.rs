//! Tests listeners and servers with addresses of every family, and the PROXY header on both
//! sides.

use crate::bed::{Peer, ProxyFixture, ScriptedOrigin};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

fn ask(mut socket: UnixStream) -> String {
    socket.write_all(GET.as_bytes()).unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    text
}

/// Returns an abstract name as HAProxy writes it, padded with zeros.
fn padded(name: &str) -> SocketAddr {
    let mut bytes = [0; 107];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    SocketAddr::from_abstract_name(bytes).unwrap()
}

#[test]
fn unix_and_abstract_sockets_work_on_both_sides() {
    let dir = std::env::temp_dir().join(format!("driver-unix-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (front, back) = (dir.join("front"), dir.join("back"));
    let _ = std::fs::remove_file(&back);
    let listener = UnixListener::bind(&back).unwrap();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let mut head = [0; 2000];
            let _ = socket.read(&mut head);
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nunix");
        }
    });
    let name = format!("driver-{}", std::process::id());
    let abstract_back = padded(&format!("{name}-back"));
    let listener = UnixListener::bind_addr(&abstract_back).unwrap();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let mut head = [0; 2000];
            let _ = socket.read(&mut head);
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabns");
        }
    });
    let _bed = ProxyFixture::new(&format!(
        "listen one\n bind unix@{}\n server s unix@{}\nlisten two\n bind abns@{name}\n server s abns@{name}-back\n",
        front.display(),
        back.display()
    ));
    if crate::bed::against_haproxy() {
        crate::bed::pause(100);
    }
    assert!(ask(UnixStream::connect(&front).unwrap()).ends_with("\r\n\r\nunix"));
    let address = padded(&name);
    assert!(ask(UnixStream::connect_addr(&address).unwrap()).ends_with("\r\n\r\nabns"));
    let _ = std::fs::remove_dir_all(&dir);
}

#[test]
fn ipv6_works_and_its_addresses_are_forwarded() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        let head = peer.head().unwrap();
        let line = head
            .lines()
            .find(|l| l.to_lowercase().starts_with("x-forwarded-for"))
            .unwrap()
            .to_owned();
        peer.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{line}",
            line.len()
        ));
    });
    let bed = ProxyFixture::new(&format!(
        "listen one\n bind [::1]:{{0}}\n bind 127.0.0.1:{{1}}\n option forwardfor\n server s 127.0.0.1:{}\n",
        origin.port
    ));
    drop(bed.client_of(1));
    let mut client = Peer::new(TcpStream::connect(("::1", bed.ports[0])).unwrap());
    assert_eq!(client.ask(GET).to_lowercase(), "200 x-forwarded-for: ::1");
    assert_eq!(
        bed.client_of(1).ask(GET).to_lowercase(),
        "200 x-forwarded-for: 127.0.0.1"
    );
}

#[test]
fn proxy_header_is_accepted_and_sent() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        let line = peer.until("\r\n");
        while peer.head().is_some() {
            peer.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{line}",
                line.len()
            ));
        }
    });
    let bed = ProxyFixture::new(&format!(
        "listen one\n bind 127.0.0.1:{{0}} accept-proxy\n server s 127.0.0.1:{} send-proxy\n timeout client 200ms\n",
        origin.port
    ));
    let line = "PROXY TCP4 192.0.2.1 192.0.2.2 1111 2222\r\n";
    let mut client = bed.client();
    // The header arrives in one piece with the request, cut at every byte, and in binary form.
    assert_eq!(client.ask(&format!("{line}{GET}")), format!("200 {line}"));
    let mut client = bed.client();
    client.dribble(line);
    assert_eq!(client.ask(GET), format!("200 {line}"));
    let mut client = bed.client();
    client.send(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\x04\x57\x08\xae");
    assert_eq!(client.ask(GET), format!("200 {line}"));
    let mut client = bed.client();
    client.send(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    assert!(
        client
            .ask(GET)
            .starts_with("200 PROXY TCP4 127.0.0.1 127.0.0.1 ")
    );
    for _ in 0..4 {
        bed.end();
    }
    // No header, a wrong one, half of one: the connection is closed without a response.
    for wrong in [
        "GET / HTTP/1.1\r\n\r\n",
        "PROXY TCP4 nonsense\r\n",
        "PROXY TC",
    ] {
        let mut client = bed.client();
        client.send(wrong);
        let said = client.ends();
        assert!(said == "FIN" || said == "RST", "{wrong}: {said}");
    }
}

/// Creates a proxy without servers that responds with the addresses it sees for a client.
fn telling(lines: &str) -> ProxyFixture {
    ProxyFixture::new(&format!(
        "frontend f\n bind 127.0.0.1:{{0}} accept-proxy\n{lines}\n \
         http-request return status 200 content-type text/plain \
         lf-string \"%[fc_src] %[fc_dst] %[src] %[dst] %[src_port]\"\n"
    ))
}

#[test]
fn connection_addresses_differ_from_those_of_the_proxy_header() {
    let header = "PROXY TCP4 192.0.2.1 192.0.2.2 11 22\r\n";
    for (lines, expected) in [
        ("", "127.0.0.1 127.0.0.1 192.0.2.1 192.0.2.2 11"),
        (
            " tcp-request connection set-src ipv4(10.1.0.1)\n tcp-request connection set-dst ipv4(10.1.0.2)",
            "10.1.0.1 10.1.0.2 192.0.2.1 192.0.2.2 11",
        ),
        (
            " tcp-request session set-src ipv4(10.1.0.1)",
            "127.0.0.1 127.0.0.1 10.1.0.1 192.0.2.2 0",
        ),
    ] {
        let bed = telling(lines);
        let mut client = bed.client();
        client.send(header);
        let text = client.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let seen = text.strip_prefix("200 ").unwrap();
        // The port of the address that a rule sets is not compared.
        let (seen, _) = seen.rsplit_once(' ').unwrap();
        let (expected, _) = expected.rsplit_once(' ').unwrap();
        assert_eq!(seen, expected, "{lines}");
    }
}

#[test]
fn stream_id_is_in_the_proxy_header() {
    let origin = ScriptedOrigin::new(|mut peer, number| {
        // The fixed part of the header has 16 bytes: signature, version, family and length.
        let head = peer.exactly(16);
        let length = u16::from_be_bytes([head[14], head[15]]);
        let rest = peer.exactly(usize::from(length));
        let text = String::from_utf8_lossy(&rest[12..]).into_owned();
        while peer.head().is_some() {
            let id = text.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
            let said = format!("{number} {id}");
            let length = said.len();
            if !peer.try_send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{said}"
            )) {
                return;
            }
        }
    });
    let bed = ProxyFixture::new(&format!(
        "listen l\n bind 127.0.0.1:{{0}}\n unique-id-format id-%[req.hdr(x-n)]\n \
         server s 127.0.0.1:{} send-proxy-v2 proxy-v2-options unique-id\n",
        origin.port
    ));
    let mut client = bed.client();
    for n in ["one", "two"] {
        let said = client.ask(&format!("GET / HTTP/1.1\r\nHost: h\r\nX-N: {n}\r\n\r\n"));
        assert!(said.ends_with(&format!("id-{n}")), "{said}");
    }
    assert_eq!(origin.accepted(), 2);
}
