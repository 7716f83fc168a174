//! Creates streams from raw bytes, for the tests of rules.

use super::Times;
use super::born::blank;
use super::state::{Endpoint, ProxyStream, Session, SessionConfig};
use crate::compiled::AdmissionLine;
use crate::config::{Bind, BindAddress, Config, Mode, Proxy, ProxyIndex, ProxyKind};
use crate::rules::draft::{ConfigDraft, Section};
use crate::rules::{Condition, Expression, SampleValue, Test, Usage, check_acl_name};
use configuration::LoadOptions;
use http::http1::{Limits, ParseStatus, RequestFacts, parse_request, parse_response};
use language::{ConfigLine, ConfigWord, Diagnostic};
use reactor::Instant;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

/// Creates a draft within a `listen` section, without files.
pub fn draft() -> ConfigDraft {
    let mut draft = ConfigDraft::new(language::Environment::empty(), LoadOptions::default());
    // Positions refer to a file even without one.
    draft.context.sources.add("sample.cfg", Vec::new());
    draft.config.proxies.push(listen());
    draft.section = Section::Proxy(ProxyIndex(0), ProxyKind::Listen);
    draft
}

fn bind(address: SocketAddr) -> Bind {
    Bind {
        id: 1,
        name: "public".into(),
        ..Bind::new(Default::default(), BindAddress::Inet(address))
    }
}

fn listen() -> Proxy {
    Proxy {
        id: 2,
        name: "web".into(),
        kind: ProxyKind::Listen,
        mode: Mode::Http,
        binds: vec![bind(SocketAddr::from(([192, 0, 2, 1], 80)))],
        ..Proxy::default()
    }
}

/// Creates a stream without any bytes, from 198.51.100.7:40000 to 192.0.2.1:80.
pub fn stream(http: bool) -> ProxyStream {
    let mut config = Config::default();
    config.proxies.push(listen());
    config.backends.insert("web".into(), ProxyIndex(0));
    config.global.request_history = Some(16);
    let config = Arc::new(config);
    let (now, wall) = (Instant::now(), SystemTime::now());
    let session = Session {
        config: SessionConfig::new(config),
        frontend: ProxyIndex(0),
        bind: 0,
        source: Endpoint::Inet(SocketAddr::from(([198, 51, 100, 7], 40000))),
        destination: Endpoint::Inet(SocketAddr::from(([192, 0, 2, 1], 80))),
        accepted: now,
        ready: now,
        details: Default::default(),
        variables: Default::default(),
        tls: None,
        tracked: Default::default(),
        encoders: Default::default(),
    };
    let times = Times::begin(now, wall);
    let mut stream = blank(1, Rc::new(session), http, times);
    stream.route.backend = Some(ProxyIndex(0));
    stream
}

/// Creates a stream with a request; the bytes behind its head are its body.
pub fn request(bytes: &[u8]) -> ProxyStream {
    let mut stream = stream(true);
    match parse_request(bytes, &Limits::default(), &mut stream.request) {
        Ok(ParseStatus::Done(parsed)) => {
            stream.payloads.request = bytes[parsed.consumed..].to_vec()
        }
        other => panic!("no whole request: {other:?}"),
    }
    stream.payloads.request_complete = true;
    stream
}

/// Creates a stream with a request and a response.
pub fn exchange(bytes: &[u8], answer: &[u8]) -> ProxyStream {
    let mut stream = request(bytes);
    let facts = RequestFacts::of(&stream.request, None);
    match parse_response(answer, &facts, &Limits::default(), &mut stream.response) {
        Ok(ParseStatus::Done(parsed)) => {
            stream.payloads.response = answer[parsed.consumed..].to_vec()
        }
        other => panic!("no whole answer: {other:?}"),
    }
    stream.payloads.response_complete = true;
    stream
}

/// Creates a TCP stream that has received these bytes.
pub fn tcp(bytes: &[u8], complete: bool) -> ProxyStream {
    let mut stream = stream(false);
    stream.payloads.request = bytes.to_vec();
    stream.payloads.request_complete = complete;
    stream
}

/// Returns the words of a line as the reader splits them.
pub fn line(draft: &mut ConfigDraft, text: &str) -> ConfigLine {
    use language::reader::{Facts, Reader};
    let context = &mut draft.context;
    let file = context
        .sources
        .add("sample.cfg", format!("{text}\n").into_bytes());
    let mut reader = Reader::new(vec![file], Facts::new("2.6"));
    reader
        .next(
            &context.sources,
            &context.environment,
            &mut context.diagnostics,
        )
        .unwrap_or_else(|| panic!("no line: {text}"))
}

/// Parses an expression in quotes.
pub fn expression(text: &str, usage: Usage) -> Result<Expression, Diagnostic> {
    let mut draft = draft();
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
    Expression::parse(&mut draft, &word, usage)
}

pub fn evaluate(text: &str, stream: &ProxyStream) -> Option<String> {
    let usage = Usage::http_request(ProxyKind::Listen).and(Usage::http_response(ProxyKind::Listen));
    let expression =
        expression(text, usage).unwrap_or_else(|error| panic!("{text}: {}", error.message));
    expression.evaluate(stream).map(|value| text_of(&value))
}

fn text_of(value: &SampleValue<'_>) -> String {
    value.with_text(|text| String::from_utf8_lossy(text).into_owned())
}

/// Parses `if …` after ACL lines. Also returns the diagnostics.
pub fn condition(
    acls: &[&str],
    text: &str,
    usage: Usage,
) -> (Result<Condition, Diagnostic>, Vec<String>) {
    let mut draft = draft();
    for text in acls {
        let line = line(&mut draft, text);
        if let Err(error) = check_acl_name(&line.words[0]) {
            return (Err(error), Vec::new());
        }
        match Test::parse(&mut draft, &line.words[1..], line.end(), None) {
            Ok(test) => draft.acls.add(
                &line.words[0].text(),
                line.words[0].span,
                test,
                AdmissionLine::new(&line, 0..0),
            ),
            Err(error) => return (Err(error), Vec::new()),
        }
    }
    let line = line(&mut draft, text);
    let mut args =
        language::arguments::Args::new(&line, 0, "test", "test", &crate::codes::OF_ARGUMENTS);
    let parsed = Condition::parse(&mut draft, &mut args, usage);
    for diagnostic in std::mem::take(&mut draft.acls).seal() {
        draft.report(diagnostic);
    }
    let told = draft
        .context
        .diagnostics
        .iter()
        .map(|d| format!("{} {}", d.code.id, d.message))
        .collect();
    (
        parsed.map(|condition| condition.unwrap_or_else(|| panic!("no condition: {text}"))),
        told,
    )
}

/// Evaluates a test in braces; None if it needs more data.
pub fn test(text: &str, stream: &ProxyStream) -> Option<bool> {
    let usage = Usage::http_request(ProxyKind::Listen).and(Usage::http_response(ProxyKind::Listen));
    let (condition, _) = condition(&[], &format!("if {{ {text} }}"), usage);
    condition
        .unwrap_or_else(|error| panic!("{text}: {}", error.message))
        .test_or_wait(stream)
}
