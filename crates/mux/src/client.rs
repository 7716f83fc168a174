//! Serves the HTTP/2 connection of a client. A [`ConnectionHandler`] handles the requests.

use super::driver::{ConnectionHandler, Driver};
use super::settings::{self, Limits};
use super::shared::ConnectionState;
use protocol::http2::Connection;
use reactor::Buffer;
use std::rc::{Rc, Weak};
use tls::transport::ConnectionTransport;

/// Drives an HTTP/2 connection of a client: `input` begins with the preface, or with the part of it
/// that has arrived. Returns when all streams have ended and only the close of the connection
/// remains.
pub async fn serve<S: ConnectionHandler>(
    transport: &ConnectionTransport,
    input: Option<Buffer>,
    limits: Limits,
    side: &mut S,
) {
    let options = settings::client_options(&limits);
    let open_max = options.concurrent_streams_max.saturating_mul(2);
    let shared = ConnectionState::new(Connection::new(options), Weak::new(), false);
    shared.inner.borrow_mut().streams.open_max = open_max;
    Driver::new(Rc::new(shared), transport, input)
        .run(side)
        .await;
}
