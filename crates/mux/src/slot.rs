//! The state of one stream. A slot is reused by a later stream and keeps its memory.

use super::received::Received;
use http::http1::{Fault, Limits, Parsed, RequestFacts};
use http::message::{Fields, Message};
use protocol::http2::ErrorCode;
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Weak;
use std::task::{Context, Waker};

/// How the response to a request is read.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// What its request says of it.
    pub facts: RequestFacts,
    /// How large it may be.
    pub limits: Limits,
}

/// Heads of one answer that wait to be taken: a server that sends more interim
/// ones than this at once has its stream reset.
pub(super) const HEADS_MAX: usize = 8;

/// Why a stream is no more although one of its sides had not ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gone {
    /// The peer reset it, or we did for an error of the peer's.
    Reset(ErrorCode),
    /// The peer has not looked at it and will not (GOAWAY with a lower last
    /// stream, REFUSED_STREAM, or the connection closed before the request was
    /// written): it can be repeated on another connection whatever its method.
    Refused,
    /// The connection is lost.
    Lost,
}

/// State of the stream that its watch can query, also after its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) id: u32,
    pub(super) aborted: bool,
    pub(super) reset: Option<u32>,
}

/// Where a stream that ends leaves what its watch is asked for.
pub(super) type Testament = Weak<Cell<Option<Seen>>>;

impl Seen {
    pub(super) fn of(slot: &Slot) -> Seen {
        Seen {
            id: slot.id,
            aborted: slot.peer_reset.is_some() || slot.gone == Some(Gone::Lost),
            reset: slot.peer_reset.map(|code| code as u32),
        }
    }
}

/// The events that the user of a stream waits for.
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

/// One stream.
#[derive(Default)]
pub(super) struct Slot {
    /// The stream's number; 0 before it has one.
    pub(super) id: u32,
    /// The task to wake. All waiting futures belong to one task, which polls all of them
    /// again.
    waker: Option<Waker>,
    interest: u8,
    /// Somebody holds it.
    pub(super) used: bool,
    /// The peer has ended its side.
    pub(super) received_end: bool,
    /// We have ended ours.
    pub(super) sent_end: bool,
    /// It stands among the writers that wait.
    pub(super) waits: bool,
    /// How much it may write although others wait.
    pub(super) grant: u32,
    /// Why it is no more.
    pub(super) gone: Option<Gone>,
    /// The body that came.
    pub(super) received: Received,
    /// The received trailers.
    pub(super) trailers: Option<Box<Fields>>,
    /// Of a client's stream: its request is an extended CONNECT.
    pub(super) extended: bool,
    /// Of a stream to a server: what its answer is to be read by.
    pub(super) expected: Option<Expected>,
    /// Heads of the answer that came.
    pub(super) heads: VecDeque<(Message, Parsed)>,
    /// The error of a message.
    pub(super) fault: Option<Fault>,
    /// The peer reset it, by this code.
    pub(super) peer_reset: Option<ErrorCode>,
    /// The watcher of the end of the stream.
    pub(super) watched: Option<Testament>,
}

impl Slot {
    /// The stream ends: who watches it learns how.
    pub(super) fn bequeath(&mut self) {
        let watch = self.watched.take();
        if let Some(last) = watch.and_then(|watch| watch.upgrade()) {
            last.set(Some(Seen::of(self)));
        }
    }

    /// A stream begins.
    pub(super) fn begin(&mut self, id: u32) {
        self.id = id;
        self.used = true;
    }

    /// The stream has ended: what the next one must not see goes.
    pub(super) fn end(&mut self) {
        self.bequeath();
        self.received.clear();
        self.heads.clear();
        *self = Slot {
            received: std::mem::take(&mut self.received),
            heads: std::mem::take(&mut self.heads),
            ..Slot::default()
        };
    }

    /// Notes who is to be woken.
    pub(super) fn wait(&mut self, what: Interest, context: &Context<'_>) {
        match &self.waker {
            Some(known) if known.will_wake(context.waker()) => {}
            known => {
                // Another task's turn: who waited before looks again.
                if let Some(known) = known.as_ref().filter(|_| self.interest != 0) {
                    known.wake_by_ref();
                }
                self.waker = Some(context.waker().clone());
                self.interest = 0;
            }
        }
        self.interest |= what.0;
    }

    /// Wakes the stream's task if it waits for this; says whether it did.
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

    /// Keeps a piece of the body; says whether a reader was woken.
    pub(super) fn take_data(&mut self, data: &[u8], end: bool) -> bool {
        self.received.push(data);
        self.received_end |= end;
        self.wake(Interest::READ)
    }

    /// Both sides have ended as they should.
    pub(super) fn is_complete(&self) -> bool {
        self.received_end && self.sent_end
    }

    /// The stream is no more, unless it had ended.
    pub(super) fn lose(&mut self, why: Gone) -> bool {
        if !self.used || self.is_complete() {
            return false;
        }
        self.gone.get_or_insert(why);
        self.wake(Interest::ALL)
    }

    /// Whether a read finds something.
    pub(super) fn has_to_read(&self) -> bool {
        self.received.len() > 0 || self.received_end || self.gone.is_some()
    }
}
