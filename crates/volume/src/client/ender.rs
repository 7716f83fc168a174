//! Ends clients from another thread, which need not wait for their server.

use super::connection::Connection;
use part::lock;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Mutex;

/// Ends all clients that were connected with it.
#[derive(Debug, Default)]
pub struct Ender(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    has_ended: bool,
    sockets: Vec<OwnedFd>,
}

impl Ender {
    /// Ends them: what they wait for fails at once, and they do not connect again.
    pub fn end(&self) {
        let mut state = lock(&self.0);
        state.has_ended = true;
        for socket in state.sockets.drain(..) {
            // The server may have closed it.
            let _ = rustix::net::shutdown(&socket, rustix::net::Shutdown::Both);
        }
    }

    /// Whether they have been ended.
    pub(super) fn has_ended(&self) -> bool {
        lock(&self.0).has_ended
    }

    /// Knows a connection from now on.
    pub(super) fn know(&self, connection: &Connection) -> io::Result<()> {
        let socket = connection.socket()?;
        let mut state = lock(&self.0);
        if state.has_ended {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        state.sockets.push(socket);
        Ok(())
    }
}
