//! Tests HTTP/2 floods through a socket, next to a well-behaved client. The connection of the
//! attacker ends with the right error code, memory stays bounded, and all requests of the other
//! client are answered.

use crate::bed::{Gate, ProxyFixture, ScriptedOrigin, against_haproxy, pause, soon};
use crate::living::{self, apart, peak_during};
use crate::peer2::Peer2;
use crate::raw2::{
    self, ACK, CONTINUATION, DATA, END_HEADERS, GOAWAY, HEADERS, PING, PRIORITY, Raw, SETTINGS,
    WINDOW_UPDATE, block, frame, get, headers, indexed_field, method, reset,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const CALM: Option<u32> = Some(11);
const COMPRESSION: Option<u32> = Some(9);
/// Maximum live memory of a flood in bytes, including both ends of the test's connections and
/// the threads of its origin.
const FLOOD_BYTES_MAX: usize = 6 << 20;
/// Maximum number of frames in a flood; each flood must end long before.
const FRAMES: u32 = 60_000;

/// Frames of a flood, by their number.
type Pieces = Box<dyn Iterator<Item = Vec<u8>>>;

/// Name of a flood, the error code that ends it, and its frames.
type Flood = (&'static str, Option<u32>, Pieces);

fn each(make: impl Fn(u32) -> Vec<u8> + 'static) -> Pieces {
    Box::new((0..FRAMES).map(make))
}

/// Returns frames that follow a first one.
fn after(first: Vec<u8>, make: impl Fn(u32) -> Vec<u8> + 'static) -> Pieces {
    Box::new(std::iter::once(first).chain(each(make)))
}

fn id(n: u32) -> u32 {
    2 * n + 1
}

/// Returns frames that open a stream, and others on it.
fn opened(rest: impl Fn(u32) -> Vec<u8> + 'static) -> Pieces {
    each(move |n| [headers(id(n), &method("POST", "/slow"), false), rest(id(n))].concat())
}

fn resets() -> Vec<Flood> {
    let priority = |stream| frame(PRIORITY, 0, stream, &[0; 3]);
    let over = |stream| frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes());
    vec![
        ("rapid reset", CALM, opened(reset)),
        (
            "rapid reset of whole requests",
            CALM,
            each(|n| [headers(id(n), &get("/slow"), true), reset(id(n))].concat()),
        ),
        (
            "rapid reset behind data",
            CALM,
            opened(|stream| [frame(DATA, 0, stream, &[7; 20]), reset(stream)].concat()),
        ),
        (
            "made you reset by no window",
            CALM,
            opened(|stream| frame(WINDOW_UPDATE, 0, stream, &[0; 4])),
        ),
        ("made you reset by too much window", CALM, opened(over)),
        ("made you reset by a length", CALM, opened(priority)),
        (
            "made you reset by a second head",
            CALM,
            opened(|stream| headers(stream, &get("/"), false)),
        ),
        (
            "made you reset by malformed requests",
            CALM,
            each(|n| headers(id(n), &block(&[(b":method", b"GET")]), true)),
        ),
        (
            "made you reset behind data",
            CALM,
            opened(|stream| {
                let data = frame(DATA, 0, stream, &[7; 20]);
                [data, frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
            }),
        ),
        ("thousands of idle streams", CALM, opened(|_| Vec::new())),
    ]
}

fn begun() -> Vec<u8> {
    headers(1, &method("POST", "/slow"), false)
}

fn frames() -> Vec<Flood> {
    vec![
        (
            "CONTINUATION of a byte",
            CALM,
            after(frame(HEADERS, 0, 1, &get("/")), |_| {
                frame(CONTINUATION, 0, 1, &[0])
            }),
        ),
        (
            "CONTINUATION of nothing",
            CALM,
            after(frame(HEADERS, 0, 1, &get("/")), |_| {
                frame(CONTINUATION, 0, 1, &[])
            }),
        ),
        (
            "CONTINUATION of much",
            CALM,
            after(frame(HEADERS, 0, 1, &get("/")), |_| {
                frame(CONTINUATION, 0, 1, &[0; 16_384])
            }),
        ),
        ("SETTINGS", CALM, each(|_| frame(SETTINGS, 0, 0, &[]))),
        (
            "SETTINGS that say much",
            CALM,
            each(|n| {
                let window = [&[0, 4][..], &n.to_be_bytes()].concat();
                frame(SETTINGS, 0, 0, &window.repeat(2000))
            }),
        ),
        (
            "acknowledgements",
            CALM,
            each(|_| frame(SETTINGS, ACK, 0, &[])),
        ),
        ("PING", CALM, each(|_| frame(PING, 0, 0, &[7; 8]))),
        (
            "WINDOW_UPDATE",
            CALM,
            each(|_| frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())),
        ),
        (
            "WINDOW_UPDATE of a stream",
            CALM,
            after(begun(), |_| {
                frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes())
            }),
        ),
    ]
}

