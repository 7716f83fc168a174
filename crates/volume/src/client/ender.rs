//! Shuts down client connections from another thread, even while a client waits for its server.

use super::connection::Connection;
use part::lock;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Mutex;

/// Handle that shuts down all clients which were given this handle when they connected.
#[derive(Debug, Default)]
pub struct Ender(Mutex<ShutdownState>);

#[derive(Debug, Default)]
struct ShutdownState {
    has_ended: bool,
    sockets: Vec<OwnedFd>,
}

impl Ender {
    /// Shuts down the connections: pending calls fail at once, and the clients do not reconnect.
    pub fn end(&self) {
        let mut state = lock(&self.0);
        state.has_ended = true;
        for socket in state.sockets.drain(..) {
            // Ignores failures: the server may have closed the connection already.
            let _ = rustix::net::shutdown(&socket, rustix::net::Shutdown::Both);
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        lock(&self.0).has_ended
    }

    /// Registers a connection, so that [`Ender::end`] shuts it down.
    pub(super) fn register_connection(&self, connection: &Connection) -> io::Result<()> {
        let socket = connection.socket()?;
        let mut state = lock(&self.0);
        if state.has_ended {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        state.sockets.push(socket);
        Ok(())
    }
}
