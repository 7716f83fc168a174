//! Tests server connections reserved for one client, because the server authenticates the
//! connection (NTLM, Negotiate) or because a property of that client was used to make it.

use crate::bed::{Gate, ProxyFixture, ScriptedOrigin, against_haproxy, request_body, settle};
use crate::hostile_tls::secure;
use crate::peer::Peer;
use crate::peer2::{Peer2, PeerEvent, request};
use proxy::running::ServeOptions;

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// An authentication scheme, and how a server offers it.
#[derive(Clone, Copy)]
struct Scheme {
    status: u16,
    /// Header lines of a refusal without a challenge.
    offer: &'static str,
    /// Start of the line with a challenge, before the token.
    challenge: &'static str,
    /// Name of the client's header with its credentials.
    header: &'static str,
    /// The scheme in the client's header.
    name: &'static str,
}

const NTLM: Scheme = Scheme {
    status: 401,
    offer: "WWW-Authenticate: NTLM\r\n",
    challenge: "WWW-Authenticate: NTLM",
    header: "Authorization",
    name: "NTLM",
};

/// Schemes by which servers offer authentication of a connection.
const SCHEMES: &[Scheme] = &[
    NTLM,
    Scheme {
        offer: "WWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM\r\n",
        challenge: "www-authenticate: negotiate",
        name: "Negotiate",
        ..NTLM
    },
    Scheme {
        offer: "WWW-Authenticate: Basic realm=\"a, b\", Nego2\r\n",
        challenge: "WWW-Authenticate: Nego2",
        name: "Nego2",
        ..NTLM
    },
    Scheme {
        status: 407,
        offer: "Proxy-Authenticate: ntlm\r\n",
        challenge: "Proxy-Authenticate: ntlm",
        header: "Proxy-Authorization",
        name: "NTLM",
    },
];

/// Authentication state of a server's connection.
#[derive(Default)]
struct Login {
    challenged: bool,
    user: Option<String>,
}

impl Login {
    /// Returns the response to a request with these credentials: status, header lines, body.
    fn respond(&mut self, scheme: &Scheme, credentials: Option<&str>) -> (u16, String, String) {
        match credentials.map(|text| text.trim().rsplit(' ').next().unwrap_or_default()) {
            Some("T1") => {
                self.challenged = true;
                let line = format!("{} T2\r\n", scheme.challenge);
                return (scheme.status, line, String::new());
            }
            Some(token) if token.starts_with("T3:") && self.challenged => {
                self.user = Some(token["T3:".len()..].to_owned());
            }
            // A ticket is valid without a challenge.
            Some(token) if token.starts_with("ticket:") => {
                self.user = Some(token["ticket:".len()..].to_owned());
            }
            _ => {}
        }
        match &self.user {
            Some(user) => (200, String::new(), format!("hello {user}")),
            None => (
                scheme.status,
                scheme.offer.to_owned(),
                "who are you?".into(),
            ),
        }
    }
}

fn value<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// Creates a server that authenticates its connections.
fn authenticating(scheme: Scheme) -> ScriptedOrigin {
    ScriptedOrigin::new(move |mut peer, _| {
        let mut login = Login::default();
        while let Some(head) = peer.head() {
            request_body(&mut peer, &head);
            let (status, lines, body) = login.respond(&scheme, value(&head, scheme.header));
            let length = body.len();
            if !peer.try_send(format!(
                "HTTP/1.1 {status} X\r\n{lines}Content-Length: {length}\r\n\r\n{body}"
            )) {
                return;
            }
        }
    })
}

/// Creates an HTTP/2 server that authenticates its connections.
fn authenticating_http2(scheme: Scheme) -> ScriptedOrigin {
    ScriptedOrigin::new(move |peer, _| {
        let mut peer = Peer2::origin(peer);
        let mut login = Login::default();
        loop {
            match peer.next() {
                PeerEvent::Fields(id, head, _) => {
                    let name = scheme.header.to_ascii_lowercase();
                    let (status, lines, body) = login.respond(&scheme, value(&head, &name));
                    let mut fields = format!(":status: {status}\n");
                    for line in lines.lines() {
                        let (name, value) = line.split_once(':').unwrap();
                        fields += &format!("{}:{value}\n", name.to_ascii_lowercase());
                    }
                    peer.fields(id, &fields, false);
                    peer.data(id, body.as_bytes(), true);
                }
                PeerEvent::Closed => return,
                _ => {}
            }
        }
    })
}

