//! Tests the line rules of HAProxy 1.x on streams from raw bytes.

use crate::testing::load_text;
use http::message::HttpMessage;
use model::config::{Config, ProxyIndex};
use model::rules::{MessageVerdict, http_request, http_response};
use model::transaction::{ProxyStream, sample};
use std::sync::Arc;

fn config(lines: &str) -> Arc<Config> {
    let text = format!(
        "listen web\nmode http\nbind 127.0.0.1:1\n{lines}\nbackend other\nmode http\nserver a 127.0.0.1:2\n"
    );
    let loaded = load_text(&text);
    let told: Vec<&str> = loaded.diagnostics.iter().map(|d| &*d.message).collect();
    Arc::new(loaded.config.unwrap_or_else(|| panic!("{lines}: {told:?}")))
}

fn with(lines: &str, mut stream: ProxyStream) -> ProxyStream {
    stream.config = config(lines);
    stream.route.frontend = ProxyIndex(0);
    stream.route.backend = None;
    stream.route.rare = stream.frontend().rare;
    stream
}

const REQUEST: &[u8] = b"GET /a/b?c=d HTTP/1.1\r\nHost: h\r\nX-List: a\r\nx-list: b\r\nUser-Agent: curl/7\r\nContent-Length: 3\r\n\r\n";

fn request_of(lines: &str, bytes: &[u8]) -> (ProxyStream, MessageVerdict) {
    let mut stream = with(lines, sample::request(bytes));
    stream
        .rules
        .lines
        .get_or_insert_default()
        .request
        .read(bytes);
    let verdict = http_request(&mut stream, false);
    (stream, verdict)
}

fn head(message: &HttpMessage) -> String {
    let mut out = Vec::new();
    message.write_http1(&mut out);
    String::from_utf8_lossy(&out).replace("\r\n", "|")
}

fn passed(lines: &str) -> String {
    let (stream, verdict) = request_of(lines, REQUEST);
    assert!(
        matches!(verdict, MessageVerdict::Continue),
        "{lines}: {verdict:?}"
    );
    head(&stream.request)
}

fn status(verdict: &MessageVerdict) -> u16 {
    match verdict {
        MessageVerdict::Answer(reply) => reply.head.status(),
        MessageVerdict::Tarpit(reply) => 1000 + reply.head.status(),
        _ => 0,
    }
}

#[test]
fn requests_are_seen_as_lines_and_rewritten_line_by_line() {
    let rest = "host: h|x-list: a|x-list: b|user-agent: curl/7|content-length: 3||";
    let longer = format!("GET /a/b?c=d HTTP/1.1|{}", rest.trim_end_matches('|'));
    let rows = [
        ("reqrep ^([^\\ ]*)\\ /a/(.*) \\1\\ /\\2", format!("GET /b?c=d HTTP/1.1|{rest}")),
        ("reqrep ^GET POST", String::new()),
        ("reqrep ^GET\\ (.*) POST\\ \\1", format!("POST /a/b?c=d HTTP/1.1|{rest}")),
        ("reqrep ^get\\ (.*) POST\\ \\1", format!("GET /a/b?c=d HTTP/1.1|{rest}")),
        ("reqirep ^get\\ (.*) POST\\ \\1", format!("POST /a/b?c=d HTTP/1.1|{rest}")),
        // A rule does not change the version of HTTP.
        ("reqrep ^(.*)HTTP/1.1$ \\1HTTP/1.0", format!("GET /a/b?c=d HTTP/1.1|{rest}")),
        // Names are as they were received.
        ("reqdel ^X-List:", "GET /a/b?c=d HTTP/1.1|host: h|x-list: b|user-agent: curl/7|content-length: 3||".into()),
        ("reqidel ^x-list:", "GET /a/b?c=d HTTP/1.1|host: h|user-agent: curl/7|content-length: 3||".into()),
        ("reqidel ^x-list:\\ b", "GET /a/b?c=d HTTP/1.1|host: h|x-list: a|user-agent: curl/7|content-length: 3||".into()),
        ("reqirep ^(X-List:)(.*) X-Other:\\2", "GET /a/b?c=d HTTP/1.1|host: h|x-other: a|x-other: b|user-agent: curl/7|content-length: 3||".into()),
        // A rule that matches the start line does not change header lines.
        ("reqrep ^(.*)a(.*) \\1A\\2", "GET /A/b?c=d HTTP/1.1|host: h|x-list: a|x-list: b|user-agent: curl/7|content-length: 3||".into()),
        ("reqadd X-New:\\ 1\nreqrep ^X-New:\\ 1 X-New:\\ 2\nreqadd X-Two:\\ %b if { path /a/b }", format!("GET /a/b?c=d HTTP/1.1|{}x-new: 1|x-two: %b||", &rest[..rest.len() - 1])),
        ("reqdel .", "GET /a/b?c=d HTTP/1.1|content-length: 3||".into()),
        ("reqirep ^User-Agent:\\ (.*) User-Agent:\\ \\1\\nX-Agent:\\ \\1\\r\\nX-More:\\ 1", format!("{longer}|x-agent: curl/7|x-more: 1||")),
        ("reqrep ^GET\\ (.*) GET\\ \\1\\nX-Seen:\\ yes", format!("{longer}|x-seen: yes||")),
        ("reqrep ^Host:.* Host:\\ \\x41\\\\\\\\1", "GET /a/b?c=d HTTP/1.1|x-list: a|x-list: b|user-agent: curl/7|content-length: 3|host: A\\1||".into()),
        ("http-request set-header x-list c\nreqrep ^x-list:\\ c x-list:\\ d", "GET /a/b?c=d HTTP/1.1|host: h|user-agent: curl/7|content-length: 3|x-list: c||".into()),
        ("http-request set-header x-list c\nreqirep ^x-list:\\ c x-list:\\ d", "GET /a/b?c=d HTTP/1.1|host: h|user-agent: curl/7|content-length: 3|x-list: d||".into()),
    ];
    for (lines, expected) in rows {
        if expected.is_empty() {
            let (_, verdict) = request_of(lines, REQUEST);
            assert_eq!(status(&verdict), 400, "{lines}");
        } else {
            assert_eq!(passed(lines), expected, "{lines}");
        }
    }
}

