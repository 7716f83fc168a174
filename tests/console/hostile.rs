//! Tests the console with hostile clients: other clients get responses meanwhile, and the process
//! is unchanged afterwards.

use crate::console::site::{Console, OLGA, SOON, VERA};
use lab::eventually;
use std::io::{Read, Write};
use std::net::TcpStream;

/// Number of slow clients: below the limit of connections from one address.
const SLOW: usize = 100;
/// Number of connections in a flood: above the limit of connections from one address.
const FLOOD: usize = 400;

/// Returns whether another client gets a page.
fn serves(console: &Console) -> bool {
    let response = console.try_get(&["/sign-in"]);
    response.is_some_and(|response| response.status == 200)
}

fn long(bytes: usize) -> String {
    "a".repeat(bytes)
}

/// Runs hostile clients; the role must be the same process afterwards, and serve.
fn survives(console: &Console, hostile: impl FnOnce()) {
    let before = console.role("console").expect("a console");
    hostile();
    assert!(eventually(SOON, || serves(console)));
    assert_eq!(console.role("console"), Some(before), "another process");
}

#[test]
fn hostile_names_and_sizes_are_refused() {
    lab::skip_unless_installed!("curl");
    let console = Console::start();
    let cookie = console.sign_in(OLGA);
    let paths = [
        "/../../etc/passwd".to_owned(),
        "/part/../../../etc/passwd".to_owned(),
        "/part/..%2f..%2fetc%2fpasswd".to_owned(),
        "/style.css/..%2f..%2fetc%2fpasswd".to_owned(),
        "/traffic/%00%0d%0aset-cookie:%20x=y".to_owned(),
        "/traffic/%ff%fe%zz%".to_owned(),
        "/traffic?q=%ff%00%0d%0a&on=%3Cscript%3Ealert(1)%3C/script%3E".to_owned(),
        "/live?page=//evil.example".to_owned(),
        "/once/%00".to_owned(),
        "//evil.example/%2e%2e".to_owned(),
        format!("/traffic/{}", long(7_000)),
        format!("/{}", "a/".repeat(3_000)),
        format!("/?q={}", long(60_000)),
        format!("/{}", long(100_000)),
    ];
    survives(&console, || {
        for (path, version) in paths
            .iter()
            .flat_map(|path| [(path, "--http1.1"), (path, "--http2")])
        {
            for words in [&[version, path][..], &[version, "-H", &cookie, path]] {
                // None: the connection was closed over a request that is too long.
                let Some(response) = console.try_get(words) else {
                    continue;
                };
                let shown = &path[..path.len().min(60)];
                assert!(
                    (200..500).contains(&response.status),
                    "{shown}: {response:?}"
                );
                assert!(!response.body.contains("root:x:"), "{shown}: {response:?}");
                assert!(
                    !response.body.contains("<script>alert"),
                    "{shown}: {response:?}"
                );
                assert_eq!(response.header("set-cookie"), "", "{shown}: {response:?}");
                let to = response.header("location");
                assert!(
                    to.is_empty() || to.starts_with("/sign-in"),
                    "{shown}: {response:?}"
                );
            }
        }
    });
}

#[test]
fn floods_of_headers_and_large_bodies_are_refused() {
    lab::skip_unless_installed!("curl");
    let console = Console::start();
    let cookie = console.sign_in(OLGA);
    let large = console.scratch.write("large", long(1 << 20)).unwrap();
    let body = format!("@{}", large.display());
    let name = format!("Cookie: {}", long(7_000));
    let fields: Vec<String> = (0..300)
        .map(|n| format!("x-flood-{n}: {}", long(90)))
        .collect();
    let mut flood: Vec<&str> = fields.iter().flat_map(|field| ["-H", field]).collect();
    flood.push("/sign-in");
    survives(&console, || {
        for version in ["--http1.1", "--http2"] {
            for path in [
                "/sign-in",
                "/sign-out",
                "/act",
                "/once/x",
                "/api/v1/act",
                "/",
                "/live?page=/",
            ] {
                let words = [version, "-H", &cookie, "--data-binary", &body, path];
                for words in [&words[..], &[&["-u", "olga:kiwi"], &words[..]].concat()] {
                    // None: the connection was closed under the body.
                    let Some(response) = console.try_get(words) else {
                        continue;
                    };
                    assert!(
                        (400..500).contains(&response.status),
                        "{words:?}: {response:?}"
                    );
                }
            }
            let status = console
                .try_get(&[&[version], &flood[..]].concat())
                .map(|one| one.status);
            assert!(
                matches!(status, None | Some(431 | 400)),
                "{version}: {status:?}"
            );
            assert_eq!(console.get(&[version, "-H", &name, "/"]).status, 303);
            assert!(serves(&console));
        }
    });
    assert!(console.sees(&cookie));
}