enum HttpClient {
    Http1(Peer),
    Http2(Box<Peer2>),
}

impl HttpClient {
    fn new(bed: &ProxyFixture, http2: bool) -> HttpClient {
        if http2 {
            HttpClient::Http2(Box::new(Peer2::client(bed.client())))
        } else {
            HttpClient::Http1(bed.client())
        }
    }

    /// Returns status and body of the response to a request with a token as credentials.
    fn get(&mut self, scheme: &Scheme, token: Option<&str>) -> String {
        let credentials = token.map(|token| (scheme.header, format!("{} {token}", scheme.name)));
        match self {
            HttpClient::Http1(peer) => {
                let line = credentials
                    .map_or_else(String::new, |(name, value)| format!("{name}: {value}\r\n"));
                peer.ask(&format!("GET / HTTP/1.1\r\nHost: h\r\n{line}\r\n"))
            }
            HttpClient::Http2(peer) => {
                let line = credentials.map_or_else(String::new, |(name, value)| {
                    format!("{}: {value}\n", name.to_ascii_lowercase())
                });
                let stream = peer.fields(0, &(request("GET", "/") + &line), true);
                peer.answer(stream).brief()
            }
        }
    }

    fn sign_in(&mut self, scheme: &Scheme, name: &str) {
        let refused = format!("{} who are you?", scheme.status);
        assert_eq!(self.get(scheme, None), refused);
        assert_eq!(
            self.get(scheme, Some("T1")).trim(),
            scheme.status.to_string()
        );
        let token = format!("T3:{name}");
        assert_eq!(self.get(scheme, Some(&token)), format!("200 hello {name}"));
    }
}

/// Authenticates one client between requests of others, which must not share its connection.
fn signs_in_alone(bed: &ProxyFixture, scheme: &Scheme, http2: bool) {
    let refused = format!("{} who are you?", scheme.status);
    for round in 0..3 {
        let mut before = HttpClient::new(bed, http2);
        assert_eq!(before.get(scheme, None), refused, "round {round}");
        let mut alice = HttpClient::new(bed, http2);
        alice.sign_in(scheme, "alice");
        assert_eq!(alice.get(scheme, None), "200 hello alice");
        let mut after = HttpClient::new(bed, http2);
        for _ in 0..2 {
            assert_eq!(after.get(scheme, None), refused, "round {round}");
            assert_eq!(before.get(scheme, None), refused, "round {round}");
        }
        assert_eq!(alice.get(scheme, None), "200 hello alice");
        drop(alice);
        settle();
        assert_eq!(after.get(scheme, None), refused, "after the end of alice");
    }
}

#[test]
fn authenticated_connection_serves_only_its_client() {
    for (at, scheme) in SCHEMES.iter().enumerate() {
        let origin = authenticating(*scheme);
        for reuse in ["safe", "aggressive", "always", "never"] {
            let bed = ProxyFixture::new(&origin.behind("", &format!("http-reuse {reuse}")));
            for http2 in [false, true] {
                println!("scheme {at}, http-reuse {reuse}, HTTP/2 client {http2}");
                signs_in_alone(&bed, scheme, http2);
            }
        }
    }
}

#[test]
fn authenticated_http2_connection_serves_only_its_client() {
    for scheme in SCHEMES {
        let origin = authenticating_http2(*scheme);
        for reuse in ["safe", "always"] {
            let bed = ProxyFixture::new(&format!(
                "listen l\n bind 127.0.0.1:{{0}}\n http-reuse {reuse}\n \
                 server s 127.0.0.1:{} proto h2\n",
                origin.port
            ));
            for http2 in [false, true] {
                signs_in_alone(&bed, scheme, http2);
            }
        }
    }
}

#[test]
fn authenticated_connection_stays_on_its_thread() {
    let origin = authenticating(NTLM);
    let options = ServeOptions {
        threads: 4,
        connections_max: 20_000,
    };
    let bed = ProxyFixture::with(&origin.behind("", "http-reuse always"), &options);
    let mut users: Vec<HttpClient> = (0..8).map(|_| HttpClient::new(&bed, false)).collect();
    for (n, user) in users.iter_mut().enumerate() {
        user.sign_in(&NTLM, &format!("user{n}"));
    }
    for _ in 0..8 {
        let mut stranger = HttpClient::new(&bed, false);
        assert_eq!(stranger.get(&NTLM, None), "401 who are you?");
    }
    for (n, user) in users.iter_mut().enumerate() {
        assert_eq!(user.get(&NTLM, None), format!("200 hello user{n}"));
    }
}

