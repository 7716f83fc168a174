//! Accepting: one task a listener and thread. It stops taking connections
//! while the frontend, the listener or the process is full or got enough this
//! second (they wait in the kernel's queue), and pauses when descriptors run
//! out, instead of turning in a circle. A connection that was taken is given to
//! another thread where that has clearly less to do.

use super::{Listening, Seat};
use crate::config::{Config, Proxy};
use crate::reactor::{self, Listener, with_deadline};
use crate::runtime::Runtime;
use crate::state::{Rate, Tally};
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
/// So many tasks more than another thread has make it worth the wake-up of that
/// thread to give it a new connection.
const CLEARLY_MORE: usize = 3;

/// Accepts on this thread from now on.
pub fn listen(listening: Listening) {
    reactor::spawn(accept(listening));
}

/// Why no connection came out of [`next`].
enum Quiet {
    /// The accept loop is to end.
    Ended,
    /// The frontend, the listener or the process is full.
    Full,
    /// The system refused.
    Failed,
}

async fn accept(mut listening: Listening) {
    let worker = worker();
    let accepting = worker.accepting();
    let config = worker.config();
    let listener = match listening.fd.try_clone().and_then(Listener::from_fd) {
        Ok(listener) => listener,
        // Without a descriptor now the other threads accept; with none at all
        // the start would have failed.
        Err(_) => return,
    };
    let frontend = config.proxy(listening.proxy);
    if let Some(bind) = frontend.binds.get(listening.bind as usize) {
        // That of the tree that serves, which may have been adopted.
        listening.state = frontend.state.listener(bind.id);
    }
    let one_by_one =
        frontend.session_rate_max.is_some() || config.global.session_rate_max.is_some();
    let in_one_go = config
        .global
        .tune
        .accept_max
        .filter(|_| !one_by_one)
        .unwrap_or(if one_by_one { 1 } else { u32::MAX });
    let mut taken = 0;
    loop {
        if taken >= in_one_go {
            // The sessions that began are counted when they run.
            taken = 0;
            reactor::yield_now().await;
        }
        match next(&listener, &config, &listening, &mut taken).await {
            Ok((fd, peer)) => {
                taken += 1;
                let seat = seat(frontend, &listening, (&listener, &accepting)).await;
                begin(&config, &listening, fd, peer, seat);
            }
            Err(Quiet::Ended) => return,
            Err(Quiet::Full | Quiet::Failed) => pause(&listener, &accepting).await,
        }
    }
}

/// Leaves new connections to the kernel's queue for a moment.
async fn pause(listener: &Listener, accepting: &Accepting) {
    listener.pause();
    let _ = with_deadline(Some(reactor::now() + FULL_PAUSE), woken(accepting)).await;
}

/// Whether the limits of connections and sessions a second leave room for
/// another one.
fn slow_enough(config: &Config, frontend: &Proxy) -> bool {
    let worker = worker();
    let below = |limit: Option<u32>, rate: &Rate| {
        limit.is_none_or(|limit| rate.read(worker.now_ms()) < u64::from(limit))
    };
    below(frontend.session_rate_max, &frontend.state.session_rate)
        && below(
            config.global.connection_rate_max,
            &worker.runtime.connection_rate,
        )
        && below(config.global.session_rate_max, &worker.runtime.session_rate)
}

/// The places of a connection that was accepted. Another thread may have taken
/// the last ones since this one looked: then it waits until there are some.
async fn seat(
    frontend: &Proxy,
    listening: &Listening,
    (listener, accepting): (&Listener, &Accepting),
) -> Seat {
    let runtime = worker().runtime;
    loop {
        let bind = &frontend.binds[listening.bind as usize];
        if let Some(seat) = Seat::take(runtime, frontend, bind, &listening.state) {
            return seat;
        }
        if runtime.stopping() {
            return Seat::beyond_limits(runtime, frontend);
        }
        pause(listener, accepting).await;
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

async fn next(
    listener: &Listener,
    config: &Config,
    listening: &Listening,
    taken: &mut u32,
) -> Result<(OwnedFd, Option<SocketAddrAny>), Quiet> {
    let runtime = worker().runtime;
    let frontend = config.proxy(listening.proxy);
    let most = frontend.binds[listening.bind as usize].maxconn;
    let mut accept = pin!(listener.accept());
    poll_fn(|context| {
        if runtime.stopping() {
            return Poll::Ready(Err(Quiet::Ended));
        }
        let full = most.is_some_and(|most| listening.state.sessions.current() >= most);
        if full || !runtime.takes(frontend) || !slow_enough(config, frontend) {
            return Poll::Ready(Err(Quiet::Full));
        }
        let accepted = accept.as_mut().poll(context);
        if accepted.is_pending() {
            *taken = 0;
        }
        accepted.map_err(|_| Quiet::Failed)
    })
    .await
}

fn begin(
    config: &Arc<Config>,
    listening: &Listening,
    fd: OwnedFd,
    peer: Option<SocketAddrAny>,
    seat: Seat,
) {
    let worker = worker();
    let frontend = config.proxy(listening.proxy);
    let now_ms = worker.now_ms();
    frontend.state.frontend.here().count(Tally::Connections);
    frontend.state.connection_rate.count(now_ms);
    worker.runtime.counters.here().count(Tally::Connections);
    worker.runtime.connection_rate.count(now_ms);
    let (config, proxy, bind) = (config.clone(), listening.proxy, listening.bind);
    let session = move || stream::begin(config, (proxy, bind), fd, peer, seat);
    match less_busy(worker.runtime) {
        None => session(),
        Some(thread) => {
            // One that takes no more jobs has enough to do after all.
            if let Err(refused) = reactor::inject(thread, session) {
                (refused.job)();
            }
        }
    }
}

/// A thread that has clearly less to do than this one. Which of the threads
/// that sleep the kernel wakes for a connection has nothing to do with that.
fn less_busy(runtime: &Runtime) -> Option<usize> {
    if runtime.threads < 2 || runtime.stopping() {
        return None;
    }
    let here = reactor::thread();
    let own = reactor::load(here);
    let others = (0..runtime.threads).filter(|thread| *thread != here);
    let (load, thread) = others.map(|thread| (reactor::load(thread), thread)).min()?;
    (load + CLEARLY_MORE <= own).then_some(thread)
}
