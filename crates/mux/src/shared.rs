//! The state shared by the task of a connection and the users of its streams. Nothing
//! here waits or does IO, and no lock or borrow is held while other code runs.

use super::drains::Drains;
use super::mapping;
use super::slot::{Expected, Gone, HEADS_MAX, Interest, Slot};
use http::message::Message;
use protocol::http2::{Connection, ConnectionError, ErrorCode, Event, FieldList, Role, StreamId};
use reactor::{self, Instant};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Weak;
use std::task::{Context, Waker};
use tls::transport::Transport;

/// Bytes that a waiting writer may write in its turn: one frame. More if few wait.
const TURN_BYTES: usize = 16 * 1024;
/// With more output than this nobody who waits is let go on.
const OUTPUT_LOW_BYTES: usize = OUTPUT_MAX_BYTES - TURN_BYTES;
/// Output of a connection that is not written yet, before writers wait.
pub(super) const OUTPUT_MAX_BYTES: usize = 64 * 1024;
/// Messages kept for the heads of answers.
const MESSAGES_KEPT: usize = 16;
/// Heads of answers are kept for reuse up to this memory, bytes.
const MESSAGE_BYTES_KEPT: usize = 8 * 1024;

/// Cost of a frame for the driver ([`reactor::charge`]); and of many frames without an
/// event.
const COST_OF_FRAME: usize = 2;
const COST_OF_QUIET_FRAMES: usize = 512;
/// Cost of a header block; its bytes count besides, at [`BLOCK_BYTES_A_UNIT`]. A request
/// is a message, a task and lines in counters and logs.
const COST_OF_HEAD: usize = 128;
const BLOCK_BYTES_A_UNIT: usize = 4;
/// Bytes of a body that cost one unit.
const DATA_BYTES_A_UNIT: usize = 256;

/// A connection.
pub(super) struct ConnectionState {
    pub(super) inner: RefCell<Inner>,
    /// The task that drives it.
    driver: RefCell<Option<Waker>>,
    /// It will be polled anyway.
    woken: Cell<bool>,
    /// The number of handles that may still open streams.
    pub(super) handles: Cell<u32>,
    /// The transport, for inspection.
    pub(super) transport: Weak<Transport>,
    /// Requests have the scheme `https`.
    pub(super) secure: bool,
}

/// Its state.
pub(super) struct Inner {
    pub(super) connection: Connection,
    /// The streams, and where each is.
    pub(super) streams: Streams,
    /// Writers that wait for their turn.
    writers: Writers,
    /// How far the connection is from its begin to its end.
    pub(super) ends: Ends,
    /// The driver has let the granted writers have one more turn already.
    late: bool,
    /// Faults of the peer that ended no more than a stream.
    pub(super) glitches: u32,
    /// Some task was woken or begun since this was looked at.
    pub(super) woke: bool,
    /// The socket takes nothing now: the driver waits for it.
    pub(super) blocked: bool,
    /// Streams of clients whose response was whole before their request.
    pub(super) drains: Drains,
    messages: Vec<Message>,
}

/// The streams, and where each is.
pub(super) struct Streams {
    /// Numbers of streams and their slots, ascending by number.
    table: Vec<(u32, u32)>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Streams that somebody holds.
    pub(super) open: u32,
    /// No more than so many are begun. The protocol counts a stream that was
    /// reset no more, but its task may still have to hear of it: so a peer that
    /// opens and resets has no more tasks than one that is served, twice.
    pub(super) open_max: u32,
    /// Of these, our streams without a number.
    pub(super) unsent: u32,
    /// Streams so far.
    pub(super) carried: u32,
    /// Since when there is none.
    pub(super) idle_since: Instant,
}

/// Writers that wait for their turn.
#[derive(Default)]
struct Writers {
    /// Writers that wait for the window or for room in the output, in their order.
    waiters: VecDeque<u32>,
    /// The writers that may continue.
    granted: Vec<u32>,
}

