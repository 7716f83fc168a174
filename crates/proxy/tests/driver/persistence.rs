//! Tests persistence of clients on servers (cookies, `use-server`, application sessions, RDP
//! cookies), hashes and retries. The tables were recorded from HAProxy 2.6.12; with
//! `DRIVER_PEER=haproxy` most of the tests run against HAProxy.

use crate::bed::{Peer, ProxyFixture, ScriptedOrigin, against_haproxy};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Creates a named origin that returns its name and the cookies that it received, and sets
/// those in `x-set`.
fn named(name: &'static str) -> ScriptedOrigin {
    ScriptedOrigin::new(move |mut peer, _| {
        while let Some(head) = peer.head() {
            let lines = |wanted: &str| -> Vec<String> {
                head.lines()
                    .filter_map(|line| line.split_once(": "))
                    .filter(|(name, _)| name.eq_ignore_ascii_case(wanted))
                    .map(|(_, value)| value.to_owned())
                    .collect()
            };
            let length: usize = lines("content-length")
                .first()
                .map_or(0, |n| n.parse().unwrap());
            while peer.ahead.len() < length {
                assert!(peer.more().unwrap());
            }
            peer.ahead.drain(..length);
            let set: String = lines("x-set")
                .iter()
                .map(|cookie| format!("Set-Cookie: {cookie}\r\n"))
                .collect();
            let body = format!("{name} {}", lines("cookie").join(" | "));
            peer.send(format!(
                "HTTP/1.1 200 OK\r\n{set}Content-Length: {}\r\n\r\n{body}",
                body.len()
            ));
        }
    })
}

/// Creates two servers behind a `listen` section with these lines; `%a` and `%b` are their
/// addresses.
fn two(lines: &str) -> (ProxyFixture, [ScriptedOrigin; 2]) {
    let origins = [named("A"), named("B")];
    let mut text = format!(
        "listen back\n bind 127.0.0.1:{{0}}\n balance roundrobin\n timeout queue 5s\n \
         http-after-response set-header x-tsc %tsc\n {lines}\n"
    );
    for (place, origin) in ["%a", "%b"].iter().zip(&origins) {
        text = text.replace(place, &format!("127.0.0.1:{}", origin.port));
    }
    (ProxyFixture::new(&text), origins)
}

const SERVERS: &str = "\n server A %a cookie a\n server B %b cookie b";

/// Returns the result of a request: the log's letters, the server and the cookies that it
/// received, the cookies that the client got.
fn ask(peer: &mut Peer, headers: &str) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
    peer.send(request);
    let answer = peer.answer();
    let value = |line: &str| line.split_once(": ").map(|(_, v)| v.to_owned());
    let of = |name: &str| -> Vec<String> {
        let lines = answer.head.lines();
        lines
            .filter(|line| line.to_ascii_lowercase().starts_with(name))
            .filter_map(value)
            .collect()
    };
    format!(
        "{} {}> {}",
        &of("x-tsc:").concat()[2..],
        String::from_utf8_lossy(&answer.body),
        of("set-cookie:").join(" | ")
    )
}

/// A `cookie` line; headers of the requests on one connection, and their results.
type CookieCase = (&'static str, &'static [(&'static str, &'static str)]);

