//! Accepting: one task a listener and thread. It stops taking connections
//! while the frontend or the process is full (they wait in the kernel's queue),
//! and pauses when descriptors run out, instead of turning in a circle.

use super::Listening;
use crate::config::Config;
use crate::reactor::{self, Listener, with_deadline};
use crate::state::Tally;
use crate::stream;
use crate::worker::{Accepting, worker};
use rustix::net::SocketAddrAny;
use std::future::{Future, poll_fn};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// How long a full frontend or a process without descriptors waits at most
/// until it looks again; the end of a session on the thread wakes it earlier.
const FULL_PAUSE: Duration = Duration::from_millis(20);

/// Accepts on this thread from now on.
pub fn listen(listening: Listening) {
    reactor::spawn(accept(listening));
}

/// Why no connection came out of [`next`].
enum Quiet {
    /// The process takes no more.
    Ended,
    /// The frontend or the process is full.
    Full,
    /// The system refused.
    Failed,
}

async fn accept(listening: Listening) {
    let worker = worker();
    let accepting = worker.accepting();
    let config = worker.config();
    let listener = match listening.fd.try_clone().and_then(Listener::from_fd) {
        Ok(listener) => listener,
        // Without a descriptor now the other threads accept; with none at all
        // the start would have failed.
        Err(_) => return,
    };
    loop {
        match next(&listener, &config, &listening).await {
            Ok((fd, peer)) => begin(&config, &listening, fd, peer),
            Err(Quiet::Ended) => return,
            Err(Quiet::Full | Quiet::Failed) => {
                listener.pause();
                let _ = with_deadline(Some(reactor::now() + FULL_PAUSE), woken(&accepting)).await;
            }
        }
    }
}

/// Waits until the loop is woken once: by the end of a session on this thread,
/// or by the end of the process.
async fn woken(accepting: &Accepting) {
    let mut first = true;
    poll_fn(|context| {
        if std::mem::take(&mut first) {
            accepting.note(context.waker());
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
}

/// The next connection. Whether there is room is asked when one can be
/// accepted, not when the loop begins to wait for it.
async fn next(
    listener: &Listener,
    config: &Config,
    listening: &Listening,
) -> Result<(OwnedFd, Option<SocketAddrAny>), Quiet> {
    let runtime = worker().runtime;
    let frontend = config.proxy(listening.proxy);
    let mut accept = pin!(listener.accept());
    poll_fn(|context| {
        if runtime.stopping() {
            return Poll::Ready(Err(Quiet::Ended));
        }
        if !runtime.takes(config, frontend) {
            return Poll::Ready(Err(Quiet::Full));
        }
        accept.as_mut().poll(context).map_err(|_| Quiet::Failed)
    })
    .await
}

fn begin(config: &Arc<Config>, listening: &Listening, fd: OwnedFd, peer: Option<SocketAddrAny>) {
    let worker = worker();
    let frontend = config.proxy(listening.proxy);
    let now_ms = worker.now_ms();
    frontend.state.frontend.here().count(Tally::Connections);
    frontend.state.connection_rate.count(now_ms);
    worker.runtime.counters.here().count(Tally::Connections);
    worker.runtime.connection_rate.count(now_ms);
    stream::begin(config.clone(), listening.proxy, listening.bind, fd, peer);
}
