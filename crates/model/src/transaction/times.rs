//! When what happened to a stream.

use reactor::Instant;
use std::time::SystemTime;

/// When things happened; what has not happened is None.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// By the wall clock: the session's accept for its first stream, else the
    /// first byte of the request.
    pub began_at: SystemTime,
    /// The session was accepted, or the previous stream of it ended.
    pub idle_since: Instant,
    /// It is the first stream of its session.
    pub first: bool,
    /// First byte of the request.
    pub began: Instant,
    /// The request's head was complete.
    pub request: Option<Instant>,
    /// Left the queues (a server was granted).
    pub queued: Option<Instant>,
    /// The server's connection stood.
    pub connected: Option<Instant>,
    /// The answer's head was complete.
    pub response: Option<Instant>,
    /// The end.
    pub ended: Option<Instant>,
}

impl Times {
    /// When the stream's own time began by the wall clock: the accept, or the end of the
    /// stream before it.
    pub fn accept_date(&self) -> SystemTime {
        self.began_at - self.began.saturating_duration_since(self.idle_since)
    }

    /// What the stream's end is for its times: the present, where it goes on.
    pub fn end(&self) -> Instant {
        self.ended.unwrap_or_else(reactor::now)
    }

    /// The stream follows `streams` others of its client's connection, which has
    /// been idle since the last of them.
    pub fn follow(&mut self, idle_since: Instant, streams: u32) {
        (self.idle_since, self.first) = (idle_since, streams == 0);
    }

    /// Of a stream that begins now, by both clocks.
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
