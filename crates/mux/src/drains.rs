//! Reads and discards the rest of a request body whose response is already complete. A reset,
//! even with NO_ERROR (RFC 9113, section 8.1), makes some clients treat the response as a
//! failure. Other clients stop sending and wait for the reset, so a stream is reset once its
//! client stops sending.

use protocol::http2::StreamId;
use reactor::Instant;
use std::time::Duration;

/// Maximum number of drained streams of a connection. Further ones are reset.
const STREAMS_MAX: usize = 8;
/// Maximum length of a discarded body, bytes. A stream with more is reset.
pub(super) const BYTES_MAX: u32 = 1 << 20;
/// Time without data after which a stream is reset.
const QUIET: Duration = Duration::from_millis(500);
/// Maximum time in which a body is discarded. After that its stream is reset.
const TIME_MAX: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Drain {
    stream: StreamId,
    bytes_left: u32,
    quiet_at: Instant,
    end_at: Instant,
}

impl Drain {
    fn deadline(&self) -> Instant {
        self.quiet_at.min(self.end_at)
    }
}

#[derive(Debug, Default)]
pub(super) struct Drains(Vec<Drain>);

impl Drains {
    /// Begins to drain a stream of which bytes may have been discarded already. Returns false if
    /// there are already too many.
    pub(super) fn begin(&mut self, stream: StreamId, discarded: u32, now: Instant) -> bool {
        let has_room = self.0.len() < STREAMS_MAX;
        if has_room {
            self.0.push(Drain {
                stream,
                bytes_left: BYTES_MAX.saturating_sub(discarded),
                quiet_at: now + QUIET,
                end_at: now + TIME_MAX,
            });
        }
        has_room
    }

    /// Counts received bytes of a stream. Returns false if the limit is exceeded, so that the
    /// stream must be reset.
    pub(super) fn count_received(
        &mut self,
        stream: StreamId,
        bytes: u32,
        end: bool,
        now: Instant,
    ) -> bool {
        let Some(at) = self.0.iter().position(|one| one.stream == stream) else {
            return true;
        };
        let drain = &mut self.0[at];
        let fits = bytes <= drain.bytes_left;
        drain.bytes_left = drain.bytes_left.saturating_sub(bytes);
        drain.quiet_at = now + QUIET;
        if end || !fits {
            self.0.swap_remove(at);
        }
        end || fits
    }

    pub(super) fn end(&mut self, stream: StreamId) {
        self.0.retain(|one| one.stream != stream);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.iter().map(Drain::deadline).min()
    }

    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<StreamId> {
        let at = self.0.iter().position(|one| one.deadline() <= now)?;
        Some(self.0.swap_remove(at).stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_drained_to_its_end_or_to_a_bound() {
        let now = Instant::from_nanos(1);
        let mut drains = Drains::default();
        let (short, long) = (StreamId(1), StreamId(3));
        assert!(drains.begin(short, 0, now) && drains.begin(long, 0, now));
        assert!(drains.count_received(short, 100, false, now));
        assert!(drains.count_received(short, 100, true, now));
        assert!(drains.count_received(long, BYTES_MAX, false, now));
        assert!(!drains.count_received(long, 1, false, now));
        assert!(drains.0.is_empty());
        assert!(
            drains.count_received(long, 1, false, now),
            "nothing is known of it"
        );
    }

    #[test]
    fn few_streams_of_a_connection_are_drained() {
        let now = Instant::from_nanos(1);
        let mut drains = Drains::default();
        let ids = || (0..STREAMS_MAX as u32).map(|n| StreamId(2 * n + 1));
        assert!(ids().all(|id| drains.begin(id, 0, now)));
        assert!(!drains.begin(StreamId(99), 0, now));
        drains.end(StreamId(1));
        assert!(drains.begin(StreamId(99), 0, now));
    }

    #[test]
    fn a_stream_whose_client_stalls_or_sends_for_too_long_is_reset() {
        let start = Instant::from_nanos(1);
        let mut drains = Drains::default();
        assert_eq!(drains.deadline(), None);
        let (quiet, slow) = (StreamId(1), StreamId(3));
        assert!(drains.begin(quiet, 0, start) && drains.begin(slow, 0, start));
        assert_eq!(drains.deadline(), Some(start + QUIET));
        assert_eq!(drains.pop_expired(start), None);
        let mut now = start;
        while now + QUIET / 2 < start + TIME_MAX {
            now = now + QUIET / 2;
            assert!(drains.count_received(slow, 1, false, now));
            let expired = drains.pop_expired(now);
            let is_quiet = now == start + QUIET;
            assert_eq!(expired, is_quiet.then_some(quiet));
        }
        assert_eq!(drains.deadline(), Some(start + TIME_MAX));
        assert_eq!(drains.pop_expired(start + TIME_MAX), Some(slow));
        assert_eq!(drains.deadline(), None);
    }
}
