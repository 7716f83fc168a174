//! One connection, either role: what the peer's frames mean and what is to be
//! sent. It never waits, allocates nothing for a request once it is warm, and
//! answers every frame of a peer with a bounded amount of work and output.

mod blocks;
mod control;
mod data;
mod limits;
mod output;
mod receive;
mod send;
#[cfg(test)]
mod tests;

use super::frame::{HEAD_BYTES, PREFACE};
use super::settings::{FRAME_BYTES_MAX, FRAME_BYTES_MIN, WINDOW_DEFAULT, WINDOW_MAX};
use super::stream::{Closed, Streams};
use super::{ConnectionError, ErrorCode, FieldList, Role, Settings, StreamId, Why, hpack};
use blocks::Block;
use limits::Meters;
pub use limits::{Limits, Rate};
use output::Output;
use receive::{Reading, Step};

/// The HPACK table that a connection begins with, and the largest that we keep
/// for sending, whatever the peer would take.
const TABLE_BYTES_DEFAULT: u32 = 4096;

/// Options of a connection.
#[derive(Clone, Debug)]
pub struct Options {
    /// Our role.
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

    /// With every number within what the protocol allows.
    fn within_bounds(mut self) -> Options {
        self.initial_window = self.initial_window.min(WINDOW_MAX);
        self.connection_window = self.connection_window.clamp(WINDOW_DEFAULT, WINDOW_MAX);
        self.frame_bytes_max = self.frame_bytes_max.clamp(FRAME_BYTES_MIN, FRAME_BYTES_MAX);
        self
    }
}

/// An event caused by the peer.
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
        /// The decoded fields, valid until the next call.
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
        /// The stream.
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
    /// The settings of a frame that is under way.
    peer_next: Settings,
    output: Output,
    meters: Meters,
    statistics: Statistics,
    streams: Streams,
    closed: Closed,
    encoder: hpack::Encoder,
    decoder: hpack::Decoder,
    fields: FieldList,

    reading: Reading,
    /// A frame's head, or short payload, of which not all has come.
    small: [u8; HEAD_BYTES],
    small_bytes: u8,
    /// The header block that is being gathered.
    block: Block,

    send_window: i32,
    receive_window: i32,
    unreturned: u32,

    highest_peer: u32,
    next_own: u32,
    /// The last stream that our GOAWAY named: newer ones are ignored.
    accepted_last: Option<u32>,
    announced: bool,
    /// The last stream that the peer's GOAWAY named.
    peer_last: Option<u32>,
    /// Where to go on looking for streams above it.
    sweep_from: Option<usize>,
    settled: bool,
    acknowledged: bool,
    ping_awaited: bool,
    failed: bool,
    /// The connection has to fail for what came to light between two frames.
    doomed: Option<Why>,
}

impl Connection {
    /// A connection whose SETTINGS (a client's preface before them) stand in
    /// the output.
    pub fn new(options: Options) -> Connection {
        Connection::after_preface(options, 0)
    }

    /// As `new`, for a server where so many bytes of the preface were seen,
    /// and found right, elsewhere.
    pub fn after_preface(options: Options, preface_bytes: usize) -> Connection {
        let options = options.within_bounds();
        let seen = preface_bytes.min(PREFACE.len());
        let reading = match options.role {
            Role::Server if seen < PREFACE.len() => Reading::Preface { seen },
            _ => Reading::Head,
        };
        // Until the peer knows our settings, it may use what the RFC begins with.
        let table_bytes = options.header_table_bytes.max(TABLE_BYTES_DEFAULT);
        let mut connection = Connection {
            peer: Settings::default(),
            peer_next: Settings::default(),
            output: Output::default(),
            meters: Meters::default(),
            statistics: Statistics::default(),
            streams: Streams::default(),
            closed: Closed::new(),
            encoder: hpack::Encoder::new(),
            decoder: hpack::Decoder::new(table_bytes as usize),
            fields: FieldList::new(
                options.header_list_bytes_max as usize,
                options.header_fields_max,
            ),
            reading,
            small: [0; HEAD_BYTES],
            small_bytes: 0,
            block: Block::default(),
            send_window: WINDOW_DEFAULT as i32,
            receive_window: options.connection_window as i32,
            unreturned: 0,
            highest_peer: 0,
            next_own: 1,
            accepted_last: None,
            announced: false,
            peer_last: None,
            sweep_from: None,
            settled: false,
            acknowledged: false,
            ping_awaited: false,
            failed: false,
            doomed: None,
            options,
        };
        connection.begin();
        connection
    }

