//! Accepts client connections: one task per listening socket and thread. A task stops accepting
//! while the frontend, the listener or the process has reached `maxconn` or a rate limit; new
//! connections then wait in the kernel's queue. When the process has no free descriptor, a task
//! pauses instead of looping. An accepted connection is passed to another thread if that thread
//! is clearly less busy.
//!
//! A task belongs to a socket, not to a configuration: after a change of the configuration it
//! gets another [`AcceptTarget`], and connections in the kernel's queue are not lost.

use crate::admission::AdmissionPermit;
use crate::listener::{Listening, SocketKey};
use crate::runtime::{self, ClientPermit, Runtime};
use crate::stream;
use model::config::{Bind, Config, ListenerIndex, Proxy};
use model::state::Tally;
use model::thread::{Room, current_thread_data};
use reactor::{self, Listener, with_deadline};
use rustix::net::SocketAddrAny;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// Maximum pause of an accept task whose frontend is full or whose process has no free descriptor.
/// The end of a session on the thread ends the pause earlier.
const FULL_PAUSE: Duration = Duration::from_millis(20);
/// A connection is passed to another thread if that thread has at least this many fewer tasks; for
/// a smaller difference the wake-up of that thread costs more.
const CLEARLY_MORE: usize = 3;
/// Maximum number of connections that a task still accepts from the kernel's queue when it stops
/// accepting on its socket: their clients have already connected.
const LAST_MAX: usize = 4096;

/// The listener and the configuration under which an accept task accepts.
pub(crate) struct AcceptTarget {
    config: Arc<Config>,
    listening: Listening,
}

impl AcceptTarget {
    /// Finds the listener of a socket in a configuration; None if the configuration has no such
    /// `bind`.
    pub(crate) fn new(config: &Arc<Config>, listening: &Listening) -> Option<Rc<AcceptTarget>> {
        let mut listening = listening.clone();
        let proxy = config.proxies.get(listening.proxy.0 as usize)?;
        let bind = proxy.binds.get(listening.bind as usize)?;
        // Uses the listener's state in the configuration that serves, which an earlier
        // configuration may have created.
        listening.state = proxy.state.listener(bind.id);
        Some(Rc::new(AcceptTarget {
            config: Arc::clone(config),
            listening,
        }))
    }

    fn frontend(&self) -> &Proxy {
        self.config.proxy(self.listening.proxy)
    }

    fn bind(&self) -> &Bind {
        &self.frontend().binds[self.listening.bind as usize]
    }

    fn in_one_go(&self) -> u32 {
        let one_by_one = self.frontend().session_rate_max.is_some();
        let usual = if one_by_one { 1 } else { u32::MAX };
        let accept_max = self.config.global.tune.accept_max;
        let accept_max = accept_max.filter(|_| !one_by_one);
        accept_max.unwrap_or(usual)
    }
}

#[derive(Clone)]
enum AcceptOrder {
    Accept(Rc<AcceptTarget>),
    /// Stop accepting; other threads still accept on this listener.
    Leave,
    Close,
}

/// Handle to an accept task, held by its thread.
pub(crate) struct AcceptLoop {
    pub(crate) key: SocketKey,
    orders: RefCell<AcceptOrder>,
    task: Cell<Option<Waker>>,
    /// Wakes the loop's task while it waits for a connection slot.
    full: Rc<Room>,
    ended: Cell<bool>,
    /// Another process accepts the new connections, and those that had already woken this task
    /// were accepted.
    left: Cell<bool>,
}

impl AcceptLoop {
    pub(crate) fn start(key: SocketKey, target: Rc<AcceptTarget>) -> Rc<AcceptLoop> {
        let fd = Arc::clone(&target.listening.fd);
        let started = Rc::new(AcceptLoop {
            key,
            orders: RefCell::new(AcceptOrder::Accept(target)),
            task: Cell::default(),
            full: current_thread_data().add_room(),
            ended: Cell::new(false),
            left: Cell::new(false),
        });
        let own = AcceptLoopGuard(Rc::clone(&started));
        reactor::spawn(async move {
            // If there is no memory for the listener on this thread, the other threads still
            // accept.
            if let Ok(listener) = Listener::from_shared(fd) {
                accept(&own.0, listener).await;
            }
        });
        started
    }

    /// Returns whether the accept task has ended: no memory was available, or it was requested to
    /// end.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    pub(crate) fn accept_for(&self, target: Rc<AcceptTarget>) {
        self.order(AcceptOrder::Accept(target));
    }

    pub(crate) fn leave(&self) {
        self.order(AcceptOrder::Leave);
    }

    /// Lets the task accept what is in the kernel's queue, and then end.
    pub(crate) fn close(&self) {
        self.order(AcceptOrder::Close);
    }

    fn order(&self, orders: AcceptOrder) {
        *self.orders.borrow_mut() = orders;
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }

    fn orders(&self) -> AcceptOrder {
        self.orders.borrow().clone()
    }

    fn is_for(&self, target: &Rc<AcceptTarget>) -> bool {
        matches!(&*self.orders.borrow(), AcceptOrder::Accept(now) if Rc::ptr_eq(now, target))
    }
}

