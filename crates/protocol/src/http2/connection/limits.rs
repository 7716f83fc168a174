//! Limits floods of frames. A connection that lives for months must not exceed a limit, so none
//! is a count of its lifetime: each is a level that rises with every such frame and falls with
//! time and with useful work.

use super::super::Why;

/// Rate limit of one kind of frame that a peer may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub burst: u32,
    pub per_second: u32,
    /// Additional frames allowed for each piece of useful work: a stream that ended normally, or
    /// DATA with content. For resets, refused streams and overlong heads only streams that ended
    /// normally count, because DATA costs an attacker nothing. For window updates and tiny DATA,
    /// each KiB of DATA counts.
    pub per_work: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streams that the peer resets before this side has responded (CVE-2023-44487).
    pub rapid_resets: Rate,
    /// Burst of resets before any stream of the connection has ended normally, and the increase
    /// for each stream that has, up to the full burst. So a client that reconnects for each burst
    /// gains little.
    pub rapid_resets_first: (u32, u32),
    /// Streams that this side resets because of the peer's errors (CVE-2025-8671).
    pub forced_resets: Rate,
    /// Streams opened above the announced limit.
    pub refused_streams: Rate,
    /// Frames without content that do not end a stream (CVE-2019-9518).
    pub empty_frames: Rate,
    /// DATA frames that are unreasonably short: even an empty gRPC message has 5 bytes. Each KiB
    /// of received DATA allows more of them.
    pub tiny_data: Rate,
    /// SETTINGS with their acknowledgements (CVE-2019-9515), and GOAWAY.
    pub settings: Rate,
    /// PING and responses to them (CVE-2019-9512). A gRPC client that measures its round trip sends
    /// one for every piece of DATA.
    pub pings: Rate,
    /// Limit on PRIORITY frames (CVE-2019-9513).
    pub priorities: Rate,
    /// WINDOW_UPDATE frames (CVE-2019-9511, CVE-2019-9517). Each KiB of sent DATA allows more of
    /// them.
    pub window_updates: Rate,
    pub unknown_frames: Rate,
    /// Frames on closed streams: a client may send much of a denied body until it learns of the
    /// denial.
    pub late_frames: Rate,
    /// Header lists above the size limit, each of which costs as much to decode as a valid one. A
    /// browser whose cookies exceed the limit sends one for each file of a page. Streams that end
    /// normally allow more of them.
    pub overlong_heads: Rate,
    /// CONTINUATION frames of one header block (CVE-2024-27316).
    pub continuations_max: u32,
    /// Maximum length of one header block on the wire, in bytes.
    pub header_block_bytes_max: usize,
    /// Number of unsent output bytes from which on `send_capacity` returns 0.
    pub output_bytes_max: usize,
    /// Maximum number of unsent bytes that are only reactions to the peer's frames.
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
            // About as many streams as are usually allowed at once, cancelled together.
            rapid_resets_first: (100, 4),
            forced_resets: rate(100, 10, 1),
            refused_streams: rate(1_000, 100, 1),
            empty_frames: rate(100, 10, 1),
            tiny_data: rate(10_000, 1_000, 1),
            settings: rate(100, 10, 0),
            pings: rate(1_000, 100, 1),
            priorities: rate(1_000, 100, 4),
            window_updates: rate(10_000, 1_000, 4),
            unknown_frames: rate(1_000, 100, 4),
            late_frames: rate(20_000, 10_000, 4),
            overlong_heads: rate(40, 4, 1),
            continuations_max: 32,
            header_block_bytes_max: 128 * 1024,
            output_bytes_max: 64 * 1024,
            reply_bytes_max: 64 * 1024,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flood {
    RapidResets,
    ForcedResets,
    RefusedStreams,
    EmptyFrames,
    TinyData,
    Settings,
    Pings,
    Priorities,
    WindowUpdates,
    UnknownFrames,
    LateFrames,
    OverlongHeads,
}

const FLOODS: usize = Flood::OverlongHeads as usize + 1;

impl Flood {
    fn rate(self, limits: &Limits) -> Rate {
        match self {
            Flood::RapidResets => limits.rapid_resets,
            Flood::ForcedResets => limits.forced_resets,
            Flood::RefusedStreams => limits.refused_streams,
            Flood::EmptyFrames => limits.empty_frames,
            Flood::TinyData => limits.tiny_data,
            Flood::Settings => limits.settings,
            Flood::Pings => limits.pings,
            Flood::Priorities => limits.priorities,
            Flood::WindowUpdates => limits.window_updates,
            Flood::UnknownFrames => limits.unknown_frames,
            Flood::LateFrames => limits.late_frames,
            Flood::OverlongHeads => limits.overlong_heads,
        }
    }

    fn why(self) -> Why {
        match self {
            Flood::RapidResets => Why::RapidReset,
            Flood::ForcedResets => Why::ForcedResets,
            Flood::RefusedStreams => Why::RefusedStreams,
            Flood::EmptyFrames => Why::EmptyFrames,
            Flood::TinyData => Why::TinyData,
            Flood::Settings => Why::SettingsFlood,
            Flood::Pings => Why::PingFlood,
            Flood::Priorities => Why::PriorityFlood,
            Flood::WindowUpdates => Why::WindowFlood,
            Flood::UnknownFrames => Why::UnknownFlood,
            Flood::LateFrames => Why::LateFrames,
            Flood::OverlongHeads => Why::OverlongHeads,
        }
    }
}

