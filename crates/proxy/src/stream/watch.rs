//! Detects that a client disconnects while its stream waits for something else (a queue, a rule,
//! a server).

use super::{ProxyStream, StreamPhase, Termination};
use model::config::ProxyOption;
use model::transaction::Wait;
use mux::link::PeerConnection;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

/// Detects that the client disconnects while its stream waits for something else.
#[derive(Clone, Copy)]
pub struct Watch<'c> {
    link: &'c PeerConnection,
    /// The client also counts as disconnected when it only ends its sending
    /// (`option abortonclose`).
    half: bool,
}

impl<'c> Watch<'c> {
    /// Watches an HTTP/2 stream whatever the options say, because the client can reset it at any
    /// time.
    pub fn of_stream(link: &'c PeerConnection) -> Option<Watch<'c>> {
        let half = false;
        link.is_http2().then_some(Watch { link, half })
    }

    /// Watches the client if `option abortonclose` is set, and an HTTP/2 stream in any case: a
    /// client that has reset its stream does not read a response.
    pub fn of(stream: &ProxyStream, link: &'c PeerConnection) -> Option<Watch<'c>> {
        let half = stream
            .backend()
            .is_some_and(|backend| backend.has(ProxyOption::AbortOnClose));
        (half || link.is_http2()).then_some(Watch { link, half })
    }

    pub fn during_rules(stream: &ProxyStream, link: &'c PeerConnection) -> Option<Watch<'c>> {
        let proxy = stream.backend().unwrap_or(stream.frontend());
        let half = proxy.has(ProxyOption::AbortOnClose);
        (half || link.is_http2()).then_some(Watch { link, half })
    }

    pub fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        match (self.half, self.link) {
            (false, PeerConnection::Http2(link)) => link.poll_lost(context),
            _ => self.link.poll_gone(context),
        }
    }

    /// Returns whether the client has disconnected, as far as known without a system call.
    pub fn has_gone(&self) -> bool {
        match (self.half, self.link) {
            (false, PeerConnection::Http2(link)) => link.gone().is_some(),
            _ => self.link.is_gone(),
        }
    }

    pub fn is_http2(&self) -> bool {
        self.link.is_http2()
    }
}

/// Runs a future; returns None if the watched client disconnects first.
///
/// The future is pinned by the caller: one that is given by value would be held,
/// and copied, twice.
pub fn unless_gone<F: Future>(
    watched: Option<Watch<'_>>,
    mut future: Pin<&mut F>,
) -> impl Future<Output = Option<F::Output>> {
    poll_fn(
        move |context| match (future.as_mut().poll(context), watched) {
            (Poll::Ready(output), _) => Poll::Ready(Some(output)),
            (Poll::Pending, Some(client)) => client.poll(context).map(|()| None),
            (Poll::Pending, None) => Poll::Pending,
        },
    )
}

/// Waits for the event that a rule needs and applies the result to the stream. False: the
/// client disconnected.
pub async fn await_rule(stream: &mut ProxyStream, link: &PeerConnection, wait: Wait) -> bool {
    let watched = Watch::during_rules(stream, link);
    match unless_gone(watched, pin!(wait)).await {
        Some(applied) => {
            applied(stream);
            true
        }
        None => {
            stream
                .outcome
                .end(Termination::ClientAbort, StreamPhase::Request);
            false
        }
    }
}

/// Ends a stream whose client disconnected before a server was found. No response is sent.
pub fn abandoned(stream: &mut ProxyStream) {
    stream.outcome.termination = Termination::ClientAbort;
    let queued = stream.times.queued.is_none();
    stream.outcome.phase = if queued {
        // Records the end of the time in the queue.
        stream.times.queued = Some(reactor::now());
        StreamPhase::Queue
    } else {
        StreamPhase::Connect
    };
}
