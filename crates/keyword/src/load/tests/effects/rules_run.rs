//! Tests whole lists of rules on streams from raw bytes.

use crate::testing::load_text;
use model::config::{Config, ProxyIndex};
use model::rules::*;
use model::transaction::{Endpoint, ProxyStream, sample};
use std::sync::Arc;

fn config(lines: &str) -> Arc<Config> {
    let text = format!("listen web\nmode http\nbind 127.0.0.1:1\n{lines}\n");
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

const REQUEST: &[u8] = b"GET /a/b?c=d HTTP/1.1\r\nHost: h\r\nX-List: a, b ,c\r\nX-List: d\r\nUser-Agent: curl/7\r\n\r\n";

fn request(lines: &str) -> (ProxyStream, MessageVerdict) {
    let mut stream = with(lines, sample::request(REQUEST));
    let verdict = http_request(&mut stream, false);
    (stream, verdict)
}

fn head(message: &http::message::HttpMessage) -> String {
    let mut out = Vec::new();
    message.write_http1(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn answer(lines: &str) -> (ProxyStream, String) {
    let (stream, verdict) = request(lines);
    let (MessageVerdict::Answer(reply) | MessageVerdict::Tarpit(reply)) = verdict else {
        panic!("{lines}: {verdict:?}")
    };
    let text = head(&reply.head) + &String::from_utf8_lossy(&reply.body);
    (stream, text)
}

fn state(stream: &ProxyStream) -> String {
    [
        stream.outcome.termination.letter(),
        stream.outcome.phase.letter(),
    ]
    .map(char::from)
    .iter()
    .collect()
}

#[test]
fn rules_of_answers_go_on_where_a_user_is_not_verified() {
    let lines = "http-response set-header x-user 1 if { http_auth(u) }\n\
                 http-response del-header x-secret\n\
                 userlist u\nuser a password $1$abcdefgh$irWbblnpmw.5z7wgBnprh0";
    let request = b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Basic YTpub25l\r\n\r\n";
    let answer = b"HTTP/1.1 200 OK\r\nX-Secret: 1\r\nContent-Length: 0\r\n\r\n";
    let mut stream = with(lines, sample::exchange(request, answer));
    let verdict = http_response(&mut stream);
    assert!(matches!(verdict, MessageVerdict::Continue), "{verdict:?}");
    assert_eq!(stream.response.get(b"x-user"), None);
    assert_eq!(stream.response.get(b"x-secret"), None);
}

#[test]
fn rules_run_in_order_until_one_ends_them() {
    let (stream, verdict) = request(
        "http-request set-header a 1\nhttp-request set-header b 2 if { req.hdr(a) 2 }\n\
         http-request set-header c 3 if { req.hdr(a) 1 }\nhttp-request allow if { path /a/b }\nhttp-request deny",
    );
    assert!(matches!(verdict, MessageVerdict::Continue));
    let get = |name: &[u8]| stream.request.get(name).map(<[u8]>::to_vec);
    assert_eq!(
        (get(b"a"), get(b"b"), get(b"c")),
        (Some(b"1".to_vec()), None, Some(b"3".to_vec()))
    );
}

#[test]
fn answers_are_what_haproxy_gives() {
    let (stream, text) = answer("http-request deny");
    assert!(text.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{text}");
    assert_eq!(state(&stream), "PR");
    let (_, text) = answer("http-request deny deny_status 429");
    assert!(
        text.starts_with("HTTP/1.1 429 Too Many Requests\r\n"),
        "{text}"
    );
    let (_, text) = answer("http-request deny status 403");
    assert_eq!(text, "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
    let (_, text) = answer("http-request deny status 418");
    assert_eq!(
        text,
        "HTTP/1.1 418 I'm a teapot\r\ncontent-length: 0\r\n\r\n"
    );
    let (_, text) = answer(
        "http-request deny status 400 content-type text/plain string \"he %[src]\" hdr X-A \"%[path] b\"",
    );
    assert_eq!(
        text,
        "HTTP/1.1 400 Bad Request\r\nx-a: /a/b b\r\ncontent-length: 9\r\ncontent-type: text/plain\r\n\r\nhe %[src]"
    );
    let (stream, text) =
        answer("http-request return content-type text/x lf-string \"%[path]  %HM\"");
    assert_eq!(
        text,
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ncontent-type: text/x\r\n\r\n/a/b  GET"
    );
    assert_eq!(state(&stream), "LR");
    let (stream, text) = answer("http-request tarpit");
    assert!(
        text.starts_with("HTTP/1.1 500 Internal Server Error\r\n"),
        "{text}"
    );
    assert_eq!(state(&stream), "PT");
}

#[test]
fn redirections_are_what_haproxy_gives() {
    let location = |lines: &str| {
        let (stream, text) = answer(lines);
        assert_eq!(state(&stream), "LR");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("location: "))
            .unwrap_or("")
            .to_owned();
        (text.split(' ').nth(1).unwrap_or("").to_owned(), line)
    };
    let rows = [
        ("location /x", "302", "/x"),
        ("prefix http://h/p", "302", "http://h/p/a/b?c=d"),
        (
            "prefix http://h/p drop-query append-slash",
            "302",
            "http://h/p/a/b/",
        ),
        (
            "prefix http://h/p append-slash",
            "302",
            "http://h/p/a/b?c=d/",
        ),
        ("prefix /", "302", "/a/b?c=d"),
        ("scheme https code 301", "301", "https://h/a/b?c=d"),
        (
            "scheme https drop-query append-slash code 308",
            "308",
            "https://h/a/b/",
        ),
    ];
    for (words, status, expected) in rows {
        for keyword in ["http-request redirect", "redirect"] {
            let found = location(&format!("{keyword} {words}"));
            assert_eq!(
                found,
                (status.to_owned(), expected.to_owned()),
                "{keyword} {words}"
            );
        }
    }
    // Only rules have log formats: the target of a `redirect` line is sent as it is.
    let rows = [
        ("location /x%[path]%[query]", "/x/a/bc=d"),
        ("prefix /p%[path]", "/p/a/b/a/b?c=d"),
        ("scheme %[str(ftp)]", "ftp://h/a/b?c=d"),
        ("location %[req.hdr(nope)]", ""),
        ("location \"%[str(a%7fb),url_dec]\"", "a%7Fb"),
        ("location /100%%", "/100%"),
    ];
    for (words, expected) in rows {
        let found = location(&format!("http-request redirect {words}"));
        assert_eq!(found, ("302".to_owned(), expected.to_owned()), "{words}");
    }
    let rows = [
        ("location /a%20b", "/a%20b"),
        ("location /100%%", "/100%%"),
        ("location /%H", "/%H"),
        ("location /%{", "/%{"),
        ("location /x%[path]", "/x%[path]"),
        ("prefix http://h/caf%C3%A9", "http://h/caf%C3%A9/a/b?c=d"),
    ];
    for (words, expected) in rows {
        let found = location(&format!("redirect {words}"));
        assert_eq!(found, ("302".to_owned(), expected.to_owned()), "{words}");
    }
    let (_, verdict) = request("http-request redirect location %[req.hdr(nope)] ignore-empty");
    assert!(matches!(verdict, MessageVerdict::Continue));
}

#[test]
fn headers_change_as_rules_say() {
    let rows = [
        ("set-header x-list new", vec![("x-list", "new")]),
        (
            "add-header x-list new",
            vec![("x-list", "a, b ,c"), ("x-list", "d"), ("x-list", "new")],
        ),
        ("del-header x-list", vec![]),
        ("del-header X-L -m beg", vec![]),
        ("del-header list -m end", vec![]),
        ("del-header -li -m sub", vec![]),
        ("del-header ^X-.*t$ -m reg", vec![]),
        (
            "del-header x-lis -m str",
            vec![("x-list", "a, b ,c"), ("x-list", "d")],
        ),
        (
            "replace-header x-list (.*),(.*) \\2-\\1",
            vec![("x-list", "c-a, b"), ("x-list", "d")],
        ),
        (
            "replace-value x-list ^([bd])$ <\\1%[path]>",
            vec![("x-list", "a,<b/a/b>,c"), ("x-list", "<d/a/b>")],
        ),
    ];
    for (words, expected) in rows {
        let (stream, verdict) = request(&format!("http-request {words}"));
        assert!(matches!(verdict, MessageVerdict::Continue), "{words}");
        let found: Vec<(String, String)> = stream
            .request
            .fields()
            .iter()
            .filter(|(name, _)| *name == b"x-list")
            .map(|(name, value)| {
                (
                    String::from_utf8_lossy(name).into(),
                    String::from_utf8_lossy(value).into(),
                )
            })
            .collect();
        let expected: Vec<(String, String)> = expected
            .iter()
            .map(|(a, b)| (a.to_string(), b.to_string()))
            .collect();
        assert_eq!(found, expected, "{words}");
    }
}

#[test]
fn a_client_cannot_add_a_header_by_a_value() {
    let (stream, _) = request("http-request set-header x-a \"%[str(a%0d%0ab: c),url_dec]\"");
    assert_eq!(stream.request.get(b"x-a"), Some(&b"a%0D%0Ab: c"[..]));
    assert_eq!(stream.request.get(b"b"), None);
}

#[test]
fn rules_do_not_change_where_a_message_ends() {
    let post = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody";
    for words in [
        "set-header content-length 9",
        "del-header content-length",
        "del-header ^ -m reg",
        "replace-header content-length 4 5",
    ] {
        let mut stream = with(&format!("http-request {words}"), sample::request(post));
        assert!(matches!(
            http_request(&mut stream, false),
            MessageVerdict::Continue
        ));
        assert_eq!(
            stream.request.get(b"content-length"),
            Some(&b"4"[..]),
            "{words}"
        );
    }
}

#[test]
fn the_request_line_changes_as_rules_say() {
    let rows = [
        ("set-path /app%[path]", "GET /app/a/b?c=d HTTP/1.1"),
        ("set-path app", "GET /app?c=d HTTP/1.1"),
        (
            "set-path \"/%[str(a%20b),url_dec]\"",
            "GET /a%20b?c=d HTTP/1.1",
        ),
        ("set-pathq /x?y", "GET /x?y HTTP/1.1"),
        ("set-query e=%[src]", "GET /a/b?e=198.51.100.7 HTTP/1.1"),
        ("set-uri http://o/p", "GET http://o/p HTTP/1.1"),
        ("set-method POST", "POST /a/b?c=d HTTP/1.1"),
        (
            "replace-path /a/(.*) /\\1/%[req.hdr(host)]",
            "GET /b/h?c=d HTTP/1.1",
        ),
        ("replace-pathq (.*)\\?(.*) /z?\\2", "GET /z?c=d HTTP/1.1"),
        ("replace-uri ^/a(.*) \\1", "GET /b?c=d HTTP/1.1"),
        ("replace-path /nope /x", "GET /a/b?c=d HTTP/1.1"),
    ];
    for (words, line) in rows {
        let (stream, verdict) = request(&format!("http-request {words}"));
        assert!(matches!(verdict, MessageVerdict::Continue), "{words}");
        assert_eq!(head(&stream.request).lines().next(), Some(line), "{words}");
        assert_eq!(
            (stream.received_method(), stream.received_target()),
            (&b"GET"[..], &b"/a/b?c=d"[..])
        );
    }
}

#[test]
fn variables_live_from_rule_to_rule() {
    let (stream, _) = request(
        "http-request set-var(txn.a) path\nhttp-request set-var-fmt(sess.b) \"<%[src]>\"\n\
         http-request set-var(txn.a,ifnotexists) str(other)\nhttp-request set-var(req.c) int(5)\n\
         http-request set-var(req.c,ifgt) int(9)\nhttp-request set-header d \"%[var(txn.a)] %[var(sess.b)] %[var(req.c)]\"\n\
         http-request set-var(req.c,ifgt) int(2)\nhttp-request unset-var(txn.a)\n\
         http-request set-header e \"%[var(txn.a)]|%[var(req.c)]\"",
    );
    assert_eq!(
        stream.request.get(b"d"),
        Some(&b"/a/b <198.51.100.7> 5"[..])
    );
    assert_eq!(stream.request.get(b"e"), Some(&b"|2"[..]));
}

#[test]
fn addresses_change_for_rules_and_logs() {
    let (stream, _) = request(
        "http-request set-src src,ipmask(24)\nhttp-request set-src-port int(7)\nhttp-request set-dst-port int(99999)\n\
         http-request set-dst str(2001:db8::1)\nhttp-request set-header seen %[src]:%[src_port]",
    );
    assert_eq!(
        stream.source(),
        Endpoint::Inet(([198, 51, 100, 0], 7).into())
    );
    assert_eq!(
        stream.destination(),
        Endpoint::Inet("[2001:db8::1]:34463".parse().unwrap())
    );
    assert_eq!(stream.request.get(b"seen"), Some(&b"198.51.100.0:7"[..]));
}

#[test]
fn headers_are_captured_as_they_were_received() {
    let (stream, _) = request(
        "capture request header User-Agent len 4\ndeclare capture request len 10\n\
         http-request del-header user-agent\nhttp-request capture path id 1\nhttp-request capture req.hdr(host) len 5",
    );
    let kept: Vec<_> = stream
        .log
        .captured_request
        .iter()
        .map(|v| v.as_deref())
        .collect();
    assert_eq!(kept, [Some(&b"curl"[..]), Some(b"/a/b"), Some(b"h")]);
}

#[test]
fn rules_go_on_where_they_waited_for_the_body() {
    let lines = "http-request add-header seen 1\nhttp-request wait-for-body time 1s at-least 4\nhttp-request add-header seen 2";
    let mut stream = with(lines, sample::request(REQUEST));
    stream.payloads.request_complete = false;
    let verdict = http_request(&mut stream, false);
    assert!(
        matches!(
            verdict,
            MessageVerdict::NeedBody {
                bytes: 4,
                time_ms: Some(1000)
            }
        ),
        "{verdict:?}"
    );
    stream.payloads.request = b"body".to_vec();
    assert!(matches!(
        http_request(&mut stream, false),
        MessageVerdict::Continue
    ));
    let seen: Vec<&[u8]> = stream.request.fields().get_all(b"seen").collect();
    assert_eq!(seen, [&b"1"[..], b"2"]);
}

#[test]
fn a_rewrite_that_does_not_fit_is_an_error_unless_rules_are_lenient() {
    let long = "http-request set-header a %[str(x),concat(yyyyyyyyyyyyyyyyyyyyyyyy)]";
    let mut stream = with(long, sample::request(REQUEST));
    stream.request.set_limit(stream.request.wire_len() + 4);
    let verdict = http_request(&mut stream, false);
    assert!(
        matches!(&verdict, MessageVerdict::Answer(reply) if reply.head.status() == 500),
        "{verdict:?}"
    );
    let mut stream = with(
        &format!("http-request strict-mode off\n{long}"),
        sample::request(REQUEST),
    );
    stream.request.set_limit(stream.request.wire_len() + 4);
    assert!(matches!(
        http_request(&mut stream, false),
        MessageVerdict::Continue
    ));
}

#[test]
fn a_refused_request_is_closed_without_times() {
    let (stream, verdict) = request("http-request reject");
    assert!(matches!(verdict, MessageVerdict::Reject));
    assert_eq!(
        (state(&stream).as_str(), stream.times.request),
        ("PR", None)
    );
    let (_, verdict) = request("http-request silent-drop");
    assert!(matches!(verdict, MessageVerdict::SilentDrop(None)));
    let (_, verdict) = request("http-request silent-drop rst-ttl 3");
    assert!(matches!(verdict, MessageVerdict::SilentDrop(Some(3))));
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Length: 0\r\n\r\n";

fn response(lines: &str) -> (ProxyStream, MessageVerdict) {
    let mut stream = with(lines, sample::exchange(REQUEST, ANSWER));
    stream.route.backend = Some(ProxyIndex(0));
    let verdict = http_response(&mut stream);
    (stream, verdict)
}

#[test]
fn rules_of_content_that_waited_for_an_answer_leave_its_own_rules_at_their_beginning() {
    let lines = "tcp-response inspect-delay 1s\ntcp-response content set-var(txn.a) int(1)\n\
                 tcp-response content reject if { res.hdr(server) -m str other }\n\
                 capture response header Server len 3\nhttp-response set-header seen first";
    let mut stream = with(lines, sample::exchange(REQUEST, ANSWER));
    stream.route.backend = Some(ProxyIndex(0));
    let answer = std::mem::take(&mut stream.response);
    stream.payloads.response_complete = false;
    assert_eq!(tcp_response(&mut stream), None);
    stream.response = answer;
    stream.payloads.response_complete = true;
    assert_eq!(tcp_response(&mut stream), Some(Gate::Open));
    assert!(matches!(
        http_response(&mut stream),
        MessageVerdict::Continue
    ));
    assert_eq!(stream.response.get(b"seen"), Some(&b"first"[..]));
    assert_eq!(stream.log.captured_response, [Some(b"ori".to_vec())]);
}

#[test]
fn answers_of_servers_are_changed_and_refused() {
    let (stream, verdict) = response(
        "capture response header Server len 3\nhttp-response set-status 404 reason \"no no\"\n\
         http-response replace-header server ori(.*) \\1\nhttp-response set-header seen %[status]",
    );
    assert!(matches!(verdict, MessageVerdict::Continue));
    assert_eq!(
        head(&stream.response).lines().next(),
        Some("HTTP/1.1 404 no no")
    );
    assert_eq!(stream.response.get(b"server"), Some(&b"gin"[..]));
    assert_eq!(stream.response.get(b"seen"), Some(&b"404"[..]));
    assert_eq!(stream.log.captured_response, [Some(b"ori".to_vec())]);
    let (stream, verdict) = response("http-response deny if { res.hdr(server) origin }");
    assert!(
        matches!(&verdict, MessageVerdict::Answer(reply) if reply.head.status() == 502),
        "{verdict:?}"
    );
    assert_eq!(state(&stream), "PH");
    let (stream, verdict) = response("http-response return content-type a/b string hi");
    assert!(
        matches!(&verdict, MessageVerdict::Answer(reply) if &*reply.body == b"hi"),
        "{verdict:?}"
    );
    assert_eq!(state(&stream), "LH");
}

#[test]
fn the_last_rules_see_every_answer() {
    let mut stream = with(
        "http-after-response set-header x-ar \"%ST %s\"",
        sample::exchange(REQUEST, ANSWER),
    );
    http_after_response(&mut stream);
    assert_eq!(stream.response.get(b"x-ar"), Some(&b"200 <NOSRV>"[..]));
}

#[test]
fn content_rules_wait_for_bytes_until_they_know() {
    let lines = "mode tcp\ntcp-request content reject if { req.len gt 3 }\ntcp-request content accept if WAIT_END";
    let mut stream = with(lines, sample::tcp(b"he", false));
    assert!(matches!(
        tcp_content(&mut stream, false),
        ContentVerdict::NeedMore
    ));
    stream.payloads.request = b"hello".to_vec();
    assert!(matches!(
        tcp_content(&mut stream, false),
        ContentVerdict::Decided(Gate::Reject)
    ));
    stream.payloads.request = b"he".to_vec();
    stream.payloads.request_complete = true;
    assert!(matches!(
        tcp_content(&mut stream, false),
        ContentVerdict::Decided(Gate::Open)
    ));
}

#[test]
fn content_rules_see_requests_too() {
    let (stream, verdict) = request("tcp-request content reject if { path /a/b }");
    assert!(matches!(verdict, MessageVerdict::Reject));
    assert_eq!(state(&stream), "PR");
    let rejects = |rule: &str| {
        let (_, verdict) = request(&format!("tcp-request content {rule}"));
        matches!(verdict, MessageVerdict::Reject)
    };
    assert!(rejects("reject if { req.len gt 0 }"));
    assert!(rejects("reject if HTTP"));
    assert!(!rejects("accept if HTTP\ntcp-request content reject"));
}

#[test]
fn what_there_is_of_a_request_counts_as_in_haproxy() {
    // haproxy 2.6.12 says 83 of this one.
    let text = b"GET /a HTTP/1.1\r\nhost: 127.0.0.1:18461\r\nuser-agent: curl/7.88.1\r\naccept: */*\r\n\r\n";
    for (rule, refused) in [("req.len 83", true), ("req_len 82", false)] {
        let lines = format!("tcp-request content reject if {{ {rule} }}");
        let mut stream = with(&lines, sample::request(text));
        let verdict = http_request(&mut stream, false);
        assert_eq!(matches!(verdict, MessageVerdict::Reject), refused, "{rule}");
    }
}

#[test]
fn a_wait_for_the_handshake_passes_on() {
    let lines = "http-request wait-for-handshake\nhttp-request deny";
    assert!(matches!(request(lines).1, MessageVerdict::Answer(_)));
}

#[test]
fn connection_rules_look_at_addresses() {
    let config = config(
        "tcp-request connection accept if { src 203.0.113.0/24 }\ntcp-request connection reject if { src 198.51.100.0/24 }",
    );
    let mut stream = sample::tcp(b"", false);
    assert_eq!(
        connection_stream(&mut stream, &config.proxies[0].tcp_connection),
        Gate::Reject
    );
    stream.links.source = Some(Endpoint::Inet(([203, 0, 113, 1], 1).into()));
    assert_eq!(
        connection_stream(&mut stream, &config.proxies[0].tcp_connection),
        Gate::Open
    );
}

#[test]
fn the_monitor_answers_and_is_not_logged() {
    let lines = "monitor-uri /a/b?c=d\nmonitor fail if { req.hdr(host) broken }";
    let mut stream = with(lines, sample::request(REQUEST));
    assert_eq!(monitor(&mut stream).unwrap().head.status(), 200);
    assert_eq!(stream.log.level, Some(None));
    stream.request.set(b"host", b"broken").unwrap();
    assert_eq!(monitor(&mut stream).unwrap().head.status(), 503);
    let mut stream = with("monitor-uri /other", sample::request(REQUEST));
    assert!(monitor(&mut stream).is_none());
}

#[test]
fn unique_ids_go_to_the_server() {
    let mut stream = with(
        "unique-id-format %{+X}o%ci:%cp\nunique-id-header X-Unique-ID",
        sample::request(REQUEST),
    );
    unique_id(&mut stream).unwrap();
    assert_eq!(
        stream.request.get(b"x-unique-id"),
        Some(&b"C6336407:9C40"[..])
    );
}

#[test]
fn unique_id_that_does_not_fit_is_an_error() {
    let mut stream = with(
        "unique-id-format %{+X}o%ci:%cp\nunique-id-header X-Unique-ID",
        sample::request(REQUEST),
    );
    stream.request.set_limit(stream.request.wire_len() + 4);
    let page = unique_id(&mut stream).unwrap_err();
    assert_eq!(page.head.status(), 500);
    assert_eq!(state(&stream), "PR");
}

#[test]
fn host_that_is_rewritten_is_rewritten_in_the_target() {
    let absolute = b"GET http://h/a HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut stream = with(
        "http-request replace-header Host h other",
        sample::request(absolute),
    );
    assert!(matches!(
        http_request(&mut stream, false),
        MessageVerdict::Continue
    ));
    assert_eq!(
        head(&stream.request),
        "GET http://other/a HTTP/1.1\r\nhost: other\r\n\r\n"
    );
}
