//! The task of a connection: reads, hands what came to the streams, writes
//! what they and the protocol want to send, and ends the connection when its
//! time has come. Which times those are its side says.

use super::shared::{Accept, ConnectionState, OUTPUT_MAX_BYTES, Step};
use super::stream::MuxStream;
use protocol::http2::{ConnectionError, ErrorCode, Role, Why};
use reactor::{self, Buffer, Instant, sleep_until, with_deadline};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tls::transport::Transport;

/// With this much unsent output the driver stops reading, so a peer that does not read
/// responses cannot send more requests.
const OUTPUT_PAUSE_BYTES: usize = 2 * OUTPUT_MAX_BYTES;
/// How long a connection is without streams before it gives its memory back.
const RELEASE_AFTER: Duration = Duration::from_secs(1);
/// How long, and how much, is still read after a GOAWAY: unread input would turn the
/// close into a reset.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;

/// The state of a connection, for the decision how long it continues.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Streams now.
    pub open: u32,
    /// Streams so far.
    pub carried: u32,
    /// Since when there are none.
    pub idle_since: Instant,
    /// Since when the peer takes nothing of what waits for it.
    pub stuck_since: Option<Instant>,
    /// Something has come.
    pub heard: bool,
    /// New streams are not taken any more.
    pub closing: bool,
}

/// The action at a deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// To be asked again.
    Ask,
    /// It says that it will end; streams are still taken.
    Announce,
    /// No new streams; it ends with the last one.
    GoAway(ErrorCode),
    /// It ends now, whatever is under way.
    Cut,
}

/// The two ends of what a connection is for.
pub trait Side: Accept {
    /// A stream begins.
    fn begin(&mut self, stream: MuxStream, request: Self::Request);
    /// Returns the next action and its deadline. Called at every turn.
    fn plan(&mut self, view: &View) -> (Option<Instant>, Then);
    /// It did what the plan says.
    fn done(&mut self, then: Then);
    /// The peer's frames have ended the connection.
    fn failed(&mut self, error: &ConnectionError);
}

/// How a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// The peer should read the last of what it is told.
    Told,
    /// Without a word: it never spoke HTTP/2.
    Quiet,
    /// By a reset.
    Cut,
    /// Close without a message to the peer.
    Silent,
}

/// How far what was read has been handed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Taken {
    /// To its end.
    All,
    /// As far as one poll may; the task is queued again.
    Some,
    /// The connection ends.
    Ended(End),
}

/// Drives one connection.
pub(super) struct Driver<'t> {
    shared: Rc<ConnectionState>,
    transport: &'t Transport,
    /// Received bytes that are not processed yet; allocated only when bytes arrive.
    input: Option<Buffer>,
    /// Whether processing stopped in the middle, because the budget of the poll was used
    /// up.
    paused: bool,
    stuck_since: Option<Instant>,
    heard: bool,
    /// The peer sends nothing more.
    ended: bool,
    /// Memory was given back since the last stream.
    released: bool,
}

