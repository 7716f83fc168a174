//! Drives one HTTP/2 connection in a task: reads, passes the input to the streams, writes the
//! output of the streams and of the protocol, and closes the connection when the
//! [`ConnectionHandler`] requests it.

use super::shared::{Accept, ConnectionState, EventResult, OUTPUT_MAX_BYTES};
use super::stream::MuxStream;
use protocol::http2::{ConnectionError, ErrorCode, Http2Role, Why};
use reactor::{self, Buffer, Instant, sleep_until, with_deadline};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tls::transport::ConnectionTransport;

/// With this much unsent output the driver stops reading, so a peer that does not read
/// responses cannot send more requests.
const OUTPUT_PAUSE_BYTES: usize = 2 * OUTPUT_MAX_BYTES;
/// Time without streams after which a connection frees its memory.
const RELEASE_AFTER: Duration = Duration::from_secs(1);
/// Maximum time for reading further input after a GOAWAY, because unread input would turn the close
/// into a reset.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;

/// State of a connection, from which a [`ConnectionHandler`] decides how long it continues.
#[derive(Clone, Copy, Debug)]
pub struct View {
    pub open: u32,
    /// Number of streams so far, including the open ones.
    pub carried: u32,
    pub idle_since: Instant,
    /// Time since which the peer has accepted none of the pending output.
    pub stuck_since: Option<Instant>,
    pub has_input: bool,
    pub closing: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    Ask,
    /// Announce the end with a GOAWAY. Streams are still accepted.
    Announce,
    /// Accept no new streams, and end with the last one.
    GoAway(ErrorCode),
    /// End at once, even with streams in progress.
    Cut,
}

/// Policy for the life of a connection, implemented for clients and for servers. The driver calls
/// it on the thread of the connection. [`Accept`] handles the requests.
pub trait ConnectionHandler: Accept {
    fn begin(&mut self, stream: MuxStream, request: Self::Request);
    /// Returns the next action and its deadline. The driver calls this after each turn.
    fn next_action(&mut self, view: &View) -> (Option<Instant>, Then);
    fn note_action_done(&mut self, then: Then);
    fn note_failure(&mut self, error: &ConnectionError);
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum CloseMode {
    /// Close after the peer has had time to read the last frames.
    Told,
    /// Close without a frame: the peer never used HTTP/2.
    Quiet,
    Cut,
    /// Close without a message to the peer.
    Silent,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum InputProgress {
    All,
    /// Part of the input is processed. The budget of the poll is used up, and the task is queued
    /// again.
    Some,
    Ended(CloseMode),
}

pub(super) struct Driver<'t> {
    shared: Rc<ConnectionState>,
    transport: &'t ConnectionTransport,
    /// Received bytes that are not processed yet; allocated only when bytes arrive.
    input: Option<Buffer>,
    /// True if processing stopped in the middle because the budget of the poll was used up.
    paused: bool,
    stuck_since: Option<Instant>,
    has_input: bool,
    ended: bool,
    released: bool,
}

impl<'t> Driver<'t> {
    pub(super) fn new(
        shared: Rc<ConnectionState>,
        transport: &'t ConnectionTransport,
        input: Option<Buffer>,
    ) -> Driver<'t> {
        let is_client = shared.inner.borrow().connection.role() == Http2Role::Client;
        Driver {
            // Counts a server as heard from the beginning, because this side sends first. A client
            // counts once its input has arrived.
            has_input: is_client || input.is_some(),
            shared,
            transport,
            input,
            paused: false,
            stuck_since: None,
            ended: false,
            released: false,
        }
    }

    pub(super) async fn run<S: ConnectionHandler>(mut self, side: &mut S) {
        let end = poll_fn(|context| self.poll(context, side)).await;
        self.shared.inner.borrow_mut().lose_all_streams();
        self.input = None;
        let deadline = Some(reactor::now() + LINGER);
        // Ignores errors, which have no further effect at the end.
        let _ = match end {
            CloseMode::Cut => self.transport.set_linger_zero(),
            CloseMode::Silent => {
                self.transport.close_silently();
                Ok(())
            }
            CloseMode::Quiet => self.transport.shutdown_write(),
            CloseMode::Told => with_deadline(deadline, self.close_gracefully())
                .await
                .unwrap_or(Ok(())),
        };
        self.input = None;
        // Waits until the users of all streams have finished; each does its own counting.
        poll_fn(|context| {
            self.shared.attach(context);
            match self.shared.inner.borrow().streams.open {
                0 => Poll::Ready(()),
                _ => Poll::Pending,
            }
        })
        .await;
    }

