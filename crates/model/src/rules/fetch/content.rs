//! Implements the fetches of bytes: the first ones of a TCP stream in either direction, or the part
//! of an HTTP body that has arrived while rules waited for it.

use super::{FetchBuild, FetchRow, head, number, payload};
use crate::rules::argument::{Argument, ArgumentKind, Arguments, bad_argument};
use crate::rules::draft::ConfigDraft;
use crate::rules::usage::Needs;
use crate::rules::value::{Sample, SampleValue, Type};
use crate::transaction::ProxyStream;
use language::Span;
use language::arguments::Built;

const fn bytes(needs: Needs, one: super::One) -> FetchBuild {
    FetchBuild::new(Type::Bin, needs, one)
}

const fn part(needs: Needs) -> FetchBuild {
    bytes(needs, slice)
        .takes(&[ArgumentKind::Int, ArgumentKind::Int], 2)
        .settles()
        .prepare(check_slice)
}

const fn counted(needs: Needs) -> FetchBuild {
    bytes(needs, counted_slice)
        .takes(
            &[ArgumentKind::Int, ArgumentKind::Int, ArgumentKind::Text],
            2,
        )
        .settles()
        .prepare(check_counted)
}

pub(super) static ROWS: &[FetchRow] = rows! {
    "req.len", number(Needs::Request, inspected), "acl talks req.len gt 0",
        "Number of request bytes available for inspection. During inspection, `tcp-request content` evaluates it \
         again when more data arrives. For HTTP it covers the headers, in any version, and the received part of the \
         body.";
    "req_len", number(Needs::Request, inspected), "acl talks req_len gt 0",
        "The older name of `req.len`.";
    "req.payload(<offset>,<length>)", part(Needs::Request), "acl ssh req.payload(0,4) -m bin 5353482d",
        "Bytes of the request from an offset on. Waits until they have arrived; a length of 0 returns everything at \
         the end of the inspection.";
    "payload(<offset>,<length>)", part(Needs::EitherSide), "acl ssh payload(0,4) -m bin 5353482d",
        "The same as `req.payload` in rules for requests, and as `res.payload` in rules for responses.";
    "req.payload_lv(<offset>,<length>[,<value offset>])", counted(Needs::Request), "acl id req.payload_lv(43,1) -m found",
        "Bytes of the request with a length prefix: the prefix is at an offset and has one to eight bytes. The value \
         follows it, or starts at the third argument, which with a sign is relative to the end of the prefix.";
    "payload_lv(<offset>,<length>[,<value offset>])", counted(Needs::EitherSide), "acl id payload_lv(43,1) -m found",
        "The same as `req.payload_lv` in rules for requests, and as `res.payload_lv` in rules for responses: for TLS \
         session ids, for example.";
    "res.len", number(Needs::Response, answered), "acl talks res.len gt 0",
        "Number of response bytes available for inspection.";
    "res.payload(<offset>,<length>)", part(Needs::Response), "acl ssh res.payload(0,4) -m bin 5353482d",
        "Bytes of the response from an offset on; see `req.payload`.";
    "res.payload_lv(<offset>,<length>[,<value offset>])", counted(Needs::Response), "acl id res.payload_lv(43,1) -m found",
        "Bytes of the response with a length prefix; see `req.payload_lv`.";
    "res.body", bytes(Needs::Response, body).http().prepare(ask_body), "acl fault res.body -m sub Exception",
        "The received part of the response body: `http-response wait-for-body` waits for it, up to a full buffer.";
    "res.body_len", number(Needs::Response, length).http().prepare(ask_body), "acl filled res.body_len gt 0",
        "Number of received bytes of the response body.";
    "res.body_size", number(Needs::Response, body_size).http().prepare(ask_body), "acl download res.body_size gt 1000000",
        "The announced length of the response body. Without an announced length, the received length.";
    "req.body", bytes(Needs::Request, body).http().prepare(ask_request_body), "acl soap req.body -m sub Envelope",
        "The received part of the request body: `option http-buffer-request` waits for it, up to a full buffer.";
    "req.body_len", number(Needs::Request, length).http().prepare(ask_request_body), "acl filled req.body_len gt 0",
        "Number of received bytes of the request body.";
    "req.body_size", number(Needs::Request, body_size).http().prepare(ask_request_body), "acl upload req.body_size gt 1000000",
        "The announced length of the request body. Without an announced length, the received length.";
    "req.body_param[(<name>)]", bytes(Needs::Request, body_parameter).http().takes(&[ArgumentKind::Text], 0).prepare(ask_request_body), "acl login req.body_param(user) -m found",
        "The value of the first field with this name in a form in the request body, regardless of its content type; \
         without a name that of the first field. Nothing is decoded.";
};

