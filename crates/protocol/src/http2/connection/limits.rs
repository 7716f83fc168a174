//! The bounds of floods. A connection that lives for months must not trip
//! them, so none is a count of its lifetime: each is a level that rises with
//! every such frame and falls with time and with useful work.

/// How much of something a peer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// So many at once.
    pub burst: u32,
    /// So many in a second, for ever.
    pub per_second: u32,
    /// So many for each piece of useful work: a stream that ended well, a
    /// DATA frame with content.
    pub per_work: u32,
}

/// The bounds of every flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streams that the peer resets before we answered (CVE-2023-44487).
    pub rapid_resets: Rate,
    /// Streams that we reset for the peer's errors (CVE-2025-8671).
    pub forced_resets: Rate,
    /// Streams opened above the announced limit.
    pub refused_streams: Rate,
    /// Frames without content that end nothing (CVE-2019-9518).
    pub empty_frames: Rate,
    /// DATA frames of fewer bytes than anyone has a reason for.
    pub tiny_data: Rate,
    /// SETTINGS and their acknowledgements (CVE-2019-9515).
    pub settings: Rate,
    /// PING and their answers (CVE-2019-9512).
    pub pings: Rate,
    /// PRIORITY frames (CVE-2019-9513).
    pub priorities: Rate,
    /// WINDOW_UPDATE frames (CVE-2019-9511, CVE-2019-9517).
    pub window_updates: Rate,
    /// Frames of unknown types.
    pub unknown_frames: Rate,
    /// Frames on streams that are closed.
    pub late_frames: Rate,
    /// CONTINUATION frames of one header block (CVE-2024-27316).
    pub continuations_max: u32,
    /// Bytes of one header block, as they come on the wire.
    pub header_block_bytes_max: usize,
    /// `send_capacity` is 0 while so many bytes of output wait.
    pub output_bytes_max: usize,
    /// Answers that the peer asked for and does not read.
    pub reply_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        let rate = |burst, per_second, per_work| Rate {
            burst,
            per_second,
            per_work,
        };
        Limits {
            rapid_resets: rate(500, 100, 1),
            forced_resets: rate(100, 10, 0),
            refused_streams: rate(1_000, 100, 1),
            empty_frames: rate(100, 10, 1),
            tiny_data: rate(10_000, 1_000, 1),
            settings: rate(100, 10, 0),
            pings: rate(1_000, 100, 1),
            priorities: rate(1_000, 100, 4),
            window_updates: rate(10_000, 1_000, 4),
            unknown_frames: rate(1_000, 100, 4),
            late_frames: rate(10_000, 1_000, 0),
            continuations_max: 32,
            header_block_bytes_max: 128 * 1024,
            output_bytes_max: 64 * 1024,
            reply_bytes_max: 64 * 1024,
        }
    }
}
