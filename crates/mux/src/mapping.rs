//! Converts between the field lists of an HTTP/2 connection and messages, by the functions of
//! `http::http2`.

use http::http1::{BodyLength, HttpParseError, Limits, Parsed, RequestFacts};
use http::http2::{self, outgoing};
use http::message::{Fields, HttpMessage};
use protocol::http2::{Connection, FieldList, SendError, StreamId};
use std::io;

pub(super) fn response(
    fields: &FieldList,
    end: bool,
    facts: &RequestFacts,
    limits: &Limits,
    into: &mut HttpMessage,
) -> Result<Parsed, HttpParseError> {
    http2::response(fields, end, facts, limits, into)
}

pub(super) fn trailers(fields: &FieldList) -> Result<Box<Fields>, HttpParseError> {
    http2::trailers(fields)
}

/// Sends the head of a request. `InvalidInput`: the request cannot be expressed in HTTP/2.
pub(super) fn send_request(
    connection: &mut Connection,
    stream: StreamId,
    head: &HttpMessage,
    secure: bool,
    end: bool,
) -> io::Result<()> {
    let scheme: &[u8] = if secure { b"https" } else { b"http" };
    let fields = outgoing::request(head, scheme).map_err(|_| io::ErrorKind::InvalidInput)?;
    connection
        .send_headers(stream, fields.iter(), end)
        .map_err(lost_stream_error)
}

/// Sends the head of a response. `extended`: the request was an extended CONNECT.
pub(super) fn send_response(
    connection: &mut Connection,
    stream: StreamId,
    head: &HttpMessage,
    extended: bool,
    end: bool,
) -> io::Result<()> {
    let fields = outgoing::response(head, extended).map_err(|_| io::ErrorKind::InvalidInput)?;
    connection
        .send_headers(stream, fields.iter(), end)
        .map_err(lost_stream_error)
}

pub(super) fn send_trailers(
    connection: &mut Connection,
    stream: StreamId,
    trailers: &Fields,
) -> io::Result<()> {
    let fields = outgoing::trailers(trailers);
    connection
        .send_headers(stream, fields, true)
        .map_err(lost_stream_error)
}

pub(super) fn lost_stream_error(_: SendError) -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

/// Returns the required length of the body after a head, if known. A body of any other length is
/// malformed.
pub fn expected_length(parsed: &Parsed, end: bool) -> Option<u64> {
    match parsed.body {
        BodyLength::Length(bytes) => Some(bytes),
        // Requires an empty body after the response to a HEAD, or a 204: the stream may still end
        // separately.
        BodyLength::None if !end && !parsed.interim => Some(0),
        _ => None,
    }
}
