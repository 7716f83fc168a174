//! States as another process told them, put into those of this one.

use super::hear::{
    CarriedState, CountedTold, ListenerTold, ProcessTold, ProxyTold, RateTold, ServerTold,
};
use super::{Imported, monotonic_ms};
use crate::runtime::Runtime;
use model::config::{Config, Proxy, Server};
use model::state::{Counters, Kept, now_ms};
use reactor::Rate;
use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;

/// Maximum accepted transit time: the clock belongs to this machine, but the bytes may
/// contain anything.
const ELAPSED_MAX_MS: u64 = 3600 * 1000;

/// Puts everything in its place.
pub(super) fn take(told: CarriedState<'_>, config: &Config, runtime: Option<&Runtime>) -> Imported {
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
    // A frontend and a backend of one name share the state.
    let mut proxies: HashMap<&[u8], Vec<&Proxy>> = HashMap::new();
    for proxy in &config.proxies {
        proxies
            .entry(proxy.name.as_bytes())
            .or_default()
            .push(proxy);
    }
    for one in told.proxies {
        match proxies.get(one.name) {
            Some(sides) => taker.proxy(one, sides),
            None => taker.imported.unknown += 1 + one.servers.len() + one.listeners.len(),
        }
    }
    for table in &told.tables {
        table.take(&config.tables, elapsed_ms);
    }
    for changes in &told.lists {
        config.lists.lay_over(changes);
    }
    taker.imported
}

/// Puts in what the process as a whole counted.
pub(super) fn process(told: &ProcessTold, runtime: &Runtime, elapsed_ms: u64) {
    counted(&told.counted, &runtime.counters);
    runtime.connections.carry_highest(told.connections_highest);
    let now_ms = runtime.now_ms();
    rate(
        told.connection_rate,
        &runtime.connection_rate,
        now_ms,
        elapsed_ms,
    );
    rate(told.session_rate, &runtime.session_rate, now_ms, elapsed_ms);
}

struct Taker {
    state_ms: u64,
    rate_ms: u64,
    elapsed_ms: u64,
    imported: Imported,
}

impl Taker {
    fn proxy(&mut self, told: ProxyTold<'_>, sides: &[&Proxy]) {
        let Some(proxy) = sides.first() else { return };
        self.imported.proxies += 1;
        let state = &proxy.state;
        counted(&told.frontend, &state.frontend);
        counted(&told.backend, &state.backend);
        state.frontend_sessions.carry_highest(told.frontend_highest);
        state.backend_sessions.carry_highest(told.backend_highest);
        state.queue.waiting.carry_highest(told.waiting_highest);
        let rates = [
            (told.session_rate, &state.session_rate),
            (told.connection_rate, &state.connection_rate),
            (told.request_rate, &state.request_rate),
            (told.backend_session_rate, &state.backend_session_rate),
        ];
        for (told, into) in rates {
            rate(told, into, self.rate_ms, self.elapsed_ms);
        }
        state.log_lines.fetch_add(told.log_lines, Relaxed);
        if let Some(ago) = told.last_session_ago_s {
            let ago = ago.saturating_add(self.elapsed_ms / 1000);
            state.last_session.carry(ago, self.rate_ms);
        }
        for listener in told.listeners {
            self.listener(&listener, sides);
        }
        self.servers(told.servers, sides);
        // Behind its servers: what became of those is not a change of now.
        if told.states {
            state.maxconn_set.store(told.maxconn_set, Relaxed);
            state.paused.store(told.paused, Relaxed);
            let mut life = told.life;
            life.last_change_ago_ms += self.elapsed_ms;
            life.down_for_ms = life.down_for_ms.map(|ms| ms + self.elapsed_ms);
            state.resume(life, self.state_ms);
        }
    }

    fn listener(&mut self, told: &ListenerTold, sides: &[&Proxy]) {
        // Only those of the file: else bytes could make any number of them.
        let has = |proxy: &&&Proxy| proxy.binds.iter().any(|bind| bind.id == told.id);
        let Some(proxy) = sides.iter().find(has) else {
            self.imported.unknown += 1;
            return;
        };
        let state = proxy.state.listener(told.id);
        counted(&told.counted, &state.counters);
        state.sessions.carry_highest(told.sessions_highest);
    }

    fn servers(&mut self, told: Vec<ServerTold<'_>>, sides: &[&Proxy]) {
        let servers: HashMap<&[u8], &Server> = sides
            .iter()
            .flat_map(|proxy| &proxy.servers)
            .map(|server| (server.name.as_bytes(), server))
            .collect();
        for one in told {
            match servers.get(one.name) {
                Some(server) => self.server(one, server),
                None => self.imported.unknown += 1,
            }
        }
    }

    fn server(&mut self, told: ServerTold<'_>, server: &Server) {
        self.imported.servers += 1;
        let state = &server.state;
        counted(&told.counted, &state.counters);
        rate(
            told.session_rate,
            &state.session_rate,
            self.rate_ms,
            self.elapsed_ms,
        );
        state.sessions.carry_highest(told.sessions_highest);
        state.queue.waiting.carry_highest(told.waiting_highest);
        if let Some(ago) = told.last_session_ago_s {
            let ago = ago.saturating_add(self.elapsed_ms / 1000);
            state.last_session.carry(ago, self.rate_ms);
        }
        if let Some((checks, agent)) = told.stopped {
            state.stop_checks(checks);
            state.stop_agent(agent);
        }
        if let Some(kept) = told.kept {
            state.resume(self.later(kept), server, self.state_ms);
        }
    }

    /// The same when the way of the bytes has taken its time.
    fn later(&self, mut kept: Kept) -> Kept {
        kept.last_change_ago_ms += self.elapsed_ms;
        for ms in [&mut kept.down_for_ms, &mut kept.warming_for_ms]
            .into_iter()
            .flatten()
        {
            *ms += self.elapsed_ms;
        }
        if let Some((_, ago_ms)) = &mut kept.last_check {
            *ago_ms += self.elapsed_ms;
        }
        kept
    }
}

fn counted(told: &CountedTold, counters: &Counters) {
    for (tally, n) in &told.sums {
        counters.carry(*tally, *n);
    }
    counters.carry_highest_times(told.highest_times);
}

/// Seconds of the other process begin at other moments than ours: what it counted
/// in one goes where the middle of that lies.
fn rate(told: RateTold, rate: &Rate, now_ms: u64, elapsed_ms: u64) {
    let phase_ms = now_ms % 1000;
    let (mut previous, mut current) = (0, 0);
    let seconds = [
        (told.current, elapsed_ms + told.phase_ms / 2),
        (told.previous, elapsed_ms + told.phase_ms + 500),
    ];
    for (n, age_ms) in seconds {
        if age_ms <= phase_ms {
            current += n;
        } else if age_ms <= phase_ms + 1000 {
            previous += n;
        }
    }
    rate.carry(previous, current, told.highest, now_ms);
}
