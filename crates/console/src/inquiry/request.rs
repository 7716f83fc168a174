//! Decodes finished HTTP requests and TCP sessions from the output of `show requests json` and
//! `show request json`.

use serde::Deserialize;

#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct FinishedRequests {
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
    pub client: String,
    /// Termination state: the code of four letters in the log.
    pub termination: String,
    pub meaning: Vec<String>,
    pub status: Option<u16>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub timers: RequestTimers,
    #[serde(flatten)]
    pub line: RequestLine,
    #[serde(flatten)]
    pub course: RequestPath,
    pub rules: Vec<AppliedRule>,
    pub rules_left_out: u64,
    pub failed_tries: Vec<FailedAttempt>,
}

#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RequestLine {
    /// Mode of the proxy: `http` or `tcp`.
    pub mode: String,
    pub unique_id: Option<String>,
    pub method: Option<String>,
    /// Host without the rest of the URL.
    pub host: Option<String>,
    /// Path without the query string.
    pub path: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RequestPath {
    pub frontend: Option<String>,
    pub backend: Option<String>,
    pub backend_by: Option<String>,
    pub server: Option<String>,
    pub server_by: Option<String>,
    pub server_status: Option<u16>,
    pub cached: bool,
    pub page: Option<String>,
    pub retries: u64,
    pub server_queue: u64,
    pub backend_queue: u64,
}

/// Durations of the phases, milliseconds. None if the request did not reach the phase.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RequestTimers {
    #[serde(rename = "TR")]
    pub request: Option<u64>,
    #[serde(rename = "Tw")]
    pub queue: Option<u64>,
    #[serde(rename = "Tc")]
    pub connect: Option<u64>,
    #[serde(rename = "Tr")]
    pub response: Option<u64>,
    #[serde(rename = "Ta")]
    pub active: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AppliedRule {
    pub file: Option<String>,
    pub line: Option<u64>,
    pub rule: String,
    /// Text of the configuration line that served the request.
    pub text: Option<String>,
    pub ends: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct FailedAttempt {
    pub server: String,
    /// Time from the first byte of the request to the failure, milliseconds.
    pub after_ms: u64,
    pub failure: String,
}

impl FinishedRequest {
    /// Returns each phase that was reached with its duration, in order. The rest of the total time
    /// is counted for the data transfer, for the phase in which the request failed, or for the
    /// proxy itself if it replied.
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
