//! What pages ask of the proxy's runtime API beyond a look: on a thread of its own, so that a large
//! reply holds up neither a look nor an action.

use super::operate::Operate;
use crate::inquiry::Ask;
use crate::shared::Reading;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Questions that wait for their connections.
const WAITING_MAX: usize = 16;
/// How long an answer of the runtime API may take, and one of a process that evaluates a request.
const LIMIT: Duration = Duration::from_secs(3);
const ROUTE_LIMIT: Duration = Duration::from_secs(7);

/// The thread, and what is not with it yet.
pub(super) struct Reads {
    operate: Operate,
    /// For requests that are evaluated, which takes longer.
    routes: Operate,
    /// By the numbers of the questions for their connections.
    waiting: BTreeMap<u64, (UnixStream, Reading)>,
}

impl Reads {
    /// Starts it.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn start() -> io::Result<Reads> {
        Ok(Reads {
            operate: Operate::start("console/read", LIMIT)?,
            routes: Operate::start("console/route", ROUTE_LIMIT)?,
            waiting: BTreeMap::new(),
        })
    }

    /// Waits for a connection; None: there is no way to get one.
    pub(super) fn wait(&mut self, reading: Reading, connection: Option<(u64, UnixStream)>) {
        // Who does not wait any more needs no answer.
        self.waiting.retain(|_, (_, one)| !one.reply.is_closed());
        match connection {
            Some((number, own)) if self.waiting.len() < WAITING_MAX => {
                self.waiting.insert(number, (own, reading));
            }
            Some(_) => refuse(reading, "too much is asked at once: try again"),
            None => refuse(reading, "there is no connection to the proxy"),
        }
    }

    /// A connection is there, or why there is none. False: this number is somebody else's.
    pub(super) fn connected(&mut self, number: u64, missing: Option<&str>) -> bool {
        let Some((connection, reading)) = self.waiting.remove(&number) else {
            return false;
        };
        if let Some(words) = missing {
            refuse(reading, words);
            return true;
        }
        let Reading { ask, reply } = reading;
        let then = move |answer| {
            // Who asked may have gone.
            let _ = reply.send(answer);
        };
        let thread = match ask {
            Ask::Route(_) | Ask::Files => &self.routes,
            Ask::Requests { .. } | Ask::Request { .. } | Ask::Table { .. } | Ask::Metrics => {
                &self.operate
            }
        };
        thread.send(connection, ask.command(), ask.bytes_max(), then);
        true
    }
}

fn refuse(reading: Reading, words: &str) {
    // Who asked may have gone.
    let _ = reading.reply.send(Err(words.to_owned()));
}
