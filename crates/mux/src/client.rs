//! A client's HTTP/2 connection: what comes of its requests its side says.

use super::driver::{Driver, Side};
use super::settings::{self, Limits};
use super::shared::ConnectionState;
use protocol::http2::Connection;
use reactor::Buffer;
use std::rc::{Rc, Weak};
use tls::transport::Transport;

/// Drives a client's connection that speaks HTTP/2 from its next byte on: `input`
/// begins with the preface, or with what has come of it. Returns when all streams have
/// ended and the connection is only to be closed.
pub async fn serve<S: Side>(
    transport: &Transport,
    input: Option<Buffer>,
    limits: Limits,
    side: &mut S,
) {
    let options = settings::of_clients(&limits);
    let open_max = options.concurrent_streams_max.saturating_mul(2);
    let shared = ConnectionState::new(Connection::new(options), Weak::new(), false);
    shared.inner.borrow_mut().streams.open_max = open_max;
    Driver::new(Rc::new(shared), transport, input)
        .run(side)
        .await;
}
