//! Encodes the counters, server states, tables and lists of this process for the process that
//! replaces it, for the supervisor, or for a command.

use super::gather::{Gathered, GatheredProxy};
use super::tables::{BYTES_MAX, TableTold, Which};
use super::tally::{self, Sums};
use super::told::{
    CarriedState, CountedTold, KeptTold, ListenerTold, LiveTold, ProcessTold, ProxyStates,
    ProxyTold, RateTold, ServerSettingsTold, ServerTold,
};
use super::{HEAD, VERSION, monotonic_ms};
use crate::orders::OperatorOverrides;
use crate::runtime::{Runtime, lock};
use model::config::Config;
use model::state::{Counters, ListenerState, ServerState, now_ms};
use reactor::Rate;
use std::sync::atomic::Ordering::Relaxed;
use zeroize::Zeroizing;

/// Maximum size in bytes of the tables and lists that a command gets.
const LIVE_BYTES_MAX: usize = 32 << 20;

/// Exports the counters of `gathered` with the maxima, and if `whole` also rates and states. With
/// `contents`, the export includes tables and lists of that configuration, and for the supervisor
/// operators' commands about TLS files.
pub(super) fn export_state(
    gathered: &Gathered,
    runtime: Option<&Runtime>,
    whole: bool,
    contents: Option<(&Config, Which)>,
    to: Receiver,
) -> Zeroizing<Vec<u8>> {
    let mut told = state(gathered, runtime, whole);
    if let Some((config, which)) = contents {
        contain(&mut told, config, which, BYTES_MAX);
        if to == Receiver::Supervisor {
            let orders = config.certificates.orders();
            told.tls_orders = orders.into_iter().map(Into::into).collect();
        }
    }
    Zeroizing::new(encode(&told))
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Receiver {
    /// The supervisor, which keeps the export in memory only, and therefore gets keys, too.
    Supervisor,
    Successor,
}

/// Exports the state for a command: small tables and lists completely, and of other tables the
/// entries `by_key`.
pub(super) fn export_live_state(
    gathered: &Gathered,
    runtime: Option<&Runtime>,
    config: &Config,
    by_key: Vec<TableTold>,
    live: LiveTold,
) -> Vec<u8> {
    let mut told = state(gathered, runtime, true);
    contain(&mut told, config, Which::Small, LIVE_BYTES_MAX);
    told.tables.extend(by_key);
    told.live = Some(live);
    encode(&told)
}

fn contain(told: &mut CarriedState, config: &Config, which: Which, mut room_bytes: usize) {
    told.tables = super::tables::export_tables(&config.tables, which, &mut room_bytes);
    told.lists = super::lists::export_lists(&config.lists, which, &mut room_bytes);
}

fn encode(told: &CarriedState) -> Vec<u8> {
    [HEAD, &VERSION.to_le_bytes(), &part::codec::encode(told)].concat()
}

fn state(gathered: &Gathered, runtime: Option<&Runtime>, whole: bool) -> CarriedState {
    let teller = Teller {
        state_ms: now_ms(),
        rate_ms: runtime.map_or(0, |runtime| runtime.now_ms()),
        whole,
        is_elsewhere: runtime.is_some_and(|runtime| runtime.has_successor()),
    };
    let process = gathered.process.as_ref().zip(runtime);
    CarriedState {
        at_ms: monotonic_ms(),
        process: process.map(|(sums, runtime)| teller.process(sums, runtime)),
        proxies: gathered.proxies.iter().map(|p| teller.proxy(p)).collect(),
        ..CarriedState::default()
    }
}

struct Teller {
    state_ms: u64,
    rate_ms: u64,
    whole: bool,
    /// All listeners are paused, by a signal or for another process. The supervisor tells the next
    /// process separately whether it is paused, because the signal that ends the pause may arrive
    /// before that process serves.
    is_elsewhere: bool,
}

impl Teller {
    fn process(&self, sums: &Sums, runtime: &Runtime) -> ProcessTold {
        ProcessTold {
            counted: counted(sums, &runtime.counters),
            connections_highest: runtime.connections.highest(),
            connection_rate: self.rate(&runtime.connection_rate),
            session_rate: self.rate(&runtime.session_rate),
            connections_max: {
                let now = runtime.connections_max.load(Relaxed);
                (self.whole && now != runtime.connections_max_of_file()).then_some(now)
            },
            orders: if self.whole {
                lock(&runtime.orders).clone()
            } else {
                OperatorOverrides::default()
            },
        }
    }

    fn proxy(&self, proxy: &GatheredProxy) -> ProxyTold {
        let state = &proxy.state;
        let listeners = proxy.listeners.iter();
        let servers = proxy.servers.iter();
        let servers = servers.filter(|(_, sums)| self.whole || sums.iter().any(|n| *n != 0));
        let removed = proxy.removed.iter().filter(|_| self.whole);
        ProxyTold {
            name: state.name.to_string(),
            frontend: counted(&proxy.frontend, &state.frontend.counters),
            backend: counted(&proxy.backend, &state.backend.counters),
            frontend_highest: state.frontend.sessions.highest(),
            backend_highest: state.backend.sessions.highest(),
            waiting_highest: state.backend.queue.waiting.highest(),
            session_rate: self.rate(&state.frontend.session_rate),
            connection_rate: self.rate(&state.frontend.connection_rate),
            request_rate: self.rate(&state.frontend.request_rate),
            backend_session_rate: self.rate(&state.backend.session_rate),
            log_lines: proxy.log_lines,
            last_session_ago_s: state.backend.last_session.seconds_ago(self.rate_ms),
            states: self.whole.then(|| ProxyStates {
                maxconn_set: state.frontend.maxconn_set.load(Relaxed),
                paused: state.frontend.paused.load(Relaxed) && !self.is_elsewhere,
                shut: state.is_shut_down(),
                life: state.life(self.state_ms),
            }),
            listeners: listeners.map(listener).collect(),
            servers: servers
                .map(|(state, sums)| self.server(proxy, state, sums))
                .collect(),
            removed: removed.map(ToString::to_string).collect(),
        }
    }

    fn server(&self, proxy: &GatheredProxy, state: &ServerState, sums: &Sums) -> ServerTold {
        let mut added = proxy.added.iter();
        let added = added.find(|words| words.first() == Some(&state.name));
        let added = added.into_iter().flat_map(|words| words.iter());
        ServerTold {
            name: state.name.to_string(),
            counted: counted(sums, &state.traffic.counters),
            session_rate: self.rate(&state.traffic.session_rate),
            sessions_highest: state.traffic.sessions.highest(),
            waiting_highest: state.queue.waiting.highest(),
            last_session_ago_s: state.traffic.last_session.seconds_ago(self.rate_ms),
            kept: self.whole.then(|| KeptTold(state.keep(self.state_ms))),
            added: added.map(ToString::to_string).collect(),
            stopped: self
                .whole
                .then(|| (state.checks_stopped(), state.agent_stopped())),
            set: if self.whole {
                settings(state)
            } else {
                ServerSettingsTold::default()
            },
        }
    }

    /// Exports the maximum of a rate and, in a complete export, also the current rate.
    fn rate(&self, rate: &Rate) -> RateTold {
        let highest = rate.highest(self.rate_ms);
        let (previous, current) = rate.seconds(self.rate_ms);
        if self.whole && highest > 0 && previous + current > 0 {
            RateTold {
                previous,
                current,
                phase_ms: self.rate_ms % 1000,
                highest,
            }
        } else {
            RateTold {
                highest,
                ..RateTold::default()
            }
        }
    }
}

fn counted(sums: &Sums, counters: &Counters) -> CountedTold {
    CountedTold {
        sums: tally::numbered(sums),
        highest_times: counters.highest_times(),
    }
}

fn listener((id, state, sums): &(u32, std::sync::Arc<ListenerState>, Sums)) -> ListenerTold {
    ListenerTold {
        id: *id,
        counted: counted(sums, &state.counters),
        sessions_highest: state.sessions.highest(),
    }
}

fn settings(state: &ServerState) -> ServerSettingsTold {
    let (check_address, check_port) = state.check_set();
    let agent = state.agent_set();
    let host = state.host().filter(|host| !host.by_record);
    ServerSettingsTold {
        check_address,
        check_port,
        agent_address: agent.address,
        agent_port: agent.port,
        agent_send: agent.send.map(|text| text.to_vec().into()),
        unresolved: host.is_some() && state.report(now_ms()).unresolved,
        host: host.map(|host| host.text.into()),
    }
}