    fn poll<S: ConnectionHandler>(
        &mut self,
        context: &mut Context<'_>,
        side: &mut S,
    ) -> Poll<CloseMode> {
        self.shared.attach(context);
        // Repeats until nothing is due; the loop ends, because each due plan is executed once.
        loop {
            if let Some(end) = self.killed() {
                return Poll::Ready(end);
            }
            if let Poll::Ready(end) = self.run_turn(context, side) {
                return Poll::Ready(end);
            }
            let view = self.view();
            self.released &= view.open == 0;
            let (at, then) = side.next_action(&view);
            let release =
                (view.open == 0 && !self.released).then(|| view.idle_since + RELEASE_AFTER);
            if at.is_some_and(|at| is_deadline_reached(at, context)) {
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
                    Then::Cut if !self.has_input => return Poll::Ready(CloseMode::Quiet),
                    Then::Cut => return Poll::Ready(CloseMode::Cut),
                }
                side.note_action_done(then);
                continue;
            }
            let stalled_at = self.shared.inner.borrow().drains.deadline();
            if stalled_at.is_some_and(|at| is_deadline_reached(at, context)) {
                let now = reactor::now();
                if self.shared.inner.borrow_mut().reset_stalled_drains(now) {
                    continue;
                }
            }
            if release.is_some_and(|at| is_deadline_reached(at, context)) {
                self.released = true;
                self.shared.inner.borrow_mut().release_memory();
            }
            return Poll::Pending;
        }
    }

    fn killed(&self) -> Option<CloseMode> {
        let mut inner = self.shared.inner.borrow_mut();
        if inner.ends.killed? {
            return Some(CloseMode::Silent);
        }
        inner.connection.go_away(ErrorCode::EnhanceYourCalm);
        Some(CloseMode::Told)
    }

    fn view(&self) -> View {
        let inner = self.shared.inner.borrow();
        View {
            open: inner.streams.open,
            carried: inner.streams.carried,
            idle_since: inner.streams.idle_since,
            stuck_since: self.stuck_since,
            has_input: self.has_input,
            closing: inner.ends.closing,
        }
    }

    fn run_turn<S: ConnectionHandler>(
        &mut self,
        context: &mut Context<'_>,
        side: &mut S,
    ) -> Poll<CloseMode> {
        // Writes while input processing is paused, because the pending output must not wait for its
        // end.
        if self.paused && self.write(context).is_err() {
            return Poll::Ready(CloseMode::Cut);
        }
        loop {
            let taken = self.process_input(side);
            self.paused = taken == InputProgress::Some;
            match taken {
                InputProgress::Ended(end) => return Poll::Ready(end),
                InputProgress::Some => return Poll::Pending,
                InputProgress::All => {}
            }
            if self.should_run_streams_first() {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.has_input && self.write(context).is_err() {
                return Poll::Ready(CloseMode::Cut);
            }
            if self.shared.inner.borrow_mut().grant_writers() {
                context.waker().wake_by_ref();
            }
            if let Some(end) = self.finished() {
                return Poll::Ready(end);
            }
            ready!(self.read(context));
        }
    }

    fn process_input<S: ConnectionHandler>(&mut self, side: &mut S) -> InputProgress {
        let Some(input) = self.input.as_mut() else {
            return InputProgress::All;
        };
        let now_ms = reactor::now().as_nanos() / 1_000_000;
        loop {
            if !reactor::has_budget() {
                return InputProgress::Some;
            }
            let (taken, step) =
                self.shared
                    .inner
                    .borrow_mut()
                    .process_event(input.filled(), now_ms, side);
            input.consume(taken);
            match step {
                EventResult::More => {}
                EventResult::Done => break,
                EventResult::Begin(slot, request) => {
                    side.begin(MuxStream::new(Rc::clone(&self.shared), slot), request);
                }
                EventResult::Failed(error) => {
                    side.note_failure(&error);
                    let spoke = error.why != Why::Preface;
                    return InputProgress::Ended(if spoke {
                        CloseMode::Told
                    } else {
                        CloseMode::Quiet
                    });
                }
            }
        }
        // Frees the buffer, because an idle connection holds none.
        self.input = None;
        InputProgress::All
    }

    /// Returns whether runnable streams run before the next write, so that their output is sent
    /// with it.
    fn should_run_streams_first(&mut self) -> bool {
        let mut inner = self.shared.inner.borrow_mut();
        std::mem::take(&mut inner.woke) && !inner.connection.output().is_empty()
    }

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
        // Flushes, because TLS may hold records that the socket did not accept.
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

    fn finished(&self) -> Option<CloseMode> {
        let inner = self.shared.inner.borrow();
        let done = inner.streams.open == 0 && (self.ended || inner.connection.is_closed());
        match (done, self.has_input) {
            (false, _) => None,
            (true, false) => Some(CloseMode::Quiet),
            (true, true) => inner
                .connection
                .output()
                .is_empty()
                .then_some(CloseMode::Told),
        }
    }

    fn read(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let paused = self.shared.inner.borrow().connection.output().len() > OUTPUT_PAUSE_BYTES;
        if self.ended || paused {
            return Poll::Pending;
        }
        // Allocates a buffer only if there is something to read.
        loop {
            ready!(self.transport.poll_readable(context));
            let input = self.input.get_or_insert_with(Buffer::take);
            match self.transport.read_into(input) {
                Ok(n) if n > 0 => {
                    self.has_input = true;
                    return Poll::Ready(());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.input = None,
                read => {
                    self.input = None;
                    self.ended = true;
                    let mut inner = self.shared.inner.borrow_mut();
                    match read {
                        // Keeps the streams whose input is complete: the peer has only closed its
                        // side, so the remaining output may still be accepted.
                        Ok(_) => inner.lose_incomplete_streams(),
                        Err(_) => inner.lose_all_streams(),
                    }
                    return Poll::Ready(());
                }
            }
        }
    }

    async fn close_gracefully(&mut self) -> io::Result<()> {
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

/// Returns whether a deadline has passed. If not, the task is woken when it does.
fn is_deadline_reached(at: Instant, context: &mut Context<'_>) -> bool {
    pin!(sleep_until(at)).poll(context).is_ready()
}
