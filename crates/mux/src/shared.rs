//! Holds the state that the task of an HTTP/2 connection and the users of its streams share.
//! Nothing here waits or does IO, and no lock or borrow is held while other code runs.

use super::drains::Drains;
use super::mapping;
use super::slot::{Expected, Gone, HEADS_MAX, Interest, StreamSlot};
use http::message::HttpMessage;
use protocol::http2::{
    Connection, ConnectionError, ErrorCode, Event, FieldList, Http2Role, StreamId,
};
use reactor::{self, Instant};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Weak;
use std::task::{Context, Waker};
use tls::transport::ConnectionTransport;

/// Number of bytes that a waiting writer may write per turn: one frame, or more if few writers
/// wait.
const TURN_BYTES: usize = 16 * 1024;
/// Amount of output above which no waiting writer may continue.
const OUTPUT_LOW_BYTES: usize = OUTPUT_MAX_BYTES - TURN_BYTES;
/// Maximum unsent output of a connection before writers must wait.
pub(super) const OUTPUT_MAX_BYTES: usize = 64 * 1024;
/// Maximum number of message objects kept for the heads of responses.
const MESSAGES_KEPT: usize = 16;
const MESSAGE_BYTES_KEPT: usize = 8 * 1024;

/// Cost of a frame for the driver (`reactor::charge_budget`).
const COST_OF_FRAME: usize = 2;
const COST_OF_QUIET_FRAMES: usize = 512;
/// Cost of a header block, in addition to its bytes at [`BLOCK_BYTES_A_UNIT`]. A request needs a
/// message, a task, and entries in counters and logs.
const COST_OF_HEAD: usize = 128;
const BLOCK_BYTES_A_UNIT: usize = 4;
/// Number of body bytes that cost one unit.
const DATA_BYTES_A_UNIT: usize = 256;

pub(super) struct ConnectionState {
    pub(super) inner: RefCell<MuxState>,
    driver: RefCell<Option<Waker>>,
    woken: Cell<bool>,
    /// Number of handles that may still open streams.
    pub(super) handles: Cell<u32>,
    pub(super) transport: Weak<ConnectionTransport>,
    pub(super) secure: bool,
}

pub(super) struct MuxState {
    pub(super) connection: Connection,
    pub(super) streams: Streams,
    writers: Writers,
    pub(super) ends: ConnectionProgress,
    /// True if the driver has already given the granted writers an additional turn.
    late: bool,
    /// Faults of the peer that ended only a stream.
    pub(super) glitches: u32,
    /// True if a task was woken or spawned since the last query.
    pub(super) woke: bool,
    /// True while the socket accepts nothing, and the driver waits for it.
    pub(super) blocked: bool,
    pub(super) drains: Drains,
    messages: Vec<HttpMessage>,
}

/// The streams and their positions.
pub(super) struct Streams {
    /// Stream ids and their slots, in ascending order of ids.
    table: Vec<(u32, u32)>,
    slots: Vec<StreamSlot>,
    free: Vec<u32>,
    pub(super) open: u32,
    /// Maximum number of streams in use. The protocol no longer counts a reset stream, but its task
    /// may not know of the reset yet. This limit allows a peer that opens and resets streams only
    /// twice the regular number of tasks.
    pub(super) open_max: u32,
    /// Number of open streams to the server that have no id yet.
    pub(super) unsent: u32,
    pub(super) carried: u32,
    pub(super) idle_since: Instant,
}

#[derive(Default)]
struct Writers {
    /// Writers that wait for the window or for space in the output, in order.
    waiters: VecDeque<u32>,
    granted: Vec<u32>,
}

#[derive(Default)]
pub(super) struct ConnectionProgress {
    has_settings: bool,
    pub(super) half_closed: bool,
    /// True once no further streams are opened, because this side or the peer has decided so.
    pub(super) closing: bool,
    /// Set when a rule ends the connection at once: true without a message, false with a GOAWAY.
    pub(super) killed: Option<bool>,
    pub(super) has_ended: bool,
}

