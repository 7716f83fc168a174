//! Implements `option contstats`: counts bytes while they are transferred. Without the option,
//! bytes are counted when their stream ends, which is cheaper but late for a long download or
//! tunnel.

use super::ProxyStream;
use model::config::{Config, ProxyIndex, ProxyOption, ServerIndex};
use model::state::Tally;
use std::sync::Arc;

/// Counter for one direction of a stream.
pub struct Counting<'c> {
    pub meter: &'c Meter,
    pub tally: Tally,
    pub counted: &'c mut u64,
}

impl Counting<'_> {
    pub fn count(&mut self, bytes: u64) {
        self.meter.count(self.tally, bytes);
        *self.counted += bytes;
    }
}

/// Counts the bytes of one stream while they are transferred.
pub struct Meter {
    config: Arc<Config>,
    frontend: ProxyIndex,
    backend: Option<ProxyIndex>,
    server: Option<ServerIndex>,
}

impl Meter {
    /// Returns the meter of a stream if its frontend has `option contstats`.
    pub fn of(stream: &ProxyStream) -> Option<Meter> {
        stream
            .frontend()
            .has(ProxyOption::ContStats)
            .then(|| Meter {
                config: stream.config.clone(),
                frontend: stream.route.frontend,
                backend: stream.route.backend,
                server: stream.route.server,
            })
    }

    pub fn count(&self, tally: Tally, bytes: u64) {
        self.config
            .proxy(self.frontend)
            .state
            .frontend
            .counters
            .current_shard()
            .add(tally, bytes);
        let Some(backend) = self.backend.map(|index| self.config.proxy(index)) else {
            return;
        };
        backend
            .state
            .backend
            .counters
            .current_shard()
            .add(tally, bytes);
        if let Some(server) = self
            .server
            .and_then(|at| backend.servers.get(at.0 as usize))
        {
            server
                .state
                .traffic
                .counters
                .current_shard()
                .add(tally, bytes);
        }
    }
}