const COOKIES: &[CookieCase] = &[
    (
        "cookie SRV insert indirect",
        &[
            ("", "NI A > SRV=a; path=/"),
            ("Cookie: SRV=b\r\n", "VN B > "),
            ("Cookie: SRV=zz\r\n", "II B > SRV=b; path=/"),
            ("Cookie: x=1; SRV=b; y=2\r\n", "VN B x=1; y=2> "),
            ("Cookie: SRV=b\r\nCookie: x=1\r\n", "VN B x=1> "),
            ("Cookie: SRV=zz; SRV=b\r\n", "VN B > "),
            ("Cookie: SRV=\"b\"\r\n", "II A > SRV=a; path=/"),
            ("Cookie: SRV=b\r\nx-set: SRV=foo; path=/\r\n", "VD B > "),
            ("x-set: SRV=foo\r\n", "NI B > SRV=b; path=/"),
        ],
    ),
    (
        "cookie SRV insert httponly secure domain .a.com attr SameSite=Lax",
        &[
            (
                "",
                "NI A > SRV=a; path=/; domain=.a.com; HttpOnly; Secure; SameSite=Lax",
            ),
            ("Cookie: SRV = b\r\n", "VN B SRV=b> "),
        ],
    ),
    (
        "cookie SRV insert indirect preserve",
        &[
            ("x-set: SRV=foo\r\n", "NP A > SRV=foo"),
            ("Cookie: SRV=b\r\nx-set: SRV=\r\n", "VP B > SRV="),
        ],
    ),
    (
        "cookie SRV rewrite",
        &[
            ("", "NN A > "),
            ("x-set: SRV=foo; path=/x\r\n", "NR B > SRV=b; path=/x"),
            ("Cookie: SRV=a\r\n", "VN A SRV=a> "),
            ("x-set: SRV=1\r\nx-set: y=2\r\n", "NR A > SRV=a | y=2"),
        ],
    ),
    (
        "cookie SRV prefix",
        &[
            ("x-set: SRV=foo; x\r\n", "NR A > SRV=a~foo; x"),
            ("Cookie: SRV=b~foo; y=1\r\n", "VN B SRV=foo; y=1> "),
            ("Cookie: SRV=zz~foo\r\n", "IN B SRV=foo> "),
            ("Cookie: SRV=b~x; SRV=a~y\r\n", "VN B SRV=x; SRV=y> "),
        ],
    ),
    (
        "cookie SRV insert indirect maxidle 1h",
        &[("Cookie: SRV=b|AAAAB\r\n", "EI A > SRV=a|")],
    ),
    (
        "cookie SRV insert indirect maxlife 1h",
        &[("Cookie: SRV=b|zzzzz|AAAAB\r\n", "OI A > SRV=a|")],
    ),
    (
        "cookie SRV insert postonly",
        &[("", "NN A > "), ("Cookie: SRV=b\r\n", "VN B SRV=b> ")],
    ),
];

#[test]
fn a_persistence_cookie_is_read_and_set_as_haproxy_does() {
    for (line, cases) in COOKIES {
        let (bed, _origins) = two(&format!("{line}{SERVERS}"));
        // All requests are on one connection, and each finds its own server.
        let mut client = bed.client();
        for (headers, want) in *cases {
            let got = ask(&mut client, headers);
            let cut = if want.ends_with('|') {
                want.len()
            } else {
                got.len()
            };
            assert_eq!(&got[..cut], *want, "{line}: {headers:?}");
        }
    }
}

#[test]
fn persistent_client_of_a_down_server_is_handled_as_in_haproxy() {
    let out = "\n server A %a cookie a\n server B %b cookie b disabled";
    let cookie = "cookie SRV insert indirect";
    for (lines, headers, want) in [
        (out, "Cookie: SRV=b\r\n", "DI A > SRV=a; path=/"),
        (out, "Cookie: SRV=b; SRV=a\r\n", "VN A > "),
        (
            "\n option persist\n server A %a cookie a\n server B %b cookie b disabled",
            "Cookie: SRV=b\r\n",
            "DN B > ",
        ),
        (
            "\n force-persist if { path / }\n server A %a cookie a\n server B %b cookie b disabled",
            "Cookie: SRV=b\r\n",
            "DN B > ",
        ),
        (
            "\n ignore-persist if { path / }\n server A %a cookie a\n server B %b cookie b",
            "Cookie: x=1; SRV=b\r\nx-set: SRV=foo\r\n",
            "UN A x=1> SRV=foo",
        ),
        (
            "\n server A %a cookie a\n server B %b cookie b weight 0",
            "Cookie: SRV=b\r\n",
            "VN B > ",
        ),
        (
            "\n use-server B if { path / }\n server A %a cookie a\n server B %b cookie b",
            "Cookie: SRV=a\r\n",
            "UN B > ",
        ),
        (
            "\n use-server B if { path / }\n server A %a cookie a\n server B %b cookie b disabled",
            "Cookie: SRV=a\r\n",
            "VN A > ",
        ),
        (
            "\n use-server %[req.hdr(x-to)] if TRUE\n server A %a cookie a\n server B %b cookie b",
            "x-to: B\r\n",
            "NN B > ",
        ),
        (
            "\n server A %a\n server B %b cookie b",
            "",
            "NI A > SRV=; Expires=Thu, 01-Jan-1970 00:00:01 GMT; path=/",
        ),
    ] {
        let (bed, _origins) = two(&format!("{cookie}{lines}"));
        assert_eq!(ask(&mut bed.client(), headers), want, "{lines}");
    }
}

