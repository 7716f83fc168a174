//! `retry-on`: requests that are sent once more after they were sent. What was
//! sent is kept, as long as it fits into a buffer; what does not fit is never
//! repeated, nor is anything of which an answer was begun.

use super::answer::Failure;
use super::body::{Body, Kept};
use super::{Stream, server};
use crate::server_connection::ServerConnection;
use model::config::{Rare, RetryOn};
use model::queue::Slot;
use model::transaction::TryFailure;
use mux::link::Link;
use reactor::Buffer;
use std::cell::Cell;

/// What is needed to send a request once more.
pub struct Replay {
    /// The data of the body that went out.
    pub bytes: Vec<u8>,
    /// All of it is kept.
    pub whole: Cell<bool>,
    /// The body as it began; None: it is in chunks, which are made anew.
    begins: Option<Body>,
}

impl Replay {
    /// For a request that goes out now.
    pub fn new(stream: &Stream, client: &Link, body: &Body) -> Replay {
        let asked = stream.route.rare.has(Rare::RETRY_AFTER_SENDING);
        if !asked {
            return Replay {
                bytes: Vec::new(),
                whole: Cell::new(false),
                begins: None,
            };
        }
        let fits = match body {
            Body::Length(bytes) | Body::Stream(Some(bytes)) => {
                usize::try_from(*bytes).is_ok_and(|bytes| bytes <= Self::bytes_max(stream))
            }
            Body::Chunked(_) => !client.is_http2(),
            Body::Done | Body::Stream(None) => true,
            Body::UntilClose => false,
        };
        let may = fits && !stream.route.is_sent_once();
        Replay {
            bytes: Vec::new(),
            whole: Cell::new(may),
            begins: if may { body.restart() } else { None },
        }
    }

    /// What fits beside the head.
    pub fn bytes_max(stream: &Stream) -> usize {
        let tune = &stream.config.global.tune;
        tune.bufsize
            .saturating_sub(tune.maxrewrite)
            .saturating_sub(stream.request.wire_len())
    }

    /// Whether it could go out again, as long as that is so, and where the data of
    /// its body is kept that goes out.
    pub fn parts(&mut self, stream: &Stream) -> (&Cell<bool>, Option<Kept<'_>>) {
        let Replay { bytes, whole, .. } = self;
        let whole = &*whole;
        let kept = whole.get().then(|| Kept {
            bytes,
            whole,
            bytes_max: Self::bytes_max(stream),
        });
        (whole, kept)
    }

    /// Puts the body back in front of what came behind it. False: it cannot be
    /// sent again.
    pub fn rewind(&mut self, input: &mut Option<Buffer>, body: &mut Body) -> bool {
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
                Some(Body::Chunked(Box::default()))
            }
            // Half of it is taken out of its chunks, half is not.
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

/// Another server connection for a request that goes out again.
pub async fn again(stream: &mut Stream, slot: Slot) -> Option<(ServerConnection, Slot)> {
    stream.response.clear();
    let another = server::again(stream, slot).await.ok()?;
    server::name_server(stream);
    Some(another)
}

/// Another server connection for a request that its server has not looked at. A server that
/// stops closes what it has and takes nothing new: that is tried again, and elsewhere, as
/// any connection that fails.
pub async fn anew(stream: &mut Stream, slot: Slot) -> Option<(ServerConnection, Slot)> {
    match server::reconnect(stream).await {
        Some(connection) => Some((connection, slot)),
        None => again(stream, slot).await,
    }
}

/// Whether `retry-on` names the status of the answer, and it may be tried again.
pub fn is_unwanted(stream: &Stream) -> bool {
    let bit = RetryOn::status_bit(stream.response.status());
    bit.is_some_and(|bit| is_asked_for(stream, bit))
}

/// Keeps how an exchange failed, and returns whether the request goes out again after this.
pub fn repeats(stream: &mut Stream, failure: &Failure) -> bool {
    note(stream, failure);
    let bits = match failure {
        Failure::Unwanted => return true,
        Failure::ClosedEarly | Failure::Closed | Failure::Refused => RetryOn::EMPTY_RESPONSE,
        Failure::Timeout => RetryOn::RESPONSE_TIMEOUT,
        Failure::Malformed | Failure::Interim => RetryOn::JUNK_RESPONSE,
        _ => return false,
    };
    // Nothing of an answer was passed on.
    stream.times.response.is_none() && is_asked_for(stream, bits)
}

/// Keeps how the server of a stream failed, for the history of requests: only what is its fault.
fn note(stream: &mut Stream, failure: &Failure) {
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

fn is_asked_for(stream: &Stream, bits: u32) -> bool {
    stream.route.retries < server::retries(stream)
        && stream
            .backend()
            .is_some_and(|backend| backend.retry_on.has(bits))
}