/// How far the connection is from its begin to its end.
#[derive(Default)]
pub(super) struct Ends {
    /// The peer's first SETTINGS have been taken in.
    settled: bool,
    /// The peer sends nothing more.
    pub(super) half_closed: bool,
    /// No streams are opened any more: ours by choice, or the peer said so.
    pub(super) closing: bool,
    /// A rule ends it at once: without a word, or with one.
    pub(super) killed: Option<bool>,
    /// Whether the connection has ended.
    pub(super) over: bool,
}

/// The result of a request head on the server side.
pub enum Opened<R> {
    /// A stream begins; so long is its body, where that is declared.
    Begin(R, Option<u64>),
    /// Reset the stream.
    Reset(ErrorCode),
    /// Respond with a status line only.
    Answer(&'static [u8]),
}

/// The handler of requests; the client side accepts none.
pub trait Accept {
    /// The data of a new stream.
    type Request;
    /// A head came. Must not touch the connection.
    fn accept(&mut self, fields: &FieldList, end: bool) -> Opened<Self::Request>;
    /// A body is not as long as its head says, or what follows it is malformed.
    fn malformed(&mut self);
    /// How many faults there were that ended a stream and not the connection.
    fn faults(&self) -> u32;
}

/// The result of an event.
pub(super) enum Step<R> {
    /// Call again.
    More,
    /// All of the input is used up.
    Done,
    /// A stream begins in this slot.
    Begin(u32, R),
    /// The connection has failed.
    Failed(ConnectionError),
}

impl ConnectionState {
    pub(super) fn new(
        connection: Connection,
        transport: Weak<Transport>,
        secure: bool,
    ) -> ConnectionState {
        ConnectionState {
            inner: RefCell::new(Inner {
                connection,
                streams: Streams {
                    table: Vec::new(),
                    slots: Vec::new(),
                    free: Vec::new(),
                    open: 0,
                    open_max: u32::MAX,
                    unsent: 0,
                    carried: 0,
                    idle_since: reactor::now(),
                },
                writers: Writers::default(),
                ends: Ends::default(),
                late: false,
                glitches: 0,
                woke: false,
                blocked: false,
                drains: Drains::default(),
                messages: Vec::new(),
            }),
            driver: RefCell::new(None),
            woken: Cell::new(false),
            handles: Cell::new(0),
            transport,
            secure,
        }
    }

    /// Registers the waker of the driver: from now on each change that needs the driver
    /// wakes it.
    pub(super) fn attach(&self, context: &Context<'_>) {
        let mut driver = self.driver.borrow_mut();
        if !driver
            .as_ref()
            .is_some_and(|known| known.will_wake(context.waker()))
        {
            *driver = Some(context.waker().clone());
        }
        self.woken.set(false);
    }

    /// Has the driver look at its output and its streams.
    pub(super) fn wake_driver(&self) {
        if self.woken.replace(true) {
            return;
        }
        if let Some(driver) = &*self.driver.borrow() {
            driver.wake_by_ref();
        }
    }
}

impl Inner {
    /// A place for a stream, with a number or without one yet.
    pub(super) fn take_slot(&mut self, id: u32) -> u32 {
        let at = self.streams.free.pop().unwrap_or_else(|| {
            self.streams.slots.push(Slot::default());
            self.streams.slots.len() as u32 - 1
        });
        self.streams.slots[at as usize].begin(id);
        if id == 0 {
            self.streams.unsent += 1;
        } else {
            self.enter(id, at);
        }
        self.streams.open += 1;
        self.streams.carried = self.streams.carried.saturating_add(1);
        at
    }

    /// Puts a stream's number into the table. Numbers go up, so nearly always
    /// at its end.
    pub(super) fn enter(&mut self, id: u32, slot: u32) {
        let at = self.streams.table.partition_point(|(known, _)| *known < id);
        self.streams.table.insert(at, (id, slot));
    }

    /// Gives the place of a stream that has ended back.
    pub(super) fn give_slot(&mut self, at: u32) {
        let slot = &mut self.streams.slots[at as usize];
        let id = slot.id;
        if slot.waits {
            self.writers.waiters.retain(|waiting| *waiting != at);
        }
        slot.end();
        if id == 0 {
            self.streams.unsent -= 1;
        } else if let Ok(place) = self
            .streams
            .table
            .binary_search_by_key(&id, |(known, _)| *known)
        {
            self.streams.table.remove(place);
        }
        self.streams.free.push(at);
        self.streams.open -= 1;
        if self.streams.open == 0 {
            self.streams.idle_since = reactor::now();
        }
    }