impl Drop for AcceptLoop {
    fn drop(&mut self) {
        current_thread_data().remove_room(&self.full);
    }
}

/// Releases the configuration and the socket when the accept task ends for any reason, although
/// the thread still holds the handle.
struct AcceptLoopGuard(Rc<AcceptLoop>);

impl Drop for AcceptLoopGuard {
    fn drop(&mut self) {
        self.0.ended.set(true);
        drop(self.0.orders.replace(AcceptOrder::Leave));
    }
}

enum Quiet {
    Ended,
    Ordered,
    Elsewhere,
    Full,
    Failed,
}

async fn accept(own: &AcceptLoop, listener: Listener) {
    let mut last = None;
    loop {
        match own.orders() {
            AcceptOrder::Accept(target) => {
                last = Some(Rc::clone(&target));
                if !accept_for(own, &listener, target).await {
                    break;
                }
            }
            AcceptOrder::Leave => return,
            AcceptOrder::Close => break,
        }
    }
    // If no other process serves this socket, the connections in the queue are accepted here: when
    // the last descriptor of the socket is closed, their clients would get a reset. Otherwise the
    // other process accepts them.
    if let Some(target) = last
        && !(own.left.get() && runtime::of_thread().stopping())
    {
        take_what_is_left(&listener, &target);
    }
}

/// Stops accepting on the socket, after accepting the connections that may have woken this task:
/// the kernel does not wake the other processes for these.
fn take_what_is_left(listener: &Listener, target: &Rc<AcceptTarget>) {
    listener.pause();
    for _ in 0..LAST_MAX {
        let Ok((fd, peer)) = listener.try_accept() else {
            return;
        };
        let seat = ClientPermit::beyond_limits(runtime::of_thread(), target.frontend());
        begin(target, fd, peer, seat, None);
    }
}

/// Accepts under one configuration. Returns false when the process is stopping.
async fn accept_for(own: &AcceptLoop, listener: &Listener, target: Rc<AcceptTarget>) -> bool {
    let in_one_go = target.in_one_go();
    let mut taken = 0;
    while own.is_for(&target) {
        if taken >= in_one_go {
            // Lets the new sessions run before more are accepted, because a session is counted
            // only when it runs.
            taken = 0;
            reactor::yield_now().await;
        }
        match next(own, listener, &target, &mut taken).await {
            Ok(((fd, peer), mut admission)) => {
                taken += 1;
                let (target, seat) = seat(own, listener, Rc::clone(&target), &mut admission).await;
                begin(&target, fd, peer, seat, admission);
            }
            Err(Quiet::Ended) => return false,
            Err(Quiet::Ordered) => {}
            Err(Quiet::Elsewhere) => leave(own, listener, &target).await,
            Err(Quiet::Full | Quiet::Failed) => pause(own, listener).await,
        }
    }
    true
}

/// Leaves new connections to another process until this one is requested to accept again.
async fn leave(own: &AcceptLoop, listener: &Listener, target: &Rc<AcceptTarget>) {
    take_what_is_left(listener, target);
    own.left.set(true);
    let runtime = runtime::of_thread();
    while runtime.has_successor() && !runtime.stopping() && own.is_for(target) {
        let _ = with_deadline(Some(reactor::now() + FULL_PAUSE), woken(own)).await;
    }
    own.left.set(runtime.has_successor());
}

async fn pause(own: &AcceptLoop, listener: &Listener) {
    listener.pause();
    let _ = with_deadline(Some(reactor::now() + FULL_PAUSE), woken(own)).await;
}

fn is_below_session_rate(frontend: &Proxy) -> bool {
    let rate = &frontend.state.frontend.session_rate;
    frontend
        .session_rate_max
        .is_none_or(|most| rate.read(current_thread_data().now_ms()) < u64::from(most))
}

/// Takes the connection slots for an accepted connection. If another thread has taken the last
/// ones in between, this waits for free ones, under the newest configuration that has the
/// listener. A connection that waits gives up its `admission`, so that a full frontend does not
/// use up the rate limit of the others.
async fn seat(
    own: &AcceptLoop,
    listener: &Listener,
    mut target: Rc<AcceptTarget>,
    admission: &mut Option<AdmissionPermit>,
) -> (Rc<AcceptTarget>, ClientPermit) {
    let runtime = runtime::of_thread();
    let (frontend, state) = (target.frontend(), &target.listening.state);
    if let Some(seat) = ClientPermit::take(runtime, frontend, target.bind(), state) {
        return (target, seat);
    }
    *admission = None;
    // Keeps the thread from ending while it holds the connection.
    let _in_hand = InHand::new();
    loop {
        pause(own, listener).await;
        let stays = match own.orders() {
            AcceptOrder::Accept(now) => {
                target = now;
                true
            }
            AcceptOrder::Leave | AcceptOrder::Close => false,
        };
        if runtime.stopping() || !stays {
            let seat = ClientPermit::beyond_limits(runtime, target.frontend());
            return (target, seat);
        }
        let (frontend, state) = (target.frontend(), &target.listening.state);
        if let Some(seat) = ClientPermit::take(runtime, frontend, target.bind(), state) {
            return (target, seat);
        }
    }
}

