//! States to bytes.

use super::gather::{Gathered, GatheredProxy};
use super::tables::Which;
use super::tag;
use super::tally::{self, Sums};
use super::wire::Writer;
use super::{HEAD, VERSION, monotonic_ms};
use crate::runtime::Runtime;
use model::config::Config;
use model::state::{
    AdminState, BackendLife, CheckResult, Counters, HealthState, Kept, ListenerState, ServerState,
    Verdict, now_ms,
};
use reactor::Rate;
use std::sync::atomic::Ordering::Relaxed;

/// Longest words of a check that are told.
const INFO_BYTES_MAX: usize = 1024;

/// Tells everything, or (not `whole`) only what is added up: the rest that was
/// counted after everything was told.
pub(super) fn tell(
    gathered: &Gathered,
    runtime: Option<&Runtime>,
    whole: bool,
    contents: Option<(&Config, Which)>,
) -> Vec<u8> {
    let teller = Teller {
        state_ms: now_ms(),
        rate_ms: runtime.map_or(0, |runtime| runtime.now_ms()),
        whole,
    };
    let mut writer = Writer {
        bytes: HEAD.to_vec(),
    };
    writer.bytes.extend(VERSION.to_le_bytes());
    writer.present(tag::whole::AT_MS, monotonic_ms());
    if let (Some(sums), Some(runtime)) = (&gathered.process, runtime) {
        writer.nested(tag::whole::PROCESS, |w| teller.process(w, sums, runtime));
    }
    for proxy in &gathered.proxies {
        writer.nested(tag::whole::PROXY, |w| teller.proxy(w, proxy));
    }
    if let Some((config, which)) = contents {
        super::tables::tell(&mut writer, tag::whole::TABLE, &config.tables, which);
        super::lists::tell(&mut writer, tag::whole::LIST, &config.lists, which);
    }
    writer.bytes(tag::whole::END, &[]);
    writer.bytes
}

struct Teller {
    state_ms: u64,
    rate_ms: u64,
    whole: bool,
}

impl Teller {
    fn process(&self, w: &mut Writer, sums: &Sums, runtime: &Runtime) {
        use tag::process as t;
        w.nested(t::COUNTED, |w| counted(w, sums, &runtime.counters));
        w.number(t::CONNECTIONS_HIGHEST, runtime.connections.highest().into());
        self.rate(w, t::CONNECTION_RATE, &runtime.connection_rate);
        self.rate(w, t::SESSION_RATE, &runtime.session_rate);
    }

    fn proxy(&self, w: &mut Writer, proxy: &GatheredProxy) {
        use tag::proxy as t;
        let state = &proxy.state;
        w.bytes(t::NAME, state.name.as_bytes());
        w.nested(t::FRONTEND, |w| {
            counted(w, &proxy.frontend, &state.frontend)
        });
        w.nested(t::BACKEND, |w| counted(w, &proxy.backend, &state.backend));
        let highest = |gauge: &reactor::Gauge| u64::from(gauge.highest());
        w.number(t::FRONTEND_HIGHEST, highest(&state.frontend_sessions));
        w.number(t::BACKEND_HIGHEST, highest(&state.backend_sessions));
        w.number(t::WAITING_HIGHEST, highest(&state.queue.waiting));
        self.rate(w, t::SESSION_RATE, &state.session_rate);
        self.rate(w, t::CONNECTION_RATE, &state.connection_rate);
        self.rate(w, t::REQUEST_RATE, &state.request_rate);
        self.rate(w, t::BACKEND_SESSION_RATE, &state.backend_session_rate);
        w.number(t::LOG_LINES, proxy.log_lines);
        if let Some(ago) = state.last_session.seconds_ago(self.rate_ms) {
            w.present(t::LAST_SESSION_AGO_S, ago);
        }
        if self.whole {
            w.present(t::STATES, 1);
            w.number(t::MAXCONN_SET, state.maxconn_set.load(Relaxed).into());
            w.number(t::PAUSED, state.paused.load(Relaxed).into());
            w.nested(t::LIFE, |w| life(w, &state.life(self.state_ms)));
            for name in &proxy.removed {
                w.bytes(t::REMOVED, name.as_bytes());
            }
        }
        for (id, state, sums) in &proxy.listeners {
            w.nested(t::LISTENER, |w| listener(w, *id, state, sums));
        }
        for (state, sums) in &proxy.servers {
            if self.whole || sums.iter().any(|n| *n != 0) {
                let by_name =
                    |words: &&std::sync::Arc<[Box<str>]>| words.first() == Some(&state.name);
                let added = proxy.added.iter().find(by_name);
                w.nested(t::SERVER, |w| {
                    self.server(w, state, sums);
                    for word in added.into_iter().flat_map(|words| words.iter()) {
                        w.bytes(tag::server::ADDED, word.as_bytes());
                    }
                });
            }
        }
    }