#[test]
fn sign_in_stays_on_the_server_that_asked_for_it() {
    for balance in ["roundrobin", "static-rr", "leastconn", "random"] {
        let servers = [
            authenticating(NTLM),
            authenticating(NTLM),
            authenticating(NTLM),
        ];
        let mut text = format!("listen l\n bind 127.0.0.1:{{0}}\n balance {balance}\n");
        for (n, server) in servers.iter().enumerate() {
            text += &format!(" server s{n} 127.0.0.1:{}\n", server.port);
        }
        let bed = ProxyFixture::new(&text);
        for http2 in [false, true] {
            println!("{balance}, HTTP/2 client {http2}");
            for n in 0..6 {
                // Requests of other clients move the position of the algorithm in between.
                let mut others = [HttpClient::new(&bed, false), HttpClient::new(&bed, false)];
                let mut user = HttpClient::new(&bed, http2);
                let name = format!("user{n}");
                assert_eq!(user.get(&NTLM, None), "401 who are you?");
                others[0].get(&NTLM, None);
                assert_eq!(user.get(&NTLM, Some("T1")).trim(), "401");
                others[1].get(&NTLM, None);
                let token = format!("T3:{name}");
                assert_eq!(user.get(&NTLM, Some(&token)), format!("200 hello {name}"));
                for _ in 0..4 {
                    assert_eq!(user.get(&NTLM, None), format!("200 hello {name}"));
                }
            }
        }
    }
}

/// Creates a server that refuses with this line and names itself.
fn refusing(name: &'static str, line: &'static str) -> ScriptedOrigin {
    ScriptedOrigin::new(move |mut peer, number| {
        while peer.head().is_some() {
            let body = format!("{name}{number}");
            let length = body.len();
            if !peer.try_send(format!(
                "HTTP/1.1 401 X\r\n{line}\r\nContent-Length: {length}\r\n\r\n{body}"
            )) {
                return;
            }
        }
    })
}

#[test]
fn connection_that_asks_for_a_password_is_shared() {
    let origin = refusing("a", "WWW-Authenticate: Basic realm=\"NTLM, Negotiate\"");
    let bed = ProxyFixture::new(&origin.behind("", "http-reuse always"));
    for _ in 0..3 {
        assert_eq!(bed.client().ask(GET), "401 a0");
        settle();
    }
}

#[test]
fn refusal_without_authentication_of_the_connection_binds_nobody() {
    let refusals = [
        refusing("a", "WWW-Authenticate: Digest realm=\"x\""),
        refusing("b", "WWW-Authenticate: Digest realm=\"x\""),
    ];
    let [a, b] = refusals.each_ref().map(|origin| origin.port);
    let bed = ProxyFixture::new(&format!(
        "listen l\n bind 127.0.0.1:{{0}}\n server a 127.0.0.1:{a}\n server b 127.0.0.1:{b}\n"
    ));
    let mut client = bed.client();
    for expected in ["401 a0", "401 b0", "401 a0", "401 b0"] {
        assert_eq!(client.ask(GET), expected);
        settle();
    }
}

#[test]
fn credentials_without_a_challenge_bind_the_connection() {
    if against_haproxy() {
        // In HAProxy, only a response with status 401 or 407 binds a connection to its client.
        return;
    }
    let http1 = authenticating(NTLM);
    let http2 = authenticating_http2(NTLM);
    for (origin, options) in [(&http1, ""), (&http2, " proto h2")] {
        let bed = ProxyFixture::new(&format!(
            "listen l\n bind 127.0.0.1:{{0}}\n http-reuse always\n server s 127.0.0.1:{}{options}\n",
            origin.port
        ));
        for http2 in [false, true] {
            // A connection that serves other clients exists already.
            let mut other = HttpClient::new(&bed, http2);
            assert_eq!(other.get(&NTLM, None), "401 who are you?");
            let mut alice = HttpClient::new(&bed, http2);
            assert_eq!(alice.get(&NTLM, Some("ticket:alice")), "200 hello alice");
            settle();
            for user in [&mut other, &mut HttpClient::new(&bed, http2)] {
                assert_eq!(user.get(&NTLM, None), "401 who are you?");
            }
            assert_eq!(alice.get(&NTLM, None), "200 hello alice");
        }
    }
}

