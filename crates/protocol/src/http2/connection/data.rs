//! Handles received DATA, and the flow-control windows that it uses. Content is passed on as it
//! arrives. A frame with an invalid length or padding is refused before its first byte is passed
//! on.

use super::super::frame::{DATA, FLAG_END_STREAM, FLAG_PADDED, Http2FrameHeader};
use super::super::settings::{WINDOW_DEFAULT, WINDOW_MAX};
use super::super::stream::{Http2Stream, StreamEnd};
use super::super::{ErrorCode, Http2Role, StreamId, Why};
use super::Connection;
use super::limits::Flood;
use super::receive::{Absent, Reading, ReceiveStep, on_stream, take};

/// DATA frames with content of fewer bytes than this, and without the end of the stream, count as
/// tiny; empty ones have their own limit.
const TINY_BYTES: u32 = 5;

impl Connection {
    pub(super) fn begin_data(&mut self, head: Http2FrameHeader) -> Result<ReceiveStep, Why> {
        debug_assert_eq!(head.kind, DATA);
        on_stream(head)?;
        let padded = head.has(FLAG_PADDED);
        if padded && head.length == 0 {
            return Err(Why::FrameLength);
        }
        // Charges the connection's window before the stream is known, because unwanted data uses
        // it, too.
        let length = head.length as i32;
        if length > self.receive_window {
            return Err(Why::WindowExceeded);
        }
        self.receive_window -= length;
        let client = self.options.role == Http2Role::Client;
        let Some(stream) = self.streams.get_mut(head.stream) else {
            return self.late_data(head);
        };
        if client && !stream.head_sent {
            return Err(Why::StreamIdle);
        }
        let code = if stream.peer_ended {
            ErrorCode::StreamClosed
        } else if !stream.head_received {
            ErrorCode::ProtocolError
        } else if length > stream.receive_window {
            ErrorCode::FlowControlError
        } else {
            stream.receive_window -= length;
            if padded {
                self.reading = Reading::PadLength(head);
                return Ok(ReceiveStep::Again);
            }
            return self.begin_content(head, 0, 0);
        };
        self.discard(head, 0);
        self.stream_error(head.stream, code)
    }

    fn late_data(&mut self, head: Http2FrameHeader) -> Result<ReceiveStep, Why> {
        self.discard(head, 0);
        match self.absent(head.stream) {
            Absent::Idle => Err(Why::StreamIdle),
            Absent::Closed(StreamEnd::Ended) => Err(Why::StreamEnded),
            Absent::Closed(StreamEnd::ResetByPeer) => {
                self.stream_error(head.stream, ErrorCode::StreamClosed)
            }
            Absent::Ignored | Absent::Closed(StreamEnd::ResetByUs | StreamEnd::Unknown) => {
                self.charge(Flood::LateFrames)?;
                Ok(ReceiveStep::Again)
            }
        }
    }

    /// Discards a frame of which `read` bytes were read. The connection's window is restored for
    /// the whole frame at once, not as its bytes arrive, because the reaction must not depend on
    /// how the bytes were split.
    fn discard(&mut self, head: Http2FrameHeader, read: u32) {
        self.give_back(0, head.length);
        self.skip(head.length - read);
    }

    /// Begins to handle the content of a frame once its padding length `pad` is known. `pad_field`
    /// is the number of bytes in which the frame contained that length.
    pub(super) fn begin_content(
        &mut self,
        head: Http2FrameHeader,
        pad_field: u32,
        pad: u32,
    ) -> Result<ReceiveStep, Why> {
        let Some(content) = head.length.checked_sub(pad_field + pad) else {
            return Err(Why::Padding);
        };
        let end_stream = head.has(FLAG_END_STREAM);
        let Some(stream) = self.streams.get_mut(head.stream) else {
            self.discard(head, pad_field);
            return Ok(ReceiveStep::Again);
        };
        if !stream.fits(u64::from(content), end_stream) {
            self.discard(head, pad_field);
            return self.stream_error(head.stream, ErrorCode::ProtocolError);
        }
        stream.received += u64::from(content);
        if content > 0 {
            self.meters.data(content as usize);
        }
        if !end_stream && content < TINY_BYTES {
            self.charge(if content == 0 {
                Flood::EmptyFrames
            } else {
                Flood::TinyData
            })?;
        }
        if pad_field + pad > 0 {
            self.give_back(head.stream, pad_field + pad);
        }
        self.reading = Reading::Data {
            stream: head.stream,
            left: content,
            pad,
            end_stream,
        };
        Ok(ReceiveStep::Again)
    }

