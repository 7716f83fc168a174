//! Implements the commands that change a frontend, the connection limit of the process, or the
//! timeout of this connection, and those that clear counters.

use super::{CommandReply, Context, Session, Severity, find_proxy};
use crate::stats::process;
use language::value::{TimeUnit, time};
use model::config::{Config, Proxy};
use model::log::{self, Level};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Finds the frontend that a word names and applies a change to it.
fn with(
    context: &Context,
    name: Option<&&str>,
    run: impl FnOnce(&Config, &Proxy) -> String,
) -> String {
    let config = context.runtime.config();
    let Some(name) = name else {
        return "A frontend name is expected.\n".into();
    };
    match find_proxy(&config, name, |proxy| proxy.kind.is_frontend()) {
        Some(proxy) => run(&config, proxy),
        None => "No such frontend.\n".into(),
    }
}

fn pause(context: &Context, name: Option<&&str>, paused: bool) -> CommandReply {
    let mut severity = Severity::Error;
    let text = with(context, name, |config, proxy| {
        let (done, word) = if paused {
            ("Paused", "disabled")
        } else {
            ("Resumed", "enabled")
        };
        if proxy.state.is_shut_down() {
            let word = if paused { "disable" } else { "enable" };
            return format!("Frontend was previously shut down, cannot {word}.\n");
        }
        if proxy.state.frontend.paused.swap(paused, Relaxed) == paused {
            severity = Severity::Notice;
            return format!("All sockets are already {word}.\n");
        }
        context.runtime.apply_frontend_states();
        log::notice(
            config,
            proxy,
            Level::Warning,
            &format!("{done} frontend {}.", proxy.name),
        );
        String::new()
    });
    CommandReply::message(severity, text)
}

pub fn disable_frontend(context: &Context, _: &mut Session, words: &[&str]) -> CommandReply {
    pause(context, words.get(2), true)
}

pub fn enable_frontend(context: &Context, _: &mut Session, words: &[&str]) -> CommandReply {
    pause(context, words.get(2), false)
}

pub fn maxconn_frontend(context: &Context, _: &mut Session, words: &[&str]) -> String {
    with(context, words.get(3), |_, proxy| {
        match words.get(4).map(|word| word.parse::<u32>()) {
            Some(Ok(limit)) if limit > 0 => {
                proxy.state.frontend.maxconn_set.store(limit, Relaxed);
                String::new()
            }
            Some(Ok(_)) => "Value out of range.\n".into(),
            Some(Err(_)) | None => "Integer value expected.\n".into(),
        }
    })
}

/// `set maxconn global`: 0 restores the limit of the newest configuration, which is also the
/// highest value allowed.
pub fn maxconn_global(context: &Context, _: &mut Session, words: &[&str]) -> String {
    let most = context.runtime.connections_max_of_file();
    let limit = match words.get(3).map(|word| word.parse::<u32>()) {
        Some(Ok(0)) => most,
        Some(Ok(limit)) => limit,
        Some(Err(_)) | None => return "Expects an integer value.\n".into(),
    };
    if limit > most {
        return "Value out of range.\n".into();
    }
    context.runtime.connections_max.store(limit, Relaxed);
    String::new()
}

/// Maximum of `set timeout cli`.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

pub fn timeout(_: &Context, session: &mut Session, words: &[&str]) -> String {
    if words.get(2) != Some(&"cli") {
        return "'set timeout' only supports 'cli'.\n".into();
    }
    let Some(word) = words.get(3) else {
        return "Expects an integer value.\n".into();
    };
    match time(word, TimeUnit::Seconds) {
        Ok(wanted) if !wanted.is_zero() => {
            session.timeout = wanted.min(TIMEOUT_MAX);
            String::new()
        }
        _ => "Invalid timeout value.\n".into(),
    }
}

/// `clear counters`: `all` requires the level admin, as in HAProxy.
pub fn clear_counters(context: &Context, session: &mut Session, words: &[&str]) -> String {
    let all = words.get(2) == Some(&"all");
    if all && session.level < model::config::StatsLevel::Admin {
        return "Permission denied\n".into();
    }
    let config = context.runtime.config();
    let runtime = context.runtime;
    for proxy in &config.proxies {
        if all {
            // Adds the cleared counts to the totals of the process, which must not fall because
            // exporters read them as counters.
            for tally in process::CARRIED {
                let counted = proxy.state.frontend.counters.read(tally);
                runtime.counters.current_shard().add(tally, counted);
            }
        }
        clear_proxy(proxy, all);
    }
    let tls = tls::counters();
    for rate in [&tls.rate, &tls.client_keys, &tls.server_keys] {
        rate.clear_highest();
    }
    runtime.connections.clear_highest();
    runtime.connection_rate.clear_highest();
    runtime.session_rate.clear_highest();
    String::new()
}

fn clear_proxy(proxy: &Proxy, all: bool) {
    let state = &proxy.state;
    let listeners = state.listeners();
    for gauge in [
        &state.frontend.sessions,
        &state.backend.sessions,
        &state.backend.queue.waiting,
    ]
    .into_iter()
    .chain(listeners.iter().map(|listener| &listener.sessions))
    .chain(
        proxy
            .servers
            .iter()
            .map(|server| &server.state.traffic.sessions),
    )
    .chain(
        proxy
            .servers
            .iter()
            .map(|server| &server.state.queue.waiting),
    ) {
        gauge.clear_highest();
    }
    for rate in [
        &state.frontend.session_rate,
        &state.frontend.connection_rate,
        &state.frontend.request_rate,
        &state.backend.session_rate,
    ]
    .into_iter()
    .chain(
        proxy
            .servers
            .iter()
            .map(|server| &server.state.traffic.session_rate),
    ) {
        rate.clear_highest();
    }
    for counters in [&state.frontend.counters, &state.backend.counters]
        .into_iter()
        .chain(listeners.iter().map(|listener| &listener.counters))
        .chain(
            proxy
                .servers
                .iter()
                .map(|server| &server.state.traffic.counters),
        )
    {
        if all {
            counters.clear();
        } else {
            counters.clear_highest();
        }
    }
}