#[test]
fn rules_about_the_response_do_not_unbind_the_connection() {
    let origin = authenticating(NTLM);
    for rule in [
        "http-response set-status 200",
        "http-response del-header www-authenticate",
        "http-after-response del-header www-authenticate",
    ] {
        let bed = ProxyFixture::new(&origin.behind("", &format!("http-reuse always\n {rule}")));
        let mut alice = bed.client();
        alice.ask(GET);
        for token in ["T1", "T3:alice"] {
            let line = format!("Authorization: NTLM {token}\r\n");
            alice.ask(&GET.replace("\r\n\r\n", &format!("\r\n{line}\r\n")));
        }
        assert_eq!(alice.ask(GET), "200 hello alice", "{rule}");
        settle();
        let other = bed.client().ask(GET);
        assert!(other.ends_with("who are you?"), "{rule}: {other}");
    }
}

#[test]
fn reload_during_a_sign_in_keeps_its_connection() {
    if against_haproxy() {
        return;
    }
    let origin = authenticating(NTLM);
    let (_files, tls) = secure(&origin);
    let tls = tls
        .replace("{0}", "{3}")
        .replace("{2}", "127.0.0.9:{2}")
        .replace("127.0.0.1:127.0.0.9", "127.0.0.9")
        .replace("frontend front", "frontend tls");
    let direct = origin.behind("", "");
    let secured = format!(
        "frontend front\n bind 127.0.0.1:{{0}}\n default_backend over-tls\n\
         backend over-tls\n server s 127.0.0.1:{{3}} ssl verify none sni str(localhost)\n{tls}"
    );
    for text in [direct, secured] {
        let mut bed = ProxyFixture::new(&text);
        for http2 in [false, true] {
            let mut alice = HttpClient::new(&bed, http2);
            let mut other = HttpClient::new(&bed, http2);
            let changed = |bed: &mut ProxyFixture, n: u32| {
                bed.change(&format!("{text}\nbackend unused{n}\n"));
            };
            assert_eq!(alice.get(&NTLM, None), "401 who are you?");
            changed(&mut bed, 1);
            assert_eq!(alice.get(&NTLM, Some("T1")).trim(), "401");
            changed(&mut bed, 2);
            assert_eq!(other.get(&NTLM, None), "401 who are you?");
            assert_eq!(alice.get(&NTLM, Some("T3:alice")), "200 hello alice");
            changed(&mut bed, 3);
            assert_eq!(alice.get(&NTLM, None), "200 hello alice");
            assert_eq!(other.get(&NTLM, None), "401 who are you?");
        }
    }
}

#[test]
fn process_that_stops_lets_a_sign_in_finish() {
    if against_haproxy() {
        return;
    }
    let origin = authenticating(NTLM);
    let mut bed = ProxyFixture::new(&origin.behind("", ""));
    let mut alice = HttpClient::new(&bed, false);
    assert_eq!(alice.get(&NTLM, None), "401 who are you?");
    let running = bed.ours().take().unwrap();
    running.soft_stop();
    assert_eq!(alice.get(&NTLM, Some("T1")).trim(), "401");
    assert_eq!(alice.get(&NTLM, Some("T3:alice")), "200 hello alice");
    let HttpClient::Http1(mut alice) = alice else {
        unreachable!()
    };
    assert_eq!(alice.ends(), "FIN");
    running.wait().unwrap();
}

#[test]
fn response_to_a_challenge_is_not_sent_on_another_connection() {
    if against_haproxy() {
        return;
    }
    // The server closes each connection when it receives the response to its challenge.
    let origin = ScriptedOrigin::new(|mut peer, _| {
        let mut login = Login::default();
        while let Some(head) = peer.head() {
            let credentials = value(&head, NTLM.header);
            if credentials.is_some_and(|text| text.contains("T3")) {
                return;
            }
            let (status, lines, body) = login.respond(&NTLM, credentials);
            let length = body.len();
            peer.send(format!(
                "HTTP/1.1 {status} X\r\n{lines}Content-Length: {length}\r\n\r\n{body}"
            ));
        }
    });
    for back in ["", "retry-on all-retryable-errors\n retries 3"] {
        let bed = ProxyFixture::new(&origin.behind("", back));
        let before = origin.accepted();
        let mut alice = bed.client();
        alice.ask(GET);
        alice.ask(&GET.replace("\r\n\r\n", "\r\nAuthorization: NTLM T1\r\n\r\n"));
        alice.send(GET.replace("\r\n\r\n", "\r\nAuthorization: NTLM T3:alice\r\n\r\n"));
        // The client restarts the authentication, as on a direct connection.
        assert_eq!(alice.ends(), "FIN", "{back}");
        assert_eq!(origin.accepted(), before + 1, "{back}");
    }
}

