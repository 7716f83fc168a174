//! Tests that waiting uses no CPU time: with idle connections, and with connections of which one
//! side has ended, stalls or is silent.

use crate::bed::{Gate, PATIENCE, ProxyFixture, ScriptedOrigin, against_haproxy, pause};
use crate::hostile_tls::{client_of, secure};
use crate::living::apart;
use crate::raw2::{
    ACK, DATA, Raw, SETTINGS, WINDOW_UPDATE, block, frame, get, headers, method, preface,
};
use lab::tls::{TlsConnection, Versions};
use std::any::Any;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_millis(300);
/// Maximum CPU time of the whole process during a measurement. One thread in an endless loop
/// uses all of it.
const USED_MAX: Duration = Duration::from_millis(30);

/// Returns the CPU time that this process has used.
fn used() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn used_meanwhile() -> Duration {
    let before = used();
    lab::sleep_in_test(LOOK, "its processor time is measured");
    used() - before
}

/// Returns whether the process becomes idle once its pending work is done.
fn comes_to_rest() -> bool {
    let at = Instant::now();
    while at.elapsed() < PATIENCE {
        if used_meanwhile() < USED_MAX {
            return true;
        }
    }
    false
}

/// Keeps the objects of a state alive.
type KeptAlive = Box<dyn Any>;

/// Creates an origin: `/wait` does not respond, `/half` closes its side before it responds,
/// `/begun` begins a response, `/big` is large.
fn origin(gate: &Gate) -> ScriptedOrigin {
    let gate = gate.clone();
    ScriptedOrigin::new(move |mut peer, _| {
        while let Some(head) = peer.head() {
            if head.contains(" /wait") {
                gate.pass();
                return;
            }
            if head.contains(" /begun") {
                peer.try_send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
                gate.pass();
                return;
            }
            if head.contains(" /tunnel") {
                peer.try_send(
                    "HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
                );
                peer.half_close();
                gate.pass();
                return;
            }
            if head.contains(" /big") {
                peer.try_send("HTTP/1.1 200 OK\r\nContent-Length: 67108864\r\n\r\n");
                if !(0..4096).all(|_| peer.try_send([7; 16_384])) {
                    return;
                }
            }
            if !peer.try_send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") {
                return;
            }
        }
    })
}

/// Connects an HTTP/2 client to the plain port, and sends these bytes.
fn plain(bed: &ProxyFixture, bytes: &[Vec<u8>]) -> Raw {
    let mut raw = Raw::client(bed.client_of(2));
    raw.send(frame(SETTINGS, ACK, 0, b""));
    for piece in bytes {
        raw.send(piece);
    }
    raw
}

/// Connects an HTTP/2 client over TLS, and sends these bytes.
fn secured(bed: &ProxyFixture, alpn: &'static [&'static str], bytes: &[Vec<u8>]) -> TlsConnection {
    let client = client_of(Versions::Both, alpn);
    let mut connection = client.connect(bed.client_address()).unwrap();
    connection.write_all(&bytes.concat()).unwrap();
    connection
}

fn half_closed(raw: Raw) -> KeptAlive {
    let mut raw = raw;
    raw.peer.half_close();
    Box::new(raw)
}

const H2: &[&str] = &["h2"];
const H1: &[&str] = &["http/1.1"];

fn wait() -> Vec<u8> {
    headers(1, &get("/wait"), true)
}

fn tunnel() -> Vec<u8> {
    let fields = block(&[
        (b":method", b"CONNECT"),
        (b":protocol", b"websocket"),
        (b":scheme", b"http"),
        (b":authority", b"h"),
        (b":path", b"/tunnel"),
    ]);
    headers(1, &fields, false)
}

fn of_http2(bed: &ProxyFixture) -> Vec<(&'static str, KeptAlive)> {
    let begun = || headers(1, &get("/begun"), true);
    let upload = || headers(1, &method("POST", "/wait"), false);
    vec![
        ("idle", Box::new(plain(bed, &[]))),
        ("idle and half closed", half_closed(plain(bed, &[]))),
        ("a stream that waits", Box::new(plain(bed, &[wait()]))),
        ("and half closed", half_closed(plain(bed, &[wait()]))),
        ("an answer under way", Box::new(plain(bed, &[begun()]))),
        (
            "and half closed, in the answer",
            half_closed(plain(bed, &[begun()])),
        ),
        (
            "an upload that stops",
            Box::new(plain(bed, &[upload(), frame(DATA, 0, 1, b"x")])),
        ),
        (
            "and half closed, in the upload",
            half_closed(plain(bed, &[upload()])),
        ),
        (
            "a tunnel whose server ended",
            Box::new(plain(bed, &[tunnel()])),
        ),
        (
            "and half closed, in the tunnel",
            half_closed(plain(bed, &[tunnel()])),
        ),
    ]
}

