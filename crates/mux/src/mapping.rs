//! Where lists of fields become messages and messages lists: `http2` does it,
//! this calls it with what a connection knows.

use http::http1::{BodyLength, Fault, Limits, Parsed, RequestFacts};
use http::http2::{self, outgoing};
use http::message::{Fields, Message};
use protocol::http2::{Connection, FieldList, SendError, StreamId};
use std::io;

/// The head of an answer, interim or final.
pub(super) fn response(
    fields: &FieldList,
    end: bool,
    facts: &RequestFacts,
    limits: &Limits,
    into: &mut Message,
) -> Result<Parsed, Fault> {
    http2::response(fields, end, facts, limits, into)
}

/// Trailers.
pub(super) fn trailers(fields: &FieldList) -> Result<Box<Fields>, Fault> {
    http2::trailers(fields)
}

/// Sends the head of a request. `InvalidInput`: it has no form in HTTP/2.
pub(super) fn send_request(
    connection: &mut Connection,
    stream: StreamId,
    head: &Message,
    secure: bool,
    end: bool,
) -> io::Result<()> {
    let scheme: &[u8] = if secure { b"https" } else { b"http" };
    let fields = outgoing::request(head, scheme).map_err(|_| io::ErrorKind::InvalidInput)?;
    connection
        .send_headers(stream, fields.iter(), end)
        .map_err(lost)
}

/// Sends the head of an answer; `extended`: to an extended CONNECT.
pub(super) fn send_response(
    connection: &mut Connection,
    stream: StreamId,
    head: &Message,
    extended: bool,
    end: bool,
) -> io::Result<()> {
    let fields = outgoing::response(head, extended).map_err(|_| io::ErrorKind::InvalidInput)?;
    connection
        .send_headers(stream, fields.iter(), end)
        .map_err(lost)
}

/// Ends a stream with trailers.
pub(super) fn send_trailers(
    connection: &mut Connection,
    stream: StreamId,
    trailers: &Fields,
) -> io::Result<()> {
    let fields = outgoing::trailers(trailers);
    connection.send_headers(stream, fields, true).map_err(lost)
}

/// A stream that the connection does not know any more.
pub(super) fn lost(_: SendError) -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

/// How long the body behind a head has to be, where that is known: a body of
/// any other length is malformed.
pub fn expected_length(parsed: &Parsed, end: bool) -> Option<u64> {
    match parsed.body {
        BodyLength::Length(bytes) => Some(bytes),
        // A HEAD's answer, a 204: the stream may still end by itself.
        BodyLength::None if !end && !parsed.interim => Some(0),
        _ => None,
    }
}
