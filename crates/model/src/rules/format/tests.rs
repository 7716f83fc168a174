//! Tests the output of formats, and the diagnostics for invalid ones.

use super::*;
use crate::config::{Capture, Server, ServerIndex};
use crate::transaction::{StreamPhase, Termination, sample};
use reactor::Instant;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

fn parse(text: &str, usage: Usage) -> Result<(Format, Vec<String>), Diagnostic> {
    let mut draft = sample::draft();
    let span = language::Span {
        file: draft
            .context
            .sources
            .add("sample.cfg", text.as_bytes().to_vec()),
        start: 0,
        end: text.len() as u32,
    };
    let word = ConfigWord {
        bytes: text.into(),
        span,
    };
    let format = Format::parse(&mut draft, &word, usage)?;
    let told = draft
        .context
        .diagnostics
        .iter()
        .map(|d| format!("{} {}", d.code.id, d.message))
        .collect();
    Ok((format, told))
}

fn show(text: &str, usage: Usage, stream: &ProxyStream) -> String {
    let (format, _) =
        parse(text, usage).unwrap_or_else(|error| panic!("{text}: {}", error.message));
    String::from_utf8_lossy(&format.fill(stream)).into_owned()
}

/// Creates a completed request with two captures, at a fixed time.
fn served() -> ProxyStream {
    let mut stream = sample::request(
        b"GET /a/b?c=d\"{|}\\] HTTP/1.1\r\nHost: h\r\nX-Odd: a\"b{c}|d\\e]f#g \xe9\tz%<>\r\n\r\n",
    );
    let odd = stream.request.get(b"x-odd").unwrap().to_vec();
    let mut config = crate::config::Config::default();
    let mut proxy = stream.frontend().clone();
    let slot = |length_max| Capture {
        header: None,
        length_max,
    };
    proxy.captures.request = vec![slot(20), slot(40)];
    proxy.captures.response = vec![slot(20)];
    proxy.servers.push(Server {
        span: Default::default(),
        id: 1,
        name: "s1".into(),
        address_text: "127.0.0.1:19010".into(),
        address: crate::config::ServerAddress::Inet(([127, 0, 0, 1], 19010).into()),
        options: Default::default(),
        state: Arc::default(),
        way: 0,
        host: None,
        tracks: None,
        added: None,
    });
    config.proxies.push(proxy);
    stream.config = Arc::new(config);
    stream.route.server = Some(ServerIndex(0));
    stream.log.captured_request = vec![Some(b"h".to_vec()), Some(odd)];
    stream.log.captured_response = vec![Some(b"or{ig}in".to_vec())];
    stream.outcome.local_status = 200;
    let at = |ms: u64| Instant::from_nanos(1_000_000_000_000 + ms * 1_000_000);
    let times = &mut stream.times;
    times.idle_since = at(0);
    times.first = false;
    times.began = at(4);
    times.began_at = UNIX_EPOCH + Duration::from_millis(1_795_166_115_896);
    times.request = Some(at(5));
    times.queued = Some(at(7));
    times.connected = Some(at(10));
    times.response = Some(at(40));
    times.ended = Some(at(109));
    stream.transfer.bytes_out = 359;
    stream.transfer.bytes_in = 77;
    stream
}

#[test]
fn the_line_of_httplog_is_haproxys() {
    let stream = served();
    let line = String::from_utf8(built_in(BuiltIn::Http).fill(&stream)).unwrap();
    let date = crate::log::clf_date(stream.times.began_at);
    assert_eq!(
        line,
        format!(
            "198.51.100.7:40000 [{date}] web web/s1 1/2/3/30/105 200 359 - - ---- 0/0/0/0/0 0/0 \
             {{h|a#22b#7Bc#7D#7Cd\\e]f#23g #E9#09z%<>}} {{or#7Big#7Din}} \"GET /a/b?c=d#22{{|}}\\] HTTP/1.1\""
        )
    );
}

