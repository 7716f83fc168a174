//! Implements the fetches of the capture slots and of the request line, which stay available until
//! the end of the stream, and the fetch `http_first_req`.

use super::{FetchBuild, FetchRow, boolean, request};
use crate::rules::argument::{ArgumentKind, Arguments};
use crate::rules::usage::Needs;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::ProxyStream;

const fn of_request(one: super::One) -> FetchBuild {
    FetchBuild::new(Type::Str, Needs::RequestKept, one).http()
}

pub(super) static ROWS: &[FetchRow] = rows! {
    "capture.req.hdr(<slot>)",
        of_request(|a, s| slot(&s.log.captured_request, a)).takes(&[ArgumentKind::Int], 1),
        "acl seen capture.req.hdr(0) -m found",
        "The value of a request capture slot, from a `capture request header` line or a `capture` rule; the first \
         slot is 0. Available in rules for responses and in logs.";
    "capture.req.method",
        of_request(|_, s| Some(SampleValue::text(request(s)?.method()))),
        "acl read capture.req.method GET HEAD",
        "The method of the request, also in rules for responses.";
    "capture.req.uri", of_request(uri), "acl api capture.req.uri -m beg /api/",
        "The URL of the request after the rules, also in rules for responses. A host in it is omitted.";
    "capture.req.ver",
        of_request(|_, s| Some(wire_version(request(s)?.version().number()))),
        "acl old capture.req.ver HTTP/1.0",
        "The HTTP version of the request, as `HTTP/1.0` or `HTTP/1.1`, also in rules for responses.";
    "capture.res.hdr(<slot>)",
        FetchBuild::new(Type::Str, Needs::ResponseKept, |a, s| slot(&s.log.captured_response, a)).http().takes(&[ArgumentKind::Int], 1),
        "acl seen capture.res.hdr(0) -m found",
        "The value of a response capture slot, from a `capture response header` line or a `capture` rule; the first \
         slot is 0.";
    "capture.res.ver", FetchBuild::new(Type::Str, Needs::RequestKept, response_version).http(), "acl old capture.res.ver HTTP/1.0",
        "The HTTP version of the response, as `HTTP/1.0` or `HTTP/1.1`.";
    "http_first_req",
        FetchBuild::new(Type::Bool, Needs::RequestKept, |_, s| boolean(s.times.first)).http(),
        "acl first http_first_req",
        "True for the first request of a client connection, when a login or a redirect to another server costs little.";
};

fn slot<'a>(slots: &'a [Option<Vec<u8>>], arguments: &Arguments) -> Sample<'a> {
    let n = usize::try_from(arguments.int(0)?).ok()?;
    slots.get(n)?.as_deref().map(SampleValue::text)
}

fn uri<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let path = request(stream)?.path_and_query();
    (!path.is_empty()).then(|| SampleValue::text(path))
}

fn wire_version<'a>(number: &str) -> SampleValue<'a> {
    SampleValue::text(if number == "1.0" {
        b"HTTP/1.0"
    } else {
        b"HTTP/1.1"
    })
}

fn response_version<'a>(_: &Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    stream.response.start()?;
    Some(wire_version(stream.response.version().number()))
}
