//! What content rules may look at: the first bytes of each side.

use http::message::Message;
use std::cell::OnceCell;

/// What content rules may look at. Empty where no rule asked for it.
#[derive(Debug, Default)]
pub struct Payloads {
    /// The first bytes of a TCP stream, or of a request's body.
    pub request: Vec<u8>,
    /// No more will come into `request` (end, full buffer, or delay over).
    pub request_complete: bool,
    /// The same for the server's side (`tcp-response content`).
    pub response: Vec<u8>,
    /// No more will come into `response`.
    pub response_complete: bool,
    /// The request that stands in `request` of a stream that is not HTTP, once a rule
    /// looked for one and all of its head was there.
    pub sniffed: OnceCell<Box<Message>>,
}

impl Payloads {
    /// Forgets everything and keeps the memory.
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

    /// Forgets the client's side, which is seen otherwise from here on.
    pub fn renew_request(&mut self) {
        self.request.clear();
        self.request_complete = false;
        if self.sniffed.get().is_some() {
            self.sniffed = OnceCell::new();
        }
    }
}
