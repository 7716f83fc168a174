//! Serves a client's HTTP/2 connection. Each request becomes a stream with a task of its own.

use super::{Endpoint, ProxyStream, Session, leaving, newest};
use http::http1::FaultKind::{HeadTooLong, TooManyHeaders};
use http::http1::{HttpParseError, Limits, Parsed};
use model::log::{self, Level};
use model::state::Tally;
use model::tracking;
use mux::{Accept, ConnectionHandler, MuxStream, RequestDecision, Then, View};
use protocol::http2::{ConnectionError, ErrorCode, FieldList};
use reactor::{Buffer, Instant};
use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;
use tls::transport::ConnectionTransport;

/// Time from the announcement of the close to the refusal of new streams, in which requests in
/// transit are still served.
const NOTICE: Duration = Duration::from_secs(1);

pub struct Request {
    pub mux: MuxStream,
    /// State for rules and logs, with the request and its times filled in.
    pub stream: Box<ProxyStream>,
    /// Properties of the head, or the fault that is answered with an error.
    pub parsed: Result<Parsed, HttpParseError>,
    /// Number of streams that the connection has carried before this one.
    pub before: u32,
}

/// Serves a client's HTTP/2 connection. `input` begins with the preface, or with the part of it
/// that has arrived. `begin` is called for each request and starts a task for it. Returns when all
/// streams have ended and only the connection is left to close.
pub async fn serve(
    transport: &ConnectionTransport,
    input: Option<Buffer>,
    session: &mut Rc<Session>,
    begin: impl FnMut(Request),
) {
    let limits = session.config.global.tune.http2_limits();
    let mut side = ClientSide {
        session,
        begin,
        streams: 0,
        faults: 0,
        announced: None,
    };
    mux::serve(transport, input, limits, &mut side).await;
}

struct ClientSide<'s, B> {
    session: &'s mut Rc<Session>,
    begin: B,
    streams: u32,
    /// Number of malformed requests, and of other faults that did not end the connection.
    faults: u32,
    /// Time at which GOAWAY announced the end; None: not yet.
    announced: Option<Instant>,
}

impl<B: FnMut(Request)> Accept for ClientSide<'_, B> {
    type Request = (Box<ProxyStream>, Result<Parsed, HttpParseError>);

    fn accept(&mut self, fields: &FieldList, end: bool) -> RequestDecision<Self::Request> {
        newest::go_over(self.session);
        let mut stream = super::new_stream(Rc::clone(self.session), true);
        if fields.is_overflowed() {
            self.refused(stream, 431);
            return RequestDecision::Answer(b"431");
        }
        let tune = &stream.config.global.tune;
        let limits = Limits {
            head_bytes: tune.bufsize.saturating_sub(tune.maxrewrite),
            message_bytes: tune.bufsize,
            headers: tune.headers_max,
            accept_invalid: false,
            body_with_any_method: true,
        };
        match http::http2::request(fields, end, &limits, &mut stream.request) {
            Ok(parsed) => {
                let now = reactor::now();
                stream.times.request = Some(now);
                stream.transfer.bytes_in += stream.request.wire_len() as u64;
                // Expects no length for a tunnel, because the data after its request is not a body.
                let tunnel = parsed.upgrade.is_some() || stream.request.method() == b"CONNECT";
                let length = if tunnel {
                    None
                } else {
                    mux::expected_length(&parsed, end)
                };
                RequestDecision::Begin((stream, Ok(parsed)), length)
            }
            Err(fault) if matches!(fault.kind, HeadTooLong | TooManyHeaders) => {
                self.refused(stream, 431);
                RequestDecision::Answer(b"431")
            }
            // Begins a stream for a head that is not a valid request in any HTTP version. The
            // stream answers and logs it, because the HTTP/2 protocol was not violated.
            Err(fault) if fault.kind.http2_status().is_some() => {
                RequestDecision::Begin((stream, Err(fault)), None)
            }
            Err(_) => {
                self.refused(stream, 0);
                RequestDecision::Reset(ErrorCode::ProtocolError)
            }
        }
    }

    fn note_malformed(&mut self) {
        self.faults = self.faults.saturating_add(1);
        tracking::session_glitch(self.session);
    }

    fn faults(&self) -> u32 {
        self.faults
    }
}

