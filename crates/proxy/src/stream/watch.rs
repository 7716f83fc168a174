//! A client whose going is to be noticed while something else is waited for.

use super::{Phase, Stream, Termination};
use model::config::ProxyOption;
use model::transaction::Wait;
use mux::link::Link;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

/// A client whose going is to be noticed while a server is waited for.
#[derive(Clone, Copy)]
pub struct Watch<'c> {
    link: &'c Link,
    /// Also one that only sends nothing more (`option abortonclose`).
    half: bool,
}

impl<'c> Watch<'c> {
    /// A client's stream of HTTP/2, whatever the options: it can be given up
    /// at any time, and says so.
    pub fn of_stream(link: &'c Link) -> Option<Watch<'c>> {
        let half = false;
        link.is_http2().then_some(Watch { link, half })
    }

    /// The client, where `option abortonclose` wants to know that it closed. A stream
    /// of HTTP/2 that its client gave up is looked for by nobody.
    pub fn of(stream: &Stream, link: &'c Link) -> Option<Watch<'c>> {
        let half = stream
            .backend()
            .is_some_and(|backend| backend.has(ProxyOption::AbortOnClose));
        (half || link.is_http2()).then_some(Watch { link, half })
    }

    /// A client during a rule that waits, where its going is to be noticed.
    pub fn during_rules(stream: &Stream, link: &'c Link) -> Option<Watch<'c>> {
        let proxy = stream.backend().unwrap_or(stream.frontend());
        let half = proxy.has(ProxyOption::AbortOnClose);
        (half || link.is_http2()).then_some(Watch { link, half })
    }

    /// Ready when it has gone.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        match (self.half, self.link) {
            (false, Link::Http2(link)) => link.poll_lost(context),
            _ => self.link.poll_gone(context),
        }
    }

    /// Whether it has gone, by what is known without a system call.
    pub fn has_gone(&self) -> bool {
        match (self.half, self.link) {
            (false, Link::Http2(link)) => link.gone().is_some(),
            _ => self.link.is_gone(),
        }
    }

    /// Whether it is a stream that its client gave up.
    pub fn is_http2(&self) -> bool {
        self.link.is_http2()
    }
}

/// Runs a future; None when the watched client closes before it is done.
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

/// Waits for what a rule waits for, and does what came of it to the stream. False:
/// the client went meanwhile.
pub async fn await_rule(stream: &mut Stream, link: &Link, wait: Wait) -> bool {
    let watched = Watch::during_rules(stream, link);
    match unless_gone(watched, pin!(wait)).await {
        Some(applied) => {
            applied(stream);
            true
        }
        None => {
            stream.outcome.end(Termination::ClientAbort, Phase::Request);
            false
        }
    }
}

/// The client went while a server was looked for. It is told nothing.
pub fn abandoned(stream: &mut Stream) {
    stream.outcome.termination = Termination::ClientAbort;
    let queued = stream.times.queued.is_none();
    stream.outcome.phase = if queued { Phase::Queue } else { Phase::Connect };
}
