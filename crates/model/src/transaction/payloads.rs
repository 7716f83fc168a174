//! Holds the first bytes of client and server of a stream, which content rules inspect.

use http::message::HttpMessage;
use std::cell::OnceCell;

/// Payload for content rules. Empty unless a rule needs it.
#[derive(Debug, Default)]
pub struct Payloads {
    /// The first bytes of a TCP stream, or of a request's body.
    pub request: Vec<u8>,
    /// True if `request` will not grow further (end of data, full buffer, or end of the delay).
    pub request_complete: bool,
    /// First bytes of the server's side (`tcp-response content`).
    pub response: Vec<u8>,
    /// True if `response` will not grow further.
    pub response_complete: bool,
    /// Request found in `request` of a stream that is not HTTP, once a rule looked for one and its
    /// head was complete.
    pub sniffed: OnceCell<Box<HttpMessage>>,
}

impl Payloads {
    /// Clears the payloads for the next stream and keeps the allocated memory.
    pub(super) fn renew(&mut self) {
        self.renew_request();
        let Payloads {
            request: _,
            request_complete: _,
            response,
            response_complete,
            sniffed: _,
        } = self;
        response.clear();
        *response_complete = false;
    }

    /// Clears the client's side before a change of its protocol.
    pub fn renew_request(&mut self) {
        self.request.clear();
        self.request_complete = false;
        if self.sniffed.get().is_some() {
            self.sniffed = OnceCell::new();
        }
    }
}