    /// Whether writers wait.
    pub(super) fn has_waiters(&self) -> bool {
        !self.writers.waiters.is_empty()
    }

    /// A stream by its place.
    pub(super) fn slot(&mut self, at: u32) -> &mut Slot {
        &mut self.streams.slots[at as usize]
    }

    /// The connection and a stream of it, both to change.
    pub(super) fn both(&mut self, at: u32) -> (&mut Connection, &mut Slot) {
        (&mut self.connection, &mut self.streams.slots[at as usize])
    }

    /// Gives memory back that is of no use to a connection without streams.
    pub(super) fn release_memory(&mut self) {
        if self.streams.open > 0 {
            return;
        }
        self.streams.table = Vec::new();
        self.streams.slots = Vec::new();
        self.streams.free = Vec::new();
        self.writers.waiters = VecDeque::new();
        self.writers.granted = Vec::new();
        self.messages = Vec::new();
        self.connection.release_memory();
    }

    /// Takes bytes in, up to one event.
    pub(super) fn step<A: Accept>(
        &mut self,
        input: &[u8],
        now_ms: u64,
        accept: &mut A,
    ) -> (usize, Step<A::Request>) {
        let accepts = self.connection.role() == Role::Server;
        let (taken, event) = self.connection.receive(input, now_ms);
        reactor::charge(cost(&event, taken));
        let step = match event {
            Event::NeedMore => Step::Done,
            Event::Headers {
                stream,
                fields,
                end_stream,
                trailers,
            } => {
                let place = self.streams.named(stream);
                if trailers {
                    self.drains.end(stream);
                    let fine = take_trailers(place, fields, &mut self.woke);
                    self.refuse_unless(fine, stream, accept)
                } else if let Some(slot) = place {
                    let message = self.messages.pop().unwrap_or_default();
                    let length = take_head(slot, message, fields, end_stream, &mut self.woke);
                    let fine = match length {
                        Ok(Some(bytes)) => self.connection.expect_length(stream, bytes),
                        Ok(None) => true,
                        Err(()) => false,
                    };
                    self.refuse_unless(fine, stream, accept)
                } else if accepts {
                    let room = self.streams.open < self.streams.open_max;
                    let opened = ask(room, fields, end_stream, accept);
                    self.opened(stream, opened, end_stream, accept)
                } else {
                    Step::More
                }
            }
            Event::Data {
                stream,
                data,
                end_stream,
            } => {
                let bytes = data.len() as u32;
                match self.streams.named(stream) {
                    Some(slot) => self.woke |= slot.take_data(data, end_stream),
                    // Its user has gone; the window is the others'.
                    None => self.throw_away(stream, bytes, end_stream),
                }
                Step::More
            }
            Event::Reset { stream, code, ours } => {
                self.was_reset(stream, code, ours, accept);
                Step::More
            }
            Event::GoAway { .. } => {
                self.ends.closing = true;
                Step::More
            }
            Event::Failed(error) => Step::Failed(error),
            Event::SettingsChanged => {
                self.settle();
                Step::More
            }
            Event::Window { .. } | Event::Progress | Event::Pong => Step::More,
        };
        self.glitches = accept.faults();
        (taken, step)
    }

    /// Wakes streams that wait for the peer's first SETTINGS.
    fn settle(&mut self) {
        if !std::mem::replace(&mut self.ends.settled, true) {
            for slot in &mut self.streams.slots {
                self.woke |= slot.wake(Interest::SETTINGS);
            }
        }
    }

    /// Bytes of a request whose response is whole came.
    fn throw_away(&mut self, stream: StreamId, bytes: u32, end: bool) {
        self.connection.consumed(stream, bytes);
        if !self.drains.take(stream, bytes, end) {
            self.connection.reset(stream, ErrorCode::NoError);
        }
    }

    /// A stream was reset; one of ours that was is malformed.
    fn was_reset<A: Accept>(
        &mut self,
        stream: StreamId,
        code: ErrorCode,
        ours: bool,
        accept: &mut A,
    ) {
        if ours {
            accept.malformed();
        }
        self.lost(stream, code, ours);
    }