    pub(super) fn data_piece(
        &mut self,
        id: u32,
        left: u32,
        pad: u32,
        end_stream: bool,
        input: &[u8],
        at: &mut usize,
    ) -> Result<ReceiveStep, Why> {
        let from = *at;
        let taken = take(left, input, at);
        let (to, left) = (*at, left - taken);
        let pad = if left == 0 {
            pad - take(pad, input, at)
        } else {
            pad
        };
        let complete = left == 0 && pad == 0;
        self.reading = if complete {
            Reading::Head
        } else {
            Reading::Data {
                stream: id,
                left,
                pad,
                end_stream,
            }
        };
        let Some(stream) = self.streams.get_mut(id) else {
            // Drops the bytes and returns the connection's window, because the owner reset the
            // stream in the middle of the frame.
            self.give_back(0, taken);
            return Ok(if complete {
                ReceiveStep::Again
            } else {
                ReceiveStep::NeedMore
            });
        };
        let end_stream = complete && end_stream;
        if end_stream {
            stream.peer_ended = true;
            self.remove_if_done(id);
        }
        Ok(if taken > 0 || end_stream {
            ReceiveStep::Data {
                stream: id,
                from,
                to,
                end_stream,
            }
        } else if complete {
            ReceiveStep::Again
        } else {
            ReceiveStep::NeedMore
        })
    }

    /// Records that the owner of the stream has consumed bytes of DATA. Their windows are returned
    /// to the peer in batches. Must also be called when the stream no longer exists.
    pub fn consumed(&mut self, stream: StreamId, bytes: u32) {
        if !self.failed {
            self.give_back(stream.0, bytes);
        }
    }

    /// Grants the window for the rest of a body at once, for an owner that discards the data: a
    /// peer that has the complete response may no longer read window updates. Returns false, and
    /// grants nothing, if the stream no longer exists, the peer has ended it, or the rest is longer
    /// than `bytes_max`. A body of unknown length gets `bytes_max`.
    pub fn grant_rest(&mut self, stream: StreamId, bytes_max: u32) -> bool {
        let Some(stream) = self.streams.get_mut(stream.0).filter(|one| !one.peer_ended) else {
            return false;
        };
        let rest = match stream.rest() {
            None => bytes_max,
            Some(rest) if rest <= u64::from(bytes_max) => rest as u32,
            Some(_) => return false,
        };
        let missing = i64::from(rest) - i64::from(stream.receive_window);
        if let Ok(missing @ 1..) = i32::try_from(missing) {
            stream.receive_window += missing;
            self.output.window_update(stream.id, missing as u32);
        }
        true
    }

    /// Counts bytes of window that may return to the peer, for the stream and the connection, or
    /// (stream 0) for the connection only. Sends WINDOW_UPDATE once enough have accumulated.
    pub(super) fn give_back(&mut self, stream: u32, bytes: u32) {
        let window = self.options.connection_window;
        // Limits the window to the bytes received, even if an owner counts wrongly.
        let missing = (window as i32 - self.receive_window) as u32;
        self.unreturned = self.unreturned.saturating_add(bytes).min(missing);
        if self.unreturned >= window / 2 {
            self.receive_window += self.unreturned as i32;
            self.output.window_update(0, self.unreturned);
            self.unreturned = 0;
        }
        let Some(stream) = self.streams.get_mut(stream) else {
            return;
        };
        // As HAProxy, a server returns the window at once even after the end of an upload, because
        // clients use that to know that their data was accepted. A client returns none after the
        // end of a response.
        let batch = match (stream.peer_ended, self.options.role) {
            (false, _) => (self.options.initial_window / 2).max(1),
            (true, Http2Role::Server) => 1,
            (true, Http2Role::Client) => return,
        };
        stream.unreturned = stream.unreturned.saturating_add(bytes).min(WINDOW_MAX);
        if stream.unreturned >= batch {
            stream.receive_window = stream
                .receive_window
                .saturating_add(stream.unreturned as i32);
            self.output.window_update(stream.id, stream.unreturned);
            stream.unreturned = 0;
        }
    }

    /// Returns the receive window of a new stream of the peer. Before the peer knows the settings
    /// of this side, it may use the initial window of the RFC.
    pub(super) fn initial_receive_window(&self) -> i32 {
        let window = self.options.initial_window;
        if self.acknowledged {
            window as i32
        } else {
            window.max(WINDOW_DEFAULT) as i32
        }
    }

    /// Reduces the windows of open streams to the configured initial window, because the peer has
    /// acknowledged it.
    pub(super) fn acknowledge_windows(&mut self) {
        let less = WINDOW_DEFAULT.saturating_sub(self.options.initial_window) as i32;
        if less > 0 {
            self.streams
                .iter_mut()
                .for_each(|stream: &mut Http2Stream| stream.receive_window -= less);
        }
    }

    /// Removes a stream that both sides have ended, and counts it as useful work.
    pub(super) fn remove_if_done(&mut self, id: u32) {
        if self
            .streams
            .get(id)
            .is_some_and(|stream| stream.peer_ended && stream.we_ended)
        {
            self.streams.remove(id);
            self.closed.remember(id, StreamEnd::Ended);
            self.meters.stream_ended();
        }
    }
}
