//! Decodes header blocks: HEADERS and CONTINUATION, assembled if they arrive in pieces and
//! decoded directly from the input otherwise. Every block is decoded, even an unwanted one,
//! because the HPACK table must stay in sync.

use super::super::frame::{
    FLAG_END_HEADERS, FLAG_END_STREAM, FLAG_PADDED, FLAG_PRIORITY, HEADERS, Http2FrameHeader,
};
use super::super::stream::{Http2Stream, StreamEnd};
use super::super::{ErrorCode, Http2Role, Why};
use super::Connection;
use super::limits::Flood;
use super::receive::{Absent, Reading, ReceiveStep, on_stream, take};

/// Maximum memory that is kept for the next header block, in bytes.
const KEPT_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug, Default)]
pub(super) struct HeaderBlock {
    bytes: Vec<u8>,
    frame_at: usize,
    /// Stream of the block; 0: no block is in progress.
    stream: u32,
    end_stream: bool,
    self_dependent: bool,
    continuations: u32,
}

impl HeaderBlock {
    pub(super) fn is_open(&self) -> bool {
        self.stream != 0
    }

    fn begin(&mut self, head: Http2FrameHeader) {
        self.stream = head.stream;
        self.end_stream = head.has(FLAG_END_STREAM);
        self.self_dependent = false;
        self.continuations = 0;
    }

    fn end_frame(&mut self, head: Http2FrameHeader) -> Result<bool, Why> {
        let fragment = Fragment::of(head, &self.bytes[self.frame_at..])?;
        self.self_dependent |= fragment.self_dependent;
        let length = fragment.end - fragment.start;
        let from = self.frame_at + fragment.start;
        self.bytes.copy_within(from..from + length, self.frame_at);
        self.bytes.truncate(self.frame_at + length);
        self.frame_at = self.bytes.len();
        Ok(length == 0)
    }

    pub(super) fn release_memory(&mut self) {
        if !self.is_open() {
            self.bytes = Vec::new();
        }
    }

    pub(super) fn abandon(&mut self) {
        *self = HeaderBlock::default();
    }

    #[cfg(test)]
    pub(super) fn bytes_capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

/// Position of a header block fragment in the payload of its frame.
struct Fragment {
    start: usize,
    end: usize,
    self_dependent: bool,
}

impl Fragment {
    /// Finds the fragment without padding and priority. The caller has checked that the frame is
    /// long enough for the fields that its flags announce.
    fn of(head: Http2FrameHeader, payload: &[u8]) -> Result<Fragment, Why> {
        let mut fragment = Fragment {
            start: 0,
            end: payload.len(),
            self_dependent: false,
        };
        if head.kind != HEADERS {
            return Ok(fragment);
        }
        let mut pad = 0;
        if head.has(FLAG_PADDED) {
            pad = payload.first().map_or(0, |&pad| usize::from(pad));
            fragment.start = 1;
        }
        if head.has(FLAG_PRIORITY) {
            if let Some(&[a, b, c, d]) = payload.get(fragment.start..fragment.start + 4) {
                let on = u32::from_be_bytes([a & 0x7f, b, c, d]);
                fragment.self_dependent = on == head.stream;
            }
            fragment.start += 5;
        }
        if fragment.start + pad > payload.len() {
            return Err(Why::Padding);
        }
        fragment.end -= pad;
        Ok(fragment)
    }
}

impl Connection {
    pub(super) fn begin_block(&mut self, head: Http2FrameHeader) -> Result<(), Why> {
        on_stream(head)?;
        // Refuses even stream numbers: clients open odd streams, and only pushes of a server are
        // even.
        if head.stream & 1 == 0 {
            return Err(Why::StreamParity);
        }
        let padded = if head.has(FLAG_PADDED) { 1 } else { 0 };
        let priority = if head.has(FLAG_PRIORITY) { 5 } else { 0 };
        if head.length < padded + priority {
            return Err(Why::FrameLength);
        }
        self.block.begin(head);
        self.begin_fragment(head)
    }

    pub(super) fn continue_block(&mut self, head: Http2FrameHeader) -> Result<(), Why> {
        on_stream(head)?;
        if head.stream != self.block.stream {
            return Err(Why::Continuation);
        }
        self.block.continuations += 1;
        if self.block.continuations > self.options.limits.continuations_max {
            return Err(Why::ContinuationFlood);
        }
        self.begin_fragment(head)
    }

    fn begin_fragment(&mut self, head: Http2FrameHeader) -> Result<(), Why> {
        let total = self.block.bytes.len() + head.length as usize;
        if total > self.options.limits.header_block_bytes_max {
            return Err(Why::BlockTooLong);
        }
        self.reading = Reading::Block {
            head,
            left: head.length,
        };
        Ok(())
    }