fn of_stalled(bed: &ProxyFixture) -> Vec<(&'static str, KeptAlive)> {
    let no_window = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let large = frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    let more = frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes());
    let stuck: Vec<Vec<u8>> = (0..50)
        .map(|n| headers(2 * n + 1, &get("/big"), true))
        .collect();
    let closed = [&[no_window], &stuck[..]].concat();
    let deaf = [&[large, more], &stuck[..]].concat();
    // The client sends more requests than the proxy reads while the responses are unread.
    let asked: Vec<Vec<u8>> = (0..99)
        .map(|n| headers(2 * n + 101, &get("/a"), true))
        .collect();
    vec![
        ("no window", Box::new(plain(bed, &closed))),
        ("no window, half closed", half_closed(plain(bed, &closed))),
        ("nobody reads", Box::new(plain(bed, &deaf))),
        ("nobody reads, half closed", half_closed(plain(bed, &deaf))),
        (
            "nobody reads, and more is asked",
            Box::new(plain(bed, &[&deaf[..], &asked].concat())),
        ),
        (
            "half a preface",
            Box::new({
                let mut raw = Raw::new(bed.client_of(2));
                raw.send(&preface()[..20]);
                raw
            }),
        ),
        (
            "half a frame",
            Box::new(plain(bed, &[wait()[..12].to_vec()])),
        ),
    ]
}

/// Connects a client that sends the beginning of a ClientHello.
fn half_hello(bed: &ProxyFixture) -> crate::bed::Peer {
    let mut peer = bed.client();
    peer.try_send([22, 3, 1, 1, 0, 1, 0, 0]);
    peer
}

fn of_handshakes(bed: &ProxyFixture) -> Vec<(&'static str, KeptAlive)> {
    vec![
        ("TLS, half a hello", Box::new(half_hello(bed))),
        ("TLS, half a hello and the end", {
            let mut peer = half_hello(bed);
            peer.half_close();
            Box::new(peer)
        }),
    ]
}

fn of_tls(bed: &ProxyFixture) -> Vec<(&'static str, KeptAlive)> {
    let old = || b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n".to_vec();
    let closed = |mut connection: TlsConnection| -> KeptAlive {
        connection.close().unwrap();
        Box::new(connection)
    };
    let cut = |connection: TlsConnection| -> KeptAlive {
        let _ = connection.socket().shutdown(std::net::Shutdown::Write);
        Box::new(connection)
    };
    let served = || {
        let mut connection = secured(bed, H1, &[]);
        connection.get("/a").unwrap();
        connection
    };
    let half = |connection: TlsConnection| -> KeptAlive {
        // Sends the beginning of a TLS record.
        let mut socket = connection.socket();
        socket.write_all(&[23, 3, 3, 1, 0, 7]).unwrap();
        Box::new(connection)
    };
    vec![
        ("TLS, idle", Box::new(served())),
        ("TLS, half a record", half(served())),
        ("TLS, closed", closed(served())),
        ("TLS, cut", cut(served())),
        ("TLS, waits", Box::new(secured(bed, H1, &[old()]))),
        (
            "TLS, waits and is closed",
            closed(secured(bed, H1, &[old()])),
        ),
        ("TLS, waits and is cut", cut(secured(bed, H1, &[old()]))),
        (
            "TLS with HTTP/2, idle",
            Box::new(secured(bed, H2, &[preface()])),
        ),
        (
            "TLS with HTTP/2, waits",
            Box::new(secured(bed, H2, &[preface(), wait()])),
        ),
        (
            "TLS with HTTP/2, closed",
            closed(secured(bed, H2, &[preface(), wait()])),
        ),
        (
            "TLS with HTTP/2, cut",
            cut(secured(bed, H2, &[preface(), wait()])),
        ),
        (
            "TLS with HTTP/2, half a record",
            half(secured(bed, H2, &[preface(), wait()])),
        ),
        (
            "TLS, nobody reads",
            Box::new(secured(
                bed,
                H1,
                &[b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n".to_vec()],
            )),
        ),
        (
            "TLS, nobody reads and it is closed",
            closed(secured(
                bed,
                H1,
                &[b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n".to_vec()],
            )),
        ),
    ]
}

#[test]
fn waiting_connections_use_no_cpu() {
    if against_haproxy() {
        return;
    }
    apart("hostile_idle::waiting_connections_use_no_cpu", || {
        let gate = Gate::default();
        let origin = origin(&gate);
        let (_files, text) = secure(&origin);
        let long =
            "defaults\n mode http\n timeout client 1h\n timeout server 1h\n timeout connect 5s\n";
        let bed = ProxyFixture::new(&format!("{long}{text}"));
        for make in [of_http2, of_stalled, of_handshakes, of_tls] {
            let all = make(&bed);
            if comes_to_rest() {
                continue;
            }
            // Tests each state alone; the others end first.
            drop(all);
            for (name, held) in make(&bed) {
                pause(1000);
                println!("{name}: {:?}", used_meanwhile());
                drop(held);
            }
            panic!("something turns without end");
        }
        gate.open();
        let mut good = client_of(Versions::Both, H1)
            .connect(bed.client_address())
            .unwrap();
        assert_eq!(good.get("/good").unwrap().status, 200);
        let _ = good.socket().set_read_timeout(Some(PATIENCE));
        let _ = good.close();
        let _ = good.read(&mut [0; 10]);
    });
}