fn length<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    Some(SampleValue::count(payload(arguments, stream).len()))
}

/// Size that HAProxy counts for a start line besides its words, in bytes.
const START_LINE_BYTES: usize = 20;
/// Size that HAProxy counts for the end of a head, in bytes.
const HEAD_END_BYTES: usize = 1;

/// Returns the size of the request. An HTTP head is measured as HAProxy does: by its content, not
/// by the encoding of the protocol version.
fn inspected<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let body = payload(arguments, stream).len();
    let request = &stream.request;
    if !stream.http || !request.is_request() {
        return Some(SampleValue::count(body));
    }
    let words = request.method().len() + request.target().len() + "HTTP/1.1".len();
    let fields = request.fields().iter();
    let fields: usize = fields.map(|(name, value)| name.len() + value.len()).sum();
    let head = START_LINE_BYTES + words + fields + HEAD_END_BYTES;
    Some(SampleValue::count(head + body))
}

/// Returns the size of the response; an HTTP head is measured as for requests.
fn answered<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let body = payload(arguments, stream).len();
    let response = &stream.response;
    if !stream.http || response.status() == 0 {
        return Some(SampleValue::count(body));
    }
    let words = "HTTP/1.1".len() + "200".len() + response.reason().len();
    let fields = response.fields().iter();
    let fields: usize = fields.map(|(name, value)| name.len() + value.len()).sum();
    Some(SampleValue::count(
        START_LINE_BYTES + words + fields + HEAD_END_BYTES + body,
    ))
}

fn ask_request_body(loader: &mut ConfigDraft, _: &mut Arguments, _: Span) -> Built {
    loader.config.global.recording.request_body = true;
    Ok(())
}

fn ask_body(loader: &mut ConfigDraft, _: &mut Arguments, _: Span) -> Built {
    loader.config.global.recording.answer_body = true;
    Ok(())
}

fn complete(arguments: &Arguments, stream: &ProxyStream) -> bool {
    match super::side_of(arguments, stream) {
        super::MessageSide::Response => stream.payloads.response_complete,
        _ => stream.payloads.request_complete,
    }
}

/// Returns the bytes to extract from; an HTTP response has none, as in HAProxy.
fn raw<'a>(arguments: &Arguments, stream: &'a ProxyStream) -> Option<&'a [u8]> {
    let of_answer = super::side_of(arguments, stream) == super::MessageSide::Response;
    (!stream.http || !of_answer).then(|| payload(arguments, stream))
}

fn slice<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let offset = usize::try_from(arguments.int(0)?).ok()?;
    let length = usize::try_from(arguments.int(1)?).ok()?;
    let all = raw(arguments, stream)?;
    if length == 0 {
        // Length 0 means all bytes that have arrived; more may follow.
        let rest = all.get(offset..)?;
        let there = !rest.is_empty() || complete(arguments, stream);
        return there.then(|| SampleValue::bytes(rest));
    }
    all.get(offset..offset.checked_add(length)?)
        .map(SampleValue::bytes)
}

/// Returns whether a slice extends to the last byte, so that more bytes make it longer.
pub(in crate::rules) fn is_open_ended(arguments: &Arguments) -> bool {
    arguments.int(1) == Some(0)
}