impl<B: FnMut(Request)> ClientSide<'_, B> {
    fn refused(&mut self, stream: Box<ProxyStream>, status: u16) {
        self.note_malformed();
        super::bad_request(stream, status);
    }

    fn idle_until(&self, view: &View) -> Option<Instant> {
        let timeouts = &self.session.frontend().timeouts;
        let (from, limit_ms) = if !view.has_input {
            // Applies the inactivity timeout before the first byte, because it is unknown whether
            // the client uses HTTP at all.
            (self.session.ready, timeouts.client_ms)
        } else if view.carried == 0 {
            (self.session.ready, timeouts.http_request_ms)
        } else {
            let keep_alive_ms = timeouts.http_keep_alive_ms;
            (view.idle_since, keep_alive_ms.or(timeouts.http_request_ms))
        };
        let limit_ms = limit_ms.or(timeouts.client_ms)?;
        Some(from + Duration::from_millis(u64::from(limit_ms)))
    }

    /// Returns when the end of the connection must be announced: because the process stops, the
    /// address leaves, or the configuration no longer contains the listener.
    fn leaves_at(&self, view: &View) -> Option<Instant> {
        if newest::is_left_behind(self.session) {
            return Some(reactor::now());
        }
        leaving::close_starts_at(self.session, view.carried > 0)
    }

    fn tell(&self, why: &dyn Display) {
        let source = match self.session.source {
            Endpoint::Inet(address) => {
                format!("{}:{}", address.ip().to_canonical(), address.port())
            }
            Endpoint::Unix => "unix:1".into(),
        };
        let frontend = self.session.frontend();
        let text = format!(
            "HTTP/2 connection from {source} to frontend {} closed: {why}.",
            frontend.name
        );
        log::notice(&self.session.config, frontend, Level::Warning, &text);
    }
}

impl<B: FnMut(Request)> ConnectionHandler for ClientSide<'_, B> {
    fn begin(&mut self, mux: MuxStream, (mut stream, parsed): Self::Request) {
        if parsed.as_ref().is_ok_and(|parsed| parsed.upgrade.is_some()) {
            mux.set_extended();
        }
        let before = self.streams;
        stream.times.first = before == 0;
        if before == 0 {
            stream.times.idle_since = self.session.accepted;
            stream.times.began_at -=
                reactor::now().saturating_duration_since(self.session.accepted);
        }
        self.streams = self.streams.saturating_add(1);
        (self.begin)(Request {
            mux,
            stream,
            parsed,
            before,
        });
    }

    fn next_action(&mut self, view: &View) -> (Option<Instant>, Then) {
        newest::go_over(self.session);
        let client_ms = self.session.frontend().timeouts.client_ms;
        let stuck = view.stuck_since.zip(client_ms);
        let mut next = (None, Then::Ask);
        let mut sooner = |at: Option<Instant>, then| {
            if let Some(at) = at
                && next.0.is_none_or(|known| at < known)
            {
                next = (Some(at), then);
            }
        };
        sooner(
            stuck.map(|(since, ms)| since + Duration::from_millis(u64::from(ms))),
            Then::Cut,
        );
        if view.closing {
            return next;
        }
        let tune = &self.session.config.global.tune.http2.client;
        let most = tune.glitches_max;
        if most.is_some_and(|most| self.faults >= most) {
            let now = Some(reactor::now());
            sooner(now, Then::GoAway(ErrorCode::EnhanceYourCalm));
        }
        if newest::must_connect_again(self.session) {
            sooner(Some(reactor::now()), Then::GoAway(ErrorCode::NoError));
        }
        match self.announced {
            Some(at) => sooner(Some(at + NOTICE), Then::GoAway(ErrorCode::NoError)),
            None if tune
                .total_streams_max
                .is_some_and(|most| view.carried >= most) =>
            {
                sooner(Some(reactor::now()), Then::Announce);
            }
            None => sooner(self.leaves_at(view), Then::Announce),
        }
        if view.open == 0 {
            let then = if view.has_input {
                Then::GoAway(ErrorCode::NoError)
            } else {
                Then::Cut
            };
            sooner(self.idle_until(view), then);
        }
        next
    }

    fn note_action_done(&mut self, then: Then) {
        match then {
            Then::Announce => self.announced = Some(reactor::now()),
            Then::GoAway(ErrorCode::EnhanceYourCalm) => {
                self.tell(&"too many faults (ENHANCE_YOUR_CALM)");
                self.session
                    .frontend()
                    .state
                    .count_frontend(Tally::RequestErrors);
            }
            _ => {}
        }
    }

    fn note_failure(&mut self, error: &ConnectionError) {
        let stream = super::new_stream(Rc::clone(self.session), true);
        super::bad_request(stream, 0);
        if !error.is_abuse() {
            return;
        }
        self.tell(error);
    }
}
