//! Holds what the log lines of a stream need: captured headers, the request line as the client
//! sent it, the log level that a rule set. Fetches and the framing of responses read some of it,
//! too.

use crate::setting::StreamLogStep;
use http::message::HttpMessage;
use std::cell::Cell;

/// Request line before rules changed it, as logs print it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReceivedLine {
    pub method: Vec<u8>,
    pub target: Vec<u8>,
}

#[derive(Debug, Default)]
pub struct LogState {
    /// Step that is being logged; None before the first step.
    pub step: Cell<Option<StreamLogStep>>,
    /// Log level that a rule set; None is `info`, Some(None) is silent.
    pub level: Option<Option<u8>>,
    /// The stream was logged at the start of its response (`option logasap`).
    pub done: bool,
    /// Received request line, once a rule has changed it.
    pub received: Option<Box<ReceivedLine>>,
    /// Captured request headers, by slot.
    pub captured_request: Vec<Option<Vec<u8>>>,
    /// Captured response headers, by slot.
    pub captured_response: Vec<Option<Vec<u8>>>,
}

impl LogState {
    /// Saves the line of `request` before a rule changes it.
    pub fn keep_received(&mut self, request: &HttpMessage) {
        if self.received.is_none() && !request.method().is_empty() {
            let (method, target) = (request.method().to_vec(), request.target().to_vec());
            self.received = Some(Box::new(ReceivedLine { method, target }));
        }
    }

    /// Clears the log state for the next stream and keeps the allocated memory.
    pub(super) fn renew(&mut self) {
        let LogState {
            step,
            level,
            done,
            received,
            captured_request,
            captured_response,
        } = self;
        step.set(None);
        (*level, *done, *received) = (None, false, None);
        captured_request.clear();
        captured_response.clear();
    }
}
