//! Counts the results of the clients, without judging them.

use std::time::Duration;

/// Maximum number of latencies that are stored for one window.
const LATENCIES_MAX: usize = 4_000_000;
/// Maximum number of failures that are reported individually.
const EXAMPLES_MAX: usize = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestFailure {
    Refused,
    /// The connection was reset before or during the response.
    Reset,
    /// The connection ended before the first byte of the response, and no earlier response had
    /// announced that.
    Closed,
    /// The connection ended during the response.
    Cut,
    /// A status of 500 or more.
    ServerError,
    Status,
    /// A complete response, but not that of the origin.
    WrongBody,
    /// No complete response in time.
    Timeout,
    /// Any other error of a system call.
    System,
}

impl RequestFailure {
    /// All kinds of failures, in the order of the table.
    pub const ALL: [Self; 9] = [
        Self::Refused,
        Self::Reset,
        Self::Closed,
        Self::Cut,
        Self::ServerError,
        Self::Status,
        Self::WrongBody,
        Self::Timeout,
        Self::System,
    ];

    /// Returns the name in tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Closed => "closed before the answer",
            Self::Cut => "cut within the answer",
            Self::ServerError => "5xx",
            Self::Status => "other status",
            Self::WrongBody => "wrong body",
            Self::Timeout => "timeout",
            Self::System => "other",
        }
    }
}

/// Protocol of an echo client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    WebSocket,
    Tunnel,
}

impl Held {
    pub const fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "WebSocket",
            Self::Tunnel => "TCP tunnel",
        }
    }
}

/// A failure as an example; further ones of its kind at the same change are only counted.
#[derive(Debug, Clone)]
pub struct Example {
    /// Time since the load began.
    pub at: Duration,
    /// Number of the last change before the failure.
    pub change: u64,
    pub what: String,
    pub times: u64,
}

/// Counted results of all clients so far.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Number of requests that have ended, including failed ones.
    pub requests: u64,
    failures: [u64; RequestFailure::ALL.len()],
    /// Idle kept-alive connections that the proxy closed unasked and unannounced.
    pub closed_idle: u64,
    /// Kept-alive connections that a response ended with `Connection: close`.
    pub closed_announced: u64,
    websocket_breaks: u64,
    tunnel_breaks: u64,
    /// Bytes that were echoed over WebSocket and tunnel.
    pub echoed_bytes: u64,
    /// Latency of the slowest request, from its due time.
    pub slowest: Duration,
    /// Time of the latest correct response, since the load began.
    pub last_good: Duration,
    latencies_us: Vec<u32>,
    pub examples: Vec<Example>,
}

impl Tally {
    pub fn good(&mut self, at: Duration, latency: Duration, keep_latency: bool) {
        self.requests += 1;
        self.last_good = at;
        self.slowest = self.slowest.max(latency);
        if keep_latency && self.latencies_us.len() < LATENCIES_MAX {
            let us = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
            self.latencies_us.push(us);
        }
    }

    pub fn failed(&mut self, failure: RequestFailure, example: Example) {
        self.requests += 1;
        if let Some(count) = self.failures.get_mut(failure as usize) {
            *count += 1;
        }
        self.tell(example);
    }

    /// Counts a WebSocket or tunnel that broke.
    pub fn broken(&mut self, held: Held, example: Example) {
        match held {
            Held::WebSocket => self.websocket_breaks += 1,
            Held::Tunnel => self.tunnel_breaks += 1,
        }
        self.tell(example);
    }

    /// Counts an idle connection that the proxy closed.
    pub fn idle_end(&mut self, example: Example) {
        self.closed_idle += 1;
        self.tell(example);
    }

    fn tell(&mut self, example: Example) {
        let same = |told: &&mut Example| told.change == example.change && told.what == example.what;
        if let Some(told) = self.examples.iter_mut().find(same) {
            told.times += example.times;
        } else if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example);
        }
    }

    pub fn of(&self, failure: RequestFailure) -> u64 {
        self.failures.get(failure as usize).copied().unwrap_or(0)
    }

    pub fn all_failed(&self) -> u64 {
        self.failures.iter().sum()
    }

    /// Returns how often connections of this kind broke.
    pub fn breaks(&self, held: Held) -> u64 {
        match held {
            Held::WebSocket => self.websocket_breaks,
            Held::Tunnel => self.tunnel_breaks,
        }
    }

    /// Returns the number of connections that the proxy ended without notice.
    pub fn closed(&self) -> u64 {
        self.closed_idle + self.websocket_breaks + self.tunnel_breaks
    }

    /// Returns the latencies stored since the last call in milliseconds.
    pub fn take_latencies_ms(&mut self) -> Vec<f64> {
        std::mem::take(&mut self.latencies_us)
            .into_iter()
            .map(|us| f64::from(us) / 1e3)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Example {
        Example {
            at: Duration::ZERO,
            change: 0,
            what: String::new(),
            times: 1,
        }
    }

    #[test]
    fn every_failure_is_counted_under_its_own_name() {
        let mut tally = Tally::default();
        for (times, failure) in RequestFailure::ALL.into_iter().enumerate() {
            for _ in 0..=times {
                tally.failed(failure, example());
            }
        }
        for (times, failure) in RequestFailure::ALL.into_iter().enumerate() {
            assert_eq!(tally.of(failure), times as u64 + 1, "{}", failure.name());
        }
        assert_eq!(tally.all_failed(), tally.requests);
        assert_eq!(tally.examples.len(), 1);
        assert_eq!(tally.examples[0].times, tally.requests);
    }

    #[test]
    fn latencies_are_of_one_window() {
        let mut tally = Tally::default();
        let ms = Duration::from_millis;
        tally.good(ms(1), ms(2), true);
        tally.good(ms(2), ms(9), false);
        assert_eq!(tally.take_latencies_ms(), [2.0]);
        assert!(tally.take_latencies_ms().is_empty());
        assert_eq!((tally.slowest, tally.last_good), (ms(9), ms(2)));
    }
}
