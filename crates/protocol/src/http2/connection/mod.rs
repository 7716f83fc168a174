//! Implements an HTTP/2 connection as client or server: interprets the peer's frames and produces
//! the output. The connection never waits, allocates nothing for a request once its buffers have
//! grown, and answers every frame of a peer with a bounded amount of work and output.

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
use super::{ConnectionError, ErrorCode, FieldList, Http2Role, Settings, StreamId, Why, hpack};
use blocks::HeaderBlock;
use limits::Meters;
pub use limits::{Limits, Rate};
use output::Output;
use receive::{Reading, ReceiveStep};

/// Initial size of the HPACK table, and the largest that this side uses for sending, whatever the
/// peer accepts.
const TABLE_BYTES_DEFAULT: u32 = 4096;

#[derive(Clone, Debug)]
pub struct Options {
    pub role: Http2Role,
    /// Table size of the decoder: SETTINGS_HEADER_TABLE_SIZE.
    pub header_table_bytes: u32,
    /// Initial window of the peer's streams, at most 2^31-1.
    pub initial_window: u32,
    /// Window of the whole connection; at least 65,535.
    pub connection_window: u32,
    /// Maximum number of open streams: for a server, those of the peer; for a client, its own
    /// (limited by the peer's settings, too).
    pub concurrent_streams_max: u32,
    /// Maximum length of received frames, 16,384 to 2^24-1. The peer chooses the maximum for sent
    /// frames, but never more than this.
    pub frame_bytes_max: u32,
    /// Maximum size of a field list, as RFC 9113 section 6.5.2 counts.
    pub header_list_bytes_max: u32,
    pub header_fields_max: usize,
    /// A server announces that extended CONNECT (RFC 8441) may be used.
    pub connect_protocol: bool,
    pub limits: Limits,
}

impl Options {
    /// Returns the RFC's defaults, and HAProxy's where the RFC has none.
    pub fn new(role: Http2Role) -> Options {
        Options {
            role,
            header_table_bytes: 4096,
            initial_window: 65_535,
            connection_window: 65_535,
            concurrent_streams_max: 100,
            frame_bytes_max: 16_384,
            header_list_bytes_max: 65_536,
            header_fields_max: 101,
            connect_protocol: role == Http2Role::Server,
            limits: Limits::default(),
        }
    }

    fn within_bounds(mut self) -> Options {
        self.initial_window = self.initial_window.min(WINDOW_MAX);
        self.connection_window = self.connection_window.clamp(WINDOW_DEFAULT, WINDOW_MAX);
        self.frame_bytes_max = self.frame_bytes_max.clamp(FRAME_BYTES_MIN, FRAME_BYTES_MAX);
        self
    }
}

#[derive(Debug)]
pub enum Event<'a> {
    /// All of the input was consumed, without an event for the owner.
    NeedMore,
    /// Something happened that does not concern the owner, who must call again. The output may
    /// have grown.
    Progress,
    /// The head of a message, or trailers. If `fields` is overflowed, the list was larger than the
    /// options allow, and a server responds with 431.
    Headers {
        /// The stream. For a server it is a new one, unless `trailers` is set.
        stream: StreamId,
        /// The decoded fields, valid until the next call.
        fields: &'a FieldList,
        /// The peer sends nothing further on this stream.
        end_stream: bool,
        /// The list follows the body. Interim responses (`:status` 1xx), which only a client
        /// receives, do not count as the head.
        trailers: bool,
    },
    /// A piece of a body, without padding.
    Data {
        stream: StreamId,
        /// The data; empty only with `end_stream`.
        data: &'a [u8],
        end_stream: bool,
    },
    /// A stream ended early. From now on, calls with its number have no effect, except
    /// [`Connection::consumed`].
    Reset {
        stream: StreamId,
        /// Reason. `RefusedStream` with `ours` false: the peer reports, by this frame or by its
        /// GOAWAY, that it has not processed the request, so the request may be repeated.
        code: ErrorCode,
        /// The stream was reset by this side because of what the peer sent; RST_STREAM is in the
        /// output.
        ours: bool,
    },
    /// More data can be sent now: on one stream, or (None) on every stream.
    Window {
        stream: Option<StreamId>,
    },
    /// The peer's settings have changed; windows may have grown.
    SettingsChanged,
    /// The peer neither opens nor accepts further streams. Streams of this side above `last` are
    /// reset with `RefusedStream` by the events that follow.
    GoAway {
        /// Last stream that the peer has processed or will process.
        last: StreamId,
        code: ErrorCode,
    },
    Pong,
    /// The connection has failed because of what the peer sent. GOAWAY is in the output: write it
    /// and close. Reported once.
    Failed(ConnectionError),
}

/// Counters for logs and statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    pub streams_opened: u64,
    /// Streams that were refused because they exceeded the announced limit.
    pub streams_refused: u64,
    pub resets_received: u64,
    pub resets_sent: u64,
    pub frames_received: u64,
    pub lists_overflowed: u64,
}

/// An HTTP/2 connection in either role. Received bytes go into [`Connection::receive`], and the
/// bytes to send are in [`Connection::output`]. The connection owns no socket and never blocks. The
/// head of the module `http2` lists the duties of the owner.
#[derive(Debug)]
pub struct Connection {
    options: Options,
    peer: Settings,
    /// Settings from a frame that has not arrived completely.
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
    /// Part of a frame head or of a short payload that has arrived so far.
    small: [u8; HEAD_BYTES],
    small_bytes: u8,
    block: HeaderBlock,