    /// Takes bytes; says how many it consumed and what happened. The bytes
    /// that were not consumed are to be offered again, until `NeedMore`, which
    /// has always consumed everything. `now_ms` may begin anywhere and never
    /// goes back.
    pub fn receive<'a>(&'a mut self, input: &'a [u8], now_ms: u64) -> (usize, Event<'a>) {
        self.meters.set_now(now_ms);
        let mut at = 0;
        let event = match self.advance(input, &mut at) {
            Ok(Step::NeedMore | Step::Again) => Event::NeedMore,
            Ok(Step::Progress) => Event::Progress,
            Ok(Step::Headers {
                stream,
                end_stream,
                trailers,
            }) => {
                let stream = StreamId(stream);
                Event::Headers {
                    stream,
                    fields: &self.fields,
                    end_stream,
                    trailers,
                }
            }
            Ok(Step::Data {
                stream,
                from,
                to,
                end_stream,
            }) => Event::Data {
                stream: StreamId(stream),
                data: &input[from..to],
                end_stream,
            },
            Ok(Step::Reset { stream, code, ours }) => Event::Reset {
                stream: StreamId(stream),
                code,
                ours,
            },
            Ok(Step::Window { stream }) => Event::Window {
                stream: stream.map(StreamId),
            },
            Ok(Step::SettingsChanged) => Event::SettingsChanged,
            Ok(Step::GoAway { last, code }) => Event::GoAway {
                last: StreamId(last),
                code,
            },
            Ok(Step::Pong) => Event::Pong,
            Err(why) => {
                at = input.len();
                self.fail(why);
                Event::Failed(why.into())
            }
        };
        (at, event)
    }

    /// The body that comes on this stream must have exactly so many bytes;
    /// otherwise the stream is reset with PROTOCOL_ERROR. False when what came
    /// already (or END_STREAM) contradicts: the owner resets it. A stream that
    /// is gone contradicts nothing.
    #[must_use]
    pub fn expect_length(&mut self, stream: StreamId, bytes: u64) -> bool {
        let Some(stream) = self.streams.get_mut(stream.0) else {
            return true;
        };
        stream.expected = bytes;
        stream.fits(0, stream.peer_ended)
    }

    /// Returns the bytes to write.
    pub fn output(&self) -> &[u8] {
        self.output.bytes()
    }

    /// Removes `bytes` written bytes from the front of the output.
    pub fn output_consumed(&mut self, bytes: usize) {
        self.output.take(bytes);
    }

    /// Gives back the memory that an idle connection does not need. It costs
    /// allocations at the next request: for connections that have been idle
    /// for a while.
    pub fn release_memory(&mut self) {
        self.output.release_memory();
        self.streams.release_memory();
        self.block.release_memory();
        self.fields.release();
    }

    /// How many streams are open.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Whether a stream is there: not ended by both sides, not reset.
    pub fn is_open(&self, stream: StreamId) -> bool {
        self.streams.get(stream.0).is_some()
    }

    /// The peer's settings.
    pub fn peer_settings(&self) -> &Settings {
        &self.peer
    }

    /// Whether the peer's first SETTINGS have come.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// Whether the peer has acknowledged our SETTINGS. The owner bounds the
    /// time that this may take.
    pub fn is_acknowledged(&self) -> bool {
        self.acknowledged
    }

    /// Whether the connection failed, or both sides are done: a GOAWAY with
    /// the last stream was sent or came, and no stream is left. Write the
    /// output and close.
    pub fn is_closed(&self) -> bool {
        self.failed || (self.is_going_away() && self.streams.len() == 0)
    }

    /// Whether either side said that it ends: by GOAWAY with the last stream,
    /// or, from the peer, any.
    pub fn is_going_away(&self) -> bool {
        self.failed || self.accepted_last.is_some() || self.peer_last.is_some()
    }

    /// The highest stream that the peer opened and we took.
    pub fn highest_peer_stream(&self) -> StreamId {
        StreamId(self.accepted_last.unwrap_or(self.highest_peer))
    }

    /// Counts for logs.
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// Returns our role.
    pub fn role(&self) -> Role {
        self.options.role
    }
}
