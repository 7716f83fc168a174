//! Tests RDP clients that violate the protocol, send too much, or send nothing.

use crate::client::{Person, SOON, logs_on, negotiates, request, sends, token};
use crate::scene::{farm, number, peer, role};
use lab::eventually;
use protocol::rdp::{Routing, SSL};
use std::io::{Read, Write};
use std::net::TcpStream;

#[test]
fn non_rdp_clients_are_closed_at_once() {
    let host = peer(b'1');
    let (farm, at) = farm(&[host.address]);
    let role = role(&farm, None);
    let tls = request(Routing::None, SSL).encode();
    let hostile: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01",
        b"\x03\0\xff\xff",
        b"\x03\0\0\x04",
        b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x02\0\x08\0\x01\0\0\0",
        b"\x03\0\0\x0f\x0a\xe0\0\0\0\0\0tsv:",
    ];
    for bytes in hostile {
        let mut stream = sends(at, bytes);
        let mut rest = Vec::new();
        // A reset ends the connection, too.
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{bytes:?}: {rest:?}");
    }
    let count = u64::try_from(hostile.len()).expect("few");
    assert!(eventually(SOON, || number(&role, "malformed") == count));
    // Garbage in place of the TLS handshake.
    let mut stream = sends(at, &[tls.as_slice(), &[0; 600]].concat());
    let _ = stream.read_to_end(&mut Vec::new());
    assert!(logs_on(at, Person::named("anna")).is_ok());
}

#[test]
fn connections_beyond_the_limit_of_routed_ones_are_closed_and_counted() {
    let host = peer(b'1');
    let (mut farm, at) = farm(&[host.address]);
    farm.maxconn = 2;
    let role = role(&farm, None);
    let comes = |name: &str| {
        let redirection = logs_on(at, Person::named(name)).expect("a redirection");
        negotiates(at, &request(token(&redirection), SSL))
    };
    let held = ["anna", "bert"].map(comes);
    assert!(held.iter().all(|(_, confirm)| confirm.is_ok()));
    // The connection of a logon may end after the next one is counted.
    let before = number(&role, "over limit");
    let mut third = TcpStream::connect(at).expect("it listens");
    third.set_read_timeout(Some(SOON)).expect("a timeout");
    assert!(matches!(third.read(&mut [0]), Ok(0) | Err(_)));
    assert_eq!(number(&role, "over limit"), before + 1);
    drop(held);
    assert!(eventually(SOON, || logs_on(at, Person::named("anna")).is_ok()));
}

#[test]
fn silent_clients_are_closed_for_active_ones() {
    let host = peer(b'1');
    let (mut farm, at) = farm(&[host.address]);
    farm.maxconn = 3;
    let role = role(&farm, None);
    let mut held: Vec<TcpStream> = (0..3).map(|_| sends(at, b"\x03")).collect();
    assert!(eventually(SOON, || number(&role, "accepted") == 3));
    let redirection = logs_on(at, Person::named("anna")).expect("a redirection");
    // The oldest connection was evicted; the others are open.
    assert!(matches!(held[0].read(&mut [0]), Ok(0) | Err(_)));
    assert!(eventually(SOON, || number(&role, "over limit") == 1));
    // A later crowd does not end a session.
    let (mut session, confirm) = negotiates(at, &request(token(&redirection), SSL));
    confirm.expect("the host answers");
    held.extend((0..20).map(|_| sends(at, b"\x03")));
    assert!(eventually(SOON, || number(&role, "accepted") == 25));
    session.write_all(b"hello").expect("it reads");
    let mut answer = [0; 6];
    session.read_exact(&mut answer).expect("the host answers");
    assert_eq!(&answer, b"1hello");
}