#[test]
fn persistent_client_waits_until_redispatch() {
    for (redispatch, want) in [("", "+2"), ("1", "+1"), ("-2", "+1")] {
        let dead = lab::free_port().unwrap();
        let (bed, _origins) = two(&format!(
            "retries 2\n timeout connect 50\n option redispatch {redispatch}\n \
             cookie SRV insert indirect\n server A %a cookie a\n \
             server B 127.0.0.1:{dead} cookie b"
        ));
        let got = ask(&mut bed.client(), "Cookie: SRV=b\r\n");
        assert_eq!(got, "DI A > SRV=a; path=/", "{redispatch}");
        assert_eq!(bed.ended(1)[0].retries, want, "{redispatch}");
    }
}

#[test]
fn hashes_select_the_servers_of_haproxy() {
    for (lines, wanted) in [
        ("balance uri", "C E B C"),
        ("balance uri\n hash-type map-based djb2", "C D E E"),
        ("balance uri\n hash-type map-based crc32", "E C E C"),
        (
            "balance uri\n hash-type map-based sdbm avalanche",
            "E A C B",
        ),
        ("balance uri len 4", "C E B C"),
        ("balance hash path,length", "B E C E"),
    ] {
        let origins = ["A", "B", "C", "D", "E"].map(|name| (name, named(name)));
        let weights = [1, 2, 3, 1, 4];
        let servers: String = origins
            .iter()
            .zip(weights)
            .map(|((name, origin), weight)| {
                format!(" server {name} 127.0.0.1:{} weight {weight}\n", origin.port)
            })
            .collect();
        let bed = ProxyFixture::new(&format!(
            "listen back\n bind 127.0.0.1:{{0}}\n {lines}\n{servers}"
        ));
        let mut client = bed.client();
        let got: Vec<String> = ["/", "/a", "/ab", "/abc/def"]
            .iter()
            .map(|path| {
                client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
                let body = client.answer().body;
                String::from_utf8_lossy(&body[..1]).into_owned()
            })
            .collect();
        assert_eq!(got.join(" "), wanted, "{lines}");
    }
}

#[test]
fn a_key_is_found_in_the_body_of_a_form_and_keeps_its_server_on_a_ring() {
    let (bed, _origins) = two(&format!(
        "balance url_param user check_post\n hash-type consistent{SERVERS}"
    ));
    let mut client = bed.client();
    let mut of = |user: u32, post: bool| {
        let form = format!("x=1&user={user}");
        client.send(if post {
            format!(
                "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{form}",
                form.len()
            )
        } else {
            format!("GET /?{form} HTTP/1.1\r\nHost: h\r\n\r\n")
        });
        client.answer().body[0]
    };
    let servers: Vec<u8> = (0..20).map(|user| of(user, false)).collect();
    assert!(servers.contains(&b'A') && servers.contains(&b'B'));
    for (user, server) in (0..).zip(&servers) {
        assert_eq!(of(user, true), *server);
    }
}