/// Minimum length of DATA frames that count as bulk data.
const BULK_BYTES_MIN: usize = 128;
/// Number of bytes of bulk data that count as another piece of work: some clients return windows
/// every 4 KiB, twice.
const BULK_BYTES: usize = 1024;

/// Level of one kind of flood, in thousandths of a frame. All values are `u32` and may wrap,
/// because every connection has such a meter for each kind.
#[derive(Clone, Copy, Debug, Default)]
struct Meter {
    level: u32,
    at_ms: u32,
    work: u32,
}

#[derive(Debug, Default)]
pub(super) struct Meters {
    meters: [Meter; FLOODS],
    now_ms: u32,
    /// Number of pieces of useful work so far: streams that ended normally, and DATA frames with
    /// content.
    work: u32,
    bulk: u32,
    ended: u32,
    /// Number of streams that ended normally; stops at the maximum instead of wrapping.
    ended_ever: u32,
}

impl Meters {
    pub(super) fn set_now(&mut self, now_ms: u64) {
        self.now_ms = now_ms as u32;
    }

    pub(super) fn stream_ended(&mut self) {
        self.work = self.work.wrapping_add(1);
        self.bulk = self.bulk.wrapping_add(1);
        self.ended = self.ended.wrapping_add(1);
        self.ended_ever = self.ended_ever.saturating_add(1);
    }

    pub(super) fn data(&mut self, bytes: usize) {
        self.work = self.work.wrapping_add(1);
        if bytes >= BULK_BYTES_MIN {
            self.bulk = self.bulk.wrapping_add(1 + (bytes / BULK_BYTES) as u32);
        }
    }

    pub(super) fn charge(&mut self, flood: Flood, limits: &Limits) -> Result<(), Why> {
        let mut rate = flood.rate(limits);
        if flood == Flood::RapidResets {
            let (first, each) = limits.rapid_resets_first;
            let earned = first.saturating_add(self.ended_ever.saturating_mul(each));
            rate.burst = rate.burst.min(earned);
        }
        let work = match flood {
            Flood::WindowUpdates | Flood::TinyData => self.bulk,
            Flood::RapidResets
            | Flood::ForcedResets
            | Flood::RefusedStreams
            | Flood::OverlongHeads => self.ended,
            _ => self.work,
        };
        let meter = &mut self.meters[flood as usize];
        let passed_ms = u64::from(self.now_ms.wrapping_sub(meter.at_ms));
        let worked = u64::from(work.wrapping_sub(meter.work));
        let fallen = passed_ms * u64::from(rate.per_second)
            + worked.saturating_mul(u64::from(rate.per_work) * 1000);
        let level = u64::from(meter.level).saturating_sub(fallen) + 1000;
        *meter = Meter {
            level: level.min(u64::from(u32::MAX)) as u32,
            at_ms: self.now_ms,
            work,
        };
        if level > u64::from(rate.burst) * 1000 {
            Err(flood.why())
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_falls_with_time_and_with_work() {
        let limits = Limits {
            pings: Rate {
                burst: 3,
                per_second: 1,
                per_work: 1,
            },
            ..Limits::default()
        };
        let mut meters = Meters::default();
        meters.set_now(u64::from(u32::MAX) - 10);
        for _ in 0..3 {
            assert_eq!(meters.charge(Flood::Pings, &limits), Ok(()));
        }
        meters.set_now(u64::from(u32::MAX) + 990);
        assert_eq!(meters.charge(Flood::Pings, &limits), Ok(()));
        meters.data(1);
        assert_eq!(meters.charge(Flood::Pings, &limits), Ok(()));
        assert_eq!(meters.charge(Flood::Pings, &limits), Err(Why::PingFlood));
    }

    #[test]
    fn data_does_not_offset_reset_streams() {
        let limits = Limits::default();
        for flood in [
            Flood::RapidResets,
            Flood::ForcedResets,
            Flood::RefusedStreams,
            Flood::OverlongHeads,
        ] {
            let mut meters = Meters::default();
            let mut charge = || {
                meters.data(1000);
                meters.charge(flood, &limits)
            };
            assert!((0..2_000).any(|_| charge().is_err()), "{flood:?}");
        }
    }

    #[test]
    fn new_peer_may_reset_few_streams() {
        let limits = Limits::default();
        let resets = |ended: u32| {
            let mut meters = Meters::default();
            (0..ended).for_each(|_| meters.stream_ended());
            (0..2_000)
                .take_while(|_| meters.charge(Flood::RapidResets, &limits).is_ok())
                .count()
        };
        assert_eq!([resets(0), resets(50), resets(1_000)], [100, 300, 500]);
    }

    #[test]
    fn a_month_of_ordinary_work_trips_nothing() {
        let limits = Limits::default();
        let mut meters = Meters::default();
        for request in 0..400_000u64 {
            meters.set_now(request / 50);
            for _ in 0..4 {
                assert_eq!(meters.charge(Flood::WindowUpdates, &limits), Ok(()));
            }
            assert_eq!(meters.charge(Flood::Pings, &limits), Ok(()));
            meters.data(1000);
            meters.stream_ended();
        }
    }
}
