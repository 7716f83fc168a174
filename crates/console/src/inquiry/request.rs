//! Finished requests, in the format of `show requests json` and `show request json`.

use serde::Deserialize;

/// Finished requests, the newest first.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct FinishedRequests {
    /// The requests that match the filter.
    pub requests: Vec<FinishedRequest>,
    /// End time of the oldest request that the proxy keeps.
    pub oldest: Option<String>,
}

/// A finished request, or a TCP session. Texts are as the proxy escapes them.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct FinishedRequest {
    pub id: String,
    pub ended: String,
    /// Address and port of the client.
    pub client: String,
    /// Termination state: the code of four letters in the log.
    pub termination: String,
    /// Meaning of each letter of the termination state.
    pub meaning: Vec<String>,
    /// Status code of the response. None if there was no response.
    pub status: Option<u16>,
    /// Bytes received from the client.
    pub bytes_in: u64,
    /// Bytes sent to the client.
    pub bytes_out: u64,
    pub timers: RequestTimers,
    /// The request line and its identification.
    #[serde(flatten)]
    pub line: RequestLine,
    /// The frontend, backend and server of the request, with the rules that chose them.
    #[serde(flatten)]
    pub course: RequestPath,
    pub rules: Vec<AppliedRule>,
    /// Number of further rules that are not listed.
    pub rules_left_out: u64,
    /// Attempts at servers that failed.
    pub failed_tries: Vec<FailedAttempt>,
}

/// The request line and its identification.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RequestLine {
    /// `http` or `tcp`.
    pub mode: String,
    /// Value of `unique-id-format`, as in the logs.
    pub unique_id: Option<String>,
    pub method: Option<String>,
    /// Host without the rest of the URL.
    pub host: Option<String>,
    /// Path without the query string.
    pub path: Option<String>,
}

/// The path of a request through the proxy.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RequestPath {
    pub frontend: Option<String>,
    pub backend: Option<String>,
    /// Rule or setting that chose the backend.
    pub backend_by: Option<String>,
    pub server: Option<String>,
    /// Rule or setting that chose the server.
    pub server_by: Option<String>,
    /// Status code of the server's own response.
    pub server_status: Option<u16>,
    /// True if the response came from the cache.
    pub cached: bool,
    /// Page of the proxy itself that was the response, if any.
    pub page: Option<String>,
    /// Number of attempts after the first.
    pub retries: u64,
    /// Requests ahead of this one in the queue of the server.
    pub server_queue: u64,
    /// Requests ahead of this one in the queue of the backend.
    pub backend_queue: u64,
}

/// Durations of the phases, milliseconds. None if the request did not reach the phase.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RequestTimers {
    /// Time until the request was complete.
    #[serde(rename = "TR")]
    pub request: Option<u64>,
    #[serde(rename = "Tw")]
    pub queue: Option<u64>,
    /// Time until the connection to the server was established.
    #[serde(rename = "Tc")]
    pub connect: Option<u64>,
    /// Time until the response began.
    #[serde(rename = "Tr")]
    pub response: Option<u64>,
    /// Total active time of the request.
    #[serde(rename = "Ta")]
    pub active: Option<u64>,
}

/// A rule that took effect.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AppliedRule {
    /// Configuration file of the rule.
    pub file: Option<String>,
    /// Line number in the file.
    pub line: Option<u64>,
    /// First words of the rule.
    pub rule: String,
    /// Text of the line in the configuration that served the request.
    pub text: Option<String>,
    /// True if no later rule was evaluated.
    pub ends: bool,
}

/// An attempt at a server that failed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct FailedAttempt {
    pub server: String,
    /// Time of the failure after the first byte, milliseconds.
    pub after_ms: u64,
    pub failure: String,
}

impl FinishedRequest {
    /// Returns each phase that was reached with its duration, in order. The rest of the total time
    /// is the data transfer; or a phase that has not ended, where the request failed; or the proxy
    /// itself, where it replied.
    pub fn steps(&self) -> Vec<(&'static str, u64)> {
        let timers = &self.timers;
        let steps = [
            ("request", timers.request),
            ("queue", timers.queue),
            ("connect", timers.connect),
            ("response", timers.response),
        ];
        let ended = steps.iter().map_while(|(name, ms)| Some((*name, (*ms)?)));
        let mut all: Vec<(&str, u64)> = ended.collect();
        let sum = all
            .iter()
            .fold(0_u64, |sum, (_, ms)| sum.saturating_add(*ms));
        let rest = timers.active.unwrap_or_default().saturating_sub(sum);
        let last = match (steps.get(all.len()), self.termination.chars().nth(1)) {
            (None, _) => "data",
            (Some(("queue", _)), Some('Q')) => "queue",
            (Some(("connect", _)), Some('C' | 'Q')) => "connect",
            (Some(("response", _)), Some('H')) => "response",
            (Some(("request", _)), _) => "request",
            (Some(_), _) => "proxy",
        };
        all.push((last, rest));
        all
    }

    /// Returns whether the request failed, as defined by the filter `outcome failed`.
    pub fn has_failed(&self) -> bool {
        self.status.is_some_and(|status| status / 100 == 5)
            || self.termination.starts_with(|c| "CcSsRIDUK".contains(c))
    }
}