    /// A stream is no more.
    fn lost(&mut self, stream: StreamId, code: ErrorCode, ours: bool) {
        let why = if code == ErrorCode::RefusedStream && !ours {
            Gone::Refused
        } else {
            Gone::Reset(code)
        };
        self.drains.end(stream);
        if let Some(slot) = self.streams.named(stream) {
            if !ours {
                slot.peer_reset = Some(code);
            }
            self.woke |= slot.lose(why);
        }
    }

    /// Resets a stream whose peer sent what it must not.
    fn refuse_unless<A: Accept>(
        &mut self,
        fine: bool,
        stream: StreamId,
        accept: &mut A,
    ) -> Step<A::Request> {
        if !fine {
            accept.malformed();
            self.connection.reset(stream, ErrorCode::ProtocolError);
            self.lost(stream, ErrorCode::ProtocolError, true);
        }
        Step::More
    }

    /// Begins a stream, or answers its head at once.
    fn opened<A: Accept>(
        &mut self,
        stream: StreamId,
        opened: Opened<A::Request>,
        end: bool,
        accept: &mut A,
    ) -> Step<A::Request> {
        match opened {
            Opened::Begin(request, length) => {
                if length.is_some_and(|bytes| !self.connection.expect_length(stream, bytes)) {
                    return self.refuse_unless(false, stream, accept);
                }
                let at = self.take_slot(stream.0);
                self.streams.slots[at as usize].received_end = end;
                self.woke = true;
                return Step::Begin(at, request);
            }
            Opened::Reset(code) => self.connection.reset(stream, code),
            Opened::Answer(status) => {
                let fields: [(&[u8], &[u8]); 2] = [(b":status", status), (b"content-length", b"0")];
                // Gone already, or told now: nothing is left to do for it.
                let _ = self
                    .connection
                    .send_headers(stream, fields.into_iter(), true);
                if !end {
                    self.connection.reset(stream, ErrorCode::NoError);
                }
                self.connection.head_was_overlong();
            }
        }
        Step::More
    }

    /// Keeps the memory of a head that was taken.
    pub(super) fn keep_message(&mut self, message: Message) {
        if self.messages.len() < MESSAGES_KEPT && message.memory() <= MESSAGE_BYTES_KEPT {
            self.messages.push(message);
        }
    }

    /// The peer sends nothing more: streams that wait for it are no more.
    pub(super) fn lose_unfinished(&mut self) {
        (self.ends.closing, self.ends.half_closed) = (true, true);
        for slot in &mut self.streams.slots {
            if slot.received_end {
                slot.wake(Interest::GONE);
            } else {
                slot.lose(Gone::Lost);
            }
        }
    }

    /// The connection is over for all.
    pub(super) fn lose_all(&mut self) {
        (self.ends.over, self.ends.closing) = (true, true);
        for slot in &mut self.streams.slots {
            slot.lose(Gone::Lost);
        }
    }

    /// How much a stream may write now.
    pub(super) fn writable(&self, at: u32) -> usize {
        let slot = &self.streams.slots[at as usize];
        let turn = if self.writers.waiters.is_empty() {
            usize::MAX
        } else {
            slot.grant as usize
        };
        if turn == 0 {
            return 0;
        }
        self.connection.send_capacity(StreamId(slot.id)).min(turn)
    }

    /// A stream has written so much.
    pub(super) fn wrote(&mut self, at: u32, bytes: usize) {
        let slot = &mut self.streams.slots[at as usize];
        slot.grant = slot.grant.saturating_sub(bytes as u32);
    }

    /// A stream waits until it may write. Says whether there would be room if
    /// it were not for others' turns: the driver then looks whose turn it is.
    pub(super) fn wait_to_write(&mut self, at: u32, context: &Context<'_>) -> bool {
        let slot = &mut self.streams.slots[at as usize];
        slot.wait(Interest::WRITE, context);
        slot.grant = 0;
        if !slot.waits {
            slot.waits = true;
            self.writers.waiters.push_back(at);
        }
        self.connection
            .send_capacity(StreamId(self.streams.slots[at as usize].id))
            > 0
    }

