//! Defines the decisions of rules about a connection or a message, and the waits of rules. An
//! action that must wait passes a future to the code that serves the stream. That code waits for
//! the future and for the client, whose disconnect ends the wait; then it applies the result and
//! evaluates the rules again, starting after this rule. The wait never blocks a thread, and
//! borrows nothing from the stream.

use super::{ProxyResponse, ProxyStream};
use crate::setting::HttpProtocol;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Change that is applied to the stream after the wait, before its rules continue.
pub type Applied = Box<dyn FnOnce(&mut ProxyStream)>;

/// Wait of a rule for a future, polled on the stream's own thread.
pub struct Wait(Pin<Box<dyn Future<Output = Applied>>>);

impl Wait {
    pub fn new(future: impl Future<Output = Applied> + 'static) -> Wait {
        Wait(Box::pin(future))
    }
}

impl Future for Wait {
    type Output = Applied;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Applied> {
        self.0.as_mut().poll(context)
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wait")
    }
}

/// Decision of rules about a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gate {
    Open,
    Reject,
    /// The connection is closed without notice to the client, or with a reset that has this TTL.
    SilentDrop(Option<u8>),
    /// The server's connection is closed; the client gets the data received so far.
    CloseServer,
    /// The connection switches to HTTP, with this HTTP version if one is given.
    SwitchToHttp(Option<HttpProtocol>),
}

/// Decision of rules about a message.
#[derive(Debug)]
pub enum MessageVerdict {
    Continue,
    Answer(Box<ProxyResponse>),
    /// The proxy sends this response after the tarpit delay.
    Tarpit(Box<ProxyResponse>),
    Metrics,
    Reject,
    /// The connection is closed without notice to the client, or with a reset that has this TTL.
    SilentDrop(Option<u8>),
    /// Part of the body is needed first; then the rules are evaluated again.
    NeedBody {
        /// Number of bytes, or all if the body is shorter.
        bytes: usize,
        /// Timeout, milliseconds; None is `timeout http-request`.
        time_ms: Option<u32>,
    },
    /// A future must complete first; then the rules are evaluated again.
    Wait(Wait),
}

/// Result of `tcp-request content` rules.
#[derive(Debug)]
pub enum ContentVerdict {
    Decided(Gate),
    NeedMore,
    /// A future must complete first; then the rules are evaluated again.
    Wait(Wait),
}
