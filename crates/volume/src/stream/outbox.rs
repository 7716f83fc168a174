//! Queues what a socket sends: headers, and buffers that are sent without a copy.

use crate::disk::Buffer;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::rc::Rc;
use wire::NonblockingStream;

const PIECES_MAX: usize = 64;
const HEAD_BYTES_MAX: usize = 4096;

enum Segment {
    Head(Vec<u8>),
    Data(Buffer),
    Shared(Rc<Buffer>),
}

#[derive(Default)]
pub(crate) struct Outbox {
    segments: VecDeque<Segment>,
    sent: usize,
    head_bytes: usize,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    pub(crate) fn head_bytes(&self) -> usize {
        self.head_bytes
    }

    /// Appends a header, which `write` encodes.
    pub(crate) fn head<R>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        if !matches!(self.segments.back(), Some(Segment::Head(head)) if head.len() < HEAD_BYTES_MAX)
        {
            self.segments.push_back(Segment::Head(Vec::new()));
        }
        let Some(Segment::Head(head)) = self.segments.back_mut() else {
            return write(&mut Vec::new());
        };
        let before = head.len();
        let result = write(head);
        self.head_bytes += head.len() - before;
        if head.is_empty() {
            self.segments.pop_back();
        }
        result
    }

    pub(crate) fn data(&mut self, buffer: Buffer) {
        self.segments.push_back(Segment::Data(buffer));
    }

    pub(crate) fn shared(&mut self, buffer: Rc<Buffer>) {
        self.segments.push_back(Segment::Shared(buffer));
    }

    /// Sends until the socket would block. Returns whether any data was sent.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) fn send(&mut self, socket: &mut impl NonblockingStream) -> Result<bool, Errno> {
        let mut any = false;
        while !self.segments.is_empty() {
            let mut slices = [IoSlice::new(&[]); PIECES_MAX];
            let mut count = 0;
            for (slice, segment) in slices.iter_mut().zip(&self.segments) {
                let skip = if count == 0 { self.sent } else { 0 };
                *slice = IoSlice::new(&segment.bytes()[skip..]);
                count += 1;
            }
            match socket.write(&slices[..count]) {
                Ok(sent) => {
                    any |= sent > 0;
                    self.sent(sent);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok(any)
    }

    fn sent(&mut self, count: usize) {
        self.sent += count;
        while let Some(first) = self.segments.front() {
            let length = first.bytes().len();
            if self.sent < length {
                return;
            }
            self.sent -= length;
            if matches!(first, Segment::Head(_)) {
                self.head_bytes -= length;
            }
            self.segments.pop_front();
        }
    }
}

impl Segment {
    fn bytes(&self) -> &[u8] {
        match self {
            Segment::Head(head) => head,
            Segment::Data(buffer) => buffer.bytes(),
            Segment::Shared(buffer) => buffer.bytes(),
        }
    }
}
