//! Runs a connection to a member: sends and receives requests and responses of both sides, measures
//! the round trip, and ends the connection when the other side does not respond.

use super::counters::count;
use super::frame::{Assembler, BrokenRule, FrameHeader, FrameKind, HEAD_BYTES, WireMessage};
use super::greeting::{Goodbye, Pipe};
use super::network::ConnectionFactory;
use super::outbox::{Outbox, Outgoing};
use super::path::{Connection, PathKind};
use super::shared::WireState;
use crate::member::MemberId;
use part::codec;
use part::lock;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

pub(crate) const QUESTIONS_MAX: usize = 256;
pub(crate) const QUESTIONS_BYTES_MAX: usize = 8 << 20;
const WRITE_BYTES: usize = 16 << 10;
/// Time in which the last message of a connection can still be sent.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Capacity beyond which a buffer is freed after use.
const KEPT_BYTES: usize = 4 << 10;

#[derive(Debug)]
pub(crate) enum CallReply {
    Answer(Vec<u8>),
    Overloaded,
    /// The request was handled, and its response does not come on this connection.
    Repeated,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ConnectionEnd {
    Closed,
    Silent,
    Rule(BrokenRule),
    Goodbye(Goodbye),
    Own,
}

/// The parameters of a connection, before it starts.
pub(crate) struct Bearing {
    pub(crate) peer: MemberId,
    pub(crate) run: u64,
    pub(crate) way: PathKind,
    pub(crate) dialed: bool,
    pub(crate) certificate: Vec<u8>,
}

pub(crate) struct WireConnection {
    pub(crate) number: u64,
    pub(crate) bearing: Bearing,
    since: Instant,
    state: Mutex<WireConnectionState>,
    written: Notify,
    ended: Notify,
}

struct WireConnectionState {
    outbox: Outbox,
    asked: HashMap<u64, oneshot::Sender<CallReply>>,
    ping: Option<Instant>,
    rtt: Option<Duration>,
    heard: Instant,
    ending: bool,
    broken: Option<BrokenRule>,
    questions: usize,
    questions_bytes: usize,
}

impl WireConnection {
    pub(crate) fn new(number: u64, bearing: Bearing) -> WireConnection {
        let now = Instant::now();
        WireConnection {
            number,
            bearing,
            since: now,
            state: Mutex::new(WireConnectionState {
                outbox: Outbox::default(),
                asked: HashMap::new(),
                ping: None,
                rtt: None,
                heard: now,
                ending: false,
                broken: None,
                questions: 0,
                questions_bytes: 0,
            }),
            written: Notify::new(),
            ended: Notify::new(),
        }
    }

    pub(crate) fn push(&self, message: Outgoing) -> Result<(), BrokenRule> {
        lock(&self.state).outbox.push(message)?;
        self.written.notify_one();
        Ok(())
    }

    pub(crate) fn ask(self: &Arc<Self>, message: Outgoing) -> Result<PendingCall, BrokenRule> {
        let (answer, asked) = oneshot::channel();
        let call = message.call;
        let mut state = lock(&self.state);
        state.outbox.push(message)?;
        state.asked.insert(call, answer);
        drop(state);
        self.written.notify_one();
        Ok(PendingCall {
            link: Arc::clone(self),
            call,
            asked,
        })
    }

    pub(crate) fn end(&self, why: Goodbye) {
        let words = Outgoing::new(FrameKind::Goodbye, 0, codec::encode(&why));
        let mut state = lock(&self.state);
        // Ends the connection without a message if the queue is full.
        let _ = state.outbox.push(words);
        state.ending = true;
        drop(state);
        self.written.notify_one();
        self.ended.notify_one();
    }

    /// Closes the connection without a message, because the other side violated the protocol.
    pub(crate) fn condemn(&self, rule: BrokenRule) {
        lock(&self.state).broken.get_or_insert(rule);
        self.ended.notify_one();
    }