#[test]
fn the_line_of_clf_is_haproxys() {
    let mut stream = served();
    stream.log.captured_request.clear();
    stream.log.captured_response.clear();
    Arc::get_mut(&mut stream.config).unwrap().proxies[0].captures = Default::default();
    let line = String::from_utf8(built_in(BuiltIn::Clf).fill(&stream)).unwrap();
    let (_, rest) = line.split_once(']').unwrap();
    assert_eq!(
        rest,
        " \"GET /a/b?c=d#22{|}\\] HTTP/1.1\" 200 359 \"\" \"\" 40000 892 \"web\" \"web\" \"s1\" \
         1 2 3 30 105 ---- 0 0 0 0 0 0 0 \"\" \"\" "
    );
}

#[test]
fn a_request_that_was_none_is_shown_as_such() {
    let mut stream = sample::stream(true);
    stream.route.backend = None;
    stream.outcome.end(Termination::Proxy, StreamPhase::Request);
    stream.outcome.local_status = 400;
    stream.times.ended = Some(stream.times.began);
    let line = String::from_utf8(built_in(BuiltIn::Http).fill(&stream)).unwrap();
    let (_, rest) = line.split_once("] ").unwrap();
    assert_eq!(
        rest,
        "web web/<NOSRV> -1/-1/-1/-1/0 400 0 - - PR-- 0/0/0/0/0 0/0 \"<BADREQ>\""
    );
    stream.outcome.local_status = 0;
    assert_eq!(show("%ST %HU", Usage::LOG, &stream), "0 <BADREQ>");
}

#[test]
fn aliases_show_what_haproxy_shows() {
    let stream = served();
    let rows = [
        (
            "%HM %HP %HPO %HQ %HV",
            "GET /a/b /a/b ?c=d#22{|}\\] HTTP/1.1",
        ),
        ("%bi %bp %si %sp", "- - 127.0.0.1 19010"),
        ("%f %ft %fi %fp", "web web 192.0.2.1 80"),
        (
            "%hrl %hsl",
            "h a#22b#7Bc#7D#7Cd\\e]f#23g #E9#09z%<> or#7Big#7Din",
        ),
        ("%U %Ti %Tq %Td %Tt %Tu", "77 4 5 69 109 105"),
        ("%ID %ts %lc %rt", "- -- 0 1"),
        ("%{+X}ci %{+X}cp %{+X}fp %{+X}rt", "C6336407 9C40 0050 0001"),
        // Counts are decimal, except that of the lines.
        ("%{+X}o%B %U %rc %bq %lc", "359 77 0 0 0000"),
        (
            "%{+Q}ci %{+Q}cp %{+Q}s %{+Q}CC %CC",
            "\"198.51.100.7\" 40000 \"s1\" \"\" -",
        ),
        ("%{+E}hs %{+Q}hs", "{or#7Big#7Din} \"{or#7Big#7Din}\""),
        ("%{+E}r", "GET /a/b?c=d#22{|}\\\\\\] HTTP/1.1"),
        (
            "%[src] %{+X}[src] %{+Q}[src]",
            "198.51.100.7 198.51.100.7 \"198.51.100.7\"",
        ),
        ("%[var(txn.none)] %{+Q}[var(txn.none)]", "- \"\""),
        ("%{+Q}o%s %{-Q}s %f", "\"s1\" s1 \"web\""),
        ("a   b %% c", "a b % c"),
        (" %hr", "{h|a#22b#7Bc#7D#7Cd\\e]f#23g #E9#09z%<>}"),
        ("%CC%CS", "--"),
    ];
    for (text, expected) in rows {
        assert_eq!(show(text, Usage::LOG, &stream), expected, "{text}");
    }
}

