//! Exports the current state of the proxy for the command that shows where a request would go. The
//! export contains the counters, server states, small tables and lists that a successor gets, and
//! also what a successor never gets: numbers of connections and of queued requests. Of large tables
//! it contains entries selected by key. The exporting process continues unchanged.

use super::gather::Gathered;
use super::tables::{self, Which};
use super::told::{LiveTold, ProxyLive, ServerLive};
use super::{CarryError, decode_state, take, tell};
use crate::message::AskedKey;
use crate::runtime::Runtime;
use model::config::{Config, Proxy};
use model::state::{HealthState, ServerState, now_ms};
use std::collections::HashMap;
use std::sync::Arc;

/// Maximum number of keys of large tables that one command may request.
pub const KEYS_MAX: usize = 256;

/// Data that an imported live state does not contain: tables and lists that were too large to
/// export, and queued requests, of which only the numbers are exported.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct LeftOut {
    /// Tables that were too large to export, with their numbers of entries.
    pub tables: Vec<(String, u32)>,
    /// Maps and lists that were too large to export, with their numbers of entries.
    pub lists: Vec<(String, u64)>,
    /// Numbers of queued requests of each server and of each backend.
    pub waiting: Vec<QueuedRequests>,
}

#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct QueuedRequests {
    pub backend: String,
    /// Name of the server; None for the backend's queue.
    pub server: Option<String>,
    pub count: u32,
}

/// Exports the current state: small tables and lists completely, and of large tables the entries
/// with these keys.
pub fn export_live(config: &Config, runtime: Option<&Runtime>, keys: &[AskedKey]) -> Vec<u8> {
    let gathered = Gathered::of(config, runtime);
    let most = Which::Small.entries_max();
    let large = |entries: u64| entries > u64::from(most);
    let mut live = LiveTold {
        proxies: config.proxies.iter().map(proxy).collect(),
        ..LiveTold::default()
    };
    let mut by_key = Vec::new();
    for table in config.tables.serving() {
        if !large(table.used().into()) {
            continue;
        }
        live.tables_left_out
            .push((table.name.to_string(), table.used()));
        let keys = keys.iter().take(KEYS_MAX);
        let keys = keys.filter(|asked| *asked.table == *table.name);
        by_key.push(tables::some(table, keys.map(|asked| &*asked.key)));
    }
    for list in [true, false]
        .map(|maps| config.lists.summaries(maps))
        .iter()
        .flatten()
    {
        let entries = u64::try_from(list.entries).unwrap_or(u64::MAX);
        if large(entries) && !list.file.is_empty() {
            live.lists_left_out.push((list.file.to_string(), entries));
        }
    }
    tell::export_live_state(&gathered, runtime, config, by_key, live)
}

fn proxy(proxy: &Proxy) -> ProxyLive {
    let state = &proxy.state;
    let server = |state: &ServerState| {
        let report = state.report(now_ms());
        ServerLive {
            name: state.name.to_string(),
            sessions: state.traffic.sessions.current(),
            waiting: state.queue.waiting.current(),
            unresolved: report.unresolved,
            agent_down: report.agent.is_some_and(|agent| agent.down),
        }
    };
    ProxyLive {
        name: proxy.name.to_string(),
        frontend: state.frontend.sessions.current(),
        backend: state.backend.sessions.current(),
        waiting: state.backend.queue.waiting.current(),
        servers: proxy.servers.iter().map(|one| server(&one.state)).collect(),
    }
}