    /// Waits until the connection must end, and then until its last message could be sent.
    async fn wait_for_close(&self) -> ConnectionEnd {
        self.ended.notified().await;
        if lock(&self.state).broken.is_none() {
            sleep(LAST_WORDS).await;
        }
        ConnectionEnd::Own
    }

    /// Sends a ping, unless one is outstanding.
    pub(crate) fn probe(&self) {
        let mut state = lock(&self.state);
        if state.ping.is_none() {
            let ping = Outgoing::new(FrameKind::Ping, 0, Vec::new());
            if state.outbox.push(ping).is_ok() {
                state.ping = Some(Instant::now());
            }
        }
        drop(state);
        self.written.notify_one();
    }

    fn unanswered(&self, now: Instant) -> Duration {
        let state = lock(&self.state);
        state
            .ping
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    pub(crate) fn suspect(&self, now: Instant, again: Duration) -> bool {
        self.unanswered(now) > again.max(self.rtt().unwrap_or_default() * 3)
    }

    /// Returns whether a ping has been unanswered for longer than `limit`.
    pub(crate) fn unanswered_for(&self, now: Instant, limit: Duration) -> bool {
        self.unanswered(now) > limit
    }

    pub(crate) fn rtt(&self) -> Option<Duration> {
        lock(&self.state).rtt
    }

    /// Counts a request as being handled; returns false if the requests or their bytes are too
    /// many.
    pub(crate) fn begin(&self, bytes: usize) -> bool {
        let mut state = lock(&self.state);
        let full =
            state.questions >= QUESTIONS_MAX || state.questions_bytes + bytes > QUESTIONS_BYTES_MAX;
        if !full {
            state.questions += 1;
            state.questions_bytes += bytes;
        }
        !full
    }

    pub(crate) fn finish(&self, bytes: usize) {
        let mut state = lock(&self.state);
        state.questions = state.questions.saturating_sub(1);
        state.questions_bytes = state.questions_bytes.saturating_sub(bytes);
    }

    pub(crate) fn connection(&self, now: Instant, again: Duration) -> Connection {
        let suspect = self.suspect(now, again);
        let state = lock(&self.state);
        Connection {
            way: self.bearing.way,
            dialed: self.bearing.dialed,
            rtt_us: state.rtt.map(|rtt| rtt.as_micros() as u64),
            since_ms: now.saturating_duration_since(self.since).as_millis() as u64,
            heard_ms: now.saturating_duration_since(state.heard).as_millis() as u64,
            suspect,
        }
    }

    pub(crate) async fn run<N: ConnectionFactory>(
        self: &Arc<Self>,
        pipe: Box<dyn Pipe>,
        shared: &Arc<WireState<N>>,
    ) -> ConnectionEnd {
        let (reader, writer) = tokio::io::split(pipe);
        let ended = tokio::select! {
            ended = self.read(reader, shared) => ended,
            ended = self.write(writer) => ended,
            ended = self.tick(shared) => ended,
            ended = self.wait_for_close() => ended,
        };
        let broken = lock(&self.state).broken;
        let ended = broken.map_or(ended, ConnectionEnd::Rule);
        if let ConnectionEnd::Rule(_) = ended {
            count(&shared.counters.broken_rules);
        }
        // Fails the outstanding requests, because no response comes any more.
        lock(&self.state).asked.clear();
        ended
    }

    async fn read<N: ConnectionFactory>(
        self: &Arc<Self>,
        mut reader: ReadHalf<Box<dyn Pipe>>,
        shared: &Arc<WireState<N>>,
    ) -> ConnectionEnd {
        let mut assembler = Assembler::default();
        let mut head = [0; HEAD_BYTES];
        let mut piece = Vec::new();
        loop {
            if reader.read_exact(&mut head).await.is_err() {
                return ConnectionEnd::Closed;
            }
            let head = match FrameHeader::decode(&head) {
                Ok(head) => head,
                Err(rule) => return ConnectionEnd::Rule(rule),
            };
            piece.resize(head.length as usize, 0);
            if reader.read_exact(&mut piece).await.is_err() {
                return ConnectionEnd::Closed;
            }
            lock(&self.state).heard = Instant::now();
            let taken = match assembler.add_piece(&head, &piece) {
                Ok(taken) => taken,
                Err(rule) => return ConnectionEnd::Rule(rule),
            };
            if piece.capacity() > KEPT_BYTES {
                piece = Vec::new();
            }
            if let Some(message) = taken
                && let Err(ended) = self.dispatch_message(message, shared)
            {
                return ended;
            }
        }
    }

    fn dispatch_message<N: ConnectionFactory>(
        self: &Arc<Self>,
        message: WireMessage,
        shared: &Arc<WireState<N>>,
    ) -> Result<(), ConnectionEnd> {
        let reply = match message.frame {
            FrameKind::Ask => {
                return shared
                    .handle_request(self, message)
                    .map_err(ConnectionEnd::Rule);
            }
            FrameKind::Answer => CallReply::Answer(message.bytes),
            FrameKind::Overloaded => CallReply::Overloaded,
            FrameKind::Repeated => CallReply::Repeated,
            FrameKind::Ping => {
                let pong = Outgoing::new(FrameKind::Pong, message.call, Vec::new());
                return self.push(pong).map_err(ConnectionEnd::Rule);
            }
            FrameKind::Pong => {
                self.ponged();
                shared.review(self.bearing.peer);
                return Ok(());
            }
            FrameKind::Goodbye => {
                let why = codec::decode(&message.bytes);
                return Err(why.map_or(
                    ConnectionEnd::Rule(BrokenRule::Order),
                    ConnectionEnd::Goodbye,
                ));
            }
            FrameKind::Hello => return Err(ConnectionEnd::Rule(BrokenRule::Order)),
        };
        // Drops the reply if the caller has gone, because another route was faster.
        if let Some(answer) = lock(&self.state).asked.remove(&message.call) {
            let _ = answer.send(reply);
        }
        Ok(())
    }

    fn ponged(&self) {
        let mut state = lock(&self.state);
        if let Some(sent) = state.ping.take() {
            let took = Instant::now().saturating_duration_since(sent);
            state.rtt = Some(state.rtt.map_or(took, |rtt| (rtt * 7 + took) / 8));
        }
    }

    async fn write(&self, mut writer: WriteHalf<Box<dyn Pipe>>) -> ConnectionEnd {
        let mut out = Vec::new();
        loop {
            out.clear();
            let ending = {
                let mut state = lock(&self.state);
                while out.len() < WRITE_BYTES && state.outbox.next(&mut out) {}
                state.ending
            };
            if out.is_empty() {
                if ending {
                    let _ = writer.shutdown().await;
                    return ConnectionEnd::Own;
                }
                out = Vec::new();
                self.written.notified().await;
                continue;
            }
            if writer.write_all(&out).await.is_err() || writer.flush().await.is_err() {
                return ConnectionEnd::Closed;
            }
        }
    }

    async fn tick<N: ConnectionFactory>(&self, shared: &Arc<WireState<N>>) -> ConnectionEnd {
        let timing = shared.timing();
        let mut ticks = interval(timing.ping);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = Instant::now();
            let heard = lock(&self.state).heard;
            if now.saturating_duration_since(heard) > timing.close
                || self.unanswered_for(now, timing.close)
            {
                return ConnectionEnd::Silent;
            }
            self.probe();
            shared.review(self.bearing.peer);
        }
    }
}

/// An outstanding request. Dropping it abandons the response.
pub(crate) struct PendingCall {
    link: Arc<WireConnection>,
    call: u64,
    asked: oneshot::Receiver<CallReply>,
}

impl PendingCall {
    pub(crate) fn link(&self) -> &Arc<WireConnection> {
        &self.link
    }
}

impl Future for PendingCall {
    /// None: the connection was closed.
    type Output = Option<CallReply>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<CallReply>> {
        Pin::new(&mut self.asked).poll(context).map(Result::ok)
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        lock(&self.link.state).asked.remove(&self.call);
    }
}