    pub(super) fn block_piece(
        &mut self,
        head: Http2FrameHeader,
        left: u32,
        input: &[u8],
        at: &mut usize,
    ) -> Result<ReceiveStep, Why> {
        let from = *at;
        let taken = take(left, input, at);
        let piece = &input[from..*at];
        let whole = taken == head.length;
        let only = whole && self.block.bytes.is_empty() && head.has(FLAG_END_HEADERS);
        if only {
            let fragment = Fragment::of(head, piece)?;
            self.block.self_dependent |= fragment.self_dependent;
            self.fields.clear();
            self.decoder
                .decode(&piece[fragment.start..fragment.end], &mut self.fields)
                .map_err(|_| Why::Compression)?;
            return self.end_block();
        }
        self.block.bytes.extend_from_slice(piece);
        if taken < left {
            self.reading = Reading::Block {
                head,
                left: left - taken,
            };
            return Ok(ReceiveStep::NeedMore);
        }
        let empty = self.block.end_frame(head)?;
        if head.has(FLAG_END_HEADERS) {
            self.fields.clear();
            self.decoder
                .decode(&self.block.bytes, &mut self.fields)
                .map_err(|_| Why::Compression)?;
            return self.end_block();
        }
        if empty {
            self.charge(Flood::EmptyFrames)?;
        }
        self.reading = Reading::Head;
        Ok(ReceiveStep::Again)
    }

    fn end_block(&mut self) -> Result<ReceiveStep, Why> {
        self.reading = Reading::Head;
        let block = &mut self.block;
        let stream = std::mem::take(&mut block.stream);
        block.frame_at = 0;
        block.bytes.clear();
        if block.bytes.capacity() > KEPT_BYTES_MAX {
            block.bytes = Vec::new();
        }
        let (end_stream, self_dependent) = (block.end_stream, block.self_dependent);
        self.statistics.lists_overflowed += u64::from(self.fields.is_overflowed());
        if self.streams.get(stream).is_some() {
            return self.more_headers(stream, end_stream, self_dependent);
        }
        if self.options.role == Http2Role::Server && stream > self.highest_peer {
            return self.new_stream(stream, end_stream, self_dependent);
        }
        match self.absent(stream) {
            Absent::Idle => Err(Why::StreamIdle),
            Absent::Closed(StreamEnd::Ended) => Err(Why::StreamEnded),
            Absent::Closed(StreamEnd::ResetByPeer) => {
                self.stream_error(stream, ErrorCode::StreamClosed)
            }
            Absent::Closed(StreamEnd::Unknown) if self.options.role == Http2Role::Server => {
                Err(Why::StreamOrder)
            }
            Absent::Ignored | Absent::Closed(StreamEnd::ResetByUs | StreamEnd::Unknown) => {
                self.charge(Flood::LateFrames)?;
                Ok(ReceiveStep::Again)
            }
        }
    }

    fn new_stream(
        &mut self,
        id: u32,
        end_stream: bool,
        self_dependent: bool,
    ) -> Result<ReceiveStep, Why> {
        self.highest_peer = id;
        if self.accepted_last.is_some() {
            self.charge(Flood::LateFrames)?;
            return Ok(ReceiveStep::Again);
        }
        if self_dependent {
            self.closed.remember(id, StreamEnd::ResetByUs);
            return self.stream_error(id, ErrorCode::ProtocolError);
        }
        if self.streams.len() >= self.options.concurrent_streams_max as usize {
            self.charge(Flood::RefusedStreams)?;
            self.statistics.streams_refused += 1;
            self.closed.remember(
                id,
                if end_stream {
                    StreamEnd::Ended
                } else {
                    StreamEnd::ResetByUs
                },
            );
            self.send_reset(id, ErrorCode::RefusedStream)?;
            return Ok(ReceiveStep::Again);
        }
        self.statistics.streams_opened += 1;
        let mut stream = Http2Stream::new(
            id,
            self.initial_send_window(),
            self.initial_receive_window(),
        );
        stream.head_received = true;
        stream.peer_ended = end_stream;
        self.streams.insert(stream);
        Ok(ReceiveStep::Headers {
            stream: id,
            end_stream,
            trailers: false,
        })
    }

    fn more_headers(
        &mut self,
        id: u32,
        end_stream: bool,
        self_dependent: bool,
    ) -> Result<ReceiveStep, Why> {
        let interim = is_interim(self.fields.iter().next());
        let client = self.options.role == Http2Role::Client;
        let Some(stream) = self.streams.get_mut(id) else {
            return Ok(ReceiveStep::Again);
        };
        if client && !stream.head_sent {
            return Err(Why::StreamIdle);
        }
        if stream.peer_ended {
            return self.stream_error(id, ErrorCode::StreamClosed);
        }
        let trailers = stream.head_received;
        let interim = interim && !trailers;
        // Trailers must end the stream, an interim response must not end it, and a body of
        // declared length must precede trailers.
        let wrong = trailers && !end_stream
            || interim && end_stream
            || self_dependent
            || !stream.fits(0, end_stream);
        if wrong {
            return self.stream_error(id, ErrorCode::ProtocolError);
        }
        stream.head_received |= !interim;
        stream.peer_ended = end_stream;
        self.remove_if_done(id);
        Ok(ReceiveStep::Headers {
            stream: id,
            end_stream,
            trailers,
        })
    }
}

/// Returns whether a field list with this first field is an interim response.
pub(super) fn is_interim(first: Option<(&[u8], &[u8])>) -> bool {
    matches!(first, Some((b":status", [b'1', ..])))
}
