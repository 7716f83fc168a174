//! Tests check scripts as lines of a file, run against responses without a socket. The expected
//! results were taken from haproxy 2.6.12 on the same bytes.

use crate::testing::load_text;
use model::check::expect::INFO_MAX;
use model::check::play::{Next, Outgoing, Play};
use model::check::scene::Subject;
use model::config::{Config, ProxyIndex, ServerIndex};
use model::state::{CheckResult, CheckStatus};
use std::sync::Arc;

/// Behaviour of the peer at each read.
#[derive(Clone, Copy)]
pub(crate) enum Says {
    Bytes(&'static [u8]),
    End,
    Nothing,
    Refused,
}

use Says::{Bytes, End, Nothing, Refused};

fn config(lines: &str) -> Arc<Config> {
    let text = format!(
        "listen x\nbind 127.0.0.1:1\nbackend b\n{lines}\nserver s 127.0.0.1:80 check verify none\n"
    );
    let loaded = load_text(&text);
    let told: Vec<_> = loaded.diagnostics.iter().map(|d| d.code.id).collect();
    Arc::new(loaded.config.unwrap_or_else(|| panic!("{lines}: {told:?}")))
}

/// Runs the check of backend `b` against a peer, and returns the bytes that the check sent, with
/// marks for connections, and its result.
fn played(lines: &str, talk: &[Says]) -> (Vec<u8>, CheckResult) {
    let config = config(lines);
    let backend = config.proxies.iter().position(|p| &*p.name == "b");
    let backend = ProxyIndex(backend.expect("the backend") as u32);
    let script = Arc::clone(&config.proxy(backend).check.script);
    let subject = Subject {
        config,
        backend,
        server: ServerIndex(0),
    };
    let mut play = Play::new(&script, subject, None, false);
    let mut sent = Vec::new();
    let mut talk = talk.iter();
    // Limits the steps: no script of these tests has more.
    for _ in 0..64 {
        match play.next_step() {
            Next::Verdict(result) => return (sent, result),
            Next::Connect(connect, port) => {
                if matches!(talk.as_slice().first(), Some(Refused)) {
                    let status = CheckStatus::Layer4Error;
                    return (sent, play.failed(status, "Connection refused"));
                }
                if !sent.is_empty() || port.is_some() {
                    sent.extend_from_slice(format!("<{}>", port.unwrap_or(0)).as_bytes());
                }
                play.connected(connect.tls);
            }
            Next::Send(Outgoing::Bytes(bytes)) => {
                sent.extend_from_slice(&bytes);
                play.done();
            }
            Next::Send(Outgoing::Http(request)) => {
                sent.extend_from_slice(&request.write());
                play.done();
            }
            Next::Receive => match talk.next() {
                Some(Bytes(bytes)) => play.received(bytes),
                Some(End) => play.received(b""),
                Some(Refused) => return (sent, play.failed(CheckStatus::Layer4Error, "refused")),
                Some(Nothing) | None => return (sent, play.timed_out(None)),
            },
        }
    }
    panic!("{lines}: no end");
}

type Case = (&'static str, &'static [Says], &'static str);

fn told(lines: &str, talk: &[Says]) -> String {
    let (_, result) = played(lines, talk);
    format!("{} {} {}", result.status.code(), result.code, result.info)
}

fn all(option: &str, cases: &[Case]) {
    for (lines, talk, want) in cases {
        let lines = format!("{option}\n{lines}");
        assert_eq!(told(&lines, talk), *want, "{lines}");
    }
}

const ERR: &[Says] = &[Bytes(b"-ERR and more\r\n")];
const OK: &[Says] = &[Bytes(b"+OK and more\r\n")];
const SCRIPTS: &[Case] = &[
    ("", &[], "L4OK 0 "),
    ("tcp-check connect", &[], "L4OK 0 (tcp-check)"),
    ("tcp-check set-var(check.a) int(1)", &[], "L4OK 0 "),
    ("tcp-check send hello", &[], "L7OK 0 (tcp-check)"),
    ("tcp-check expect string +OK", OK, "L7OK 0 (tcp-check)"),
    (
        "tcp-check expect string +OK comment greeting",
        ERR,
        "L7TOUT 0  at step 1 of tcp-check (expect string '+OK') comment: 'greeting'",
    ),
    (
        "tcp-check comment PING\ntcp-check send PING\ntcp-check expect rstring ^.OK",
        &[Nothing],
        "L7TOUT 0  at step 3 of tcp-check (expect regex)",
    ),
    (
        "tcp-check expect tout-status L4TOUT binary 4142",
        &[],
        "L4TOUT 0  at step 1 of tcp-check (expect binary 'AB')",
    ),
    (
        "tcp-check expect min-recv 0 string +OK",
        ERR,
        "L7RSP 0 TCPCHK did not match content '+OK' at step 1",
    ),
    (
        "tcp-check send x\ntcp-check expect string +OK",
        &[Bytes(b"-ERR"), End],
        "L7RSP 0 TCPCHK did not match content '+OK' at step 2",
    ),
    (
        "tcp-check expect comment zz !string ERR",
        ERR,
        "L7RSP 0 TCPCHK matched unwanted content 'ERR' at step 1 comment: zz",
    ),
    (
        "tcp-check expect ! rstring ERR",
        ERR,
        "L7RSP 0 TCPCHK matched unwanted content (regex) at step 1",
    ),
    (
        "tcp-check expect ! string OK",
        &[Bytes(b"-E"), End],
        "L7OK 0 (tcp-check)",
    ),
    (
        "tcp-check expect rbinary ^2D455252",
        ERR,
        "L7OK 0 (tcp-check)",
    ),
    (
        "tcp-check expect min-recv 0 binary-lf 41%[str(42)]",
        ERR,
        "L7RSP 0 TCPCHK did not match content (log-format binary) at step 1",
    ),
    (
        "tcp-check expect comment cc string x",
        &[End],
        "L7RSP 0 TCPCHK got an empty response at step 1 comment: 'cc'",
    ),
    (
        "tcp-check expect min-recv 0 on-error err:%[res.payload(0,4)] error-status L7STS status-code int(42) string +OK",
        ERR,
        "L7STS 42 err:-ERR",
    ),
    (
        "tcp-check expect on-success fine:%[res.payload(0,3)] ok-status L6OK string +OK",
        OK,
        "L6OK 0 fine:+OK",
    ),
    (
        "tcp-check send-binary-lf 4",
        &[],
        "L7RSP 0 tcp-check send : failed to build log-format string at step 1",
    ),
];

#[test]
fn what_a_script_comes_to_is_told_with_its_step() {
    all("option tcp-check", SCRIPTS);
}

#[test]
fn a_refused_connection_is_told_with_its_step_in_tcp_check_alone() {
    for (lines, want) in [
        (
            "option tcp-check\ntcp-check expect string x",
            "L4CON 0 Connection refused at initial connection step of tcp-check",
        ),
        (
            "option tcp-check\ntcp-check set-var(check.a) int(3)\ntcp-check connect port 2 comment here",
            "L4CON 0 Connection refused at step 2 of tcp-check (connect port 2) comment: 'here'",
        ),
        ("option tcp-check", "L4CON 0 Connection refused"),
        ("option httpchk", "L4CON 0 Connection refused"),
        ("option redis-check", "L4CON 0 Connection refused"),
    ] {
        assert_eq!(told(lines, &[Refused]), want, "{lines}");
    }
}

#[test]
fn steps_follow_each_other_on_connections_of_their_own() {
    let lines = "option tcp-check\ntcp-check set-var(check.p) int(8080)\n\
                 tcp-check connect port var(check.p)\ntcp-check set-var-fmt(check.b) x%[var(check.p)]y\n\
                 tcp-check send-lf %[var(check.b)]\ntcp-check expect string one\n\
                 tcp-check connect port 9\ntcp-check unset-var(check.b)\ntcp-check send-lf z%[var(check.b)]z\n\
                 tcp-check expect min-recv 1 string one";
    let (sent, result) = played(lines, &[Bytes(b"one"), Bytes(b"two")]);
    assert_eq!(sent, b"<8080>x8080y<9>zz");
    // Data of the first connection does not count for the second.
    assert_eq!(result.info, "TCPCHK did not match content 'one' at step 9");
}

const FINE: &[u8] =
    b"HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nX-A: one, two\r\nSet-Cookie: a=b\r\n\r\nhello";
const BAD: &[u8] = b"HTTP/1.1 500 Bad thing\r\nContent-Length: 5\r\n\r\nhello";

const HTTP_ANSWERS: &[Case] = &[
    ("", &[Bytes(FINE)], "L7OK 200 "),
    ("", &[Bytes(BAD)], "L7STS 500 Bad thing"),
    ("", &[Bytes(b"HTTP/1.0 200 O"), End], "L7RSP 0 "),
    ("", &[End], "L7RSP 0 "),
    ("", &[], "L7TOUT 0 "),
    (
        "http-check expect string hello",
        &[Bytes(FINE)],
        "L7OK 200 ",
    ),
    (
        "http-check expect string nope comment zz",
        &[Bytes(FINE)],
        "L7RSP 200 HTTP content check did not match comment: zz",
    ),
    (
        "http-check expect ! string hello",
        &[Bytes(FINE)],
        "L7RSP 200 HTTP check matched unwanted content",
    ),
    (
        "http-check expect comment cc status 201",
        &[Bytes(FINE)],
        "L7STS 200 Fine comment: cc",
    ),
    (
        "http-check expect ! rstatus ^2",
        &[Bytes(FINE)],
        "L7STS 200 Fine",
    ),
    (
        "http-check expect hdr name x-A value two",
        &[Bytes(FINE)],
        "L7OK 200 ",
    ),
    (
        "http-check expect hdr name x-A value three",
        &[Bytes(FINE)],
        "L7STS 200 Fine",
    ),
    (
        "http-check expect fhdr name -m beg X- value -m sub \"one, t\"",
        &[Bytes(FINE)],
        "L7OK 200 ",
    ),
    (
        "http-check set-var(check.n) str(x-a)\nhttp-check expect hdr name-lf %[var(check.n)] value-lf t%[str(wo)]",
        &[Bytes(FINE)],
        "L7OK 200 ",
    ),
    (
        "http-check expect string-lf h%[str(ello)]",
        &[Bytes(FINE)],
        "L7OK 200 ",
    ),
    (
        "http-check expect on-error \"e %[status] %[res.hdr(x-a)]\" status-code status,add(1) status 300",
        &[Bytes(FINE)],
        "L7STS 201 e 200 two",
    ),
    (
        "http-check expect error-status L7OKC status 300",
        &[Bytes(BAD)],
        "L7OKC 500 Bad thing",
    ),
    (
        "http-check expect on-success hum status 200\nhttp-check set-var(check.a) int(3)",
        &[Bytes(FINE)],
        "L7OK 0 hum",
    ),
    (
        "http-check expect status 200\nhttp-check expect string nope",
        &[Bytes(FINE)],
        "L7RSP 200 HTTP content check did not match",
    ),
];

#[test]
fn answers_of_http_are_judged_as_by_haproxy() {
    all("option httpchk", HTTP_ANSWERS);
}

#[test]
fn requests_are_those_that_haproxy_sends() {
    for (lines, want) in [
        ("option httpchk", "OPTIONS / HTTP/1.0||"),
        ("option httpchk /foo", "OPTIONS /foo HTTP/1.0||"),
        (
            "option httpchk GET /foo HTTP/1.1",
            "GET /foo HTTP/1.1|connection: close||",
        ),
        (
            r"option httpchk HEAD /a HTTP/1.1\r\nHost:\ w\r\nX-Y:\ z",
            "HEAD /a HTTP/1.1|host: w|x-y: z|connection: close||",
        ),
        (
            "option httpchk\nhttp-check send meth POST uri /p ver HTTP/1.1 hdr Host h.example hdr X 1 body hello",
            "POST /p HTTP/1.1|host: h.example|x: 1|content-length: 5|connection: close||hello",
        ),
        (
            "option httpchk\nhttp-check send meth PUT uri /p body hello",
            "PUT /p HTTP/1.0|content-length: 5||hello",
        ),
        (
            "option httpchk GET /a\nhttp-check send ver HTTP/1.1",
            "GET /a HTTP/1.1|connection: close||",
        ),
        (
            "option httpchk GET /a\nhttp-check connect",
            "GET /a HTTP/1.0||",
        ),
        (
            "option httpchk GET http://foo/bar HTTP/1.1\nhttp-check send hdr Host zzz",
            "GET http://zzz/bar HTTP/1.1|host: zzz|connection: close||",
        ),
        (
            "option httpchk\nhttp-check send ver HTTP/1.1 hdr Connection keep-alive hdr Transfer-Encoding chunked body xx",
            "OPTIONS / HTTP/1.1|content-length: 2||xx",
        ),
        (
            "option httpchk\nhttp-check send uri-lf /b%[int(3)] hdr X-T a%[srv_name] body-lf B%[be_name]",
            "OPTIONS /b3 HTTP/1.0|x-t: as|content-length: 2||Bb",
        ),
        (
            "option httpchk\nhttp-check connect\nhttp-check send uri /1\nhttp-check expect status 200\n\
             http-check connect port 81\nhttp-check send uri /2",
            "OPTIONS /1 HTTP/1.0||<81>OPTIONS /2 HTTP/1.0||",
        ),
    ] {
        let (sent, result) = played(lines, &[Bytes(FINE), Bytes(FINE)]);
        let sent = String::from_utf8_lossy(&sent).replace("\r\n", "|");
        assert_eq!(sent, want, "{lines}");
        assert_eq!(result.status, CheckStatus::Layer7Ok, "{lines}");
    }
}

const HELLO: &[Says] = &[
    Bytes(b"220 hi\r\n"),
    Bytes(b"250-hello\r\n"),
    Bytes(b"250 X\r\n"),
    Bytes(b"221 bye\r\n"),
];

const PROTOCOLS: &[Case] = &[
    ("option smtpchk EHLO a", HELLO, "L7OK 221 bye"),
    (
        "option smtpchk",
        &[Bytes(b"421 busy\r\n")],
        "L7STS 421 busy",
    ),
    ("option smtpchk", &[Bytes(b"22x bu\r\n")], "L7RSP 0 22x bu"),
    (
        "option smtpchk",
        &[Bytes(b"220-hi\r\n220 x\r\n")],
        "L7RSP 0 220-hi",
    ),
    (
        "option smtpchk",
        &[End],
        "L7RSP 0 TCPCHK got an empty response at step 2",
    ),
    ("option smtpchk", &[Bytes(b"2")], "L7TOUT 0 "),
    (
        "option smtpchk",
        &[Bytes(b"220 a\r\n"), End],
        "L7STS 0 TCPCHK got an empty response at step 5",
    ),
    (
        "option redis-check",
        &[Bytes(b"+PONG\r\n")],
        "L7OK 0 Redis server is ok",
    ),
    ("option redis-check", &[Bytes(b"-ERR no\r\n")], "L7TOUT 0 "),
    (
        "option redis-check",
        &[End],
        "L7STS 0 TCPCHK got an empty response at step 2",
    ),
    (
        "option pgsql-check user u",
        &[Bytes(b"R\0\0\0\x08\0\0\0\x0a")],
        "L7OK 0 PostgreSQL server is ok",
    ),
    (
        "option pgsql-check user u",
        &[Bytes(b"R\0\0\0\x08\0\0\0\x01")],
        "L7STS 0 PostgreSQL unknown error",
    ),
    (
        "option pgsql-check user u",
        &[Bytes(b"E\0\0\0\x20SFATAL\0C28000\0\0")],
        "L7RSP 0 FATAL",
    ),
    (
        "option pgsql-check user u",
        &[End],
        "L7RSP 0 TCPCHK got an empty response at step 3",
    ),
];

#[test]
fn mail_redis_and_postgresql_servers_are_asked_in_their_own_words() {
    let (sent, _) = played("option smtpchk EHLO my.host", HELLO);
    assert_eq!(sent, b"EHLO my.host\r\nQUIT\r\n");
    let (sent, _) = played("option smtpchk", &[]);
    assert_eq!(sent, b"");
    let (sent, _) = played("option redis-check", &[]);
    assert_eq!(sent, b"*1\r\n$4\r\nPING\r\n");
    let (sent, _) = played("option pgsql-check user bob", &[]);
    assert_eq!(sent, b"\0\0\0\x12\0\x03\0\0user\0bob\0\0");
    all("", PROTOCOLS);
}

const GREETING: &[u8] = b"\x11\0\0\0\x0a5.5.5-10.3\0\x01\0\0\0a";

#[test]
fn mysql_servers_greet_or_take_a_login() {
    let (sent, _) = played("option mysql-check user bob pre-41", &[]);
    assert_eq!(sent, b"\x0a\0\0\x01\0\x80\0\0\x01bob\0\0\x01\0\0\0\x01");
    let (sent, _) = played("option mysql-check user bob", &[]);
    let login = [
        &b"%\0\0\x01\0\x82\0\0\0\x80\0\x01!"[..],
        &[0; 23],
        b"bob\0\0\x01\0\0\0\x01",
    ];
    assert_eq!(sent, login.concat());
    const DENIED: &[u8] = b"\x0a\0\0\x02\xff\x15\x04#28000N";
    all(
        "",
        &[
            (
                "option mysql-check",
                &[Bytes(GREETING)],
                "L7OK 0 5.5.5-10.3",
            ),
            (
                "option mysql-check",
                &[Bytes(b"\x09\0\0\0\xff\x69\x04Host n")],
                "L7STS 1129 Host n",
            ),
            (
                "option mysql-check",
                &[Bytes(b"HTTP/1.1 400 Bad")],
                "L7TOUT 0 ",
            ),
            ("option mysql-check", &[Bytes(b"\x4a\0\0")], "L7TOUT 0 "),
            (
                "option mysql-check",
                &[End],
                "L7RSP 0 TCPCHK got an empty response at step 2",
            ),
            (
                "option mysql-check user bob",
                &[Bytes(GREETING), Bytes(b"\x07\0\0\x02\0\0\0\x02\0\0\0")],
                "L7OK 0 5.5.5-10.3",
            ),
            (
                "option mysql-check user bob",
                &[Bytes(GREETING), Bytes(DENIED)],
                "L7STS 1045 #28000N",
            ),
        ],
    );
}

#[test]
fn ldap_and_spop_servers_are_asked_in_messages() {
    let (sent, _) = played("option ldap-check", &[]);
    assert_eq!(sent, b"0\x0c\x02\x01\x01`\x07\x02\x01\x03\x04\0\x80\0");
    let (sent, _) = played("option spop-check", &[]);
    assert_eq!(
        sent,
        b"\0\0\0N\x01\0\0\0\x01\0\0\x12supported-versions\x08\x032.0\x0emax-frame-size\x03\
          \xfc\xf0\x06\x0ccapabilities\x08\0\x0bhealthcheck\x11"
    );
}

#[test]
fn ldap_and_spop_servers_answer_in_messages() {
    const SIZED: &[u8] =
        b"\0\0\0\x27\x65\0\0\0\x01\0\0\x07version\x08\x032.0\x0emax-frame-size\x03\xfc\xf0\x06";
    const FIRST: &[u8] =
        b"\0\0\0\x27\x65\0\0\0\x01\0\0\x07version\x08\x031.0\x0emax-frame-size\x03\xfc\xf0\x06";
    all(
        "",
        &[
            (
                "option ldap-check",
                &[Bytes(b"0\x0c\x02\x01\x01a\x07\x0a\x01\0\x04\0\x04\0")],
                "L7OK 0 Success",
            ),
            (
                "option ldap-check",
                &[Bytes(
                    b"0\x84\0\0\0\x10\x02\x01\x01a\x84\0\0\0\x07\x0a\x01\0\x04\0\x04\0",
                )],
                "L7OK 0 Success",
            ),
            (
                "option ldap-check",
                &[Bytes(b"0\x0c\x02\x01\x01a\x07\x0a\x01\x31\x04\0\x04\0")],
                "L7STS 49 See RFC: http://tools.ietf.org/html/rfc4511#section-4.1.9",
            ),
            (
                "option ldap-check",
                &[Bytes(b"HTTP/1.1 400 Bad request")],
                "L7RSP 0 Not LDAPv3 protocol",
            ),
            (
                "option spop-check",
                &[Bytes(SIZED)],
                "L7OK 0 SPOA server is ok",
            ),
            (
                "option spop-check",
                &[Bytes(FIRST)],
                "L7RSP 0 unsupported version",
            ),
            (
                "option spop-check",
                &[Bytes(b"\0\0\0\x14\x65\0\0\0\x01\0\0\x07version\x08\x032.0")],
                "L7RSP 0 max-frame-size value not found",
            ),
            (
                "option spop-check",
                &[Bytes(b"\0\0\0\x07\x66\0\0\0\x01\0\0")],
                "L7RSP 0 normal",
            ),
            (
                "option spop-check",
                &[Bytes(
                    b"\0\0\0\x15\x66\0\0\0\x01\0\0\x0bstatus-code\x03\x08",
                )],
                "L7RSP 0 unsupported version",
            ),
            (
                "option spop-check",
                &[Bytes(b"\0\0\0\x07\x01\0\0\0\x01\0\0")],
                "L7RSP 0 invalid frame received",
            ),
            ("option spop-check", &[Bytes(b"HTTP/1.1 400")], "L7TOUT 0 "),
        ],
    );
}

#[test]
fn no_bytes_that_come_end_a_check_badly() {
    let options = [
        "option smtpchk",
        "option mysql-check user bob",
        "option pgsql-check user bob",
        "option redis-check",
        "option ldap-check",
        "option spop-check",
        "option ssl-hello-chk",
        "option httpchk\nhttp-check expect string x",
    ];
    let seeds: [&[u8]; 6] = [
        GREETING,
        FINE,
        b"0\x84\xff\xff\xff\xff\x02\x01\x01a\x84\xff\xff\xff\xff\x0a\x09\0",
        b"\0\0\0\x27\x65\0\0\0\x01\0\0\x07version\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f2.0",
        b"\xff\xff\xff\0\xff",
        b"220-a\r\n220-b\r\n",
    ];
    for lines in options {
        for seed in seeds {
            for cut in 0..=seed.len() {
                // The text of a talk lives as long as the test's process.
                let bytes: &'static [u8] = Box::leak(seed[..cut].to_vec().into_boxed_slice());
                let (_, result) = played(lines, &[Bytes(bytes), End, End]);
                assert!(result.info.len() <= 4 * INFO_MAX, "{lines}");
            }
        }
    }
}
