//! Counts a client connection against `maxconn`: of the process, of its frontend, and of its
//! listener if that has a limit of its own. All counts are taken or none, so the limits hold
//! exactly on any number of threads.

use super::{Runtime, maxconn};
use model::config::{Bind, Proxy, ProxyOption};
use model::state::{ListenerState, ProxyState};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Slots of one connection; dropping it releases them.
#[derive(Debug)]
pub struct ClientPermit {
    runtime: &'static Runtime,
    frontend: Arc<ProxyState>,
    listener: Option<Arc<ListenerState>>,
}

impl ClientPermit {
    /// Takes the slots if all are free. `listener` counts the connections of a listener; it is
    /// used only if `maxconn` limits them or `option socket-stats` shows them.
    pub fn take(
        runtime: &'static Runtime,
        frontend: &Proxy,
        bind: &Bind,
        listener: &Arc<ListenerState>,
    ) -> Option<ClientPermit> {
        let counted = bind.maxconn.is_some() || frontend.has(ProxyOption::SocketStats);
        let listener = counted.then_some(listener);
        if let Some(listener) = listener
            && !listener.sessions.increment_below(bind.maxconn.unwrap_or(0))
        {
            return None;
        }
        let give_back = || listener.map(|listener| listener.sessions.decrement());
        if !frontend
            .state
            .frontend
            .sessions
            .increment_below(maxconn(frontend))
        {
            give_back();
            return None;
        }
        if !runtime
            .connections
            .increment_below(runtime.connections_max.load(Ordering::Relaxed))
        {
            frontend.state.frontend.sessions.decrement();
            give_back();
            return None;
        }
        Some(ClientPermit {
            runtime,
            frontend: Arc::clone(&frontend.state),
            listener: listener.map(Arc::clone),
        })
    }

    /// Takes the slots regardless of the limits, for a connection that was still in the kernel's
    /// queue when its listener stopped accepting.
    pub fn beyond_limits(runtime: &'static Runtime, frontend: &Proxy) -> ClientPermit {
        frontend.state.frontend.sessions.increment();
        runtime.connections.increment();
        ClientPermit {
            runtime,
            frontend: Arc::clone(&frontend.state),
            listener: None,
        }
    }
}

impl Drop for ClientPermit {
    fn drop(&mut self) {
        self.frontend.frontend.sessions.decrement();
        self.runtime.connections.decrement();
        if let Some(listener) = &self.listener {
            listener.sessions.decrement();
        }
    }
}
