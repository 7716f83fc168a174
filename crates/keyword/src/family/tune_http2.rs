//! Builds `tune.h2.*` lines, which set limits that HTTP/2 connections announce and tolerate. Lines
//! with `fe` apply to connections of clients, those with `be` to servers, others to both.

use super::places::GLOBAL;
use super::{Args, Built, LineRow};
use crate::family::Loader;
use mux::Http2;

/// Maximum number of streams: a connection has a limit even if the file disables it.
const STREAMS_MAX: u32 = 65_536;
const WINDOW_MAX: u32 = i32::MAX as u32;

fn number(loader: &mut Loader, args: &mut Args<'_>) -> Built {
    let what = args.keyword.trim_start_matches("tune.h2.");
    let range = match what.rsplit('.').next() {
        Some("header-table-size") => 4096..=65_536,
        Some("max-frame-size") => 16_384..=16_777_215,
        _ => 0..=WINDOW_MAX,
    };
    let number = args.count("a number", range)?;
    set(&mut loader.config.global.tune.http2, what, number);
    args.end()
}

fn set(http2: &mut Http2, what: &str, number: u32) {
    let streams = if number == 0 {
        STREAMS_MAX
    } else {
        number.min(STREAMS_MAX)
    };
    let bound = (number > 0).then_some(number);
    let (side, what) = match what.split_once('.') {
        Some(("fe", what)) => (Some(&mut http2.client), what),
        Some((_, what)) => (Some(&mut http2.server), what),
        None => (None, what),
    };
    match (side, what) {
        (None, "header-table-size") => http2.header_table_bytes = number,
        (None, "max-frame-size") => http2.frame_bytes_max = number,
        (None, "initial-window-size") => http2.initial_window = number,
        (None, _) => http2.concurrent_streams_max = streams,
        (Some(side), "initial-window-size") => side.initial_window = bound,
        (Some(side), "max-concurrent-streams") => side.concurrent_streams_max = Some(streams),
        (Some(side), "max-total-streams") => side.total_streams_max = bound,
        (Some(side), _) => side.glitches_max = bound,
    }
}

pub static LINES: &[LineRow] = language::rows! {
    "tune.h2.header-table-size <bytes>" GLOBAL, number, "tune.h2.header-table-size 8192",
        "Size of the dynamic header table (HPACK) that each HTTP/2 peer may use, 4096 to 65536. The default is 4096. A \
         larger one compresses headers better, and costs memory for each connection.";
    "tune.h2.max-frame-size <bytes>" GLOBAL, number, "tune.h2.max-frame-size 32768",
        "Maximum size of frames that HTTP/2 peers may send, 16384 to 16777215. The default of 16384 is nearly always \
         right.";
    "tune.h2.initial-window-size <bytes>" GLOBAL, number, "tune.h2.initial-window-size 1048576",
        "Initial flow control window of each HTTP/2 stream. The default is 65535. A larger one makes uploads over long \
         distances faster, and costs memory if they are not read.";
    "tune.h2.max-concurrent-streams <number>" GLOBAL, number, "tune.h2.max-concurrent-streams 50",
        "Maximum number of concurrent requests on one HTTP/2 connection. The default is 100; 0 means 65536, which no \
         connection exceeds.";
    "tune.h2.fe.initial-window-size <bytes>" GLOBAL, number,
        "tune.h2.fe.initial-window-size 1048576",
        "Like `tune.h2.initial-window-size`, for client connections only.";
    "tune.h2.fe.max-concurrent-streams <number>" GLOBAL, number,
        "tune.h2.fe.max-concurrent-streams 50",
        "Like `tune.h2.max-concurrent-streams`, for client connections only.";
    "tune.h2.fe.max-total-streams <number>" GLOBAL, number, "tune.h2.fe.max-total-streams 10000",
        "Number of requests after which an HTTP/2 client must open a new connection. 0, the default, means no limit.";
    "tune.h2.fe.glitches-threshold <number>" GLOBAL, number, "tune.h2.fe.glitches-threshold 100",
        "Number of protocol errors (malformed requests, wrong body lengths) after which an HTTP/2 client connection is \
         closed; each of them only ends its request. 0, the default, means no limit; floods are always closed.";
    "tune.h2.be.initial-window-size <bytes>" GLOBAL, number,
        "tune.h2.be.initial-window-size 1048576",
        "Like `tune.h2.initial-window-size`, for server connections only.";
    "tune.h2.be.max-concurrent-streams <number>" GLOBAL, number,
        "tune.h2.be.max-concurrent-streams 50",
        "Like `tune.h2.max-concurrent-streams`, for server connections only. The server may allow fewer.";
    "tune.h2.be.glitches-threshold <number>" GLOBAL, number, "tune.h2.be.glitches-threshold 100",
        "Number of protocol errors (malformed responses, wrong body lengths) after which a connection to an HTTP/2 \
         server takes no more requests; each of them only ends its response. 0, the default, means no limit.";
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_may_differ_from_what_is_said_for_both() {
        let mut http2 = Http2::default();
        set(&mut http2, "initial-window-size", 100_000);
        set(&mut http2, "be.initial-window-size", 200_000);
        set(&mut http2, "max-concurrent-streams", 0);
        set(&mut http2, "fe.glitches-threshold", 7);
        assert_eq!(http2.initial_window, 100_000);
        assert_eq!(http2.client.initial_window, None);
        assert_eq!(http2.server.initial_window, Some(200_000));
        assert_eq!(http2.concurrent_streams_max, STREAMS_MAX);
        assert_eq!(http2.client.glitches_max, Some(7));
        assert_eq!(http2.server.glitches_max, None);
    }
}
