//! Decides whether a failed request is sent again (`retry-on`), and keeps the bytes for that. A
//! request that does not fit into one buffer is never repeated, nor is one whose response has
//! begun.

use super::answer::Failure;
use super::body::{BodyCopy, IncomingBody};
use super::{ProxyStream, server};
use crate::server_connection::ServerConnection;
use model::config::{Rare, RetryOn};
use model::queue::ServerSlot;
use model::transaction::TryFailure;
use mux::link::PeerConnection;
use reactor::Buffer;
use std::cell::Cell;

/// Data needed to send a request again.
pub struct Replay {
    pub bytes: Vec<u8>,
    /// True while `bytes` contains all body data that was sent.
    pub whole: Cell<bool>,
    /// State of the body at its beginning; None for a chunked body, whose data was decoded and is
    /// encoded again.
    begins: Option<IncomingBody>,
}

impl Replay {
    pub fn new(stream: &ProxyStream, client: &PeerConnection, body: &IncomingBody) -> Replay {
        let asked = stream.route.rare.has(Rare::RETRY_AFTER_SENDING);
        if !asked {
            return Replay {
                bytes: Vec::new(),
                whole: Cell::new(false),
                begins: None,
            };
        }
        let fits = match body {
            IncomingBody::Length(bytes) | IncomingBody::Stream(Some(bytes)) => {
                usize::try_from(*bytes).is_ok_and(|bytes| bytes <= Self::bytes_max(stream))
            }
            IncomingBody::Chunked(_) => !client.is_http2(),
            IncomingBody::Done | IncomingBody::Stream(None) => true,
            IncomingBody::UntilClose => false,
        };
        let may = fits && !stream.route.is_sent_once();
        Replay {
            bytes: Vec::new(),
            whole: Cell::new(may),
            begins: if may { body.restart() } else { None },
        }
    }

    /// Returns the maximum number of body bytes to keep: those that fit into a buffer after the
    /// head.
    pub fn bytes_max(stream: &ProxyStream) -> usize {
        let tune = &stream.config.global.tune;
        tune.bufsize
            .saturating_sub(tune.maxrewrite)
            .saturating_sub(stream.request.wire_len())
    }

    /// Returns the flag that tells whether the request can still be repeated, and the place for
    /// the body data that is sent.
    pub fn parts(&mut self, stream: &ProxyStream) -> (&Cell<bool>, Option<BodyCopy<'_>>) {
        let Replay { bytes, whole, .. } = self;
        let whole = &*whole;
        let kept = whole.get().then(|| BodyCopy {
            bytes,
            whole,
            bytes_max: Self::bytes_max(stream),
        });
        (whole, kept)
    }

    /// Puts the body data that was sent before the remaining input again. Returns false if the
    /// request cannot be repeated.
    pub fn rewind(&mut self, input: &mut Option<Buffer>, body: &mut IncomingBody) -> bool {
        if !self.whole.get() {
            return false;
        }
        let mut bytes = std::mem::take(&mut self.bytes);
        let begins = match &self.begins {
            Some(begins) => begins.restart(),
            None if body.is_done() => {
                let length = bytes.len();
                let head = format!("{length:x}\r\n");
                bytes.splice(0..0, head.into_bytes());
                bytes.extend_from_slice(if length > 0 {
                    b"\r\n0\r\n\r\n"
                } else {
                    b"\r\n"
                });
                Some(IncomingBody::Chunked(Box::default()))
            }
            // Gives up, because the body is partly decoded from its chunks and partly not.
            None => None,
        };
        let Some(begins) = begins else {
            return false;
        };
        if !bytes.is_empty() {
            bytes.extend_from_slice(input.as_ref().map_or(&[][..], Buffer::filled));
            let mut whole = Buffer::take();
            if whole.extend(&bytes) < bytes.len() {
                return false;
            }
            *input = Some(whole);
        }
        *body = begins;
        true
    }
}

pub async fn reconnect_for_retry(
    stream: &mut ProxyStream,
    slot: ServerSlot,
) -> Option<(ServerConnection, ServerSlot)> {
    stream.response.clear();
    let another = server::connect_again(stream, slot).await.ok()?;
    server::name_server(stream);
    Some(another)
}

/// Gets another server connection for a request that the server has not processed. If the server
/// is stopping, it accepts no new connection, so the attempt is retried and redispatched like any
/// failed one.
pub async fn anew(
    stream: &mut ProxyStream,
    slot: ServerSlot,
) -> Option<(ServerConnection, ServerSlot)> {
    match server::reconnect(stream).await {
        Some(connection) => Some((connection, slot)),
        None => reconnect_for_retry(stream, slot).await,
    }
}

/// Returns whether `retry-on` lists the status of the response and another attempt is
/// allowed.
pub fn is_unwanted(stream: &ProxyStream) -> bool {
    let bit = RetryOn::status_bit(stream.response.status());
    bit.is_some_and(|bit| is_asked_for(stream, bit))
}

/// Records the failure of an exchange and returns whether the request is repeated.
pub fn should_retry(stream: &mut ProxyStream, failure: &Failure) -> bool {
    note(stream, failure);
    let bits = match failure {
        Failure::Unwanted => return true,
        Failure::ClosedEarly | Failure::Closed | Failure::Refused => RetryOn::EMPTY_RESPONSE,
        Failure::Timeout => RetryOn::RESPONSE_TIMEOUT,
        Failure::Malformed | Failure::Interim => RetryOn::JUNK_RESPONSE,
        _ => return false,
    };
    // Repeats the request only if no part of a response was forwarded.
    stream.times.response.is_none() && is_asked_for(stream, bits)
}

/// Records the failure of a server for the request history, if the server caused it.
fn note(stream: &mut ProxyStream, failure: &Failure) {
    let failure = match failure {
        Failure::Unwanted => TryFailure::Status,
        Failure::ClosedEarly | Failure::Closed => TryFailure::Closed,
        Failure::Refused => TryFailure::Refused,
        Failure::Timeout => TryFailure::ResponseTimeout,
        Failure::Malformed | Failure::Interim => TryFailure::Malformed,
        _ => return,
    };
    stream.try_failed(failure);
}

fn is_asked_for(stream: &ProxyStream, bits: u32) -> bool {
    stream.route.retries < server::retries(stream)
        && stream
            .backend()
            .is_some_and(|backend| backend.retry_on.has(bits))
}
