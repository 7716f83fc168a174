//! `option contstats`: bytes are counted while they flow. Without it they are
//! counted when their stream ends, which is cheaper and, for a long download
//! or tunnel, late.

use super::Stream;
use model::config::{Config, ProxyIndex, ProxyOption, ServerIndex};
use model::state::Tally;
use std::sync::Arc;

/// One direction of a stream that is counted.
pub struct Counting<'c> {
    /// Counts.
    pub meter: &'c Meter,
    /// As what.
    pub tally: Tally,
    /// How many bytes it has counted.
    pub counted: &'c mut u64,
}

impl Counting<'_> {
    /// Counts bytes that were passed on.
    pub fn count(&mut self, bytes: u64) {
        self.meter.count(self.tally, bytes);
        *self.counted += bytes;
    }
}

/// Counts the bytes of one stream while they flow.
pub struct Meter {
    config: Arc<Config>,
    frontend: ProxyIndex,
    backend: Option<ProxyIndex>,
    server: Option<ServerIndex>,
}

impl Meter {
    /// The meter of a stream whose frontend asks for one.
    pub fn of(stream: &Stream) -> Option<Meter> {
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

    /// Counts bytes that were passed on.
    pub fn count(&self, tally: Tally, bytes: u64) {
        self.config
            .proxy(self.frontend)
            .state
            .frontend
            .counters
            .here()
            .add(tally, bytes);
        let Some(backend) = self.backend.map(|index| self.config.proxy(index)) else {
            return;
        };
        backend.state.backend.counters.here().add(tally, bytes);
        if let Some(server) = self
            .server
            .and_then(|at| backend.servers.get(at.0 as usize))
        {
            server.state.traffic.counters.here().add(tally, bytes);
        }
    }
}
