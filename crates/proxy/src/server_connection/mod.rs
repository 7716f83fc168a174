//! Connections to servers: made ([`connect`]), kept idle per thread
//! ([`Pools`]), taken again. A server connection is not a stream: it may carry
//! many, one after the other.

mod connect;
mod pool;

pub use connect::{ConnectFailure, connect};
pub use pool::{Pools, purge};

use crate::reactor::Buffer;
use crate::state::{ServerState, Way};
use crate::transport::Transport;
use std::sync::Arc;

/// An open connection to a server.
pub struct ServerConnection {
    /// What carries its bytes.
    pub transport: Transport,
    /// The server's state, which counts its idle connections.
    pub state: Arc<ServerState>,
    /// Bytes that came and were not used; taken only when there are some.
    pub input: Option<Buffer>,
    /// Streams that it carried before this one.
    pub streams: u32,
    /// The way that it went to the server.
    pub way: Way,
    /// It must not carry another client's streams: a PROXY header was sent, or
    /// it goes to that client's port.
    pub private: bool,
}

impl ServerConnection {
    /// Whether another stream can use it, by what is known without a system
    /// call: bytes without a request, or the end, spoil it.
    pub fn is_fit(&self) -> bool {
        self.way == self.state.way()
            && self.input.as_ref().is_none_or(Buffer::is_empty)
            && !self.transport.is_peer_closed()
            && !self.transport.is_readable()
    }
}
