//! Sends the queries of pages to the proxy's runtime API, beyond the regular poll, on threads of
//! their own, so that a large response delays neither a poll nor an action.

use super::operate::RuntimeApiClient;
use crate::inquiry::ProxyQuery;
use crate::shared::LocalProxyQuery;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const WAITING_MAX: usize = 16;
const LIMIT: Duration = Duration::from_secs(3);
const ROUTE_LIMIT: Duration = Duration::from_secs(7);

/// Threads that send queries to the proxy, and the queries whose connection is not ready yet.
pub(super) struct ProxyReaders {
    operate: RuntimeApiClient,
    /// Thread for predictions of a request's path, which take longer.
    routes: RuntimeApiClient,
    /// Queries whose connection is not ready, by the number of the message that requests the
    /// connection.
    waiting: BTreeMap<u64, (UnixStream, LocalProxyQuery)>,
}

impl ProxyReaders {
    /// Starts the threads.
    ///
    /// # Errors
    /// A thread cannot be created.
    pub(super) fn start() -> io::Result<ProxyReaders> {
        Ok(ProxyReaders {
            operate: RuntimeApiClient::start("console/read", LIMIT)?,
            routes: RuntimeApiClient::start("console/route", ROUTE_LIMIT)?,
            waiting: BTreeMap::new(),
        })
    }

    /// Registers a query until its connection is ready. None: no connection can be created.
    pub(super) fn wait(&mut self, reading: LocalProxyQuery, connection: Option<(u64, UnixStream)>) {
        // Drops the queries whose task has ended, which need no response.
        self.waiting.retain(|_, (_, one)| !one.reply.is_closed());
        match connection {
            Some((number, own)) if self.waiting.len() < WAITING_MAX => {
                self.waiting.insert(number, (own, reading));
            }
            Some(_) => refuse(reading, "too many requests are pending: try again"),
            None => refuse(reading, "no connection to the proxy"),
        }
    }

    /// Starts a query whose connection is ready, or reports why there is none. Returns false if the
    /// number belongs to another message.
    pub(super) fn connected(&mut self, number: u64, missing: Option<&str>) -> bool {
        let Some((connection, reading)) = self.waiting.remove(&number) else {
            return false;
        };
        if let Some(words) = missing {
            refuse(reading, words);
            return true;
        }
        let LocalProxyQuery { ask, reply } = reading;
        let then = move |answer| {
            // Ignores an error: the querying task may have ended.
            let _ = reply.send(answer);
        };
        let thread = match ask {
            ProxyQuery::Route(_) | ProxyQuery::Files => &self.routes,
            ProxyQuery::Requests { .. }
            | ProxyQuery::Request { .. }
            | ProxyQuery::Table { .. }
            | ProxyQuery::Metrics => &self.operate,
        };
        thread.send(connection, ask.command(), ask.bytes_max(), then);
        true
    }
}

fn refuse(reading: LocalProxyQuery, words: &str) {
    // Ignores an error: the querying task may have ended.
    let _ = reading.reply.send(Err(words.to_owned()));
}