fn bodies() -> Vec<Flood> {
    vec![
        (
            "empty DATA",
            CALM,
            after(begun(), |_| frame(DATA, 0, 1, &[])),
        ),
        (
            "DATA that is padding",
            CALM,
            after(begun(), |_| frame(DATA, raw2::PADDED, 1, &[3, 0, 0, 0])),
        ),
        (
            "DATA of a byte",
            CALM,
            after(begun(), |_| frame(DATA, 0, 1, &[7])),
        ),
        (
            "PRIORITY",
            CALM,
            each(|_| frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1])),
        ),
        (
            "unknown frames",
            CALM,
            each(|_| frame(77, 0, 0, &[1, 2, 3])),
        ),
        // No code is expected: the client ends the connection itself, unless one read contains many
        // of the frames.
        ("GOAWAY", None, each(|_| frame(GOAWAY, 0, 0, &[0; 8]))),
        (
            "DATA on a stream that is gone",
            CALM,
            after([begun(), reset(1)].concat(), |_| frame(DATA, 0, 1, &[])),
        ),
        ("a bomb of HPACK", COMPRESSION, Box::new(bomb().into_iter())),
    ]
}

/// Returns a large field for the dynamic table, and a block that refers to it repeatedly.
fn bomb() -> Vec<Vec<u8>> {
    let mut first = get("/");
    indexed_field(&[b'y'; 4000], b"x", &mut first);
    // Each field has the name with the index 62 and an empty value.
    let again = [0x0f, 62 - 15, 0].repeat(5000);
    vec![headers(1, &first, true), headers(3, &again, true)]
}

/// Creates an HTTP/1 origin: `/slow` waits for the gate, `/big` is large.
fn origin(gate: &Gate) -> ScriptedOrigin {
    let gate = gate.clone();
    ScriptedOrigin::new(move |mut peer, _| {
        while let Some(head) = peer.head() {
            if head.contains(" /slow") {
                gate.pass();
                return;
            }
            if head.contains(" /big") {
                peer.try_send("HTTP/1.1 200 OK\r\nContent-Length: 4194304\r\n\r\n");
                if !(0..256).all(|_| peer.try_send([7; 16_384])) {
                    return;
                }
                continue;
            }
            if !peer.try_send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") {
                return;
            }
        }
    })
}

/// Returns the frontends `front` and `good`, and one with short timeouts.
fn text(origin: &ScriptedOrigin) -> String {
    let soon = "frontend soon\n bind 127.0.0.1:{2}\n default_backend back\n timeout client 3s\n";
    let good = "frontend good\n bind 127.0.0.1:{1}\n default_backend back\n";
    // The slots that the flood occupies must not delay the well-behaved client.
    soon.to_owned() + good + &origin.behind(" http-request deny if { path /no }", "")
}

/// Runs well-behaved clients of both versions during a function; all their requests are
/// answered.
fn beside<T>(bed: &ProxyFixture, run: impl FnOnce() -> T) -> T {
    let stop = Arc::new(AtomicBool::new(false));
    let (mut new, mut old) = (Peer2::client(bed.client_of(1)), bed.client_of(1));
    let ends = stop.clone();
    let good = std::thread::spawn(move || {
        let mut asked = 0;
        while asked < 3 || !ends.load(Ordering::Relaxed) {
            assert_eq!(new.ask("/good"), "200 ok");
            assert_eq!(old.ask("GET /good HTTP/1.1\r\nHost: h\r\n\r\n"), "200 ok");
            asked += 1;
        }
    });
    let result = run();
    stop.store(true, Ordering::Relaxed);
    good.join().expect("a good client");
    result
}

