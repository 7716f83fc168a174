//! Holds the `tune.h2.*` settings: announced HTTP/2 settings, and limits of connections with
//! clients and servers.

use protocol::http2::{Http2Role, Options};

/// Maximum number of pseudo-headers of a request in addition to its headers.
const PSEUDO_MAX: usize = 6;
/// Overhead per field in addition to its bytes (RFC 9113, section 6.5.2).
const FIELD_OVERHEAD_BYTES: u32 = 32;
/// Window of the whole connection, in windows of a stream. An unread body must not block
/// the others, but the total memory must be bounded.
const WINDOWS_OF_CONNECTION: u32 = 16;
const WINDOW_MAX: u32 = (1 << 31) - 1;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Http2 {
    pub header_table_bytes: u32,
    pub frame_bytes_max: u32,
    /// Initial window of a stream, bytes (`tune.h2.initial-window-size`).
    pub initial_window: u32,
    pub concurrent_streams_max: u32,
    /// `tune.h2.fe.*`: settings for the connections of clients.
    pub client: Http2Side,
    /// `tune.h2.be.*`: settings for the connections to servers.
    pub server: Http2Side,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Http2Side {
    /// `initial-window-size`, bytes. None: the common value.
    pub initial_window: Option<u32>,
    /// `max-concurrent-streams`. None: the common value.
    pub concurrent_streams_max: Option<u32>,
    /// `glitches-threshold`: number of protocol faults after which a connection is closed.
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

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    pub http2: Http2,
    pub head_bytes: usize,
    pub headers_max: usize,
    /// True if clients may open WebSockets (RFC 8441).
    pub websocket: bool,
}

pub(super) fn client_options(limits: &Limits) -> Options {
    options(Http2Role::Server, limits, &limits.http2.client)
}

pub(super) fn server_options(limits: &Limits) -> Options {
    options(Http2Role::Client, limits, &limits.http2.server)
}

fn options(role: Http2Role, limits: &Limits, side: &Http2Side) -> Options {
    let http2 = &limits.http2;
    let fields = limits.headers_max.saturating_add(PSEUDO_MAX);
    let overhead = u32::try_from(fields)
        .unwrap_or(u32::MAX)
        .saturating_mul(FIELD_OVERHEAD_BYTES);
    let window = side.initial_window.unwrap_or(http2.initial_window);
    let streams = side.concurrent_streams_max;
    let head = u32::try_from(limits.head_bytes).unwrap_or(u32::MAX);
    Options {
        header_table_bytes: http2.header_table_bytes,
        initial_window: window,
        connection_window: window.saturating_mul(WINDOWS_OF_CONNECTION).min(WINDOW_MAX),
        concurrent_streams_max: streams.unwrap_or(http2.concurrent_streams_max),
        frame_bytes_max: http2.frame_bytes_max,
        header_list_bytes_max: head.saturating_add(overhead),
        header_fields_max: fields,
        connect_protocol: role == Http2Role::Server && limits.websocket,
        ..Options::new(role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_settings_equal_haproxys() {
        let options = client_options(&super::super::tests::limits(|_| {}));
        assert_eq!(options.initial_window, 65_535);
        assert_eq!(options.concurrent_streams_max, 100);
        assert_eq!(options.frame_bytes_max, 16_384);
        assert_eq!(options.header_table_bytes, 4_096);
        assert_eq!(options.connection_window, 16 * 65_535);
    }
}
