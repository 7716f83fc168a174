//! Resolves the host names of the servers of an LDAP directory. The names are resolved when the
//! configuration is loaded, and again while the role runs: after a power failure the nameserver may
//! start later than this machine, and servers move.

use super::Server;
use part::lock;
use part::voice::write_error;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::timeout;

/// Age at which an address is resolved again.
const AGE_MAX: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(5);
const WAIT: Duration = Duration::from_secs(3);
const ADDRESSES_MAX: usize = 4;

/// Function that resolves a host name and a port to addresses. Blocks the thread.
pub(super) type Resolve = dyn Fn(&str, u16) -> Vec<SocketAddr> + Send + Sync;

pub(super) struct ServerResolver {
    section: String,
    resolve: Arc<Resolve>,
    resolved_names: Mutex<BTreeMap<(String, u16), ResolvedName>>,
    resolved: Notify,
}

struct ResolvedName {
    loaded: Vec<SocketAddr>,
    addresses: Vec<SocketAddr>,
    /// Time of the last attempt. Initially the time at which the servers became known here, or None
    /// if the server had no address then.
    tried: Option<Instant>,
    is_pending: bool,
}

impl fmt::Debug for ServerResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Names({})", self.section)
    }
}

/// Resolves by the operating system: its hosts file, then its nameservers.
pub(super) fn resolve_by_system(name: &str, port: u16) -> Vec<SocketAddr> {
    let found = (name, port).to_socket_addrs();
    found.map(Iterator::collect).unwrap_or_default()
}

impl ServerResolver {
    pub(super) fn new(section: &str, resolve: Arc<Resolve>) -> ServerResolver {
        ServerResolver {
            section: section.to_owned(),
            resolve,
            resolved_names: Mutex::default(),
            resolved: Notify::new(),
        }
    }

    /// Returns the servers with their current addresses. Old addresses are resolved again in the
    /// background, earlier if no server responds (`has_none`). Waits only while no server has an
    /// address at all, at most [`WAIT`].
    pub(super) async fn servers(
        self: &Arc<ServerResolver>,
        servers: &[Server],
        has_none: bool,
    ) -> Vec<Server> {
        let waits = async {
            loop {
                let mut resolved = std::pin::pin!(self.resolved.notified());
                // Enables the notification before the check, so that a name resolved after the
                // check wakes this task.
                resolved.as_mut().enable();
                if !self.start_due_resolutions(servers, has_none) {
                    return;
                }
                resolved.await;
            }
        };
        // Ignores a timeout, after which the servers without an address are skipped.
        let _ = timeout(WAIT, waits).await;
        let known = lock(&self.resolved_names);
        let with = |server: &Server| {
            let found = known.get(&(server.name.clone(), server.port));
            let addresses = found.map_or(&server.addresses, |one| &one.addresses);
            Server {
                addresses: addresses.clone(),
                ..server.clone()
            }
        };
        servers.iter().map(with).collect()
    }

    /// Starts the resolutions that are due. Returns whether no server has an address and one is
    /// being resolved.
    fn start_due_resolutions(
        self: &Arc<ServerResolver>,
        servers: &[Server],
        has_none: bool,
    ) -> bool {
        let now = Instant::now();
        let mut known = lock(&self.resolved_names);
        let key = |server: &Server| (server.name.clone(), server.port);
        known.retain(|name, _| servers.iter().any(|server| key(server) == *name));
        for server in servers
            .iter()
            .filter(|one| one.name.parse::<IpAddr>().is_err())
        {
            let first = || ResolvedName {
                loaded: server.addresses.clone(),
                addresses: server.addresses.clone(),
                tried: (!server.addresses.is_empty()).then_some(now),
                is_pending: false,
            };
            let one = known.entry(key(server)).or_insert_with(first);
            if one.loaded != server.addresses {
                *one = first();
            }
            let age = if one.addresses.is_empty() || has_none {
                PAUSE
            } else {
                AGE_MAX
            };
            let is_old = |tried: Instant| now.saturating_duration_since(tried) >= age;
            if !one.is_pending && one.tried.is_none_or(is_old) {
                (one.is_pending, one.tried) = (true, Some(now));
                self.start(server.name.clone(), server.port);
            }
        }
        let has_address = |server: &Server| {
            let one = known.get(&key(server));
            one.map_or(!server.addresses.is_empty(), |one| {
                !one.addresses.is_empty()
            })
        };
        let is_pending = known.values().any(|one| one.is_pending);
        is_pending && !servers.iter().any(has_address)
    }