/// Waits until no stream is left.
fn at_rest(bed: &ProxyFixture) {
    bed.counts("back/s", "scur qcur", "");
}

#[test]
fn floods_end_with_the_right_code_and_bounded_memory() {
    if against_haproxy() {
        return;
    }
    apart(
        "hostile_http2::floods_end_with_the_right_code_and_bounded_memory",
        || {
            let gate = Gate::default();
            let origin = origin(&gate);
            let bed = ProxyFixture::new(&text(&origin));
            beside(&bed, || ());
            let mut wrong = Vec::new();
            for (name, wanted, pieces) in [resets(), frames(), bodies()].into_iter().flatten() {
                ProxyFixture::forget_ended();
                let before = living::bytes();
                let before_ereq = bed.counted("front", "ereq");
                let (code, peak) =
                    peak_during(|| beside(&bed, || Raw::client(bed.client()).flood(pieces, false)));
                let grown = peak.saturating_sub(before);
                println!("{name}: {code:?}, {grown} bytes");
                // The proxy counts an error, unless the client ended the connection itself.
                if wanted.is_some() {
                    soon("it is counted", || {
                        bed.counted("front", "ereq") != before_ereq
                    });
                }
                let is_right = code == wanted || (wanted.is_none() && code == CALM);
                if !is_right || grown > FLOOD_BYTES_MAX {
                    wrong.push(format!("{name}: {code:?}, {grown} bytes"));
                }
                gate.open();
                at_rest(&bed);
                gate.close();
            }
            assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        },
    );
}

#[test]
fn oversized_header_list_gets_a_response_and_continues() {
    let origin = origin(&Gate::default());
    let bed = ProxyFixture::new(&text(&origin));
    let mut client = Raw::client(bed.client());
    let long = vec![b'y'; 9_000];
    let mut number = 0;
    let mut ask = |list: &[u8]| {
        client.send(headers(id(number), list, true));
        number += 1;
        client.outcome(id(number - 1))
    };
    for _ in 0..200 {
        let mut list = get("/");
        raw2::field(b"x", &long, &mut list);
        raw2::field(b"z", &long[..7_000], &mut list);
        assert_eq!(ask(&list), "431");
        assert_eq!(ask(&get("/a")), "200");
    }
    // A list that becomes long only by the dynamic table gets a response, too, and the connection
    // continues.
    let mut large = get("/a");
    indexed_field(b"x", &long[..4_000], &mut large);
    assert_eq!(ask(&large), "200");
    assert_eq!(ask(&[0xbe; 16_000]), "431");
    assert_eq!(ask(&get("/a")), "200");
}

/// Maximum live memory per stream of a client that does not read, bytes: the task, a
/// plaintext buffer, pending output.
const STALLED_STREAM_BYTES_MAX: usize = 100 * 1024;

#[test]
fn large_responses_without_a_window_use_bounded_memory() {
    if against_haproxy() {
        return;
    }
    apart(
        "hostile_http2::large_responses_without_a_window_use_bounded_memory",
        || {
            let origin = origin(&Gate::default());
            let bed = ProxyFixture::new(&text(&origin));
            beside(&bed, || ());
            // First the streams have no window; then everything has a window, but the client does
            // not read.
            for window in [0_u32, 0x7fff_ffff] {
                let before = living::bytes();
                let mut client = Raw::new(bed.client_of(2));
                let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
                let hello = [
                    &protocol::http2::PREFACE[..],
                    &frame(SETTINGS, 0, 0, &settings),
                ];
                client.send(hello.concat());
                let more = 0x7fff_0000_u32.to_be_bytes();
                client.send(frame(WINDOW_UPDATE, 0, 0, &more));
                let ((), peak) = peak_during(|| {
                    beside(&bed, || {
                        for n in 0..100 {
                            client.send(headers(id(n), &get("/big"), true));
                        }
                        // Waits until the responses of all streams are blocked.
                        bed.counts("back/s", "scur", "scur=100");
                        pause(100);
                    })
                });
                let grown = peak.saturating_sub(before);
                println!("window {window}: {grown} bytes");
                assert!(grown < 100 * STALLED_STREAM_BYTES_MAX, "{grown} bytes");
                // The stalled streams end by `timeout client`.
                at_rest(&bed);
            }
        },
    );
}

