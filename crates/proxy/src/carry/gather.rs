//! Collects the values of all counters of this process at one moment, for the process that
//! replaces it. The collected values are kept, so that a later message contains exactly what was
//! counted since then.

use super::tally::Sums;
use crate::runtime::Runtime;
use model::config::Config;
use model::state::{ListenerState, ProxyState, ServerState};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

#[derive(Debug)]
pub(super) struct Gathered {
    pub process: Option<Sums>,
    pub proxies: Vec<GatheredProxy>,
}

/// Sums of the counters of a proxy, or of a frontend and a backend with the same name, which share
/// their state.
#[derive(Debug)]
pub(super) struct GatheredProxy {
    pub state: Arc<ProxyState>,
    pub frontend: Sums,
    pub backend: Sums,
    pub log_lines: u64,
    pub listeners: Vec<(u32, Arc<ListenerState>, Sums)>,
    pub servers: Vec<(Arc<ServerState>, Sums)>,
    pub removed: Vec<Box<str>>,
    /// Arguments of the servers that an operator has added.
    pub added: Vec<Arc<[Box<str>]>>,
}

impl Gathered {
    pub fn of(config: &Config, runtime: Option<&Runtime>) -> Self {
        let mut proxies: Vec<GatheredProxy> = Vec::new();
        let mut places: HashMap<*const ProxyState, usize> = HashMap::new();
        for proxy in &config.proxies {
            let at = *places.entry(Arc::as_ptr(&proxy.state)).or_insert_with(|| {
                proxies.push(GatheredProxy::without_servers(&proxy.state));
                proxies.len() - 1
            });
            let servers = proxy.servers.iter().map(|server| {
                let state = Arc::clone(&server.state);
                let sums = state.traffic.counters.tallies();
                (state, sums)
            });
            proxies[at].servers.extend(servers);
            let added = proxy.servers.iter().filter_map(|one| one.added.clone());
            proxies[at].added.extend(added);
            proxies[at].removed.extend(proxy.removed.iter().cloned());
        }
        Gathered {
            process: runtime.map(|runtime| runtime.counters.tallies()),
            proxies,
        }
    }

    /// Returns what was counted since this snapshot, also by objects that no configuration
    /// contains any longer.
    pub fn since(&self, runtime: Option<&Runtime>) -> Self {
        let process = runtime.map(|runtime| {
            let now = runtime.counters.tallies();
            self.process.map_or(now, |then| difference(&now, &then))
        });
        Gathered {
            process,
            proxies: self.proxies.iter().map(GatheredProxy::since).collect(),
        }
    }
}

impl GatheredProxy {
    fn without_servers(state: &Arc<ProxyState>) -> Self {
        let listeners = state.listeners_with_ids().into_iter().map(|(id, state)| {
            let sums = state.counters.tallies();
            (id, state, sums)
        });
        GatheredProxy {
            state: Arc::clone(state),
            frontend: state.frontend.counters.tallies(),
            backend: state.backend.counters.tallies(),
            log_lines: state.frontend.log_lines.load(Relaxed),
            listeners: listeners.collect(),
            servers: Vec::new(),
            removed: Vec::new(),
            added: Vec::new(),
        }
    }

    fn since(&self) -> Self {
        let now = GatheredProxy::without_servers(&self.state);
        let listener = |(id, state, sums): (u32, Arc<ListenerState>, Sums)| {
            let then = self.listeners.iter().find(|(other, ..)| *other == id);
            let sums = then.map_or(sums, |(.., then)| difference(&sums, then));
            (id, state, sums)
        };
        let server = |(state, then): &(Arc<ServerState>, Sums)| {
            let sums = difference(&state.traffic.counters.tallies(), then);
            (Arc::clone(state), sums)
        };
        GatheredProxy {
            frontend: difference(&now.frontend, &self.frontend),
            backend: difference(&now.backend, &self.backend),
            log_lines: now.log_lines.saturating_sub(self.log_lines),
            listeners: now.listeners.into_iter().map(listener).collect(),
            servers: self.servers.iter().map(server).collect(),
            removed: Vec::new(),
            added: Vec::new(),
            state: now.state,
        }
    }
}

/// Returns what was counted between two snapshots. A sum that has become lower was cleared in
/// between, so all of it counts.
fn difference(now: &Sums, then: &Sums) -> Sums {
    let mut rest = *now;
    for (n, then) in rest.iter_mut().zip(then) {
        if *n >= *then {
            *n -= *then;
        }
    }
    rest
}