/// A connection without a session yet; it keeps the thread alive.
struct InHand;

impl InHand {
    fn new() -> InHand {
        current_thread_data().session_began();
        InHand
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        current_thread_data().session_ended();
    }
}

/// Waits until the task is woken once: by the end of a session on this thread, by new orders, or
/// by the end of the process.
async fn woken(own: &AcceptLoop) {
    let mut first = true;
    poll_fn(|context| {
        if std::mem::take(&mut first) {
            own.full.wait(context.waker());
            own.task.set(Some(context.waker().clone()));
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
}

type Accepted = (OwnedFd, Option<SocketAddrAny>);

/// Accepts a connection if all limits allow it. The permit is None if no limit on connections per
/// second applies.
async fn next(
    own: &AcceptLoop,
    listener: &Listener,
    target: &Rc<AcceptTarget>,
    taken: &mut u32,
) -> Result<(Accepted, Option<AdmissionPermit>), Quiet> {
    let runtime = runtime::of_thread();
    let frontend = target.frontend();
    let most = target.bind().maxconn;
    let state = &target.listening.state;
    let mut accept = pin!(listener.accept());
    poll_fn(|context| {
        if runtime.stopping() {
            return Poll::Ready(Err(Quiet::Ended));
        }
        if !own.is_for(target) {
            return Poll::Ready(Err(Quiet::Ordered));
        }
        if runtime.has_successor() {
            return Poll::Ready(Err(Quiet::Elsewhere));
        }
        let full = most.is_some_and(|most| state.sessions.current() >= most);
        if full || !runtime.takes(frontend) || !is_below_session_rate(frontend) {
            return Poll::Ready(Err(Quiet::Full));
        }
        let Ok(admission) = AdmissionPermit::take(&target.config.global, target.bind()) else {
            return Poll::Ready(Err(Quiet::Full));
        };
        let accepted = accept.as_mut().poll(context);
        if accepted.is_pending() {
            *taken = 0;
            own.task.set(Some(context.waker().clone()));
        }
        accepted.map(|accepted| match accepted {
            Ok(accepted) => Ok((accepted, admission)),
            Err(_) => Err(Quiet::Failed),
        })
    })
    .await
}

fn begin(
    target: &AcceptTarget,
    fd: OwnedFd,
    peer: Option<SocketAddrAny>,
    seat: ClientPermit,
    admission: Option<AdmissionPermit>,
) {
    let runtime = runtime::of_thread();
    let frontend = target.frontend();
    let now_ms = current_thread_data().now_ms();
    frontend.state.count_frontend(Tally::Connections);
    frontend.state.frontend.connection_rate.count(now_ms);
    runtime.counters.count(Tally::Connections);
    runtime.connection_rate.count(now_ms);
    let config = Arc::clone(&target.config);
    let hardened = config.global.tune.workarounds.reject_privileged_ports;
    if hardened && peer.as_ref().is_some_and(is_privileged) {
        return;
    }
    let place = ListenerIndex {
        frontend: target.listening.proxy,
        bind: target.listening.bind,
    };
    let session = move || {
        stream::begin(config, place, fd, peer, seat);
        drop(admission);
    };
    match less_busy(runtime) {
        None => session(),
        Some(thread) => {
            // A thread that refuses the job is busy after all, so the session stays here.
            if let Err(refused) = reactor::inject(thread, session) {
                (refused.job)();
            }
        }
    }
}

fn is_privileged(peer: &SocketAddrAny) -> bool {
    let address = std::net::SocketAddr::try_from(peer.clone());
    address.is_ok_and(|address| (1..1024).contains(&address.port()))
}

/// Finds a thread that has clearly less to do than this one, because the kernel wakes a sleeping
/// thread for a connection without regard to its load.
fn less_busy(runtime: &Runtime) -> Option<usize> {
    let threads = runtime.threads();
    if threads < 2 || runtime.stopping() {
        return None;
    }
    let here = reactor::thread();
    let own = reactor::load(here);
    let others = (0..threads).filter(|thread| *thread != here);
    let (load, thread) = others.map(|thread| (reactor::load(thread), thread)).min()?;
    (load + CLEARLY_MORE <= own).then_some(thread)
}
