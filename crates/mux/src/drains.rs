//! Requests whose response is whole before their body: what still comes of them is
//! read and thrown away. A reset, even with NO_ERROR (RFC 9113, section 8.1), makes
//! some clients take the response for a failure.

use protocol::http2::StreamId;

/// Streams of one connection that are drained at once; further ones are reset.
const STREAMS_MAX: usize = 8;
/// Bytes of one body that are thrown away; then its stream is reset.
const BYTES_MAX: u32 = 1 << 20;

/// The streams that are drained, each with what may still come.
#[derive(Debug, Default)]
pub(super) struct Drains(Vec<(StreamId, u32)>);

impl Drains {
    /// Begins with a stream; false where there are too many already.
    pub(super) fn begin(&mut self, stream: StreamId) -> bool {
        let has_room = self.0.len() < STREAMS_MAX;
        if has_room {
            self.0.push((stream, BYTES_MAX));
        }
        has_room
    }

    /// Counts received bytes of a stream. False: the limit is exceeded, and the stream
    /// must be reset.
    pub(super) fn take(&mut self, stream: StreamId, bytes: u32, end: bool) -> bool {
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

    /// A stream is no more.
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
        assert!(drains.take(short, 100, false));
        assert!(drains.take(short, 100, true));
        assert!(drains.take(long, BYTES_MAX, false));
        assert!(!drains.take(long, 1, false));
        assert!(drains.0.is_empty());
        assert!(drains.take(long, 1, false), "nothing is known of it");
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
