//! Records when the events of a stream happened: accept, request, connection to the server,
//! response, end.

use reactor::Instant;
use std::time::SystemTime;

/// Times of a stream's events; None for those that have not happened.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Start by the wall clock: the accept of the session for its first stream, otherwise the first
    /// byte of the request.
    pub began_at: SystemTime,
    /// Accept of the session, or end of the previous stream.
    pub idle_since: Instant,
    /// The stream is the first one of its session.
    pub first: bool,
    /// First byte of the request.
    pub began: Instant,
    /// Head of the request was complete.
    pub request: Option<Instant>,
    /// A server was assigned, and the stream left the queues.
    pub queued: Option<Instant>,
    pub connected: Option<Instant>,
    /// Head of the response was complete.
    pub response: Option<Instant>,
    pub ended: Option<Instant>,
}

impl Times {
    /// Returns the wall-clock time of the accept, or of the end of the previous stream.
    pub fn accept_date(&self) -> SystemTime {
        self.began_at - self.began.saturating_duration_since(self.idle_since)
    }

    /// Returns the end of the stream, or the current time if it has not ended.
    pub fn end(&self) -> Instant {
        self.ended.unwrap_or_else(reactor::now)
    }

    /// Records that the stream follows `streams` others of the connection, which has been idle
    /// since the last of them.
    pub fn follow(&mut self, idle_since: Instant, streams: u32) {
        (self.idle_since, self.first) = (idle_since, streams == 0);
    }

    /// Creates the times of a stream that begins now, by both clocks.
    pub fn begin(now: Instant, wall: SystemTime) -> Self {
        Times {
            began_at: wall,
            idle_since: now,
            first: true,
            began: now,
            request: None,
            queued: None,
            connected: None,
            response: None,
            ended: None,
        }
    }
}
