//! One connection, either role: what the peer's frames mean and what is to be
//! sent. It never waits, allocates nothing for a request once it is warm, and
//! answers every frame of a peer with a bounded amount of work and output.

mod limits;

use super::{
    ConnectionError, ErrorCode, FieldList, OpenError, Role, SendError, Settings, StreamId,
};
pub use limits::{Limits, Rate};

/// What a connection is made with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which end we are.
    pub role: Role,
    /// The table of our decoder: SETTINGS_HEADER_TABLE_SIZE.
    pub header_table_bytes: u32,
    /// The window that a stream of the peer begins with, at most 2^31-1.
    pub initial_window: u32,
    /// The window of the whole connection; less than 65,535 cannot be had.
    pub connection_window: u32,
    /// How many streams may be open at once: the peer's for a server, ours for
    /// a client (which asks the peer's settings, too).
    pub concurrent_streams_max: u32,
    /// The longest frame that we take, 16,384 to 2^24-1. The longest that we
    /// send is the peer's choice, but never longer than this.
    pub frame_bytes_max: u32,
    /// The longest list of fields, as RFC 9113 section 6.5.2 counts.
    pub header_list_bytes_max: u32,
    /// The most fields of a list.
    pub header_fields_max: usize,
    /// A server says that extended CONNECT (RFC 8441) may be used.
    pub connect_protocol: bool,
    /// The bounds of what an attacker may do.
    pub limits: Limits,
}

impl Options {
    /// The values of the RFC where it has some, and HAProxy's where not.
    pub fn new(role: Role) -> Options {
        Options {
            role,
            header_table_bytes: 4096,
            initial_window: 65_535,
            connection_window: 65_535,
            concurrent_streams_max: 100,
            frame_bytes_max: 16_384,
            header_list_bytes_max: 65_536,
            header_fields_max: 101,
            connect_protocol: role == Role::Server,
            limits: Limits::default(),
        }
    }
}

/// What the peer did.
#[derive(Debug)]
pub enum Event<'a> {
    /// All of the input is taken, nothing else happened.
    NeedMore,
    /// Something happened that the owner need not know: call again. (The
    /// output may have grown.)
    Progress,
    /// A head or trailers. `fields` is overflowed when there were more than
    /// the options allow: a server answers 431.
    Headers {
        /// The stream; for a server new unless `trailers`.
        stream: StreamId,
        /// What was decoded, valid until the next call.
        fields: &'a FieldList,
        /// The peer sends nothing more.
        end_stream: bool,
        /// The list stands behind the body. A client's interim answers
        /// (`:status` 1xx) do not count as the head.
        trailers: bool,
    },
    /// A piece of a body, without padding.
    Data {
        /// The stream.
        stream: StreamId,
        /// The piece; empty only when `end_stream`.
        data: &'a [u8],
        /// The peer sends nothing more.
        end_stream: bool,
    },
    /// A stream is gone. Calls that name it do nothing from here, but
    /// [`Connection::consumed`].
    Reset {
        /// The stream.
        stream: StreamId,
        /// Why. `RefusedStream` with `ours` false: the peer did nothing with
        /// it (it said so, or its GOAWAY did), the request may be repeated.
        code: ErrorCode,
        /// By us, for what the peer sent; RST_STREAM is in the output.
        ours: bool,
    },
    /// More may be sent: on one stream, or (None) on every one.
    Window {
        /// Which one.
        stream: Option<StreamId>,
    },
    /// The peer's settings are others now; windows may have grown.
    SettingsChanged,
    /// The peer opens or takes no more streams. Those of ours above `last` are
    /// reset with `RefusedStream`, by events that follow.
    GoAway {
        /// The last stream that it did something with, or will.
        last: StreamId,
        /// Why.
        code: ErrorCode,
    },
    /// The answer to [`Connection::ping`].
    Pong,
    /// The connection is over for what the peer sent. GOAWAY is in the output:
    /// write it and close. Told once.
    Failed(ConnectionError),
}

/// Counts for logs and statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Streams that were opened, by either side.
    pub streams_opened: u64,
    /// Streams above the announced limit, which were refused.
    pub streams_refused: u64,
    /// RST_STREAM that came.
    pub resets_received: u64,
    /// RST_STREAM that were sent.
    pub resets_sent: u64,
    /// Frames that came, of any type.
    pub frames_received: u64,
    /// Header lists above the limits.
    pub lists_overflowed: u64,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    options: Options,
    peer: Settings,
    output: Vec<u8>,
    output_start: usize,
    statistics: Statistics,
}

impl Connection {
    /// A connection whose SETTINGS (a client's preface before them) stand in
    /// the output.
    pub fn new(options: Options) -> Connection {
        Connection::after_preface(options, 0)
    }