impl<'t> Driver<'t> {
    pub(super) fn new(
        shared: Rc<ConnectionState>,
        transport: &'t Transport,
        input: Option<Buffer>,
    ) -> Driver<'t> {
        let is_client = shared.inner.borrow().connection.role() == Role::Client;
        Driver {
            // A client speaks first.
            heard: is_client || input.is_some(),
            shared,
            transport,
            input,
            paused: false,
            stuck_since: None,
            ended: false,
            released: false,
        }
    }

    /// Drives the connection to its end, and waits for its streams.
    pub(super) async fn run<S: Side>(mut self, side: &mut S) {
        let end = poll_fn(|context| self.poll(context, side)).await;
        self.shared.inner.borrow_mut().lose_all();
        self.input = None;
        let deadline = Some(reactor::now() + LINGER);
        // However far it comes.
        let _ = match end {
            End::Cut => self.transport.set_linger_zero(),
            End::Silent => {
                self.transport.vanish();
                Ok(())
            }
            End::Quiet => self.transport.shutdown_write(),
            End::Told => with_deadline(deadline, self.farewell())
                .await
                .unwrap_or(Ok(())),
        };
        self.input = None;
        // Their users finish, and count, by themselves.
        poll_fn(|context| {
            self.shared.attach(context);
            match self.shared.inner.borrow().streams.open {
                0 => Poll::Ready(()),
                _ => Poll::Pending,
            }
        })
        .await;
    }

    fn poll<S: Side>(&mut self, context: &mut Context<'_>, side: &mut S) -> Poll<End> {
        self.shared.attach(context);
        // Ends: each plan that has come is done once.
        loop {
            if let Some(end) = self.killed() {
                return Poll::Ready(end);
            }
            if let Poll::Ready(end) = self.turn(context, side) {
                return Poll::Ready(end);
            }
            let view = self.view();
            self.released &= view.open == 0;
            let (at, then) = side.plan(&view);
            let release =
                (view.open == 0 && !self.released).then(|| view.idle_since + RELEASE_AFTER);
            if at.is_some_and(|at| has_come(at, context)) {
                match then {
                    Then::Ask => {}
                    Then::Announce => self
                        .shared
                        .inner
                        .borrow_mut()
                        .connection
                        .announce_shutdown(),
                    Then::GoAway(code) => {
                        let mut inner = self.shared.inner.borrow_mut();
                        inner.ends.closing = true;
                        inner.connection.go_away(code);
                    }
                    Then::Cut if !self.heard => return Poll::Ready(End::Quiet),
                    Then::Cut => return Poll::Ready(End::Cut),
                }
                side.done(then);
                continue;
            }
            if release.is_some_and(|at| has_come(at, context)) {
                self.released = true;
                self.shared.inner.borrow_mut().release_memory();
            }
            return Poll::Pending;
        }
    }

    /// Returns the result if a rule ends the connection.
    fn killed(&self) -> Option<End> {
        let mut inner = self.shared.inner.borrow_mut();
        if inner.ends.killed? {
            return Some(End::Silent);
        }
        inner.connection.go_away(ErrorCode::EnhanceYourCalm);
        Some(End::Told)
    }

    fn view(&self) -> View {
        let inner = self.shared.inner.borrow();
        View {
            open: inner.streams.open,
            carried: inner.streams.carried,
            idle_since: inner.streams.idle_since,
            stuck_since: self.stuck_since,
            heard: self.heard,
            closing: inner.ends.closing,
        }
    }

    /// Moves what can be moved now.
    fn turn<S: Side>(&mut self, context: &mut Context<'_>, side: &mut S) -> Poll<End> {
        // Of what it read it has not come to the end: the answers do not wait for that.
        if self.paused && self.write(context).is_err() {
            return Poll::Ready(End::Cut);
        }
        loop {
            let taken = self.take_in(side);
            self.paused = taken == Taken::Some;
            match taken {
                Taken::Ended(end) => return Poll::Ready(end),
                Taken::Some => return Poll::Pending,
                Taken::All => {}
            }
            if self.streams_first() {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.heard && self.write(context).is_err() {
                return Poll::Ready(End::Cut);
            }
            if self.shared.inner.borrow_mut().hand_out() {
                context.waker().wake_by_ref();
            }
            if let Some(end) = self.finished() {
                return Poll::Ready(end);
            }
            ready!(self.read(context));
        }
    }

    /// Hands what was read to the streams, as much of it as one poll may.
    fn take_in<S: Side>(&mut self, side: &mut S) -> Taken {
        let Some(input) = self.input.as_mut() else {
            return Taken::All;
        };
        let now_ms = reactor::now().as_nanos() / 1_000_000;
        loop {
            if !reactor::may_go_on() {
                return Taken::Some;
            }
            let (taken, step) = self
                .shared
                .inner
                .borrow_mut()
                .step(input.filled(), now_ms, side);
            input.consume(taken);
            match step {
                Step::More => {}
                Step::Done => break,
                Step::Begin(slot, request) => {
                    side.begin(MuxStream::new(Rc::clone(&self.shared), slot), request);
                }
                Step::Failed(error) => {
                    side.failed(&error);
                    let spoke = error.why != Why::Preface;
                    return Taken::Ended(if spoke { End::Told } else { End::Quiet });
                }
            }
        }
        // Nothing is held while nothing comes.
        self.input = None;
        Taken::All
    }

    /// Whether streams that can run now go before the next write: what they
    /// have to say goes out with it.
    fn streams_first(&mut self) -> bool {
        let mut inner = self.shared.inner.borrow_mut();
        std::mem::take(&mut inner.woke) && !inner.connection.output().is_empty()
    }

    /// Writes what waits, as far as the socket takes it.
    fn write(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let mut inner = self.shared.inner.borrow_mut();
        while !inner.connection.output().is_empty() {
            match self.transport.try_write(inner.connection.output()) {
                Ok(n) => {
                    inner.connection.output_consumed(n);
                    self.stuck_since = None;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.transport.poll_writable(context).is_pending() {
                        inner.blocked = true;
                        self.stuck_since.get_or_insert_with(reactor::now);
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        // TLS may hold records that the socket did not take.
        match self.transport.poll_flush(context) {
            Poll::Ready(Ok(())) => {
                inner.blocked = false;
                self.stuck_since = None;
            }
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => {
                inner.blocked = true;
                self.stuck_since.get_or_insert_with(reactor::now);
            }
        }
        Ok(())
    }

    /// Returns the result once both sides have ended and everything is written.
    fn finished(&self) -> Option<End> {
        let inner = self.shared.inner.borrow();
        let done = inner.streams.open == 0 && (self.ended || inner.connection.is_closed());
        match (done, self.heard) {
            (false, _) => None,
            (true, false) => Some(End::Quiet),
            (true, true) => inner.connection.output().is_empty().then_some(End::Told),
        }
    }

    /// Reads something. Pending: nothing is there, or nothing is wanted.
    fn read(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let paused = self.shared.inner.borrow().connection.output().len() > OUTPUT_PAUSE_BYTES;
        if self.ended || paused {
            return Poll::Pending;
        }
        // A buffer is taken only when there is something to read.
        loop {
            ready!(self.transport.poll_readable(context));
            let input = self.input.get_or_insert_with(Buffer::take);
            match self.transport.read_into(input) {
                Ok(n) if n > 0 => {
                    self.heard = true;
                    return Poll::Ready(());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.input = None,
                read => {
                    self.input = None;
                    self.ended = true;
                    let mut inner = self.shared.inner.borrow_mut();
                    match read {
                        // Its end: what is still to be written may be taken.
                        Ok(_) => inner.lose_unfinished(),
                        Err(_) => inner.lose_all(),
                    }
                    return Poll::Ready(());
                }
            }
        }
    }

    /// Writes the rest, closes our side, and lets the peer read it.
    async fn farewell(&mut self) -> io::Result<()> {
        loop {
            let left = {
                let mut inner = self.shared.inner.borrow_mut();
                match self.transport.try_write(inner.connection.output()) {
                    Ok(n) => inner.connection.output_consumed(n),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
                !inner.connection.output().is_empty()
            };
            if !left {
                break;
            }
            self.transport.writable().await;
        }
        self.transport.flushed().await?;
        self.transport.shutdown_write()?;
        let mut bytes = 0;
        while bytes < LINGER_BYTES && !self.ended {
            let input = self.input.get_or_insert_with(Buffer::take);
            input.clear();
            match self.transport.read_into(input) {
                Ok(0) => break,
                Ok(n) => bytes += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.input = None;
                    self.transport.readable().await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether a point of time has come; if not, the task is woken when it does.
fn has_come(at: Instant, context: &mut Context<'_>) -> bool {
    pin!(sleep_until(at)).poll(context).is_ready()
}