    send_window: i32,
    receive_window: i32,
    unreturned: u32,

    highest_peer: u32,
    next_own: u32,
    /// Last stream in the GOAWAY of this side: newer streams are ignored.
    accepted_last: Option<u32>,
    announced: bool,
    peer_last: Option<u32>,
    /// Index in the stream table at which the search for streams above the last one continues.
    sweep_from: Option<usize>,
    settled: bool,
    acknowledged: bool,
    ping_awaited: bool,
    failed: bool,
    /// Reason why the connection must fail, which was found while no frame was being processed.
    doomed: Option<Why>,
}

impl Connection {
    /// Creates a connection with SETTINGS (after a client's preface) in its output.
    pub fn new(options: Options) -> Connection {
        Connection::after_preface(options, 0)
    }

    /// Creates a server connection if the caller has already received and verified this many bytes
    /// of the preface.
    pub fn after_preface(options: Options, preface_bytes: usize) -> Connection {
        let options = options.within_bounds();
        let seen = preface_bytes.min(PREFACE.len());
        let reading = match options.role {
            Http2Role::Server if seen < PREFACE.len() => Reading::Preface { seen },
            _ => Reading::Head,
        };
        // Until the peer knows the settings of this side, it may use the initial values of the
        // RFC.
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
            block: HeaderBlock::default(),
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

    /// Processes bytes; returns the number of consumed bytes and the event. Unconsumed bytes must
    /// be passed again until the event is `NeedMore`, which means that everything was consumed.
    /// `now_ms` may start anywhere and must never decrease.
    pub fn receive<'a>(&'a mut self, input: &'a [u8], now_ms: u64) -> (usize, Event<'a>) {
        self.meters.set_now(now_ms);
        let mut at = 0;
        let event = match self.advance(input, &mut at) {
            Ok(ReceiveStep::NeedMore | ReceiveStep::Again) => Event::NeedMore,
            Ok(ReceiveStep::Progress) => Event::Progress,
            Ok(ReceiveStep::Headers {
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
            Ok(ReceiveStep::Data {
                stream,
                from,
                to,
                end_stream,
            }) => Event::Data {
                stream: StreamId(stream),
                data: &input[from..to],
                end_stream,
            },
            Ok(ReceiveStep::Reset { stream, code, ours }) => Event::Reset {
                stream: StreamId(stream),
                code,
                ours,
            },
            Ok(ReceiveStep::Window { stream }) => Event::Window {
                stream: stream.map(StreamId),
            },
            Ok(ReceiveStep::SettingsChanged) => Event::SettingsChanged,
            Ok(ReceiveStep::GoAway { last, code }) => Event::GoAway {
                last: StreamId(last),
                code,
            },
            Ok(ReceiveStep::Pong) => Event::Pong,
            Err(why) => {
                at = input.len();
                self.fail(why);
                Event::Failed(why.into())
            }
        };
        (at, event)
    }

    /// Declares the length of the body on a stream. If the body turns out to have another length,
    /// the stream is reset with PROTOCOL_ERROR. Returns false if the data received so far (or
    /// END_STREAM) already contradicts the length; the owner must then reset the stream. For a
    /// stream that no longer exists, returns true.
    #[must_use]
    pub fn expect_length(&mut self, stream: StreamId, bytes: u64) -> bool {
        let Some(stream) = self.streams.get_mut(stream.0) else {
            return true;
        };
        stream.expected = bytes;
        stream.fits(0, stream.peer_ended)
    }

    pub fn output(&self) -> &[u8] {
        self.output.bytes()
    }

    /// Removes `bytes` written bytes from the front of the output.
    pub fn output_consumed(&mut self, bytes: usize) {
        self.output.take(bytes);
    }

    /// Releases memory that an idle connection does not need. This costs allocations at the next
    /// request, so it is meant for connections that have been idle for a while.
    pub fn release_memory(&mut self) {
        self.output.release_memory();
        self.streams.release_memory();
        self.block.release_memory();
        self.fields.release();
    }

    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Returns whether a stream is open: neither ended by both sides nor reset.
    pub fn is_open(&self, stream: StreamId) -> bool {
        self.streams.get(stream.0).is_some()
    }

    pub fn peer_settings(&self) -> &Settings {
        &self.peer
    }

    /// Returns whether the peer's first SETTINGS have arrived.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// Returns whether the peer has acknowledged the SETTINGS of this side. The owner limits how
    /// long this may take.
    pub fn is_acknowledged(&self) -> bool {
        self.acknowledged
    }

    /// Returns whether the connection has failed, or both sides are done: a GOAWAY with the last
    /// stream was sent or received, and no stream is open. The owner then writes the output and
    /// closes the connection.
    pub fn is_closed(&self) -> bool {
        self.failed || (self.is_going_away() && self.streams.len() == 0)
    }

    /// Returns whether a shutdown has begun: a GOAWAY with the last stream was sent, or any GOAWAY
    /// was received.
    pub fn is_going_away(&self) -> bool {
        self.failed || self.accepted_last.is_some() || self.peer_last.is_some()
    }

    pub fn highest_peer_stream(&self) -> StreamId {
        StreamId(self.accepted_last.unwrap_or(self.highest_peer))
    }

    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    pub fn role(&self) -> Http2Role {
        self.options.role
    }
}