    /// As `new`, for a server where so many bytes of the preface were seen,
    /// and found right, elsewhere.
    pub fn after_preface(options: Options, _preface_bytes: usize) -> Connection {
        Connection {
            options,
            peer: Settings::default(),
            output: Vec::new(),
            output_start: 0,
            statistics: Statistics::default(),
        }
    }

    /// Takes bytes; says how many it consumed and what happened. The bytes
    /// that were not consumed are to be offered again, until `NeedMore`, which
    /// has always consumed everything. `now_ms` may begin anywhere and never
    /// goes back.
    pub fn receive<'a>(&'a mut self, input: &'a [u8], _now_ms: u64) -> (usize, Event<'a>) {
        (input.len(), Event::NeedMore)
    }

    /// The stream's owner is done with so many bytes of DATA: windows are
    /// given back, in batches. Also right, and due, when the stream has gone.
    pub fn consumed(&mut self, _stream: StreamId, _bytes: u32) {}

    /// The body that comes on this stream must have exactly so many bytes;
    /// otherwise the stream is reset with PROTOCOL_ERROR. False when what came
    /// already (or END_STREAM) contradicts: the owner resets it.
    #[must_use]
    pub fn expect_length(&mut self, _stream: StreamId, _bytes: u64) -> bool {
        true
    }

    /// Opens a stream, for a client. Its headers must be sent, or it reset,
    /// before another one is opened: numbers only go up on the wire.
    pub fn open(&mut self) -> Result<StreamId, OpenError> {
        Err(OpenError::GoingAway)
    }

    /// Whether `open` would succeed.
    pub fn can_open(&self) -> bool {
        false
    }

    /// Sends a list of fields: a head, an interim one, or trailers. Pseudo
    /// fields come first, names are in lower case: the owner has seen to it.
    pub fn send_headers<'f>(
        &mut self,
        _stream: StreamId,
        _fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
        _end_stream: bool,
    ) -> Result<(), SendError> {
        Err(SendError::Gone)
    }

    /// How many bytes of DATA `send_data` would take now: the least of the
    /// stream's window, the connection's, and the room in the output.
    pub fn send_capacity(&self, _stream: StreamId) -> usize {
        0
    }

    /// Sends DATA, as much as `send_capacity` says; END_STREAM goes out only
    /// when all of `data` was taken (which may be empty).
    pub fn send_data(
        &mut self,
        _stream: StreamId,
        _data: &[u8],
        _end_stream: bool,
    ) -> Result<usize, SendError> {
        Err(SendError::Gone)
    }

    /// Ends a stream at once by RST_STREAM. Nothing happens when it is gone.
    pub fn reset(&mut self, _stream: StreamId, _code: ErrorCode) {}

    /// Says that the connection will end, while new streams are still taken:
    /// GOAWAY with 2^31-1. [`Connection::go_away`] follows a round trip later.
    pub fn announce_shutdown(&mut self) {}

    /// GOAWAY with the last stream: newer ones are not taken, those there are
    /// go on to their end.
    pub fn go_away(&mut self, _code: ErrorCode) {}

    /// Asks for a sign of life: `Pong` follows. Nothing while one is awaited.
    pub fn ping(&mut self) {}

    /// What is to be written.
    pub fn output(&self) -> &[u8] {
        &self.output[self.output_start..]
    }

    /// So many bytes of the output were written.
    pub fn output_consumed(&mut self, bytes: usize) {
        self.output_start = (self.output_start + bytes).min(self.output.len());
    }

    /// Gives back the memory that an idle connection does not need. It costs
    /// allocations at the next request: for connections that have been idle
    /// for a while.
    pub fn release_memory(&mut self) {}

    /// How many streams are open.
    pub fn streams(&self) -> usize {
        0
    }

    /// Whether a stream is there: not ended by both sides, not reset.
    pub fn is_open(&self, _stream: StreamId) -> bool {
        false
    }

    /// The peer's settings.
    pub fn peer_settings(&self) -> &Settings {
        &self.peer
    }

    /// Whether the peer's first SETTINGS have come.
    pub fn is_settled(&self) -> bool {
        false
    }

    /// Whether the peer has acknowledged our SETTINGS. The owner bounds the
    /// time that this may take.
    pub fn is_acknowledged(&self) -> bool {
        false
    }

    /// Whether the connection failed, or both sides are done: a GOAWAY was
    /// sent or came and no stream is left. Write the output and close.
    pub fn is_closed(&self) -> bool {
        false
    }

    /// Whether no new stream can come or be opened.
    pub fn is_going_away(&self) -> bool {
        false
    }

    /// The highest stream that the peer opened.
    pub fn highest_peer_stream(&self) -> StreamId {
        StreamId(0)
    }

    /// Counts for logs.
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// Which end we are.
    pub fn role(&self) -> Role {
        self.options.role
    }
}