#[test]
fn a_line_that_a_rule_moves_is_changed_once() {
    let lines = "reqirep ^Host:\\ (.*) Host:\\ www.\\1";
    assert!(passed(lines).contains("|host: www.h|"), "{}", passed(lines));
    let lines = "reqirep ^(Host|X-List):\\ (.*) Host:\\ \\2\\2";
    assert!(passed(lines).contains("|host: bb|"), "{}", passed(lines));
}

#[test]
fn what_would_break_a_message_or_move_its_end_is_refused() {
    let broken = [
        "reqrep ^Host:.* Host",
        "reqrep ^Host:.* Ho\\ st:\\ x",
        "reqrep ^X-List:.* Content-Length:\\ 7",
        "reqrep ^X-List:.* X-List:\\ a\\nContent-Length:\\ 7",
        "reqrep ^X-List:.* X-List:\\ a\\nHost:\\ other",
        "reqrep ^X-List:.* X-List:\\ a\\nno\\ header",
        "reqrep ^X-List:.* Transfer-Encoding:\\ chunked",
        "reqrep ^GET\\ (.*) GET\\ /a\\ b",
        "reqrep ^GET\\ ([^\\ ]*)\\ .* GET\\ x\\ HTTP/1.1",
        "reqrep ^GET\\ (.*) HEAD\\ \\1",
        "reqrep ^GET\\ (.*) CONNECT\\ \\1",
        "reqrep ^GET\\ .* GET\\ \\*\\ HTTP/1.1",
        "reqrep ^GET\\ (.*) GET\\ /x\\ HTTP/2.0",
    ];
    for lines in broken {
        let (stream, verdict) = request_of(lines, REQUEST);
        assert_eq!(status(&verdict), 400, "{lines}: {}", head(&stream.request));
    }
    // Rules cannot change the headers that frame the body.
    for lines in [
        "reqdel ^Content-Length",
        "reqrep ^Content-Length:.* X-A:\\ 1",
        "reqrep ^(Content-Length:\\ ).* \\199",
    ] {
        assert!(passed(lines).contains("|content-length: 3|"), "{lines}");
    }
}

