//! Applies the counters, server states, tables and lists received from the previous process to
//! this process.

use super::told::{
    CarriedState, CountedTold, ListenerTold, ProcessTold, ProxyTold, RateTold, ServerSettingsTold,
    ServerTold,
};
use super::{Imported, monotonic_ms, tally};
use crate::orders::OperatorOverrides;
use crate::runtime::{Runtime, lock};
use crate::tls_orders;
use model::config::{Config, Proxy, Server};
use model::state::{AGE_MAX_MS, AgentSet, COUNT_MAX, Counters, HostNow, Kept, now_ms};
use reactor::Rate;
use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use tls::store::StoreOrder;

/// Longest time for which a state may have been in transit. Both processes use the same clock, but
/// the bytes may contain anything.
const ELAPSED_MAX_MS: u64 = 3600 * 1000;

/// Maximum accepted rate in events per second, so that calculations cannot overflow.
const RATE_MAX: u64 = u32::MAX as u64;

pub(super) fn take(told: CarriedState, config: &Config, runtime: Option<&Runtime>) -> Imported {
    let elapsed_ms = monotonic_ms()
        .saturating_sub(told.at_ms)
        .min(ELAPSED_MAX_MS);
    let mut taker = Taker {
        state_ms: now_ms(),
        rate_ms: runtime.map_or(0, |runtime| runtime.now_ms()),
        elapsed_ms,
        imported: Imported {
            elapsed_ms,
            process: told.process,
            ..Imported::default()
        },
    };
    // A frontend and a backend with the same name share their state.
    let mut proxies: HashMap<&str, Vec<&Proxy>> = HashMap::new();
    for proxy in &config.proxies {
        proxies.entry(&proxy.name).or_default().push(proxy);
    }
    for one in told.proxies {
        match proxies.get(&*one.name) {
            Some(sides) => taker.proxy(one, sides),
            None => taker.imported.unknown += 1 + one.servers.len() + one.listeners.len(),
        }
    }
    for table in &told.tables {
        table.take(&config.tables, elapsed_ms, told.live.is_some());
    }
    for list in told.lists {
        config.lists.apply_changes(&list.changes());
    }
    let orders: Vec<StoreOrder> = told.tls_orders.into_iter().map(Into::into).collect();
    tls_orders::repeat(config, &orders);
    taker.imported
}

pub(super) fn process(told: &ProcessTold, runtime: &Runtime, elapsed_ms: u64) {
    counted(&told.counted, &runtime.counters);
    runtime.connections.import_highest(told.connections_highest);
    let now_ms = runtime.now_ms();
    rate(
        told.connection_rate,
        &runtime.connection_rate,
        now_ms,
        elapsed_ms,
    );
    rate(told.session_rate, &runtime.session_rate, now_ms, elapsed_ms);
    // Applies the limit that the operator set, but at most the configured one.
    if let Some(max) = told.connections_max.filter(|max| *max > 0) {
        let most = runtime.connections_max_of_file();
        runtime.connections_max.store(max.min(most), Relaxed);
    }
    // Keeps the values set by operators if the message has none, as the later counts of an ending
    // process do not.
    if told.orders != OperatorOverrides::default() {
        *lock(&runtime.orders) = told.orders.clone().in_effect(&runtime.config());
    }
}

struct Taker {
    state_ms: u64,
    rate_ms: u64,
    elapsed_ms: u64,
    imported: Imported,
}

impl Taker {
    fn proxy(&mut self, told: ProxyTold, sides: &[&Proxy]) {
        let Some(proxy) = sides.first() else { return };
        self.imported.proxies += 1;
        let state = &proxy.state;
        counted(&told.frontend, &state.frontend.counters);
        counted(&told.backend, &state.backend.counters);
        state
            .frontend
            .sessions
            .import_highest(told.frontend_highest);
        state.backend.sessions.import_highest(told.backend_highest);
        state
            .backend
            .queue
            .waiting
            .import_highest(told.waiting_highest);
        let rates = [
            (told.session_rate, &state.frontend.session_rate),
            (told.connection_rate, &state.frontend.connection_rate),
            (told.request_rate, &state.frontend.request_rate),
            (told.backend_session_rate, &state.backend.session_rate),
        ];
        for (told, into) in rates {
            rate(told, into, self.rate_ms, self.elapsed_ms);
        }
        state.frontend.log_lines.fetch_add(told.log_lines, Relaxed);
        if let Some(ago) = told.last_session_ago_s {
            let ago = ago.saturating_add(self.elapsed_ms / 1000);
            state.backend.last_session.carry(ago, self.rate_ms);
        }
        for listener in told.listeners {
            self.listener(&listener, sides);
        }
        self.servers(told.servers, sides);
        // Set after the states of the servers, so that these do not count as changes.
        if let Some(told) = told.states {
            state.frontend.maxconn_set.store(told.maxconn_set, Relaxed);
            state.frontend.paused.store(told.paused, Relaxed);
            if told.shut {
                state.shut_down();
            }
            let mut life = told.life;
            life.last_change_ago_ms = self.later(life.last_change_ago_ms);
            life.downtime_ms = life.downtime_ms.min(AGE_MAX_MS);
            life.down_for_ms = life.down_for_ms.map(|ms| self.later(ms));
            life.downs = life.downs.min(COUNT_MAX);
            state.resume(life, self.state_ms);
        }
    }