    /// Lets those go on that waited longest to write, as far as there is room.
    /// True: it is to be called again once they had their turn.
    pub(super) fn hand_out(&mut self) -> bool {
        if self.writers.waiters.is_empty() {
            return false;
        }
        if self
            .writers
            .granted
            .iter()
            .any(|at| self.streams.slots[*at as usize].grant > 0)
            && !std::mem::replace(&mut self.late, true)
        {
            // Woken, but not come to it yet.
            return true;
        }
        self.late = false;
        for at in self.writers.granted.drain(..) {
            self.streams.slots[at as usize].grant = 0;
        }
        if self.connection.output().len() > OUTPUT_LOW_BYTES {
            // Writing it leads here again.
            return false;
        }
        let mut room = self.connection.connection_capacity();
        let share = TURN_BYTES.max(room / self.writers.waiters.len());
        for _ in 0..self.writers.waiters.len() {
            let Some(at) = self.writers.waiters.pop_front() else {
                break;
            };
            let slot = &mut self.streams.slots[at as usize];
            let capacity = self.connection.send_capacity(StreamId(slot.id));
            let grant = capacity.min(share).min(room);
            if grant == 0 {
                self.writers.waiters.push_back(at);
                continue;
            }
            room -= grant;
            slot.grant = grant as u32;
            slot.waits = false;
            self.woke |= slot.wake(Interest::WRITE);
            self.writers.granted.push(at);
        }
        false
    }
}

/// Returns the cost of an event caused by `bytes` bytes.
fn cost(event: &Event<'_>, bytes: usize) -> usize {
    match event {
        Event::Headers { .. } => COST_OF_HEAD + bytes / BLOCK_BYTES_A_UNIT,
        Event::Data { data, .. } => COST_OF_FRAME + data.len() / DATA_BYTES_A_UNIT,
        Event::Progress => COST_OF_QUIET_FRAMES,
        _ => COST_OF_FRAME + bytes / BLOCK_BYTES_A_UNIT,
    }
}

/// Has a request taken in, where there is room for its task.
fn ask<A: Accept>(room: bool, fields: &FieldList, end: bool, accept: &mut A) -> Opened<A::Request> {
    match room {
        true => accept.accept(fields, end),
        false => Opened::Reset(ErrorCode::RefusedStream),
    }
}

impl Streams {
    /// The stream of this number.
    fn named(&mut self, stream: StreamId) -> Option<&mut Slot> {
        let place = self
            .table
            .binary_search_by_key(&stream.0, |(known, _)| *known)
            .ok()?;
        let (_, at) = self.table[place];
        Some(&mut self.slots[at as usize])
    }
}

/// Keeps trailers for the stream's user. False: they are malformed.
fn take_trailers(slot: Option<&mut Slot>, fields: &FieldList, woke: &mut bool) -> bool {
    let Some(slot) = slot else { return true };
    if fields.is_overflowed() {
        return false;
    }
    match mapping::trailers(fields) {
        Ok(trailers) => {
            slot.trailers = (!trailers.is_empty()).then_some(trailers);
            slot.received_end = true;
            *woke |= slot.wake(Interest::READ);
            true
        }
        Err(_) => false,
    }
}

/// Keeps the head of an answer for the stream's user. Says how long its body
/// has to be, or that the head is none.
fn take_head(
    slot: &mut Slot,
    mut message: Message,
    fields: &FieldList,
    end: bool,
    woke: &mut bool,
) -> Result<Option<u64>, ()> {
    let Some(Expected { facts, limits }) = slot.expected else {
        return Err(());
    };
    let parsed = mapping::response(fields, end, &facts, &limits, &mut message);
    let result = match parsed {
        Ok(_) if slot.heads.len() >= HEADS_MAX => Err(()),
        Ok(parsed) => {
            slot.received_end |= end;
            let length = mapping::expected_length(&parsed, end);
            slot.heads.push_back((message, parsed));
            Ok(length)
        }
        Err(fault) => {
            slot.fault = Some(fault);
            Err(())
        }
    };
    *woke |= slot.wake(Interest::HEAD);
    result
}
