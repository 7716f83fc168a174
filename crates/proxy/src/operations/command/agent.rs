//! Implements the commands about the agent checks of servers.

use super::server::{port_behind, port_of, with};
use super::{Context, Session};
use crate::health::orders::set_agent;
use model::config::{Config, Proxy, Server};
use model::state::AgentSet;
use std::net::IpAddr;

const NONE: &str = "agent checks are not enabled on this server.\n";
const SEND_BYTES_MAX: usize = 16 << 10;

pub fn disable(context: &Context, _: &mut Session, words: &[&str]) -> String {
    with(context, words.get(2), |_, _, server| {
        server.state.stop_agent(true);
        String::new()
    })
}

pub fn enable(context: &Context, _: &mut Session, words: &[&str]) -> String {
    with(context, words.get(2), |_, _, server| {
        if !server.options.agent.check {
            return "Agent was not configured on this server, cannot enable.\n".into();
        }
        server.state.stop_agent(false);
        String::new()
    })
}

/// `agent up | down`: sets the state as if the agent had reported it.
pub(super) fn health(
    config: &Config,
    proxy: &Proxy,
    server: &Server,
    word: Option<&&str>,
) -> String {
    if !server.state.has_agent() {
        return NONE.into();
    }
    let up = match word {
        Some(&"up") => true,
        Some(&"down") => false,
        _ => return "'set server <srv> agent' expects 'up' or 'down'.\n".into(),
    };
    set_agent(config, proxy, server, up, "changed from CLI");
    String::new()
}

pub(super) fn address(server: &Server, words: &[&str]) -> String {
    let Some(text) = words.first() else {
        return "set server <b>/<s> agent-addr requires an address and optionally a port.\n".into();
    };
    if !server.state.has_agent() {
        return NONE.into();
    }
    let Ok(ip) = text.parse::<IpAddr>() else {
        return format!("incorrect addr address given for agent: '{text}'\n");
    };
    let port = match port_behind(words) {
        Ok(port) => port,
        Err(text) => return text,
    };
    server.state.set_agent(AgentSet {
        address: Some(ip),
        port,
        send: None,
    });
    String::new()
}

pub(super) fn port(server: &Server, word: Option<&&str>) -> String {
    let Some(word) = word else {
        return "set server <b>/<s> agent-port requires a port.\n".into();
    };
    if !server.state.has_agent() {
        return NONE.into();
    }
    match port_of(word) {
        Ok(port) => server.state.set_agent(AgentSet {
            port: Some(port),
            ..AgentSet::default()
        }),
        Err(text) => return text,
    }
    String::new()
}

pub(super) fn send(server: &Server, word: Option<&&str>) -> String {
    if !server.state.has_agent() {
        return NONE.into();
    }
    let text = word.map_or("", |word| *word);
    if text.len() > SEND_BYTES_MAX {
        return format!("The agent string is limited to {SEND_BYTES_MAX} bytes.\n");
    }
    server.state.set_agent(AgentSet {
        send: Some(text.as_bytes().into()),
        ..AgentSet::default()
    });
    String::new()
}
