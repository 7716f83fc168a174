//! What rules decide about a connection or a message, and what they wait for: an action
//! hands a future to the driver of its stream, the driver waits for it (and for the
//! client, whose going ends it), carries out what came of it and asks the rules again,
//! from the rule behind this one on. It never blocks a thread, and holds nothing of the
//! stream meanwhile.

use super::{Reply, Stream};
use crate::setting::HttpProtocol;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What is done to the stream once the waiting is over, before its rules go on.
pub type Applied = Box<dyn FnOnce(&mut Stream)>;

/// What a rule waits for. It is waited for on the stream's own thread.
pub struct Wait(Pin<Box<dyn Future<Output = Applied>>>);

impl Wait {
    /// Waits for a future.
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

/// What rules of connections decide.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gate {
    /// It goes on.
    Open,
    /// It is closed.
    Reject,
    /// It is closed without notice to the client, or with a reset that has this TTL.
    SilentDrop(Option<u8>),
    /// The server's connection is closed; the client gets what came of it.
    CloseServer,
    /// HTTP is spoken from here on, in this version if one is said.
    SwitchToHttp(Option<HttpProtocol>),
}

/// What rules of messages decide.
#[derive(Debug)]
pub enum Verdict {
    /// It goes on.
    Continue,
    /// This is the answer.
    Answer(Box<Reply>),
    /// This is the answer, after the tarpit's time.
    Tarpit(Box<Reply>),
    /// The statistics for Prometheus are the answer.
    Metrics,
    /// The connection is closed.
    Reject,
    /// The connection is closed without notice to the client, or with a reset that has this TTL.
    SilentDrop(Option<u8>),
    /// A part of the body is needed first; then the rules are asked again.
    NeedBody {
        /// So many bytes, or all where there are less.
        bytes: usize,
        /// How long they may take; None is `timeout http-request`.
        time_ms: Option<u32>,
    },
    /// Something is waited for first; then the rules are asked again.
    Wait(Wait),
}

/// What `tcp-request content` rules came to.
#[derive(Debug)]
pub enum Content {
    /// They are over.
    Decided(Gate),
    /// More bytes are needed.
    NeedMore,
    /// Something is waited for first; then the rules are asked again.
    Wait(Wait),
}
