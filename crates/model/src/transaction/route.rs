//! Records the frontend, backend and server of a stream, and the attempts to reach the server.

use super::Persistence;
use crate::config::{ProxyIndex, Rare, ServerIndex};

/// Frontend, backend and server of a stream.
#[derive(Debug)]
pub struct Route {
    pub frontend: ProxyIndex,
    /// Index of the backend, once chosen; in a `listen` section that of the frontend.
    pub backend: Option<ProxyIndex>,
    pub server: Option<ServerIndex>,
    /// Server of the previous request, which is preferred (`option prefer-last-server`).
    pub preferred: Option<ServerIndex>,
    /// Rarely used features of the stream's proxies.
    pub rare: Rare,
    /// Number of repeated connection attempts.
    pub retries: u32,
    /// True if another server was used than the one chosen first.
    pub redispatched: bool,
    /// Position of the stream in the server's queue on arrival, from 1; 0 if it did not wait.
    pub server_queue: u32,
    /// Position of the stream in the backend's queue on arrival, from 1; 0 if it did not wait.
    pub backend_queue: u32,
    /// Persistence state, in backends with persistence.
    pub persistence: Option<Box<Persistence>>,
}

impl Route {
    pub(super) fn new(frontend: ProxyIndex, rare: Rare) -> Route {
        Route {
            frontend,
            backend: None,
            server: None,
            preferred: None,
            rare,
            retries: 0,
            redispatched: false,
            server_queue: 0,
            backend_queue: 0,
            persistence: None,
        }
    }

    /// Resets the route and keeps the memory of the persistence state.
    pub(super) fn renew(&mut self, frontend: ProxyIndex, rare: Rare) {
        let mut persistence = self.persistence.take();
        if let Some(known) = &mut persistence {
            **known = Persistence::default();
        }
        *self = Route {
            persistence,
            ..Route::new(frontend, rare)
        };
    }
}
