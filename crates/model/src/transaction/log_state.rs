//! What a stream keeps for its log lines.

use crate::setting::Step;
use http::message::Message;
use std::cell::Cell;

/// A request line before rules changed it: logs show this one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReceivedLine {
    /// The method.
    pub method: Vec<u8>,
    /// The target.
    pub target: Vec<u8>,
}

/// What a stream keeps for its log lines.
#[derive(Debug, Default)]
pub struct LogState {
    /// The moment at which it is being logged; None before the first.
    pub step: Cell<Option<Step>>,
    /// Log level as a rule set it; None is `info`, Some(None) is silent.
    pub level: Option<Option<u8>>,
    /// Its line was logged when its answer began (`option logasap`).
    pub done: bool,
    /// The request line as it was received, once a rule has changed it.
    pub received: Option<Box<ReceivedLine>>,
    /// `capture`d request headers, by slot.
    pub captured_request: Vec<Option<Vec<u8>>>,
    /// `capture`d answer headers, by slot.
    pub captured_response: Vec<Option<Vec<u8>>>,
}

impl LogState {
    /// Keeps the line of `request`, which a rule is about to change.
    pub fn keep_received(&mut self, request: &Message) {
        if self.received.is_none() && !request.method().is_empty() {
            let (method, target) = (request.method().to_vec(), request.target().to_vec());
            self.received = Some(Box::new(ReceivedLine { method, target }));
        }
    }

    /// Forgets everything and keeps the memory.
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