#[test]
fn messages_are_denied_allowed_tarpitted_and_passed() {
    let rows = [
        ("reqdeny ^GET\\ /a", 403),
        ("reqdeny curl", 403),
        ("reqdeny CURL", 0),
        ("reqideny CURL", 403),
        ("reqtarpit ^User-Agent:", 1500),
        ("reqitarpit ^user-agent:\\ CURL", 1500),
        ("reqallow ^Host:\\ h$\nreqdeny .", 0),
        ("reqdeny .\nreqallow ^Host:\\ h$", 403),
        ("reqallow ^Host:\\ other\nreqdeny .", 403),
        ("reqpass ^User-Agent:\nreqdeny curl", 0),
        (
            "reqpass ^[^:\\ ]*:\nreqdeny ^User-Agent\nreqtarpit ^[^:\\ ]*\\ /a",
            1500,
        ),
        ("reqpass ^GET\nreqdeny ^GET", 0),
        ("reqpass ^X-List:\nreqidel ^X-List\nreqdeny ^Host", 403),
        ("reqdeny ^GET if { path /x }", 0),
        ("reqdeny ^GET unless { path /x }", 403),
        ("block if { path /a/b }", 403),
        (
            "block if { path /a/b }\nhttp-request return status 200",
            403,
        ),
        (
            "http-request return status 200\nblock unless { path /a/b }",
            200,
        ),
        ("reqrep ^User-Agent:.* User-Agent:\\ x\nreqdeny curl", 0),
        ("http-request allow\nreqdeny ^GET", 403),
    ];
    for (lines, expected) in rows {
        let (_, verdict) = request_of(lines, REQUEST);
        assert_eq!(status(&verdict), expected, "{lines}");
    }
}

#[test]
fn a_pattern_that_gives_up_refuses_rather_than_lets_through() {
    let long = [
        b"GET / HTTP/1.1\r\nHost: h\r\nX: ".as_slice(),
        &b"a".repeat(60),
        b"!\r\n\r\n",
    ]
    .concat();
    let (_, verdict) = request_of("reqdeny ^X:\\ (a|aa)+b\\1$", &long);
    assert_eq!(status(&verdict), 400);
}

#[test]
fn reqsetbe_chooses_the_backend_once() {
    let lines = "reqisetbe ^get\\ /z web2\nreqsetbe ^Host:\\ h other\nreqsetbe ^GET web2\n\
                 backend web2\nmode http\nserver a 127.0.0.1:3";
    let (stream, verdict) = request_of(lines, REQUEST);
    assert!(matches!(verdict, MessageVerdict::Continue));
    let chosen = stream.rules.lines.as_ref().and_then(|lines| lines.switched);
    assert_eq!(chosen, stream.config.backend("other"));
    assert!(chosen.is_some());
}

#[test]
fn answers_are_lines_too() {
    let rows = [
        (
            "rspidel ^server:.*$",
            "HTTP/1.1 302 Found|location: http://www.a.co/x?y|x-powered-by: php||",
        ),
        (
            "rspirep ^Location:\\s*http://.*?\\.a.co(/.*)$ Location:\\ \\1",
            "HTTP/1.1 302 Found|server: s|location: /x?y|x-powered-by: php||",
        ),
        (
            "rsprep ^(HTTP/1..)\\ 302\\ (.*) \\1\\ 301\\ Moved",
            "HTTP/1.1 301 Moved|server: s|location: http://www.a.co/x?y|x-powered-by: php||",
        ),
        (
            "rspadd X-A:\\ 1",
            "HTTP/1.1 302 Found|server: s|location: http://www.a.co/x?y|x-powered-by: php|x-a: 1||",
        ),
        (
            "rspidel ^X-.*\nrspdel ^Server:",
            "HTTP/1.1 302 Found|location: http://www.a.co/x?y||",
        ),
        ("rspdeny ^X-Powered", ""),
        ("rsprep ^HTTP/1.1\\ 302 HTTP/1.1\\ 204", ""),
        (
            "rspadd X-A:\\ 1 if { status 200 }",
            "HTTP/1.1 302 Found|server: s|location: http://www.a.co/x?y|x-powered-by: php||",
        ),
    ];
    for (lines, expected) in rows {
        let answer = b"HTTP/1.1 302 Found\r\nServer: s\r\nLocation: http://www.a.co/x?y\r\nX-Powered-By: php\r\n\r\n";
        let mut stream = with(lines, sample::exchange(REQUEST, answer));
        stream
            .rules
            .lines
            .get_or_insert_default()
            .response
            .read(answer);
        let verdict = http_response(&mut stream);
        if expected.is_empty() {
            assert_eq!(status(&verdict), 502, "{lines}");
        } else {
            assert!(matches!(verdict, MessageVerdict::Continue), "{lines}");
            assert_eq!(head(&stream.response), expected, "{lines}");
        }
    }
}

#[test]
fn a_section_without_such_rules_has_nothing_of_them() {
    let config = config("http-request deny");
    assert!(config.proxies.iter().all(|proxy| proxy.lines.is_none()));
    assert!(!config.global.lines_shown);
}
