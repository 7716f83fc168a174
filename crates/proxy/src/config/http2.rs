//! `tune.h2.*`: what HTTP/2 connections announce and bear.

/// `tune.h2.*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Http2 {
    /// `tune.h2.header-table-size`, bytes.
    pub header_table_bytes: u32,
    /// `tune.h2.max-frame-size`, bytes.
    pub frame_bytes_max: u32,
    /// `tune.h2.initial-window-size`, bytes.
    pub initial_window: u32,
    /// `tune.h2.max-concurrent-streams`.
    pub concurrent_streams_max: u32,
    /// `tune.h2.fe.*`: of clients' connections.
    pub client: Http2Side,
    /// `tune.h2.be.*`: of connections to servers.
    pub server: Http2Side,
}

/// What is said of one side only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Http2Side {
    /// `initial-window-size` where it differs, bytes.
    pub initial_window: Option<u32>,
    /// `max-concurrent-streams` where it differs.
    pub concurrent_streams_max: Option<u32>,
    /// `glitches-threshold`: faults after which a connection is closed.
    pub glitches_max: Option<u32>,
    /// `max-total-streams` of a client's connection.
    pub total_streams_max: Option<u32>,
}

impl Default for Http2 {
    fn default() -> Self {
        Http2 {
            header_table_bytes: 4096,
            frame_bytes_max: 16_384,
            initial_window: 65_535,
            concurrent_streams_max: 100,
            client: Http2Side::default(),
            server: Http2Side::default(),
        }
    }
}