    fn server(&self, w: &mut Writer, state: &ServerState, sums: &Sums) {
        use tag::server as t;
        w.bytes(t::NAME, state.name.as_bytes());
        w.nested(t::COUNTED, |w| counted(w, sums, &state.counters));
        self.rate(w, t::SESSION_RATE, &state.session_rate);
        w.number(t::SESSIONS_HIGHEST, state.sessions.highest().into());
        w.number(t::WAITING_HIGHEST, state.queue.waiting.highest().into());
        if let Some(ago) = state.last_session.seconds_ago(self.rate_ms) {
            w.present(t::LAST_SESSION_AGO_S, ago);
        }
        if self.whole {
            w.nested(t::KEPT, |w| kept(w, &state.keep(self.state_ms)));
            let stopped = u64::from(state.checks_stopped()) | u64::from(state.agent_stopped()) << 1;
            w.present(t::STOPPED, stopped);
        }
    }

    /// The highest rate; with everything also that of now.
    fn rate(&self, w: &mut Writer, tag: u8, rate: &Rate) {
        use tag::rate as t;
        let highest = rate.highest(self.rate_ms);
        if highest == 0 {
            return;
        }
        w.nested(tag, |w| {
            w.number(t::HIGHEST, highest);
            let (previous, current) = rate.seconds(self.rate_ms);
            if self.whole && previous + current > 0 {
                w.number(t::PREVIOUS, previous);
                w.number(t::CURRENT, current);
                w.number(t::PHASE_MS, self.rate_ms % 1000);
            }
        });
    }
}

fn counted(w: &mut Writer, sums: &Sums, counters: &Counters) {
    tally::write(w, tag::counted::SUMS, sums);
    let times = counters.highest_times();
    if times.iter().any(|ms| *ms != 0) {
        w.nested(tag::counted::HIGHEST_TIMES, |w| {
            for ms in times {
                w.plain(ms);
            }
        });
    }
}

fn listener(w: &mut Writer, id: u32, state: &ListenerState, sums: &Sums) {
    use tag::listener as t;
    w.present(t::ID, id.into());
    w.nested(t::COUNTED, |w| counted(w, sums, &state.counters));
    w.number(t::SESSIONS_HIGHEST, state.sessions.highest().into());
}

fn life(w: &mut Writer, life: &BackendLife) {
    use tag::life as t;
    w.number(t::LAST_CHANGE_AGO_MS, life.last_change_ago_ms);
    w.number(t::DOWNTIME_MS, life.downtime_ms);
    if let Some(ms) = life.down_for_ms {
        w.present(t::DOWN_FOR_MS, ms);
    }
    w.number(t::DOWNS, life.downs.into());
}

fn kept(w: &mut Writer, kept: &Kept) {
    use tag::kept as t;
    let admin = match kept.admin {
        AdminState::Ready => 0,
        AdminState::Drain => 1,
        AdminState::Maintenance => 2,
    };
    let health = match kept.health {
        HealthState::Up => 0,
        HealthState::Down => 1,
        HealthState::Stopping => 2,
    };
    w.number(t::ADMIN, admin);
    w.number(t::FILE_DISABLED, kept.file_disabled.into());
    w.number(t::HEALTH, health);
    w.number(t::STREAK, kept.streak.into());
    w.number(t::RISE, kept.rise.into());
    w.number(t::FALL, kept.fall.into());
    w.number(t::CHECKED, kept.checked.into());
    w.number(t::WEIGHT, kept.weight.into());
    w.number(t::FILE_WEIGHT, kept.file_weight.into());
    w.number(t::MAXCONN, kept.maxconn.into());
    w.number(t::FILE_MAXCONN, kept.file_maxconn.into());
    w.number(t::LAST_CHANGE_AGO_MS, kept.last_change_ago_ms);
    w.number(t::DOWNTIME_MS, kept.downtime_ms);
    w.number(t::CHECK_FAILURES, kept.check_failures.into());
    let present = [
        (t::WARMING_FOR_MS, kept.warming_for_ms),
        (t::DOWN_FOR_MS, kept.down_for_ms),
    ];
    for (tag, ms) in present {
        if let Some(ms) = ms {
            w.present(tag, ms);
        }
    }
    if let Some(on) = kept.tls {
        w.present(t::TLS, 1 + u64::from(on));
    }
    if let Some(address) = kept.address {
        w.bytes(t::ADDRESS, address.to_string().as_bytes());
    }
    if let Some((result, ago_ms)) = &kept.last_check {
        w.nested(t::CHECK, |w| check(w, result, *ago_ms));
    }
}

fn check(w: &mut Writer, result: &CheckResult, ago_ms: u64) {
    use tag::check as t;
    let verdict = match result.verdict {
        Verdict::Passed => 0,
        Verdict::Conditional => 1,
        Verdict::Failed => 2,
    };
    w.bytes(t::STATUS, result.status.code().as_bytes());
    w.present(t::VERDICT, verdict);
    w.number(t::CODE, result.code.into());
    w.number(t::DURATION_MS, result.duration_ms.into());
    w.number(t::AGO_MS, ago_ms);
    let info = result.info.as_bytes();
    if !info.is_empty() {
        w.bytes(t::INFO, &info[..info.len().min(INFO_BYTES_MAX)]);
    }
}
