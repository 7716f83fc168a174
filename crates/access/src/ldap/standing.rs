//! Which servers of a directory answer. One that did not is asked last for a while: of all who sign in meanwhile only
//! one waits for it.

use super::Server;
use part::lock;
use part::voice::write_error;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a server that did not answer is asked last.
const LAST_FOR: Duration = Duration::from_secs(30);

/// Which servers of a directory answer.
#[derive(Debug)]
pub struct Standing {
    /// What the log calls the section.
    name: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    silent: BTreeMap<SocketAddr, Silent>,
    /// When none of them answered.
    none: Option<Instant>,
}

/// A server that did not answer.
#[derive(Debug)]
struct Silent {
    /// When it is asked in its turn again.
    again: Instant,
    /// It, and why.
    words: String,
}

impl Standing {
    /// Of the directory of a section, which the log calls so.
    pub fn new(name: &str) -> Standing {
        Standing {
            name: name.to_owned(),
            state: Mutex::default(),
        }
    }

    /// The servers as they are asked now. One that did not answer has its turn again after a while, and who asks then
    /// is the only one for the next while.
    pub(super) fn order<'s>(
        &self,
        servers: &'s [Server],
        now: Instant,
    ) -> Vec<(&'s Server, SocketAddr)> {
        let all = servers.iter();
        let all = all.flat_map(|one| one.addresses.iter().map(move |address| (one, *address)));
        let mut all: Vec<(&Server, SocketAddr)> = all.collect();
        let mut state = lock(&self.state);
        let is_of = |address: &SocketAddr| all.iter().any(|(_, one)| one == address);
        state.silent.retain(|address, _| is_of(address));
        all.sort_by_key(|(_, address)| {
            let silent = state.silent.get(address);
            silent.is_some_and(|silent| now < silent.again)
        });
        let due = state.silent.values_mut();
        let due = due.filter(|silent| silent.again <= now);
        due.for_each(|silent| silent.again = now + LAST_FOR);
        all
    }

    /// A server did not answer.
    pub(super) fn is_silent(&self, (server, address): (&Server, SocketAddr), why: &str) {
        let silent = Silent {
            again: Instant::now() + LAST_FOR,
            words: format!("LDAP server {} ({address}): {why}", server.name),
        };
        let words = silent.words.clone();
        if lock(&self.state).silent.insert(address, silent).is_none() {
            self.log(&format!("{words}; it is asked last until it answers again"));
        }
    }

    /// A server has answered.
    pub(super) fn answers(&self, (server, address): (&Server, SocketAddr)) {
        if lock(&self.state).silent.remove(&address).is_some() {
            let name = &server.name;
            self.log(&format!("LDAP server {name} ({address}) answers again"));
        }
    }

    /// None of the servers answered.
    pub(super) fn has_none(&self) {
        lock(&self.state).none = Some(Instant::now());
    }

    /// Whether none of the servers answered somebody who asked since then.
    pub fn had_none_since(&self, then: Instant) -> bool {
        lock(&self.state).none.is_some_and(|none| then <= none)
    }

    /// The servers that did not answer when they were asked last, and why.
    pub fn troubles(&self) -> Vec<String> {
        let state = lock(&self.state);
        let all = state.silent.values();
        all.map(|silent| silent.words.clone()).collect()
    }

    /// Writes a line.
    pub(crate) fn log(&self, words: &str) {
        write_error(&format!("evenkeel: {}: {words}\n", self.name));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Security;
    use super::*;

    fn server(name: &str, last: u8) -> Server {
        Server {
            name: name.to_owned(),
            addresses: vec![SocketAddr::from(([192, 0, 2, last], 636))],
            security: Security::Tls,
        }
    }

    #[test]
    fn a_server_that_did_not_answer_is_asked_last_and_tried_by_one_at_a_time() {
        let standing = Standing::new("farm office");
        let servers = [server("dc1", 1), server("dc2", 2), server("dc3", 3)];
        let names = |now| {
            let all = standing.order(&servers, now);
            all.iter()
                .map(|(one, _)| one.name.clone())
                .collect::<Vec<_>>()
        };
        let begun = Instant::now();
        assert_eq!(names(begun), ["dc1", "dc2", "dc3"]);
        let first = (&servers[0], servers[0].addresses[0]);
        standing.is_silent(first, "no answer within 2 s");
        assert_eq!(names(begun), ["dc2", "dc3", "dc1"]);
        assert_eq!(
            standing.troubles(),
            ["LDAP server dc1 (192.0.2.1:636): no answer within 2 s"]
        );
        // Of two who come later only the first one waits for it.
        let later = Instant::now() + LAST_FOR;
        assert_eq!(names(later), ["dc1", "dc2", "dc3"]);
        assert_eq!(names(later), ["dc2", "dc3", "dc1"]);
        standing.answers(first);
        assert_eq!(names(later), ["dc1", "dc2", "dc3"]);
        assert_eq!(standing.troubles(), [""; 0]);
    }

    #[test]
    fn a_server_that_a_reload_removed_is_no_trouble() {
        let standing = Standing::new("farm office");
        let servers = [server("dc1", 1), server("dc2", 2)];
        standing.is_silent((&servers[0], servers[0].addresses[0]), "refused");
        standing.order(&servers[1..], Instant::now());
        assert_eq!(standing.troubles(), [""; 0]);
    }
}