    fn start(self: &Arc<ServerResolver>, name: String, port: u16) {
        let names = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let mut found = (names.resolve)(&name, port);
            // Sorts the addresses, which stay the same if a nameserver rotates them.
            found.sort();
            found.dedup();
            found.truncate(ADDRESSES_MAX);
            names.found((name, port), found);
        });
    }

    fn found(&self, key: (String, u16), found: Vec<SocketAddr>) {
        let mut known = lock(&self.resolved_names);
        if let Some(one) = known.get_mut(&key) {
            one.is_pending = false;
            // Keeps the old addresses in use if a nameserver does not respond.
            if !found.is_empty() && found != one.addresses {
                let shown: Vec<String> = found.iter().map(SocketAddr::to_string).collect();
                let (section, name, shown) = (&self.section, &key.0, shown.join(", "));
                write_error(&format!(
                    "evenkeel: {section}: LDAP server {name} is now at {shown}\n"
                ));
                one.addresses = found;
            }
        }
        drop(known);
        self.resolved.notify_waiters();
    }

    pub(super) fn servers_without_address(&self) -> Vec<String> {
        let known = lock(&self.resolved_names);
        let without = known.iter().filter(|(_, one)| one.addresses.is_empty());
        without
            .map(|((name, _), _)| {
                format!("LDAP server {name}: the name does not resolve to an address")
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Security;
    use super::*;

    fn server(name: &str, addresses: &[&str]) -> Server {
        Server {
            name: name.to_owned(),
            port: 636,
            addresses: addresses.iter().map(|one| one.parse().unwrap()).collect(),
            security: Security::Tls,
        }
    }

    fn names() -> (Arc<ServerResolver>, Arc<Mutex<Vec<&'static str>>>) {
        let zone: Arc<Mutex<Vec<&str>>> = Arc::default();
        let seen = Arc::clone(&zone);
        let resolve =
            move |_: &str, _: u16| lock(&seen).iter().map(|one| one.parse().unwrap()).collect();
        (
            Arc::new(ServerResolver::new("farm office", Arc::new(resolve))),
            zone,
        )
    }

    fn run<T>(what: impl Future<Output = T>) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(what)
    }

    #[test]
    fn name_without_an_address_at_the_load_is_resolved_later() {
        let (names, zone) = names();
        let servers = [server("dc1.example.org", &[])];
        run(async {
            assert_eq!(names.servers(&servers, false).await, servers);
            assert_eq!(names.servers_without_address().len(), 1);
            // Simulates that the nameserver has started and that the pause before another attempt
            // is over.
            *lock(&zone) = vec!["192.0.2.2:636", "192.0.2.1:636", "192.0.2.1:636"];
            lock(&names.resolved_names)
                .values_mut()
                .for_each(|one| one.tried = None);
            let found = names.servers(&servers, false).await;
            assert_eq!(
                found[0],
                server("dc1.example.org", &["192.0.2.1:636", "192.0.2.2:636"])
            );
            assert!(names.servers_without_address().is_empty());
        });
    }

    #[test]
    fn server_that_moves_is_found_and_a_silent_nameserver_changes_nothing() {
        let (names, zone) = names();
        let servers = [
            server("dc1.example.org", &["192.0.2.1:636"]),
            server("192.0.2.9", &["192.0.2.9:636"]),
        ];
        let make_old = || {
            let age = Instant::now().checked_sub(PAUSE).unwrap();
            lock(&names.resolved_names)
                .values_mut()
                .for_each(|one| one.tried = Some(age));
        };
        run(async {
            let ask = async |has_none| {
                names.servers(&servers, has_none).await;
                // Waits until all resolutions have ended.
                while lock(&names.resolved_names)
                    .values()
                    .any(|one| one.is_pending)
                {
                    tokio::task::yield_now().await;
                }
                let found = names.servers(&servers, false).await;
                assert_eq!(found[1], servers[1]);
                found[0].addresses[0].to_string()
            };
            *lock(&zone) = vec!["192.0.2.7:636"];
            assert_eq!(ask(false).await, "192.0.2.1:636");
            make_old();
            assert_eq!(ask(false).await, "192.0.2.1:636");
            // Resolves the name earlier, because no server responds.
            assert_eq!(ask(true).await, "192.0.2.7:636");
            lock(&zone).clear();
            make_old();
            assert_eq!(ask(true).await, "192.0.2.7:636");
            // After a reload with other addresses of the server, these are used.
            let reloaded = [server("dc1.example.org", &["192.0.2.3:636"])];
            let found = names.servers(&reloaded, false).await;
            assert_eq!(found, reloaded);
        });
    }
}