/// Result of processing the head of a request.
pub enum RequestDecision<R> {
    /// Begin a stream. The second value is the declared length of its body, if any.
    Begin(R, Option<u64>),
    Reset(ErrorCode),
    /// Respond with a status line only.
    Answer(&'static [u8]),
}

/// Handler for the heads of requests. A connection to a server accepts none.
pub trait Accept {
    type Request;
    /// Processes the head of a request. Must not use the connection.
    fn accept(&mut self, fields: &FieldList, end: bool) -> RequestDecision<Self::Request>;
    /// Counts a body that differs from its declared length, or malformed trailers.
    fn note_malformed(&mut self);
    /// Returns the number of faults that ended a stream but not the connection.
    fn faults(&self) -> u32;
}

pub(super) enum EventResult<R> {
    /// More input may be available: call again.
    More,
    Done,
    Begin(u32, R),
    Failed(ConnectionError),
}

impl ConnectionState {
    pub(super) fn new(
        connection: Connection,
        transport: Weak<ConnectionTransport>,
        secure: bool,
    ) -> ConnectionState {
        ConnectionState {
            inner: RefCell::new(MuxState {
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
                ends: ConnectionProgress::default(),
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

    /// Registers the waker of the driver. From now on each change that concerns the driver wakes
    /// it.
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

    pub(super) fn wake_driver(&self) {
        if self.woken.replace(true) {
            return;
        }
        if let Some(driver) = &*self.driver.borrow() {
            driver.wake_by_ref();
        }
    }
}

impl MuxState {
    /// Takes a slot for a stream, which may have no id yet (0).
    pub(super) fn take_slot(&mut self, id: u32) -> u32 {
        let at = self.streams.free.pop().unwrap_or_else(|| {
            self.streams.slots.push(StreamSlot::default());
            self.streams.slots.len() as u32 - 1
        });
        self.streams.slots[at as usize].begin(id);
        if id == 0 {
            self.streams.unsent += 1;
        } else {
            self.add_stream_id(id, at);
        }
        self.streams.open += 1;
        self.streams.carried = self.streams.carried.saturating_add(1);
        at
    }

    /// Adds the id of a stream to the table. Ids ascend, so nearly always at the end.
    pub(super) fn add_stream_id(&mut self, id: u32, slot: u32) {
        let at = self.streams.table.partition_point(|(known, _)| *known < id);
        self.streams.table.insert(at, (id, slot));
    }

    pub(super) fn free_slot(&mut self, at: u32) {
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

    pub(super) fn has_waiters(&self) -> bool {
        !self.writers.waiters.is_empty()
    }

    pub(super) fn slot(&mut self, at: u32) -> &mut StreamSlot {
        &mut self.streams.slots[at as usize]
    }

    pub(super) fn connection_and_stream(&mut self, at: u32) -> (&mut Connection, &mut StreamSlot) {
        (&mut self.connection, &mut self.streams.slots[at as usize])
    }

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

    /// Processes input up to one event. Returns the number of consumed bytes.
    pub(super) fn process_event<A: Accept>(
        &mut self,
        input: &[u8],
        now_ms: u64,
        accept: &mut A,
    ) -> (usize, EventResult<A::Request>) {
        let accepts = self.connection.role() == Http2Role::Server;
        let (taken, event) = self.connection.receive(input, now_ms);
        reactor::charge_budget(cost(&event, taken));
        let step = match event {
            Event::NeedMore => EventResult::Done,
            Event::Headers {
                stream,
                fields,
                end_stream,
                trailers,
            } => {
                let place = self.streams.stream_by_id(stream);
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
                    let opened = accept_request(room, fields, end_stream, accept);
                    self.begin_stream(stream, opened, end_stream, accept)
                } else {
                    EventResult::More
                }
            }
            Event::Data {
                stream,
                data,
                end_stream,
            } => {
                let bytes = data.len() as u32;
                match self.streams.stream_by_id(stream) {
                    Some(slot) => match &mut slot.discarded {
                        None => self.woke |= slot.take_data(data, end_stream),
                        Some(discarded) => {
                            *discarded = discarded.saturating_add(bytes);
                            slot.received_end |= end_stream;
                            // Returns the window of the connection only, because the stream has the
                            // window for its rest.
                            self.connection.consumed(StreamId(0), bytes);
                        }
                    },
                    // Returns the window, because the user of the stream is gone, but other streams
                    // need it.
                    None => self.discard_data(stream, bytes, end_stream),
                }
                EventResult::More
            }
            Event::Reset { stream, code, ours } => {
                self.was_reset(stream, code, ours, accept);
                EventResult::More
            }
            Event::GoAway { .. } => {
                self.ends.closing = true;
                EventResult::More
            }
            Event::Failed(error) => EventResult::Failed(error),
            Event::SettingsChanged => {
                self.wake_for_settings();
                EventResult::More
            }
            Event::Window { .. } | Event::Progress | Event::Pong => EventResult::More,
        };
        self.glitches = accept.faults();
        (taken, step)
    }

    fn wake_for_settings(&mut self) {
        if !std::mem::replace(&mut self.ends.has_settings, true) {
            for slot in &mut self.streams.slots {
                self.woke |= slot.wake(Interest::SETTINGS);
            }
        }
    }

    fn discard_data(&mut self, stream: StreamId, bytes: u32, end: bool) {
        self.connection.consumed(stream, bytes);
        if !self
            .drains
            .count_received(stream, bytes, end, reactor::now())
        {
            self.connection.reset(stream, ErrorCode::NoError);
        }
    }

    pub(super) fn reset_stalled_drains(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some(stream) = self.drains.pop_expired(now) {
            self.connection.reset(stream, ErrorCode::NoError);
            any = true;
        }
        any
    }

    /// Processes the reset of a stream. A local reset means that the stream was malformed.
    fn was_reset<A: Accept>(
        &mut self,
        stream: StreamId,
        code: ErrorCode,
        ours: bool,
        accept: &mut A,
    ) {
        if ours {
            accept.note_malformed();
        }
        self.mark_stream_lost(stream, code, ours);
    }

    fn mark_stream_lost(&mut self, stream: StreamId, code: ErrorCode, ours: bool) {
        let why = if code == ErrorCode::RefusedStream && !ours {
            Gone::Refused
        } else {
            Gone::Reset(code)
        };
        self.drains.end(stream);
        if let Some(slot) = self.streams.stream_by_id(stream) {
            if !ours {
                slot.peer_reset = Some(code);
            }
            self.woke |= slot.lose(why);
        }
    }

    fn refuse_unless<A: Accept>(
        &mut self,
        fine: bool,
        stream: StreamId,
        accept: &mut A,
    ) -> EventResult<A::Request> {
        if !fine {
            accept.note_malformed();
            self.connection.reset(stream, ErrorCode::ProtocolError);
            self.mark_stream_lost(stream, ErrorCode::ProtocolError, true);
        }
        EventResult::More
    }

    fn begin_stream<A: Accept>(
        &mut self,
        stream: StreamId,
        opened: RequestDecision<A::Request>,
        end: bool,
        accept: &mut A,
    ) -> EventResult<A::Request> {
        match opened {
            RequestDecision::Begin(request, length) => {
                if length.is_some_and(|bytes| !self.connection.expect_length(stream, bytes)) {
                    return self.refuse_unless(false, stream, accept);
                }
                let at = self.take_slot(stream.0);
                self.streams.slots[at as usize].received_end = end;
                self.woke = true;
                return EventResult::Begin(at, request);
            }
            RequestDecision::Reset(code) => self.connection.reset(stream, code),
            RequestDecision::Answer(status) => {
                let fields: [(&[u8], &[u8]); 2] = [(b":status", status), (b"content-length", b"0")];
                // Ignores a failure: if the stream is already gone, there is nothing to send.
                let _ = self
                    .connection
                    .send_headers(stream, fields.into_iter(), true);
                // Drains the body, because the client may still be sending, and a reset could make
                // it discard the response.
                if !end && !self.drains.begin(stream, 0, reactor::now()) {
                    self.connection.reset(stream, ErrorCode::NoError);
                }
                self.connection.head_was_overlong();
            }
        }
        EventResult::More
    }

    pub(super) fn keep_head_memory(&mut self, message: HttpMessage) {
        if self.messages.len() < MESSAGES_KEPT && message.memory() <= MESSAGE_BYTES_KEPT {
            self.messages.push(message);
        }
    }

    pub(super) fn lose_incomplete_streams(&mut self) {
        (self.ends.closing, self.ends.half_closed) = (true, true);
        for slot in &mut self.streams.slots {
            if slot.received_end {
                slot.wake(Interest::GONE);
            } else {
                slot.lose(Gone::Lost);
            }
        }
    }

    pub(super) fn lose_all_streams(&mut self) {
        (self.ends.has_ended, self.ends.closing) = (true, true);
        for slot in &mut self.streams.slots {
            slot.lose(Gone::Lost);
        }
    }

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

    pub(super) fn count_written(&mut self, at: u32, bytes: usize) {
        let slot = &mut self.streams.slots[at as usize];
        slot.grant = slot.grant.saturating_sub(bytes as u32);
    }

    /// Queues a stream until it may write. Returns whether there would be space for it if no other
    /// stream were waiting; in this case the driver must call `grant_writers`.
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

    /// Allows the writers that have waited longest to write, as far as there is space. Returns true
    /// if it must be called again after these writers have run.
    pub(super) fn grant_writers(&mut self) -> bool {
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
            // Waits for the granted writers, which were woken but have not run yet.
            return true;
        }
        self.late = false;
        for at in self.writers.granted.drain(..) {
            self.streams.slots[at as usize].grant = 0;
        }
        if self.connection.output().len() > OUTPUT_LOW_BYTES {
            // Grants nothing; this function is called again once the output is written.
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

fn cost(event: &Event<'_>, bytes: usize) -> usize {
    match event {
        Event::Headers { .. } => COST_OF_HEAD + bytes / BLOCK_BYTES_A_UNIT,
        Event::Data { data, .. } => COST_OF_FRAME + data.len() / DATA_BYTES_A_UNIT,
        Event::Progress => COST_OF_QUIET_FRAMES,
        _ => COST_OF_FRAME + bytes / BLOCK_BYTES_A_UNIT,
    }
}

fn accept_request<A: Accept>(
    room: bool,
    fields: &FieldList,
    end: bool,
    accept: &mut A,
) -> RequestDecision<A::Request> {
    if room {
        accept.accept(fields, end)
    } else {
        RequestDecision::Reset(ErrorCode::RefusedStream)
    }
}

impl Streams {
    fn stream_by_id(&mut self, stream: StreamId) -> Option<&mut StreamSlot> {
        let place = self
            .table
            .binary_search_by_key(&stream.0, |(known, _)| *known)
            .ok()?;
        let (_, at) = self.table[place];
        Some(&mut self.slots[at as usize])
    }
}

/// Stores trailers for the user of the stream. Returns false if they are malformed.
fn take_trailers(slot: Option<&mut StreamSlot>, fields: &FieldList, woke: &mut bool) -> bool {
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

/// Stores the head of a response for the user of the stream. Returns the required length of its
/// body, or an error if the head is malformed.
fn take_head(
    slot: &mut StreamSlot,
    mut message: HttpMessage,
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
