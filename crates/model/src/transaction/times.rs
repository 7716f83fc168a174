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