#[test]
fn other_requests_of_an_http2_client_do_not_disturb_its_sign_in() {
    if against_haproxy() {
        return;
    }
    let origin = authenticating(NTLM);
    let bed = ProxyFixture::new(&origin.behind("", ""));
    let mut alice = HttpClient::new(&bed, true);
    assert_eq!(alice.get(&NTLM, None), "401 who are you?");
    assert_eq!(alice.get(&NTLM, Some("T1")).trim(), "401");
    for _ in 0..20 {
        assert_eq!(alice.get(&NTLM, None), "401 who are you?");
    }
    assert_eq!(alice.get(&NTLM, Some("T3:alice")), "200 hello alice");
}

#[test]
fn sign_in_waits_for_its_server_when_that_is_full() {
    let gate = Gate::default();
    let held = gate.clone();
    let servers = [NTLM; 2].map(|scheme| {
        let held = held.clone();
        ScriptedOrigin::new(move |mut peer, _| {
            let mut login = Login::default();
            while let Some(head) = peer.head() {
                if head.starts_with("GET /slow ") {
                    held.pass();
                }
                let (status, lines, body) = login.respond(&scheme, value(&head, scheme.header));
                let length = body.len();
                if !peer.try_send(format!(
                    "HTTP/1.1 {status} X\r\n{lines}Content-Length: {length}\r\n\r\n{body}"
                )) {
                    return;
                }
            }
        })
    });
    let [a, b] = servers.each_ref().map(|origin| origin.port);
    let bed = ProxyFixture::new(&format!(
        "listen l\n bind 127.0.0.1:{{0}}\n server a 127.0.0.1:{a} maxconn 1\n \
         server b 127.0.0.1:{b} maxconn 1\n"
    ));
    let mut alice = bed.client();
    assert!(alice.ask(GET).starts_with("401"));
    let token = |token: &str| {
        GET.replace(
            "\r\n\r\n",
            &format!("\r\nAuthorization: NTLM {token}\r\n\r\n"),
        )
    };
    assert!(alice.ask(&token("T1")).starts_with("401"));
    let mut slow = [bed.client(), bed.client()];
    slow[0].send(GET.replace("/", "/slow").replace("HTTP/slow", "HTTP/"));
    settle();
    slow[1].send(GET.replace("/", "/slow").replace("HTTP/slow", "HTTP/"));
    settle();
    alice.send(token("T3:alice"));
    settle();
    gate.open();
    assert_eq!(alice.answer().body, b"hello alice");
}

#[test]
fn connection_is_reused_only_with_the_same_property() {
    // A server's options, lines of its backend, and whether HAProxy 2.6 knows them.
    for (options, lines, known) in [
        ("ssl verify none sni req.hdr(x-p)", "", true),
        ("pool-conn-name req.hdr(x-p)", "", false),
        (
            "",
            "http-request set-bc-tos 0x20 if { req.hdr(x-p) b }",
            false,
        ),
        (
            "send-proxy",
            "http-request set-src req.hdr(x-p),map(/dev/null,192.0.2.1) if { req.hdr(x-p) b }",
            true,
        ),
    ] {
        if against_haproxy() && !known {
            continue;
        }
        let proxied = options == "send-proxy";
        let origin = ScriptedOrigin::new(move |mut peer, _| {
            if proxied {
                peer.until("\r\n");
            }
            while peer.head().is_some() {
                if !peer.try_send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") {
                    return;
                }
            }
        });
        let (_files, tls) = secure(&origin);
        let port = if options.starts_with("ssl") {
            "{3}".to_owned()
        } else {
            origin.port.to_string()
        };
        let tls = tls
            .replace("{0}", "{3}")
            .replace("frontend front", "frontend tls");
        let bed = ProxyFixture::new(&format!(
            "frontend front\n bind 127.0.0.1:{{0}}\n default_backend tried\n\
             backend tried\n http-reuse always\n {lines}\n server s 127.0.0.1:{port} {options}\n{tls}"
        ));
        let mut client = bed.client();
        for property in ["a", "b", "a", "b", "a"] {
            let line = format!("\r\nX-P: {property}\r\n\r\n");
            assert_eq!(client.ask(&GET.replace("\r\n\r\n", &line)), "200 ");
            settle();
        }
        let counted = bed.counted("tried/s", "connect reuse");
        assert_eq!(counted, "connect=2 reuse=3", "{options} {lines}");
    }
}