/// Creates an origin whose consecutive connections behave as the words in `acts` say.
fn scripted(acts: &'static [&'static str]) -> (ScriptedOrigin, Arc<AtomicU64>) {
    let bodies = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&bodies);
    let origin = ScriptedOrigin::new(move |mut peer, number| {
        let Some(head) = peer.head() else { return };
        let act = acts[(number as usize).min(acts.len() - 1)];
        let length = head
            .to_ascii_lowercase()
            .split_once("content-length: ")
            .map_or(0, |(_, rest)| rest.lines().next().unwrap().parse().unwrap());
        while peer.ahead.len() < length {
            assert!(peer.more().unwrap());
        }
        seen.fetch_add(peer.ahead.len() as u64, Ordering::SeqCst);
        match act {
            "close" => {}
            "junk" => peer.send("no answer\r\n\r\n"),
            "hang" => _ = peer.head(),
            status => peer.send(format!(
                "HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )),
        }
    });
    (origin, bodies)
}

#[test]
fn a_request_is_sent_again_after_the_failures_that_retry_on_names() {
    const POST: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
    const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    const CHUNKED: &str =
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    type Case = (
        &'static str,
        &'static [&'static str],
        &'static str,
        &'static str,
    );
    let cases: &[Case] = &[
        ("", &["close", "200"], GET, "502 SH 0"),
        (
            "retry-on empty-response",
            &["close", "200"],
            GET,
            "200 -- 1",
        ),
        (
            "retry-on empty-response",
            &["close", "close", "200"],
            POST,
            "200 -- 2",
        ),
        ("retry-on empty-response", &["close"], POST, "502 SH 3"),
        ("retry-on conn-failure", &["close", "200"], GET, "502 SH 0"),
        ("retry-on none", &["close", "200"], GET, "502 SH 0"),
        ("retry-on junk-response", &["junk", "200"], POST, "200 -- 1"),
        ("retry-on empty-response", &["junk", "200"], GET, "502 PH 0"),
        (
            "timeout server 100\n retry-on response-timeout",
            &["hang", "200"],
            GET,
            "200 -- 1",
        ),
        ("retry-on 503", &["503", "200"], POST, "200 -- 1"),
        ("retry-on 404 503", &["404", "503", "200"], GET, "200 -- 2"),
        ("retry-on 503", &["503"], GET, "503 -- 3"),
        ("retry-on 503", &["500", "200"], GET, "500 -- 0"),
        ("retries 0\n retry-on 503", &["503", "200"], GET, "503 -- 0"),
        ("retry-on 503", &["503", "200"], CHUNKED, "200 -- 1"),
    ];
    for (lines, acts, request, want) in cases {
        let (origin, bodies) = scripted(acts);
        let bed = ProxyFixture::new(&format!(
            "listen back\n bind 127.0.0.1:{{0}}\n {lines}\n server s 127.0.0.1:{}\n",
            origin.port
        ));
        let mut client = bed.client();
        client.send(request);
        let answer = client.answer();
        let end = &bed.ended(1)[0];
        assert_eq!(
            format!("{} {} {}", answer.status, end.state, end.retries),
            *want,
            "{lines} {acts:?}"
        );
        if *request == POST {
            let tries = 1 + end.retries.parse::<u64>().unwrap();
            assert_eq!(bodies.load(Ordering::SeqCst), 5 * tries, "{lines}");
        }
    }
}

#[test]
fn oversized_request_is_not_retried() {
    let (origin, bodies) = scripted(&["503", "200"]);
    let bed = ProxyFixture::new(&format!(
        "listen back\n bind 127.0.0.1:{{0}}\n retry-on 503\n server s 127.0.0.1:{}\n",
        origin.port
    ));
    let mut client = bed.client();
    let body = "x".repeat(100_000);
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(client.answer().status, 503);
    assert_eq!(bodies.load(Ordering::SeqCst), 100_000);
}

