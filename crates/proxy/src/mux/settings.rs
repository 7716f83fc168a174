//! What the connections of clients and to servers announce, by `tune.h2.*`.

use crate::config::{Http2Side, Tune};
use protocol::http2::{Options, Role};

/// Pseudo-headers of a request besides its headers.
const PSEUDO_MAX: usize = 6;
/// What RFC 9113 6.5.2 counts for each field besides its bytes.
const FIELD_OVERHEAD_BYTES: u32 = 32;
/// Windows of streams that the whole connection has: so one body that nobody
/// takes does not stop the others, and the memory of all of them is bounded.
const WINDOWS_OF_CONNECTION: u32 = 16;
const WINDOW_MAX: u32 = (1 << 31) - 1;

/// Of a client's connection.
pub(super) fn of_clients(tune: &Tune) -> Options {
    options(Role::Server, tune, &tune.http2.client)
}

/// Of a connection to a server.
pub(super) fn of_servers(tune: &Tune) -> Options {
    options(Role::Client, tune, &tune.http2.server)
}

fn options(role: Role, tune: &Tune, side: &Http2Side) -> Options {
    let fields = tune.headers_max.saturating_add(PSEUDO_MAX);
    let overhead = u32::try_from(fields)
        .unwrap_or(u32::MAX)
        .saturating_mul(FIELD_OVERHEAD_BYTES);
    let window = side.initial_window.unwrap_or(tune.http2.initial_window);
    let streams = side.concurrent_streams_max;
    let head = u32::try_from(tune.bufsize).unwrap_or(u32::MAX);
    Options {
        header_table_bytes: tune.http2.header_table_bytes,
        initial_window: window,
        connection_window: window.saturating_mul(WINDOWS_OF_CONNECTION).min(WINDOW_MAX),
        concurrent_streams_max: streams.unwrap_or(tune.http2.concurrent_streams_max),
        frame_bytes_max: tune.http2.frame_bytes_max,
        header_list_bytes_max: head.saturating_add(overhead),
        header_fields_max: fields,
        connect_protocol: role == Role::Server && !tune.workarounds.no_websocket_over_http2,
        ..Options::new(role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_tuned_is_what_haproxy_announces() {
        let options = of_clients(&Tune::default());
        assert_eq!(options.initial_window, 65_535);
        assert_eq!(options.concurrent_streams_max, 100);
        assert_eq!(options.frame_bytes_max, 16_384);
        assert_eq!(options.header_table_bytes, 4_096);
        assert_eq!(options.connection_window, 16 * 65_535);
    }
}
