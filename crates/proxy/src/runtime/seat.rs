//! Connection slots of a client: one in the process, one in its frontend, and one at its
//! listener if that has a `maxconn` of its own. All are taken or none, so the limits hold
//! exactly on any number of threads.

use super::{Runtime, maxconn};
use model::config::{Bind, Proxy, ProxyOption};
use model::state::{ListenerState, ProxyState};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Slots of one connection; dropping it releases them.
#[derive(Debug)]
pub struct Seat {
    runtime: &'static Runtime,
    frontend: Arc<ProxyState>,
    listener: Option<Arc<ListenerState>>,
}

impl Seat {
    /// Takes the slots if all are free. `listener` counts the connections of a listener; it is
    /// used only if `maxconn` limits them or `option socket-stats` shows them.
    pub fn take(
        runtime: &'static Runtime,
        frontend: &Proxy,
        bind: &Bind,
        listener: &Arc<ListenerState>,
    ) -> Option<Seat> {
        let counted = bind.maxconn.is_some() || frontend.has(ProxyOption::SocketStats);
        let listener = counted.then_some(listener);
        if let Some(listener) = listener
            && !listener.sessions.up_to(bind.maxconn.unwrap_or(0))
        {
            return None;
        }
        let give_back = || listener.map(|listener| listener.sessions.down());
        if !frontend.state.frontend.sessions.up_to(maxconn(frontend)) {
            give_back();
            return None;
        }
        if !runtime
            .connections
            .up_to(runtime.connections_max.load(Ordering::Relaxed))
        {
            frontend.state.frontend.sessions.down();
            give_back();
            return None;
        }
        Some(Seat {
            runtime,
            frontend: Arc::clone(&frontend.state),
            listener: listener.map(Arc::clone),
        })
    }

    /// Takes the slots regardless of the limits, for a connection accepted when the accept loop
    /// was asked to end.
    pub fn beyond_limits(runtime: &'static Runtime, frontend: &Proxy) -> Seat {
        frontend.state.frontend.sessions.up();
        runtime.connections.up();
        Seat {
            runtime,
            frontend: Arc::clone(&frontend.state),
            listener: None,
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.frontend.frontend.sessions.down();
        self.runtime.connections.down();
        if let Some(listener) = &self.listener {
            listener.sessions.down();
        }
    }
}