    fn listener(&mut self, told: &ListenerTold, sides: &[&Proxy]) {
        // Only listeners that the configuration has, because malformed bytes could otherwise
        // create any number.
        let has = |proxy: &&&Proxy| proxy.binds.iter().any(|bind| bind.id == told.id);
        let Some(proxy) = sides.iter().find(has) else {
            self.imported.unknown += 1;
            return;
        };
        let state = proxy.state.listener(told.id);
        counted(&told.counted, &state.counters);
        state.sessions.import_highest(told.sessions_highest);
    }

    fn servers(&mut self, told: Vec<ServerTold>, sides: &[&Proxy]) {
        let servers: HashMap<&str, &Server> = sides
            .iter()
            .flat_map(|proxy| &proxy.servers)
            .map(|server| (&*server.name, server))
            .collect();
        for one in told {
            match servers.get(&*one.name) {
                Some(server) => self.server(one, server),
                None => self.imported.unknown += 1,
            }
        }
    }

    fn server(&mut self, told: ServerTold, server: &Server) {
        self.imported.servers += 1;
        let state = &server.state;
        counted(&told.counted, &state.traffic.counters);
        rate(
            told.session_rate,
            &state.traffic.session_rate,
            self.rate_ms,
            self.elapsed_ms,
        );
        state.traffic.sessions.import_highest(told.sessions_highest);
        state.queue.waiting.import_highest(told.waiting_highest);
        if let Some(ago) = told.last_session_ago_s {
            let ago = ago.saturating_add(self.elapsed_ms / 1000);
            state.traffic.last_session.carry(ago, self.rate_ms);
        }
        if let Some((checks, agent)) = told.stopped {
            state.stop_checks(checks);
            state.stop_agent(agent);
        }
        if let Some(kept) = told.kept {
            state.resume(self.kept(kept.0), server, self.state_ms);
        }
        self.settings(told.set, server);
    }

    /// Applies what operators set on a server, if its configuration still allows that.
    fn settings(&self, told: ServerSettingsTold, server: &Server) {
        let state = &server.state;
        if server.options.check {
            state.set_check(told.check_address, told.check_port);
        }
        if state.has_agent() {
            state.set_agent(AgentSet {
                address: told.agent_address,
                port: told.agent_port,
                send: told.agent_send.map(|text| text.into_vec().into()),
            });
        }
        let resolves = server.host.as_ref();
        let resolves = resolves.is_some_and(|host| host.resolvers.is_some() && !host.service);
        if let Some(text) = told.host.filter(|_| resolves) {
            state.set_host(Some(HostNow {
                text: text.into(),
                port: 0,
                by_record: false,
                told_beside: false,
            }));
            if told.unresolved {
                // The address in the file belongs to the host name in the file, not to the one
                // that the operator set.
                state.set_resolved(None, self.state_ms);
            }
        }
    }

    fn kept(&self, mut kept: Kept) -> Kept {
        kept.last_change_ago_ms = self.later(kept.last_change_ago_ms);
        kept.down_for_ms = kept.down_for_ms.map(|ms| self.later(ms));
        kept.warming_for_ms = kept.warming_for_ms.map(|ms| self.later(ms));
        if let Some((_, ago_ms)) = &mut kept.last_check {
            *ago_ms = self.later(*ago_ms);
        }
        kept
    }

    fn later(&self, age_ms: u64) -> u64 {
        age_ms.min(AGE_MAX_MS) + self.elapsed_ms
    }
}

fn counted(told: &CountedTold, counters: &Counters) {
    for (number, n) in &told.sums {
        if let Some(tally) = tally::of_number(*number) {
            counters.carry(tally, *n);
        }
    }
    counters.carry_highest_times(told.highest_times);
}

/// Imports a rate. Seconds of the other process begin at other moments, so the events of one of
/// its seconds are assigned to the second here that contains the middle of it.
fn rate(told: RateTold, rate: &Rate, now_ms: u64, elapsed_ms: u64) {
    let phase_ms = now_ms % 1000;
    let told_phase_ms = told.phase_ms.min(999);
    let (mut previous, mut current) = (0, 0);
    let seconds = [
        (told.current.min(RATE_MAX), elapsed_ms + told_phase_ms / 2),
        (
            told.previous.min(RATE_MAX),
            elapsed_ms + told_phase_ms + 500,
        ),
    ];
    for (n, age_ms) in seconds {
        if age_ms <= phase_ms {
            current += n;
        } else if age_ms <= phase_ms + 1000 {
            previous += n;
        }
    }
    rate.import_counts(previous, current, told.highest.min(RATE_MAX), now_ms);
}
