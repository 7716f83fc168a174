//! Tests a proxy in front of the gateway: the PROXY protocol and `X-Forwarded-For`, which are
//! accepted from trusted addresses only.

use super::*;
use access::network::IpPrefix;
use protocol::proxy_protocol::{Checksum, Header};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

/// Address of the proxy in front of the gateway.
const PROXY: [u8; 4] = [127, 0, 0, 2];
const GUESSER: &str = "198.51.100.1";
const HONEST: &str = "198.51.100.2";

/// Connects from the address of the proxy.
fn by_proxy(to: SocketAddr) -> TcpStream {
    let own = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&own, &SocketAddr::from((PROXY, 0))).expect("an address of this machine");
    connect(&own, &to).expect("it listens");
    let stream = TcpStream::from(own);
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream
}

/// Connects as the proxy for a client, with a header.
fn passed_on(to: SocketAddr, client: &str) -> Client {
    let mut stream = by_proxy(to);
    let source = format!("{client}:4711").parse().expect("an address");
    let mut header = Vec::new();
    Header::tcp(source, to).encode_binary(Checksum::None, &mut header);
    stream.write_all(&header).expect("it reads");
    Client::over(stream)
}

fn trusting(hosts: &[SocketAddr], accepts_proxy: bool) -> (Farm, SocketAddr) {
    let (mut farm, _, web) = site(hosts);
    farm.web[0].accepts_proxy = accepts_proxy;
    let proxy: IpPrefix = "127.0.0.2".parse().expect("a network");
    farm.proxies = vec![proxy].into();
    (farm, web)
}

fn signs_in(client: &mut Client, forwarded: &str, password: &str) -> u16 {
    let headers = format!("{forwarded}{UPGRADE}{}", basic("anna", password));
    client.gateway("RDG_OUT_DATA", &headers).status
}

fn guesses(client: &mut Client, forwarded: &str, number: u32) -> u16 {
    let name = format!("nobody{number}");
    let headers = format!("{forwarded}{}", basic(&name, "guess"));
    client.gateway("RDG_OUT_DATA", &headers).status
}

#[test]
fn a_guesser_behind_a_proxy_blocks_no_other_client() {
    let host = peer(b'1');
    let (farm, web) = trusting(&[host.address], true);
    let role = role(&farm, None);
    let statuses = (0..6).map(|number| guesses(&mut passed_on(web, GUESSER), "", number));
    let statuses: Vec<u16> = statuses.collect();
    assert_eq!(statuses[..5], [401_u16; 5], "{statuses:?}");
    assert_ne!(statuses[5], 401);
    assert_ne!(signs_in(&mut passed_on(web, GUESSER), "", "secret"), 101);
    assert_eq!(signs_in(&mut passed_on(web, HONEST), "", "secret"), 101);
    // Clients that bypass the proxy send no header, and a header of theirs is not accepted.
    assert_eq!(signs_in(&mut Client::new(web), "", "secret"), 101);
    let mut stream = TcpStream::connect(web).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream
        .write_all(b"PROXY TCP4 198.51.100.9 127.0.0.1 1 2\r\n")
        .expect("it reads");
    // The client receives at most a TLS alert.
    let mut answer: Vec<u8> = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(&[22]), "{answer:?}");
    // A trusted proxy that sends no header is refused.
    let mut bare = by_proxy(web);
    bare.write_all(&[22, 3, 1, 0, 200, 1]).expect("it reads");
    let mut answer: Vec<u8> = Vec::new();
    let _ = bare.read_to_end(&mut answer);
    assert!(answer.is_empty(), "{answer:?}");
    drop(role);
}

#[test]
fn forwarded_clients_have_separate_limits() {
    let host = peer(b'1');
    let (farm, web) = trusting(&[host.address], false);
    let role = role(&farm, None);
    // The guesser prepends invented addresses.
    let by_guesser = |number: u32| format!("X-Forwarded-For: 192.0.2.{number}, {GUESSER}\r\n");
    let mut client = Client::over(by_proxy(web));
    let statuses = (0..6).map(|number| guesses(&mut client, &by_guesser(number), number));
    let statuses: Vec<u16> = statuses.collect();
    assert_eq!(statuses[..5], [401_u16; 5], "{statuses:?}");
    assert_ne!(statuses[5], 401);
    let honest = format!("X-Forwarded-For: {HONEST}\r\n");
    let mut client = Client::over(by_proxy(web));
    assert_eq!(signs_in(&mut client, &honest, "secret"), 101);
    // The header is ignored from an untrusted address.
    let stranger = |number: u32| format!("X-Forwarded-For: 203.0.113.{number}\r\n");
    let statuses = (0..6).map(|number| guesses(&mut Client::new(web), &stranger(number), number));
    let statuses: Vec<u16> = statuses.collect();
    assert_ne!(statuses[5], 401, "{statuses:?}");
    drop(role);
}