#[test]
fn retry_uses_another_server_with_redispatch() {
    let (bad, _) = scripted(&["503"]);
    let good = named("B");
    for (lines, want) in [
        ("option redispatch", "+1"),
        ("option redispatch\n cookie SRV insert", "+3"),
        ("option redispatch 1\n cookie SRV insert", "+1"),
    ] {
        let bed = ProxyFixture::new(&format!(
            "listen back\n bind 127.0.0.1:{{0}}\n retry-on 503\n {lines}\n \
             server A 127.0.0.1:{} cookie a\n server B 127.0.0.1:{} cookie b\n",
            bad.port, good.port
        ));
        let mut client = bed.client();
        client.send("GET / HTTP/1.1\r\nHost: h\r\nCookie: SRV=a\r\n\r\n");
        assert_eq!(client.answer().status, 200);
        assert_eq!(bed.ended(1)[0].retries, want, "{lines}");
    }
}

#[test]
fn appsession_returns_to_its_server() {
    if against_haproxy() {
        // HAProxy has rejected the line since 1.6.
        return;
    }
    let (bed, _origins) = two(&format!(
        "appsession JSESSIONID len 20 timeout 1h request-learn{SERVERS}"
    ));
    let mut client = bed.client();
    let mut to = |target: &str, headers: &str| {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n{headers}\r\n"));
        client.answer().body[0]
    };
    let server = to("/", "x-set: JSESSIONID=one; path=/\r\n");
    for _ in 0..3 {
        assert_eq!(to("/", "Cookie: a=b; JSESSIONID=one\r\n"), server);
        assert_eq!(to("/x;JSESSIONID=one?a=b", ""), server);
    }
    let learnt = to("/", "Cookie: JSESSIONID=two\r\n");
    for _ in 0..3 {
        assert_eq!(to("/", "Cookie: JSESSIONID=two\r\n"), learnt);
    }
}

#[test]
fn dispatch_serves_requests_without_a_server() {
    let other = named("D");
    let (bed, _origins) = {
        let origins = [named("A"), named("B")];
        let text = format!(
            "listen back\n bind 127.0.0.1:{{0}}\n cookie SRV insert indirect\n \
             dispatch 127.0.0.1:{}\n server A 127.0.0.1:{} cookie a\n",
            other.port, origins[0].port
        );
        (ProxyFixture::new(&text), origins)
    };
    let mut client = bed.client();
    for (headers, want) in [("", b'D'), ("Cookie: SRV=a\r\n", b'A'), ("", b'D')] {
        client.send(format!("GET / HTTP/1.1\r\nHost: h\r\n{headers}\r\n"));
        assert_eq!(client.answer().body[0], want, "{headers}");
    }
}

#[test]
fn server_without_address_uses_the_clients_destination() {
    let origin = named("A");
    let bed = ProxyFixture::new(&format!(
        "listen back\n bind 127.0.0.1:{{0}}\n http-send-name-header Cookie\n server one *:{}\n",
        origin.port
    ));
    let mut client = bed.client();
    client.send("GET / HTTP/1.1\r\nHost: h\r\nCookie: mine\r\n\r\n");
    assert_eq!(client.answer().body, b"A one");
}

#[test]
fn rdp_cookie_selects_the_server() {
    let origins = ["A", "B"].map(|name| {
        ScriptedOrigin::new(move |mut peer, _| {
            peer.until("\r\n");
            peer.send(name);
        })
    });
    let bed = ProxyFixture::new(&format!(
        "listen back\n bind 127.0.0.1:{{0}}\n mode tcp\n persist rdp-cookie\n \
         tcp-request inspect-delay 5s\n tcp-request content accept if {{ req.rdp_cookie(msts) -m found }}\n \
         server A 127.0.0.1:{}\n server B 127.0.0.1:{}\n",
        origins[0].port, origins[1].port
    ));
    for (origin, name) in origins.iter().zip(["A", "B"]) {
        for _ in 0..3 {
            let ip = u32::from_le_bytes([127, 0, 0, 1]);
            let cookie = format!("Cookie: msts={ip}.{}.0000\r\n", origin.port.swap_bytes());
            let length = 11 + cookie.len();
            let mut packet = vec![3, 0, 0, length as u8, length as u8 - 5, 0xe0, 0, 0, 0, 0, 0];
            packet.extend(cookie.bytes());
            let mut client = bed.client();
            client.send(packet);
            assert_eq!(client.rest(), name);
        }
    }
}