#[test]
fn tls_of_the_client_shows_in_names_and_values_of_its_own() {
    use rustls::{CipherSuite, ProtocolVersion};
    let mut stream = served();
    let text = "%ft %sslv %sslc %{+Q}sslc";
    let https = |stream: &ProxyStream| {
        let line = String::from_utf8(built_in(BuiltIn::Https).fill(stream)).unwrap();
        line.rsplit_once("\" ").map(|(_, rest)| rest.to_owned())
    };
    assert_eq!(https(&stream).as_deref(), Some("0/-/-/-/0 -/-/-"));
    assert_eq!(show(text, Usage::LOG, &stream), "web - - \"\"");
    let info = tls::Info::new(
        ProtocolVersion::TLSv1_3,
        CipherSuite::TLS13_AES_128_GCM_SHA256,
    );
    std::rc::Rc::get_mut(&mut stream.session).unwrap().tls = Some(info.into());
    assert_eq!(
        show(text, Usage::LOG, &stream),
        "web~ TLSv1.3 TLS_AES_128_GCM_SHA256 \"TLS_AES_128_GCM_SHA256\""
    );
    assert_eq!(
        https(&stream).as_deref(),
        Some("0/0000000000000000/0/0/0 -/TLSv1.3/TLS_AES_128_GCM_SHA256")
    );
}

#[test]
fn outside_of_logs_text_is_as_it_stands_and_what_is_missing_is_nothing() {
    let stream = served();
    let usage = Usage::FRONT_HTTP_REQUEST;
    let rows = [
        ("a  b %[req.hdr(host)] [%[req.hdr(nope)]] %%", "a  b h [] %"),
        (" %s ", " s1 "),
        ("%[var(txn.none)]|%CC", "|"),
    ];
    for (text, expected) in rows {
        assert_eq!(show(text, usage, &stream), expected, "{text}");
    }
}

#[test]
fn blanks_at_the_start_of_a_log_format_are_dropped() {
    let stream = served();
    for (format, expected) in [
        ("%{+X}o lead", "lead"),
        ("  lead", "lead"),
        (" %{+X}o  a  b ", "a b "),
    ] {
        assert_eq!(show(format, Usage::LOG, &stream), expected, "{format}");
    }
    assert_eq!(show("  lead", Usage::FRONT_HTTP_REQUEST, &stream), "  lead");
}

#[test]
fn logs_show_the_request_as_it_was_received() {
    let mut stream = served();
    stream.keep_received();
    stream.request.set_path(b"/elsewhere").unwrap();
    assert_eq!(show("%HM %HP", Usage::LOG, &stream), "GET /a/b");
}

#[test]
fn a_long_request_line_is_cut() {
    let mut stream =
        sample::request(format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(2000)).as_bytes());
    let mut config = crate::config::Config::default();
    config.proxies.push(stream.frontend().clone());
    config.global.tune.log_uri_max = 64;
    stream.config = Arc::new(config);
    let line = show("%HU", Usage::LOG, &stream);
    assert_eq!(line.len(), 64 - 5);
}

#[test]
fn what_still_grows_has_a_plus_sign() {
    let mut stream = served();
    stream.times.ended = None;
    stream.route.redispatched = true;
    stream.route.retries = 3;
    assert_eq!(show("%B %rc", Usage::LOG, &stream), "+359 +3");
    assert!(show("%Tt", Usage::LOG, &stream).starts_with('+'));
}

#[test]
fn every_alias_shows_something_or_nothing_without_panic() {
    let streams = [
        served(),
        sample::stream(false),
        sample::stream(true),
        sample::tcp(b"x", true),
    ];
    for row in documented() {
        for flags in ["", "{+Q}", "{+X}", "{+E}", "{+Q,+X,+E}"] {
            let text = format!("%{flags}{}", row.name);
            for stream in &streams {
                show(&text, Usage::LOG, stream);
            }
        }
    }
}

#[test]
fn bad_formats_are_told_by_code_and_place() {
    let rows = [
        ("%zz", "E0504", "no such format variable 'zz'"),
        ("%ci2", "E0504", "no such format variable 'ci2'"),
        ("%", "E0503", "truncated line after '%'"),
        ("b%%%", "E0503", "truncated line after '%'"),
        (
            "% x",
            "E0503",
            "expected a name or '[' after the '%' of a format",
        ),
        ("%{+Q", "E0503", "the '{' of a format is not closed"),
        ("%{+Q}", "E0503", "truncated line after '%'"),
        ("%[src", "E0503", "missing ']' after 'src'"),
        ("%[foo]", "E0401", "unknown fetch method 'foo'"),
    ];
    for (text, code, message) in rows {
        let error = parse(text, Usage::LOG).map(|_| ()).unwrap_err();
        assert_eq!((error.code.id, &*error.message), (code, message), "{text}");
    }
    let error = parse("a %foo b", Usage::LOG).map(|_| ()).unwrap_err();
    let span = error.primary.unwrap();
    assert_eq!((span.start, span.end), (2, 6));
    let (_, told) = parse("%{+Z}ci", Usage::LOG).unwrap();
    assert_eq!(told, ["W0501 unknown format flag '+Z'"]);
}

