//! Buffers the output of an HTTP/2 connection: filled at its end and consumed from its beginning.
//! The bytes that are only a reaction to the peer's frames (acknowledgements, resets) are
//! counted.

use super::super::frame::{
    CONTINUATION, FLAG_END_HEADERS, FLAG_END_STREAM, GOAWAY, HEAD_BYTES, HEADERS, Http2FrameHeader,
    RST_STREAM, WINDOW_UPDATE,
};
use super::super::{ErrorCode, hpack};

/// Maximum number of sent bytes at the front of the buffer before they are removed.
const TAKEN_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    start: usize,
    /// Total number of bytes removed so far.
    taken: u64,
    /// Number of bytes that are only reactions to the peer, before and after the position `mark`.
    /// Once the output up to `mark` was written, those before it no longer count.
    replies_before: usize,
    replies_behind: usize,
    mark: u64,
}

impl Output {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(super) fn waiting(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(super) fn take(&mut self, bytes: usize) {
        let bytes = bytes.min(self.waiting());
        self.start += bytes;
        self.taken += bytes as u64;
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
            self.replies_before = 0;
            self.replies_behind = 0;
        }
    }

    fn tail(&mut self) -> &mut Vec<u8> {
        if self.start >= TAKEN_BYTES_MAX {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        &mut self.bytes
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.tail().extend_from_slice(bytes);
    }

    pub(super) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let head = Http2FrameHeader {
            length: payload.len() as u32,
            kind,
            flags,
            stream,
        };
        let tail = self.tail();
        tail.extend_from_slice(&head.bytes());
        tail.extend_from_slice(payload);
    }

    /// Appends a frame that is only a reaction to the peer; returns how many such bytes are
    /// unsent.
    pub(super) fn reply(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> usize {
        self.frame(kind, flags, stream, payload);
        let written = self.taken + self.waiting() as u64;
        if self.taken >= self.mark {
            self.replies_before = self.replies_behind;
            self.replies_behind = 0;
            self.mark = written;
        }
        self.replies_behind += HEAD_BYTES + payload.len();
        self.replies_before + self.replies_behind
    }

    pub(super) fn window_update(&mut self, stream: u32, bytes: u32) {
        self.frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
    }

    pub(super) fn reset(&mut self, stream: u32, code: ErrorCode) -> usize {
        self.reply(RST_STREAM, 0, stream, &(code as u32).to_be_bytes())
    }

    pub(super) fn go_away(&mut self, last: u32, code: ErrorCode) {
        let mut payload = [0; 8];
        payload[..4].copy_from_slice(&last.to_be_bytes());
        payload[4..].copy_from_slice(&(code as u32).to_be_bytes());
        self.frame(GOAWAY, 0, 0, &payload);
    }

    /// Appends HEADERS, and CONTINUATION if the block is longer than a frame.
    pub(super) fn headers<'f>(
        &mut self,
        stream: u32,
        end_stream: bool,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
        encoder: &mut hpack::Encoder,
        frame_bytes_max: usize,
    ) {
        let tail = self.tail();
        let head_at = tail.len();
        tail.extend_from_slice(&[0; HEAD_BYTES]);
        encoder.begin(tail);
        for (name, value) in fields {
            encoder.field(name, value, hpack::Indexing::of(name, value), tail);
        }
        let block_at = head_at + HEAD_BYTES;
        let length = tail.len() - block_at;
        let whole = length <= frame_bytes_max;
        let flags =
            if end_stream { FLAG_END_STREAM } else { 0 } | if whole { FLAG_END_HEADERS } else { 0 };
        let first = length.min(frame_bytes_max);
        let head = Http2FrameHeader {
            length: first as u32,
            kind: HEADERS,
            flags,
            stream,
        };
        tail[head_at..block_at].copy_from_slice(&head.bytes());
        if !whole {
            split_block(tail, block_at + first, stream, frame_bytes_max);
        }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) fn release_memory(&mut self) {
        if self.waiting() == 0 {
            self.bytes = Vec::new();
            self.start = 0;
        }
    }
}

/// Inserts the heads of CONTINUATION frames into the header block that begins at `at` in `out`.
fn split_block(out: &mut Vec<u8>, at: usize, stream: u32, frame_bytes_max: usize) {
    let rest = out.split_off(at);
    let mut pieces = rest.chunks(frame_bytes_max).peekable();
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() {
            FLAG_END_HEADERS
        } else {
            0
        };
        let head = Http2FrameHeader {
            length: piece.len() as u32,
            kind: CONTINUATION,
            flags,
            stream,
        };
        out.extend_from_slice(&head.bytes());
        out.extend_from_slice(piece);
    }
}
