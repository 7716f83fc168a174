//! Reads and parses the head of a client's request, and refuses input that is not a valid
//! request.

use super::session::{Client, head_deadline};
use super::{ProxyStream, Session, StreamPhase, Termination, error_page, send};
use http::http1::{self, HttpParseError, Limits, ParseStatus, Parsed, Preface};
use model::config::{HttpProtocol, ProxyOption};
use model::state::Tally;
use model::thread::current_thread_data;
use model::tracking;
use model::transaction::listing;
use reactor::{self, Buffer, after, with_deadline};
use std::io;

pub enum HeadFailure {
    NotYet,
    /// The client closed the connection before it sent anything.
    Nothing,
    /// The client closed the connection within the head.
    Closed,
    Timeout,
    Fault(HttpParseError),
    /// The input is the HTTP/2 preface, or the beginning of it.
    Http2,
}

pub async fn read(client: &mut Client, stream: &mut ProxyStream) -> Result<Parsed, HeadFailure> {
    let tune = &stream.config.global.tune;
    let frontend = client.session.frontend();
    let limits = Limits {
        head_bytes: tune.bufsize.saturating_sub(tune.maxrewrite),
        message_bytes: tune.bufsize,
        headers: tune.headers_max,
        accept_invalid: frontend.has(ProxyOption::AcceptInvalidHttpRequest),
        body_with_any_method: tune.workarounds.body_with_any_method,
    };
    let client_ms = frontend.timeouts.client_ms;
    let deadline = head_deadline(client);
    let mut parsed_length = 0;
    loop {
        let input = client.input.get_or_insert_with(Buffer::take);
        if input.len() > parsed_length {
            parsed_length = input.len();
            match http1::parse_request(input.filled(), &limits, &mut stream.request) {
                Ok(ParseStatus::Done(request)) => {
                    if stream.config.global.lines_shown {
                        keep_names(stream, &input.filled()[..request.consumed]);
                    }
                    input.consume(request.consumed);
                    stream.transfer.bytes_in += request.consumed as u64;
                    stream.times.request = Some(reactor::now());
                    if input.is_empty() {
                        // Frees the buffer, so that none is held while waiting for the server or
                        // between requests.
                        client.input = None;
                    }
                    return Ok(request);
                }
                Ok(ParseStatus::Incomplete) => {}
                Err(_) if client.streams == 0 && begins_http2(&client.session, input.filled()) => {
                    return Err(HeadFailure::Http2);
                }
                Err(fault) => return Err(HeadFailure::Fault(fault)),
            }
        }
        match client.link.read_into(input) {
            Ok(0) if input.is_empty() => return Err(HeadFailure::Nothing),
            Ok(0) => return Err(HeadFailure::Closed),
            Ok(n) => reactor::yield_to_ready_tasks(n).await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if input.is_empty() {
                    client.input = None;
                    return Err(HeadFailure::NotYet);
                }
                // Applies the inactivity timeout of the client without `timeout http-request`; that
                // timeout starts again with each piece of input.
                let deadline = deadline.or_else(|| after(client_ms));
                let readable = client.link.readable();
                with_deadline(deadline, readable)
                    .await
                    .map_err(|_| HeadFailure::Timeout)?;
            }
            Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                // Removes consumed bytes of an earlier request, which the front of a full buffer
                // still contains: a buffer is larger than the longest head.
                if input.len() == input.capacity() {
                    return Err(HeadFailure::Closed);
                }
                input.compact();
            }
            Err(_) if input.is_empty() => return Err(HeadFailure::Nothing),
            Err(_) => return Err(HeadFailure::Closed),
        }
    }
}

/// Stores the header names as received, for rules of HAProxy 1.x that match lines.
#[cold]
fn keep_names(stream: &mut ProxyStream, head: &[u8]) {
    stream
        .rules
        .lines
        .get_or_insert_default()
        .request
        .read(head);
}

/// Returns whether the first bytes of a connection, which are not an HTTP/1 request, are the HTTP/2
/// preface or its beginning, and HTTP/2 is permitted.
fn begins_http2(session: &Session, bytes: &[u8]) -> bool {
    session.bind().protocol != Some(HttpProtocol::Http1)
        && !session.frontend().has(ProxyOption::DisableH2Upgrade)
        && http1::http2_preface(bytes) != Preface::No
}

pub async fn refuse(client: &mut Client, stream: &mut ProxyStream, failure: HeadFailure) {
    let frontend = stream.session.frontend().state.clone();
    count(stream);
    stream.outcome.phase = StreamPhase::Request;
    // Counts no error of the client for a timeout, as in HAProxy: browsers open connections in
    // advance.
    if !matches!(failure, HeadFailure::Timeout) {
        tracking::request_error(stream);
    }
    let status = match failure {
        HeadFailure::Nothing | HeadFailure::NotYet | HeadFailure::Http2 => {
            stream.outcome.termination = Termination::ClientAbort;
            // Sends no response, because the client sent nothing. The log shows 400, as HAProxy's
            // does.
            stream.outcome.local_status = if client.streams == 0 { 400 } else { 0 };
            // Counts the error whether or not the failure is logged.
            frontend.count_frontend(Tally::RequestErrors);
            return;
        }
        HeadFailure::Closed => {
            stream.outcome.termination = Termination::ClientAbort;
            400
        }
        HeadFailure::Timeout => {
            stream.outcome.termination = Termination::ClientTimeout;
            408
        }
        HeadFailure::Fault(fault) => {
            if let Some(input) = &client.input {
                let position = super::capture::position_of(fault);
                super::capture::request(stream, input.filled(), position);
            }
            stream.outcome.termination = Termination::Proxy;
            fault.kind.request_status()
        }
    };
    frontend.count_frontend(Tally::RequestErrors);
    // Removes the data that the parser has stored of an invalid request, which must not appear in
    // the log as a request.
    stream.request.clear();
    let page = error_page(stream, status);
    send::send(client, stream, page, false).await;
}

/// Counts a request, whatever its outcome.
pub fn count(stream: &ProxyStream) {
    listing::begin(stream);
    tracking::request(stream);
    let state = &stream.session.frontend().state;
    state
        .frontend
        .request_rate
        .count(current_thread_data().now_ms());
    state.count_frontend(Tally::Requests);
}
