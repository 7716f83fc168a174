//! Sends what the owner of an HTTP/2 stream or connection requests: headers, data, resets,
//! shutdown, PING.

use super::super::frame::{DATA, FLAG_END_STREAM, PING, PREFACE, SETTINGS};
use super::super::settings::{
    ENABLE_CONNECT_PROTOCOL, ENABLE_PUSH, FRAME_BYTES_MIN, HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE, WINDOW_DEFAULT, WINDOW_MAX,
};
use super::super::stream::{Http2Stream, StreamEnd};
use super::super::{ErrorCode, Http2Role, OpenError, SendError, StreamId};
use super::blocks::is_interim;
use super::limits::Flood;
use super::{Connection, TABLE_BYTES_DEFAULT};

/// Payload of PING frames; only one PING is outstanding at a time.
pub(super) const PING_PAYLOAD: &[u8] = b"evenkeel";

/// Maximum number of streams that a client opens before it knows the server's settings.
const STREAMS_UNTOLD: u32 = 100;

impl Connection {
    pub(super) fn begin(&mut self) {
        let options = &self.options;
        let client = options.role == Http2Role::Client;
        let streams = options.concurrent_streams_max;
        let connect = u32::from(options.connect_protocol);
        let entries = [
            (
                HEADER_TABLE_SIZE,
                options.header_table_bytes,
                TABLE_BYTES_DEFAULT,
            ),
            (ENABLE_PUSH, 0, u32::from(client)),
            (
                MAX_CONCURRENT_STREAMS,
                if client { u32::MAX } else { streams },
                u32::MAX,
            ),
            (INITIAL_WINDOW_SIZE, options.initial_window, WINDOW_DEFAULT),
            (MAX_FRAME_SIZE, options.frame_bytes_max, FRAME_BYTES_MIN),
            (
                MAX_HEADER_LIST_SIZE,
                options.header_list_bytes_max,
                u32::MAX,
            ),
            (ENABLE_CONNECT_PROTOCOL, if client { 0 } else { connect }, 0),
        ];
        // Omits settings that are equal to their initial value.
        let mut payload = Vec::with_capacity(6 * entries.len());
        for (id, value, _) in entries.iter().filter(|(_, value, untold)| value != untold) {
            payload.extend_from_slice(&id.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        if client {
            self.output.raw(PREFACE);
        }
        self.output.frame(SETTINGS, 0, 0, &payload);
    }

    /// Enlarges the window of the connection from the initial value of the RFC. The WINDOW_UPDATE
    /// follows the acknowledgement of the peer's first SETTINGS, because a simple peer expects
    /// only SETTINGS before that.
    pub(super) fn widen_connection(&mut self) {
        let more = self.options.connection_window - WINDOW_DEFAULT;
        if more > 0 {
            self.output.window_update(0, more);
        }
    }

    /// Opens a stream, as a client. Its headers must be sent, or it must be reset, before another
    /// stream is opened, because stream numbers must increase on the wire.
    ///
    /// # Errors
    /// Too many streams are open, the stream numbers are used up, the connection is
    /// ending, or this side is the server.
    pub fn open(&mut self) -> Result<StreamId, OpenError> {
        self.openable()?;
        let id = self.next_own;
        self.next_own += 2;
        self.statistics.streams_opened += 1;
        self.streams.insert(Http2Stream::new(
            id,
            self.initial_send_window(),
            self.initial_receive_window(),
        ));
        Ok(StreamId(id))
    }

    pub fn can_open(&self) -> bool {
        self.openable().is_ok()
    }

    fn openable(&self) -> Result<(), OpenError> {
        if self.options.role == Http2Role::Server || self.is_going_away() || self.doomed.is_some() {
            return Err(OpenError::GoingAway);
        }
        if self.next_own > WINDOW_MAX {
            return Err(OpenError::Exhausted);
        }
        let told = self.peer.concurrent_streams_max;
        let most = match told {
            None if !self.settled => STREAMS_UNTOLD,
            None => u32::MAX,
            Some(most) => most,
        };
        if self.streams.len() >= most.min(self.options.concurrent_streams_max) as usize {
            return Err(OpenError::Full);
        }
        Ok(())
    }

    /// Sends a field section: a head, an interim head, or trailers. The caller ensures that
    /// pseudo-headers come first and names are in lower case. The output has no limit for headers,
    /// so the caller also ensures that few field sections wait in it.
    ///
    /// # Errors
    /// The stream no longer exists, or this side has ended it.
    pub fn send_headers<'f>(
        &mut self,
        stream: StreamId,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
        end_stream: bool,
    ) -> Result<(), SendError> {
        let entry = self.streams.get_mut(stream.0).ok_or(SendError::Gone)?;
        if entry.we_ended {
            return Err(SendError::Ended);
        }
        let mut fields = fields.peekable();
        // An interim response does not count as a response: see `Limits::rapid_resets`.
        entry.head_sent |= !is_interim(fields.peek().copied());
        entry.we_ended = end_stream;
        let frame_bytes_max = self.peer.frame_bytes_max.min(self.options.frame_bytes_max) as usize;
        self.output.headers(
            stream.0,
            end_stream,
            fields,
            &mut self.encoder,
            frame_bytes_max,
        );
        if end_stream {
            self.remove_if_done(stream.0);
        }
        Ok(())
    }

    /// Returns the number of DATA bytes that `send_data` would accept now: the minimum of the
    /// stream's window, the connection's window, and the space in the output. When output was
    /// written, no event reports the new space; the owner must wake writers itself.
    pub fn send_capacity(&self, stream: StreamId) -> usize {
        let Some(stream) = self.streams.get(stream.0) else {
            return 0;
        };
        if stream.we_ended {
            return 0;
        }
        let room = self
            .options
            .limits
            .output_bytes_max
            .saturating_sub(self.output.waiting());
        (stream.send_window.min(self.send_window).max(0) as usize).min(room)
    }

    /// Returns the number of DATA bytes that all streams together may send now: the minimum of the
    /// connection's window and the room in the output.
    pub fn connection_capacity(&self) -> usize {
        let room = self
            .options
            .limits
            .output_bytes_max
            .saturating_sub(self.output.waiting());
        (self.send_window.max(0) as usize).min(room)
    }

    /// Sends DATA, at most as many bytes as `send_capacity` returns, and returns their
    /// number. END_STREAM is sent only when all of `data` was taken (which may be empty).
    ///
    /// # Errors
    /// The stream or the connection has ended, or DATA precedes the headers.
    pub fn send_data(
        &mut self,
        stream: StreamId,
        data: &[u8],
        end_stream: bool,
    ) -> Result<usize, SendError> {
        let capacity = self.send_capacity(stream);
        let entry = self.streams.get_mut(stream.0).ok_or(SendError::Gone)?;
        if entry.we_ended {
            return Err(SendError::Ended);
        }
        if !entry.head_sent {
            return Err(SendError::HeadersFirst);
        }
        let taken = data.len().min(capacity);
        let end = end_stream && taken == data.len();
        if taken == 0 && !end {
            return Ok(0);
        }
        // The number of bytes is within both windows.
        entry.send_window -= taken as i32;
        self.send_window -= taken as i32;
        entry.we_ended = end;
        let frame_bytes_max = self.peer.frame_bytes_max.min(self.options.frame_bytes_max) as usize;
        let mut rest = &data[..taken];
        loop {
            let (piece, after) = rest.split_at(rest.len().min(frame_bytes_max));
            let flags = if end && after.is_empty() {
                FLAG_END_STREAM
            } else {
                0
            };
            self.output.frame(DATA, flags, stream.0, piece);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        if taken > 0 {
            self.meters.data(taken);
        }
        if end {
            self.remove_if_done(stream.0);
        }
        Ok(taken)
    }

    /// Ends a stream at once with RST_STREAM. Does nothing if the stream no longer exists. A code
    /// that blames the peer counts as a reset that the peer forced, and a refusal as a stream that
    /// the peer opened above the limit.
    pub fn reset(&mut self, stream: StreamId, code: ErrorCode) {
        let Some(gone) = self.streams.remove(stream.0) else {
            return;
        };
        if self.options.role == Http2Role::Client && !gone.head_sent {
            // Sends nothing, because the peer never saw the stream.
            return;
        }
        self.closed.remember(
            stream.0,
            if gone.peer_ended {
                StreamEnd::Ended
            } else {
                StreamEnd::ResetByUs
            },
        );
        let blames = matches!(
            code,
            ErrorCode::ProtocolError
                | ErrorCode::FlowControlError
                | ErrorCode::StreamClosed
                | ErrorCode::FrameSizeError
                | ErrorCode::CompressionError
                | ErrorCode::EnhanceYourCalm
        );
        if blames && let Err(why) = self.charge(Flood::ForcedResets) {
            self.doomed = Some(why);
        }
        if code == ErrorCode::RefusedStream
            && let Err(why) = self.charge(Flood::RefusedStreams)
        {
            self.doomed = Some(why);
        }
        if let Err(why) = self.send_reset(stream.0, code) {
            self.doomed = Some(why);
        }
    }

    /// Counts a head that the owner refuses for its length. The connection fails when the
    /// peer sends such heads again and again.
    pub fn head_was_overlong(&mut self) {
        // Counted twice, because the normal end of the same stream compensates for one.
        for _ in 0..2 {
            if let Err(why) = self.charge(Flood::OverlongHeads) {
                self.doomed = Some(why);
            }
        }
    }

    /// Announces a shutdown while new streams are still accepted: GOAWAY with 2^31-1. The owner
    /// calls [`Connection::go_away`] about one round trip later.
    pub fn announce_shutdown(&mut self) {
        if !self.announced && self.accepted_last.is_none() && !self.failed {
            self.announced = true;
            self.output.go_away(WINDOW_MAX, ErrorCode::NoError);
        }
    }

    /// Sends GOAWAY with the last stream: newer ones are not accepted, existing ones continue to
    /// their end.
    pub fn go_away(&mut self, code: ErrorCode) {
        if self.failed || (self.accepted_last.is_some() && code == ErrorCode::NoError) {
            return;
        }
        let last = self.highest_peer_stream().0;
        self.accepted_last = Some(last);
        self.output.go_away(last, code);
    }

    /// Sends a PING; the peer's response is the event `Pong`. Does nothing while a PING is
    /// outstanding.
    pub fn ping(&mut self) {
        if !self.ping_awaited && !self.failed {
            self.ping_awaited = true;
            self.output.frame(PING, 0, 0, PING_PAYLOAD);
        }
    }
}
