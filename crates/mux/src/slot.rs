//! Holds the state of one HTTP/2 stream. Its slot is reused for a later stream and keeps its
//! memory.

use super::received::Received;
use http::http1::{HttpParseError, Limits, Parsed, RequestFacts};
use http::message::{Fields, HttpMessage};
use protocol::http2::ErrorCode;
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Weak;
use std::task::{Context, Waker};

#[derive(Clone, Copy, Debug)]
pub struct Expected {
    pub facts: RequestFacts,
    pub limits: Limits,
}

/// Maximum number of unread heads of a response. The stream of a server that sends more interim
/// responses at once is reset.
pub(super) const HEADS_MAX: usize = 8;

/// Reason why a stream was lost although a side had not ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gone {
    /// The peer reset the stream, or this side did because of an error of the peer.
    Reset(ErrorCode),
    /// The peer has not processed the stream and will not: a GOAWAY with a lower last stream,
    /// REFUSED_STREAM, or the connection was closed before the request was written. The request can
    /// be repeated on another connection regardless of its method.
    Refused,
    Lost,
}

/// State of a stream that its watch can query, even after the end of the stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamStatus {
    pub(super) id: u32,
    pub(super) aborted: bool,
    pub(super) reset: Option<u32>,
}

/// Cell in which a stream that ends leaves its final state for its watch.
pub(super) type Testament = Weak<Cell<Option<StreamStatus>>>;

impl StreamStatus {
    pub(super) fn of(slot: &StreamSlot) -> StreamStatus {
        StreamStatus {
            id: slot.id,
            aborted: slot.peer_reset.is_some() || slot.gone == Some(Gone::Lost),
            reset: slot.peer_reset.map(|code| code as u32),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Interest(u8);

impl Interest {
    pub(super) const READ: Interest = Interest(1);
    pub(super) const WRITE: Interest = Interest(2);
    pub(super) const GONE: Interest = Interest(4);
    pub(super) const HEAD: Interest = Interest(8);
    pub(super) const SETTINGS: Interest = Interest(16);
    pub(super) const ALL: Interest = Interest(31);
    const NONE: Interest = Interest(0);
}

#[derive(Default)]
pub(super) struct StreamSlot {
    /// Stream id. 0 before the stream has one.
    pub(super) id: u32,
    /// The task to wake. All waiting futures belong to one task, which polls all of them again.
    waker: Option<Waker>,
    interest: u8,
    pub(super) used: bool,
    pub(super) received_end: bool,
    pub(super) sent_end: bool,
    pub(super) waits: bool,
    /// Number of bytes that the stream may write although other streams wait to write.
    pub(super) grant: u32,
    pub(super) gone: Option<Gone>,
    pub(super) received: Received,
    pub(super) trailers: Option<Box<Fields>>,
    /// Number of bytes that were discarded as they arrived; None if data is stored.
    pub(super) discarded: Option<u32>,
    /// For a stream of a client: true if its request is an extended CONNECT.
    pub(super) extended: bool,
    pub(super) expected: Option<Expected>,
    pub(super) heads: VecDeque<(HttpMessage, Parsed)>,
    pub(super) fault: Option<HttpParseError>,
    pub(super) peer_reset: Option<ErrorCode>,
    pub(super) watched: Option<Testament>,
}

impl StreamSlot {
    pub(super) fn store_final_state(&mut self) {
        let watch = self.watched.take();
        if let Some(last) = watch.and_then(|watch| watch.upgrade()) {
            last.set(Some(StreamStatus::of(self)));
        }
    }

    pub(super) fn begin(&mut self, id: u32) {
        self.id = id;
        self.used = true;
    }

    /// Ends the stream, and clears everything that the next one must not see.
    pub(super) fn end(&mut self) {
        self.store_final_state();
        self.received.clear();
        self.heads.clear();
        *self = StreamSlot {
            received: std::mem::take(&mut self.received),
            heads: std::mem::take(&mut self.heads),
            ..StreamSlot::default()
        };
    }

    pub(super) fn wait(&mut self, what: Interest, context: &Context<'_>) {
        match &self.waker {
            Some(known) if known.will_wake(context.waker()) => {}
            known => {
                // Wakes the previous task, which must check again, because another task is waiting
                // now.
                if let Some(known) = known.as_ref().filter(|_| self.interest != 0) {
                    known.wake_by_ref();
                }
                self.waker = Some(context.waker().clone());
                self.interest = 0;
            }
        }
        self.interest |= what.0;
    }

    pub(super) fn wake(&mut self, what: Interest) -> bool {
        if self.interest & what.0 == 0 {
            return false;
        }
        self.interest = Interest::NONE.0;
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
        true
    }

    pub(super) fn take_data(&mut self, data: &[u8], end: bool) -> bool {
        self.received.push(data);
        self.received_end |= end;
        self.wake(Interest::READ)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.received_end && self.sent_end
    }

    pub(super) fn lose(&mut self, why: Gone) -> bool {
        if !self.used || self.is_complete() {
            return false;
        }
        self.gone.get_or_insert(why);
        self.wake(Interest::ALL)
    }

    pub(super) fn has_readable_data(&self) -> bool {
        self.received.len() > 0 || self.received_end || self.gone.is_some()
    }
}