#[test]
fn stalled_http2_prefaces_use_little_memory_and_time_out() {
    if against_haproxy() {
        return;
    }
    apart(
        "hostile_http2::stalled_http2_prefaces_use_little_memory_and_time_out",
        || {
            const CLIENTS: usize = 1000;
            let origin = origin(&Gate::default());
            let bed = ProxyFixture::new(&text(&origin));
            beside(&bed, || ());
            let whole = raw2::preface();
            let mut begun = [&whole[..], &frame(SETTINGS, ACK, 0, b"")].concat();
            begun.extend(&frame(HEADERS, END_HEADERS, 1, &get("/"))[..20]);
            // A connection whose protocol is not known yet has a buffer of its own. Later it has a
            // buffer of at most 16 KiB while bytes wait to be parsed.
            let bound = |sent: usize| if sent < 24 { 80_000 } else { 20_000 };
            for bytes in [
                &whole[..10],
                &whole[..24],
                &whole[..30],
                &whole[..],
                &begun[..],
            ] {
                let before = living::bytes();
                let mut clients: Vec<_> = (0..CLIENTS).map(|_| bed.client_of(2)).collect();
                let ((), peak) = peak_during(|| {
                    beside(&bed, || {
                        for client in &mut clients {
                            client.try_send(bytes);
                        }
                        for client in &mut clients {
                            assert_ne!(client.ends(), "open");
                        }
                    })
                });
                let grown = peak.saturating_sub(before) / CLIENTS;
                println!("{} bytes sent: {grown} bytes each", bytes.len());
                assert!(
                    grown < bound(bytes.len()),
                    "{} sent: {grown} bytes each",
                    bytes.len()
                );
            }
        },
    );
}

#[test]
fn reset_streams_release_their_servers() {
    let origin = ScriptedOrigin::new(|mut peer, _| {
        peer.head();
        // The server begins a response and sends nothing more.
        peer.try_send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
        peer.rest();
    });
    let bed = ProxyFixture::new(&origin.behind(" timeout client 1h", " timeout server 1h"));
    let mut client = Raw::client(bed.client());
    for n in 0..300 {
        client.send(headers(id(n), &get("/events"), true));
        // Waits for the first data of the response.
        while client.next().expect("a head").kind != DATA {}
        client.send(reset(id(n)));
    }
    bed.counts("back/s", "scur", "");
    client.send(headers(id(300), &get("/events"), true));
    while client.next().expect("a head").kind != DATA {}
}

#[test]
fn slow_client_gets_complete_responses() {
    if against_haproxy() {
        return;
    }
    let origin = origin(&Gate::default());
    let bed = ProxyFixture::new(&text(&origin));
    const STREAMS: u32 = 30;
    for window in [0, 0x7fff_ffff_u32] {
        let mut client = Raw::new(bed.client());
        let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
        client.send(
            [
                &protocol::http2::PREFACE[..],
                &frame(SETTINGS, 0, 0, &settings),
            ]
            .concat(),
        );
        client.send(frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes()));
        for n in 0..STREAMS {
            client.send(headers(id(n), &get("/big"), true));
        }
        bed.counts("back/s", "scur", &format!("scur={STREAMS}"));
        pause(100);
        if window == 0 {
            // Enlarges the windows in two steps, those of the last streams first.
            for more in [100_u32, 5 << 20] {
                for n in (0..STREAMS).rev() {
                    client.send(frame(WINDOW_UPDATE, 0, id(n), &more.to_be_bytes()));
                }
            }
        }
        let (mut ended, mut bytes) = (0, 0);
        while ended < STREAMS {
            let seen = client.next().expect("an answer");
            if seen.kind == DATA {
                bytes += seen.payload.len();
                ended += u32::from(seen.flags & raw2::END_STREAM != 0);
            }
            assert_ne!(seen.kind, raw2::RST_STREAM);
        }
        assert_eq!(bytes, STREAMS as usize * 4_194_304);
        at_rest(&bed);
    }
}
