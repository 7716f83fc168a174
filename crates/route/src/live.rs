//! Describes the state of a running instance that affected the result of a request: servers with
//! their status and sessions, and notes about limits and missing table entries.

use model::config::{Config, Proxy, Server};
use model::state::now_ms;
use part::report::span;
use proxy::carry::{LeftOut, QueuedRequests};
use serde_json::{Value, json};
use std::sync::atomic::Ordering::Relaxed;

const NOTES_MAX: usize = 8;

/// State of the running instance with which a request was evaluated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Live {
    /// Instance: its process ID, program and files.
    pub instance: String,
    /// Time at which the instance sent its state, in UTC.
    pub at: String,
    pub servers: Vec<LiveServer>,
    /// Messages about other facts that decide, and about facts that are unknown.
    pub notes: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveServer {
    pub name: String,
    pub status: String,
    /// Milliseconds since the status last changed.
    pub since_ms: u64,
    /// Result of the last health check; empty without a check, and while the server is up.
    pub check: String,
    pub sessions: u32,
    /// Limit of sessions; 0 means none.
    pub limit: u32,
    pub waiting: u32,
    pub weight: u32,
}

impl Live {
    pub fn new(
        config: &Config,
        frontend: &Proxy,
        backend: Option<&str>,
        left_out: &LeftOut,
    ) -> Live {
        let backend = backend.and_then(|name| config.backend(name));
        let backend = backend.map(|at| config.proxy(at));
        let waits = |name: &str, server: Option<&str>| {
            let is_it =
                |one: &&QueuedRequests| one.backend == name && one.server.as_deref() == server;
            left_out
                .waiting
                .iter()
                .find(is_it)
                .map_or(0, |one| one.count)
        };
        let servers = backend.map(|backend| {
            let of = |one: &Server| LiveServer::new(one, waits(&backend.name, Some(&one.name)));
            backend.servers.iter().map(of).collect()
        });
        let mut notes = Vec::new();
        notes.extend(full(frontend));
        notes.extend(backend.and_then(|backend| {
            let count = waits(&backend.name, None);
            (count > 0).then(|| {
                format!(
                    "{} in the queue of backend {}",
                    waiting(count),
                    backend.name
                )
            })
        }));
        let lists = left_out.lists.iter().map(|(file, entries)| {
            format!("{file} has {entries} entries: its run-time changes are ignored")
        });
        notes.extend(lists.take(NOTES_MAX));
        Live {
            instance: String::new(),
            at: String::new(),
            servers: servers.unwrap_or_default(),
            notes,
        }
    }

    pub fn json(&self) -> Value {
        json!({
            "instance": self.instance,
            "at": self.at,
            "servers": self.servers.iter().map(LiveServer::json).collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }
}

/// Returns a note if a frontend has reached its connection limit, so that new clients have to wait.
fn full(frontend: &Proxy) -> Option<String> {
    let state = &frontend.state.frontend;
    let limit = match state.maxconn_set.load(Relaxed) {
        0 => frontend.maxconn?,
        limit => limit,
    };
    // Counts no connection of this query, which is closed by now.
    let has = state.sessions.current();
    (limit > 0 && has >= limit).then(|| {
        format!(
            "frontend {} has {has} of {limit} connections: a new client waits until one ends",
            frontend.name
        )
    })
}

impl LiveServer {
    fn new(server: &Server, waiting: u32) -> LiveServer {
        let (state, now_ms) = (&server.state, now_ms());
        let report = state.report(now_ms);
        let has_failed = !state.is_up() && report.last_check_ms.is_some();
        LiveServer {
            name: server.name.to_string(),
            status: report.status_text(),
            since_ms: now_ms.saturating_sub(report.last_change_ms),
            check: if has_failed {
                report.last_check.status.code().to_owned()
            } else {
                String::new()
            },
            sessions: state.traffic.sessions.current(),
            limit: state.limit(),
            waiting,
            weight: report.weight,
        }
    }

    pub fn words(&self) -> String {
        let mut words = format!(
            "{} is {} for {}",
            self.name,
            self.status,
            span(self.since_ms)
        );
        if !self.check.is_empty() {
            words += &format!(" ({})", self.check);
        }
        words += &match self.limit {
            0 if self.sessions == 1 => ", 1 session".to_owned(),
            0 => format!(", {} sessions", self.sessions),
            limit => format!(", {} of {limit} sessions", self.sessions),
        };
        if self.waiting > 0 {
            words += &format!(", {} for it", waiting(self.waiting));
        }
        words + &format!(", weight {}", self.weight)
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "status": self.status,
            "since_ms": self.since_ms,
            "check": self.check,
            "sessions": self.sessions,
            "limit": self.limit,
            "waiting": self.waiting,
            "weight": self.weight,
        })
    }
}

fn waiting(number: u32) -> String {
    match number {
        1 => "1 request waits".to_owned(),
        number => format!("{number} requests wait"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_waits_and_several_wait() {
        let words = [1, 2].map(waiting);
        assert_eq!(words, ["1 request waits", "2 requests wait"]);
    }
}