fn check_slice(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    match (arguments.int(0), arguments.int(1)) {
        (Some(0..), Some(0..)) => Ok(()),
        _ => Err(bad_argument(
            span,
            "offset and length cannot be negative".into(),
        )),
    }
}

const COUNT_BYTES_MAX: i64 = 8;

/// Checks the arguments of `payload_lv`. The third argument becomes the offset of the value. A
/// fourth one is added: whether the offset is relative to the end of the length field.
fn check_counted(_: &mut ConfigDraft, arguments: &mut Arguments, span: Span) -> Built {
    let bad = |message: &str| Err(bad_argument(span, message.into()));
    let (Some(offset), Some(length)) = (arguments.int(0), arguments.int(1)) else {
        return bad("expected an offset and a length");
    };
    if offset < 0 {
        return bad("the offset cannot be negative");
    }
    if !(1..=COUNT_BYTES_MAX).contains(&length) {
        return bad("the length prefix has 1 to 8 bytes");
    }
    let Some(text) = arguments.text(2) else {
        return Ok(());
    };
    let Some(shift) = signed(text) else {
        return bad("the third argument is a number, with a sign where it is relative");
    };
    let relative = text.starts_with(b"+") || text.starts_with(b"-");
    if relative
        && (offset
            .checked_add(length)
            .and_then(|end| end.checked_add(shift))
            .is_none_or(|start| start < 0))
    {
        return bad("the value would start before the payload");
    }
    arguments.list.truncate(2);
    arguments.list.push(Some(Argument::Int(shift)));
    arguments.list.push(Some(Argument::Bool(relative)));
    Ok(())
}

fn counted_slice<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let offset = usize::try_from(arguments.int(0)?).ok()?;
    let end = offset.checked_add(usize::try_from(arguments.int(1)?).ok()?)?;
    let all = raw(arguments, stream)?;
    let count = all
        .get(offset..end)?
        .iter()
        .fold(0_usize, |n, byte| (n << 8) | usize::from(*byte));
    let start = match arguments.int(2) {
        None => end,
        Some(shift) if arguments.bool(3)? => i64::try_from(end)
            .ok()?
            .checked_add(shift)?
            .try_into()
            .ok()?,
        Some(at) => usize::try_from(at).ok()?,
    };
    if count == 0 {
        return None;
    }
    all.get(start..start.checked_add(count)?)
        .map(SampleValue::bytes)
}

fn body<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    Some(SampleValue::bytes(payload(arguments, stream)))
}

/// Returns whether a body follows the head of the response, regardless of its headers.
fn may_have_body(stream: &ProxyStream) -> bool {
    stream.request.method() != b"HEAD" && !matches!(stream.response.status(), 204 | 304)
}

fn body_size<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let there = payload(arguments, stream).len();
    if super::side_of(arguments, stream) == super::MessageSide::Response && !may_have_body(stream) {
        return Some(SampleValue::count(there));
    }
    let announced = head(arguments, stream)?
        .fields()
        .get(b"content-length")
        .and_then(|text| std::str::from_utf8(text).ok()?.trim().parse::<u64>().ok());
    Some(match announced {
        Some(size) => SampleValue::count(size),
        None => SampleValue::count(there),
    })
}

fn body_parameter<'a>(arguments: &'a Arguments, stream: &'a ProxyStream) -> Sample<'a> {
    let body = payload(arguments, stream);
    body.split(|b| *b == b'&').find_map(|field| {
        let equals = memchr::memchr(b'=', field)?;
        let (name, value) = (&field[..equals], &field[equals + 1..]);
        arguments
            .text(0)
            .is_none_or(|wanted| wanted == name)
            .then(|| SampleValue::bytes(value))
    })
}

fn signed(text: &[u8]) -> Option<i64> {
    crate::rules::value::whole_integer(text.strip_prefix(b"+").unwrap_or(text))
}