proptest::proptest! {
    #[test]
    fn any_text_is_a_format_or_is_refused(text in "[ -~]{0,40}") {
        let _ = parse(&text, Usage::LOG);
        let _ = parse(&text, Usage::FRONT_HTTP_REQUEST);
    }
}

#[test]
fn a_line_can_be_an_object_of_the_items_that_have_names() {
    let stream = served();
    for (text, line) in [
        // Numbers are written as numbers, without the plus sign of values that may still grow.
        (
            "%{+json}o %(status)ST %(bytes)B text %(client)ci %(path)HPO",
            r#"{"status": 200, "bytes": 359, "client": "198.51.100.7", "path": "/a/b"}"#,
        ),
        // `%{…}o` applies to the whole line, wherever it is.
        ("%(a)ST %{+json,+Q,+E}o%(b)HM", r#"{"a": 200, "b": "GET"}"#),
        (
            "%{+json}o%(s:str)ST %(b:bool)ST %(n:sint)[str(12)] %(x:str)[int(7)] %(f)[bool(false)]",
            r#"{"s": "200", "b": true, "n": 12, "x": "7", "f": false}"#,
        ),
        (
            "%{+json}o %(wait)Tw %(hex){+X}cp %(list)hrl %(odd)[capture.req.hdr(1)] %(none)[var(txn.none)]",
            "{\"wait\": 2, \"hex\": \"9C40\", \"list\": [\"h\", \"a\\\"b{c}|d\\\\e]f#g \u{fffd}\\tz%<>\"], \
             \"odd\": \"a\\\"b{c}|d\\\\e]f#g \u{fffd}\\tz%<>\", \"none\": \"\"}",
        ),
        ("%{+json}o", "{}"),
        // A single item, and names without an encoding.
        (
            r#"{"code":%{+json}ST,"path":%{+json}[var(txn.none)]}"#,
            r#"{"code":200,"path":""}"#,
        ),
        ("%(a)ST %(b:str){+Q}HM", "200 \"GET\""),
    ] {
        let made = show(text, Usage::LOG, &stream);
        assert_eq!(made, line, "{text}");
    }
    let (_, told) = parse("%{+json}o %(a)ST %HM %ci", Usage::LOG).unwrap();
    assert_eq!(told, ["W0506 an unnamed item in a JSON log line"]);
    for (text, message) in [
        ("%(a", "the '(' of a format is not closed"),
        ("%(a:float)ST", "unknown value type 'float'"),
        ("%(a)", "truncated line after '%'"),
    ] {
        let error = parse(text, Usage::LOG).map(|_| ()).unwrap_err();
        assert_eq!(error.message, message, "{text}");
    }
}

#[test]
fn every_number_of_a_line_reads_as_one() {
    let stream = served();
    for name in Alias::names().filter(|name| *name != "H") {
        let alias = Alias::by_name(name).unwrap();
        let plain = show(&format!("%{name}"), Usage::LOG, &stream);
        let json = show(&format!("%{{+json}}{name}"), Usage::LOG, &stream);
        let value: serde_json::Value =
            serde_json::from_str(&json).unwrap_or_else(|error| panic!("%{name}: {json}: {error}"));
        let missing = plain == "-" && json == "\"\"";
        assert!(
            missing || value.is_number() == alias.is_number(),
            "%{name}: {json}"
        );
        let number = plain.trim_start_matches('+').parse::<i64>();
        assert!(number.is_err() || value.is_number(), "%{name}: {plain}");
    }
}
