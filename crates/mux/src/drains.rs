//! Requests whose response is complete before their body: the rest of the body is read and
//! discarded. A reset, even with NO_ERROR (RFC 9113, section 8.1), makes some clients treat the
//! response as a failure.

use protocol::http2::StreamId;

/// Maximum number of drained streams of a connection. Further ones are reset.
const STREAMS_MAX: usize = 8;
/// Maximum length of a discarded body, bytes. Then its stream is reset.
const BYTES_MAX: u32 = 1 << 20;

/// The drained streams, each with the number of bytes that may still arrive.
#[derive(Debug, Default)]
pub(super) struct Drains(Vec<(StreamId, u32)>);

impl Drains {
    /// Begins to drain a stream. Returns false if there are already too many.
    pub(super) fn begin(&mut self, stream: StreamId) -> bool {
        let has_room = self.0.len() < STREAMS_MAX;
        if has_room {
            self.0.push((stream, BYTES_MAX));
        }
        has_room
    }

    /// Counts received bytes of a stream. Returns false if the limit is exceeded, so that the
    /// stream must be reset.
    pub(super) fn count_received(&mut self, stream: StreamId, bytes: u32, end: bool) -> bool {
        let Some(at) = self.0.iter().position(|(id, _)| *id == stream) else {
            return true;
        };
        let left = &mut self.0[at].1;
        let fits = bytes <= *left;
        *left = left.saturating_sub(bytes);
        if end || !fits {
            self.0.swap_remove(at);
        }
        end || fits
    }

    /// Removes a stream that has ended.
    pub(super) fn end(&mut self, stream: StreamId) {
        self.0.retain(|(id, _)| *id != stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_drained_to_its_end_or_to_a_bound() {
        let mut drains = Drains::default();
        let (short, long) = (StreamId(1), StreamId(3));
        assert!(drains.begin(short) && drains.begin(long));
        assert!(drains.count_received(short, 100, false));
        assert!(drains.count_received(short, 100, true));
        assert!(drains.count_received(long, BYTES_MAX, false));
        assert!(!drains.count_received(long, 1, false));
        assert!(drains.0.is_empty());
        assert!(
            drains.count_received(long, 1, false),
            "nothing is known of it"
        );
    }

    #[test]
    fn few_streams_of_a_connection_are_drained() {
        let mut drains = Drains::default();
        let ids = || (0..STREAMS_MAX as u32).map(|n| StreamId(2 * n + 1));
        assert!(ids().all(|id| drains.begin(id)));
        assert!(!drains.begin(StreamId(99)));
        drains.end(StreamId(1));
        assert!(drains.begin(StreamId(99)));
    }
}
