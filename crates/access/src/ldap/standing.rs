//! Tracks which servers of an LDAP directory respond. A server that did not respond is tried after
//! all others until it responds again, and is probed in the background now and then.

use super::Server;
use super::names::{ServerResolver, resolve_by_system};
use part::lock;
use part::voice::write_error;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const TRIED_EVERY: Duration = Duration::from_secs(30);

/// Record of which servers of a directory respond.
#[derive(Debug)]
pub struct LdapAvailability {
    name: String,
    names: Arc<ServerResolver>,
    state: Mutex<LdapAvailabilityState>,
}

#[derive(Debug, Default)]
struct LdapAvailabilityState {
    silent: BTreeMap<SocketAddr, Silent>,
    none: Option<Instant>,
}

#[derive(Debug)]
struct Silent {
    again: Instant,
    description: String,
}

impl LdapAvailability {
    pub fn new(name: &str) -> LdapAvailability {
        LdapAvailability {
            name: name.to_owned(),
            names: Arc::new(ServerResolver::new(name, Arc::new(resolve_by_system))),
            state: Mutex::default(),
        }
    }

    pub(super) async fn resolved_servers(&self, servers: &[Server]) -> Vec<Server> {
        let has_none = lock(&self.state).none.is_some();
        self.names.servers(servers, has_none).await
    }

    /// Returns the servers in the order in which they are tried: those that did not respond come
    /// last.
    pub(super) fn order<'s>(&self, servers: &'s [Server]) -> Vec<(&'s Server, SocketAddr)> {
        let mut all: Vec<(&Server, SocketAddr)> = addresses(servers).collect();
        let mut state = lock(&self.state);
        let is_of = |address: &SocketAddr| all.iter().any(|(_, one)| one == address);
        state.silent.retain(|address, _| is_of(address));
        all.sort_by_key(|(_, address)| state.silent.contains_key(address));
        all
    }

    pub fn has_due(&self, now: Instant) -> bool {
        let state = lock(&self.state);
        state.silent.values().any(|silent| silent.again <= now)
    }

    /// Returns the servers that are due for a probe, and schedules their next one, so that only one
    /// task probes each.
    pub(super) fn servers_due_for_probe<'s>(
        &self,
        servers: &'s [Server],
        now: Instant,
    ) -> Vec<(&'s Server, SocketAddr)> {
        let mut state = lock(&self.state);
        let mut is_due = |address: &SocketAddr| {
            let silent = state.silent.get_mut(address);
            let due = silent.filter(|silent| silent.again <= now);
            due.map(|silent| silent.again = now + TRIED_EVERY).is_some()
        };
        addresses(servers)
            .filter(|(_, address)| is_due(address))
            .collect()
    }

    pub(super) fn note_no_response(&self, server: &Server, address: SocketAddr, why: &str) {
        let silent = Silent {
            again: Instant::now() + TRIED_EVERY,
            description: format!("LDAP server {} ({address}): {why}", server.name),
        };
        let words = silent.description.clone();
        if lock(&self.state).silent.insert(address, silent).is_none() {
            self.log(&format!(
                "{words}; it is queried last until it responds again"
            ));
        }
    }

    pub(super) fn note_response(&self, server: &Server, address: SocketAddr) {
        let mut state = lock(&self.state);
        state.none = None;
        if state.silent.remove(&address).is_some() {
            drop(state);
            let name = &server.name;
            self.log(&format!("LDAP server {name} ({address}) responds again"));
        }
    }

    pub(super) fn note_no_server(&self) {
        lock(&self.state).none = Some(Instant::now());
    }

    /// Returns whether at some time since `then` no server responded.
    pub fn had_no_server_since(&self, then: Instant) -> bool {
        lock(&self.state).none.is_some_and(|none| then <= none)
    }

    /// Lists the servers that did not respond to the last attempt, with the errors, and those whose
    /// names have no address.
    pub fn failed_servers(&self) -> Vec<String> {
        let state = lock(&self.state);
        let all = state.silent.values();
        let silent = all.map(|silent| silent.description.clone());
        silent.chain(self.names.servers_without_address()).collect()
    }

    pub(crate) fn log(&self, words: &str) {
        write_error(&format!("evenkeel: {}: {words}\n", self.name));
    }
}

fn addresses(servers: &[Server]) -> impl Iterator<Item = (&Server, SocketAddr)> {
    let all = servers.iter();
    all.flat_map(|one| one.addresses.iter().map(move |address| (one, *address)))
}

#[cfg(test)]
mod tests {
    use super::super::Security;
    use super::*;

    fn server(name: &str, last: u8) -> Server {
        Server {
            name: name.to_owned(),
            port: 636,
            addresses: vec![SocketAddr::from(([192, 0, 2, last], 636))],
            security: Security::Tls,
        }
    }

    #[test]
    fn a_silent_server_is_queried_last_and_retried() {
        let standing = LdapAvailability::new("farm office");
        let servers = [server("dc1", 1), server("dc2", 2), server("dc3", 3)];
        let names = |all: Vec<(&Server, SocketAddr)>| {
            let all = all.into_iter();
            all.map(|(one, _)| one.name.clone()).collect::<Vec<_>>()
        };
        let order = || names(standing.order(&servers));
        assert_eq!(order(), ["dc1", "dc2", "dc3"]);
        let [first, second, _] = &servers;
        standing.note_no_response(second, second.addresses[0], "no response within 2 s");
        standing.note_no_response(first, first.addresses[0], "no response within 2 s");
        assert_eq!(order(), ["dc3", "dc1", "dc2"]);
        assert_eq!(
            standing.failed_servers()[0],
            "LDAP server dc1 (192.0.2.1:636): no response within 2 s"
        );
        let later = Instant::now() + TRIED_EVERY;
        // The probe includes servers that no sign-in would reach, each only once.
        assert_eq!(
            names(standing.servers_due_for_probe(&servers, later)),
            ["dc1", "dc2"]
        );
        assert_eq!(
            names(standing.servers_due_for_probe(&servers, later)),
            [""; 0]
        );
        standing.note_response(second, second.addresses[0]);
        assert_eq!(order(), ["dc2", "dc3", "dc1"]);
        assert_eq!(
            names(standing.servers_due_for_probe(&servers, later + TRIED_EVERY)),
            ["dc1"]
        );
        standing.note_response(first, first.addresses[0]);
        assert_eq!(order(), ["dc1", "dc2", "dc3"]);
        assert_eq!(standing.failed_servers(), [""; 0]);
    }

    #[test]
    fn a_failure_is_logged_only_after_a_response() {
        let standing = LdapAvailability::new("farm office");
        let servers = [server("dc1", 1)];
        let before = Instant::now();
        assert!(!standing.had_no_server_since(before));
        standing.note_no_server();
        assert!(standing.had_no_server_since(before));
        standing.note_response(&servers[0], servers[0].addresses[0]);
        assert!(!standing.had_no_server_since(before));
    }

    #[test]
    fn a_removed_server_is_no_longer_reported() {
        let standing = LdapAvailability::new("farm office");
        let servers = [server("dc1", 1), server("dc2", 2)];
        standing.note_no_response(&servers[0], servers[0].addresses[0], "refused");
        standing.order(&servers[1..]);
        assert_eq!(standing.failed_servers(), [""; 0]);
    }
}