#[test]
fn bytes_that_are_no_request_end_their_connection_only() {
    lab::skip_unless_installed!("curl");
    for console in [Console::start(), Console::plain()] {
        let mut garbage: Vec<Vec<u8>> = vec![
            b"\r\n\r\n\r\n".to_vec(),
            b"GET / HTTP/9.9\r\n\r\n".to_vec(),
            b"POST /sign-in HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n".to_vec(),
            b"POST /sign-in HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n".to_vec(),
            b"POST /act HTTP/1.1\r\nhost: a\r\nhost: b\r\ncontent-length: 99999999999999999999\r\n\r\n".to_vec(),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
            b"\x16\x03\x01\xff\xff\x01\x00\x00\x00".to_vec(),
        ];
        garbage.push(vec![0; 70_000]);
        garbage.push(
            (0..70_000_u32)
                .map(|n| (n.wrapping_mul(n) >> 3) as u8)
                .collect(),
        );
        survives(&console, || {
            for bytes in &garbage {
                let mut stream = TcpStream::connect(console.at).unwrap();
                stream.set_read_timeout(Some(SOON)).unwrap();
                // The console may close the connection meanwhile.
                let _ = stream.write_all(bytes);
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let mut answer = Vec::new();
                let ended = stream.read_to_end(&mut answer);
                let kind = ended.as_ref().err().map(std::io::Error::kind);
                assert_ne!(
                    kind,
                    Some(std::io::ErrorKind::WouldBlock),
                    "it is not closed"
                );
                let answer = String::from_utf8_lossy(&answer);
                assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
            }
        });
    }
}

#[test]
fn slow_clients_keep_nobody_waiting_and_are_closed() {
    lab::skip_unless_installed!("curl");
    let console = Console::plain();
    let cookie = console.sign_in(OLGA);
    // Clients that never complete a head, a body or an HTTP/2 preface, and a client that does not
    // read a page that the console keeps updating.
    let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", long(200));
    let body = format!(
        "POST /sign-in HTTP/1.1\r\nhost: a\r\ncontent-length: 9000\r\n\r\n{}",
        long(200)
    );
    let preface = "PRI * HTTP/2.0\r\n\r\n".to_owned();
    let live = format!("GET /live?page=/traffic HTTP/1.1\r\nhost: a\r\n{cookie}\r\n\r\n");
    survives(&console, || {
        let begun = [(&head, 1), (&body, 75), (&preface, 1)];
        let mut clients: Vec<(TcpStream, &[u8])> = (0..SLOW)
            .map(|number| {
                let (text, at) = begun[number % begun.len()];
                let mut stream = TcpStream::connect(console.at).unwrap();
                let (first, rest) = text.as_bytes().split_at(at.min(text.len()));
                stream.write_all(first).unwrap();
                (stream, rest)
            })
            .collect();
        let mut live_one = TcpStream::connect(console.at).unwrap();
        live_one.write_all(live.as_bytes()).unwrap();
        for round in 0..15 {
            for (stream, rest) in &mut clients {
                if let [byte, ..] = rest {
                    // The console may have closed the connection.
                    let _ = stream.write_all(&[*byte]);
                    *rest = &rest[1..];
                }
            }
            assert!(serves(&console), "round {round}");
            assert!(console.sees(&cookie), "round {round}");
        }
        for (mut stream, _) in clients {
            stream.set_read_timeout(Some(SOON)).unwrap();
            let ended = stream.read_to_end(&mut Vec::new());
            let kind = ended.err().map(|error| error.kind());
            assert_ne!(
                kind,
                Some(std::io::ErrorKind::WouldBlock),
                "it is not closed"
            );
        }
    });
}

#[test]
fn a_flood_of_connections_is_over_when_it_ends() {
    lab::skip_unless_installed!("curl");
    let console = Console::start();
    let cookie = console.sign_in(OLGA);
    survives(&console, || {
        let all: Vec<TcpStream> = (0..FLOOD)
            .map(|_| TcpStream::connect(console.at).unwrap())
            .collect();
        // Users can sign in meanwhile, even from the address of the flood.
        assert_eq!(console.try_to_sign_in(VERA[0], VERA[1]).status, 303);
        // Connections beyond the limit are closed, and so are connections without a TLS handshake.
        let mut last = all.last().unwrap();
        last.set_read_timeout(Some(SOON)).unwrap();
        let read = last.read(&mut [0; 1]);
        assert!(!matches!(read, Ok(1..)), "{read:?}");
        drop(all);
    });
    assert!(console.sees(&cookie));
}