/// Imports the live state into a process that serves no clients. The configuration must be
/// installed. Returns what the state does not contain.
///
/// # Errors
///
/// The bytes are truncated or malformed, have an unsupported version of the format, or were not
/// exported by `export_live`.
pub fn import_live(bytes: &[u8], config: &Config) -> Result<LeftOut, CarryError> {
    let mut told = decode_state(bytes)?;
    let live = told.live.as_mut().map(std::mem::take);
    let live = live.ok_or(CarryError::Foreign)?;
    take::take(told, config, None);
    let mut sides: HashMap<&str, Vec<&Proxy>> = HashMap::new();
    for proxy in &config.proxies {
        sides.entry(&proxy.name).or_default().push(proxy);
    }
    let mut waiting = Vec::new();
    for one in live.proxies {
        let of_servers = one
            .servers
            .iter()
            .map(|told| (Some(told.name.clone()), told.waiting));
        let queues = of_servers.chain([(None, one.waiting)]);
        waiting.extend(
            queues
                .filter(|(_, count)| *count > 0)
                .map(|(server, count)| QueuedRequests {
                    backend: one.name.clone(),
                    server,
                    count,
                }),
        );
        for proxy in sides.get(&*one.name).into_iter().flatten() {
            let state = &proxy.state;
            state.frontend.sessions.import_current(one.frontend);
            state.backend.sessions.import_current(one.backend);
            let servers = proxy
                .servers
                .iter()
                .map(|server| (&*server.name, &server.state));
            let servers: HashMap<&str, &Arc<ServerState>> = servers.collect();
            for told in &one.servers {
                if let Some(state) = servers.get(&*told.name) {
                    server(told, state);
                }
            }
        }
    }
    Ok(LeftOut {
        tables: live.tables_left_out,
        lists: live.lists_left_out,
        waiting,
    })
}

fn server(told: &ServerLive, state: &Arc<ServerState>) {
    // Limits the value, because a counter at its maximum could not count any further.
    let most = u32::MAX / 2;
    state
        .traffic
        .sessions
        .import_current(told.sessions.min(most));
    if told.unresolved {
        state.set_resolved(None, now_ms());
    }
    if told.agent_down {
        state.set_health(HealthState::Down, now_ms());
    }
    state.changed();
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyword::testing::load_text;
    use model::control::install;
    use model::state::AdminState;
    use model::tables::DataType;

    fn config() -> Config {
        let text = "listen t\n bind 127.0.0.1:1\n stick-table type integer size 100k expire 1h store gpc0,conn_cur\n \
             server a 127.0.0.1:2 maxconn 3\n server b 127.0.0.1:3\n";
        let mut config = load_text(text).config.expect("it loads");
        install(&mut config, None, 0);
        config
    }

    fn told(keys: &[AskedKey]) -> Vec<u8> {
        let old = config();
        let servers = &old.proxies[0].servers;
        servers[0].state.traffic.sessions.import_current(3);
        servers[1].state.set_admin(AdminState::Maintenance, 0);
        old.proxies[0].state.backend.queue.waiting.increment();
        let table = old.tables.live("t").expect("it is there");
        for n in 0..=Which::Small.entries_max() {
            let held = table.get(&n.to_ne_bytes()).expect("room");
            held.add(DataType::Gpc0, 0, 7);
            held.add(DataType::ConnCur, 0, 2);
        }
        export_live(&old, None, keys)
    }

    #[test]
    fn live_state_includes_requested_entries_of_large_tables() {
        let key = |table: &str, n: u32| AskedKey {
            table: table.to_owned(),
            key: n.to_ne_bytes().to_vec(),
        };
        let bytes = told(&[key("t", 5), key("none", 6), key("t", u32::MAX)]);
        assert!(bytes.len() < 2000);
        let new = config();
        let left_out = import_live(&bytes, &new).expect("it is whole");
        let servers = &new.proxies[0].servers;
        let sessions = servers[0].state.traffic.sessions.current();
        assert_eq!((sessions, servers[0].state.limit()), (3, 3));
        assert!(servers[0].state.usable() && !servers[1].state.usable());
        assert_eq!(left_out.tables, [("t".to_owned(), 10_001)]);
        assert_eq!((left_out.waiting.len(), left_out.waiting[0].count), (1, 1));
        let table = new.tables.live("t").expect("it is there");
        assert_eq!(table.used(), 1);
        let held = table.find(&5u32.to_ne_bytes()).expect("it was asked for");
        assert_eq!(held.get(DataType::Gpc0, 0), Some(7));
        assert_eq!(held.get(DataType::ConnCur, 0), Some(2));
    }

    #[test]
    fn corrupted_or_foreign_state_does_no_harm() {
        let bytes = told(&[]);
        for end in 0..bytes.len() {
            assert!(import_live(&bytes[..end], &config()).is_err());
        }
        let other = super::super::export(&config(), None).bytes;
        assert_eq!(import_live(&other, &config()), Err(CarryError::Foreign));
        for at in 0..bytes.len() {
            for byte in [0, 0x7f, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] = byte;
                let _ = import_live(&bytes, &config());
            }
        }
    }
}
