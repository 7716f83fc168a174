//! Where a stream goes: its frontend, its backend, its server, and what it took to get
//! there.

use super::Persistence;
use crate::config::{ProxyIndex, Rare, ServerIndex};

/// Where a stream goes.
#[derive(Debug)]
pub struct Route {
    /// Its frontend in its configuration.
    pub frontend: ProxyIndex,
    /// Its backend, once chosen; in a `listen` the same as the frontend.
    pub backend: Option<ProxyIndex>,
    /// Its server, once chosen.
    pub server: Option<ServerIndex>,
    /// The server that it would rather have (`option prefer-last-server`).
    pub preferred: Option<ServerIndex>,
    /// What its proxies have that most have not.
    pub rare: Rare,
    /// Connection attempts that failed and were repeated.
    pub retries: u32,
    /// Another server was taken than the one that was chosen first.
    pub redispatched: bool,
    /// Streams before it in the server's queue when it came.
    pub server_queue: u32,
    /// Streams before it in the backend's queue when it came.
    pub backend_queue: u32,
    /// Which server it belongs to, in backends where streams do.
    pub persistence: Option<Box<Persistence>>,
}

impl Route {
    /// Of a stream that has a frontend, with its rare features, and nothing else.
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

    /// Restarts with the memory of what was known of its persistence.
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
