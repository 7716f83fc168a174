//! The places that a connection of a client takes: in the process, in its
//! frontend, and at its listener where that has a `maxconn` of its own. They
//! are taken all or none, so the limits hold exactly on any number of threads.

use crate::config::{Bind, Proxy};
use crate::runtime::{Runtime, maxconn};
use crate::state::{Gauge, ProxyState};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The places of one connection; dropping it gives them back.
#[derive(Debug)]
pub struct Seat {
    runtime: &'static Runtime,
    frontend: Arc<ProxyState>,
    listener: Option<Arc<Gauge>>,
}

impl Seat {
    /// Takes the places where there are some. `listener` counts the connections
    /// of a listener; it is looked at only where `maxconn` bounds them.
    pub fn take(runtime: &'static Runtime, frontend: &Proxy, bind: &Bind, listener: &Arc<Gauge>) -> Option<Seat> {
        let listener = bind.maxconn.map(|most| (most, listener));
        if let Some((most, listener)) = listener
            && !listener.up_to(most)
        {
            return None;
        }
        let give_back = || listener.map(|(_, listener)| listener.down());
        if !frontend.state.frontend_sessions.up_to(maxconn(frontend)) {
            give_back();
            return None;
        }
        if !runtime.connections.up_to(runtime.connections_max.load(Ordering::Relaxed)) {
            frontend.state.frontend_sessions.down();
            give_back();
            return None;
        }
        Some(Seat {
            runtime,
            frontend: Arc::clone(&frontend.state),
            listener: listener.map(|(_, listener)| Arc::clone(listener)),
        })
    }

    /// Takes the places whether there are some or not: for a connection that
    /// was accepted when the accept loop was told to end.
    pub fn beyond_limits(runtime: &'static Runtime, frontend: &Proxy) -> Seat {
        frontend.state.frontend_sessions.up();
        runtime.connections.up();
        Seat { runtime, frontend: Arc::clone(&frontend.state), listener: None }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.frontend.frontend_sessions.down();
        self.runtime.connections.down();
        if let Some(listener) = &self.listener {
            listener.down();
        }
    }
}
