//! Finished requests, as `show requests json` and `show request json` show them.

use serde::Deserialize;

/// Some of them, the newest first.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Requests {
    /// The requests.
    pub requests: Vec<Request>,
    /// When the oldest one ended that is kept.
    pub oldest: Option<String>,
}

/// A request, or a TCP session. Texts are as the proxy escapes them.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Request {
    /// Its number.
    pub id: String,
    /// When it ended.
    pub ended: String,
    /// Address and port.
    pub client: String,
    /// How it ended, in four letters, and what they mean.
    pub termination: String,
    /// The same in words.
    pub meaning: Vec<String>,
    /// Status of the response.
    pub status: Option<u16>,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to it.
    pub bytes_out: u64,
    /// Where the time went.
    pub timers: Timers,
    /// Where it came from.
    #[serde(flatten)]
    pub line: Line,
    /// Where it went, and why.
    #[serde(flatten)]
    pub course: Course,
    /// Rules that took effect.
    pub rules: Vec<Rule>,
    /// And how many more.
    pub rules_left_out: u64,
    /// Servers that failed it.
    pub failed_tries: Vec<Try>,
}

/// What was asked for.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Line {
    /// `http` or `tcp`.
    pub mode: String,
    /// Its id in logs.
    pub unique_id: Option<String>,
    /// The method.
    pub method: Option<String>,
    /// The host.
    pub host: Option<String>,
    /// The path, without a query.
    pub path: Option<String>,
}

/// Who took it.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Course {
    /// The frontend.
    pub frontend: Option<String>,
    /// The backend.
    pub backend: Option<String>,
    /// What chose it.
    pub backend_by: Option<String>,
    /// The server.
    pub server: Option<String>,
    /// What chose it.
    pub server_by: Option<String>,
    /// Status of the server's own response.
    pub server_status: Option<u16>,
    /// Whether the response came from the cache.
    pub cached: bool,
    /// The page of the proxy's own that was the response.
    pub page: Option<String>,
    /// Tries beyond the first.
    pub retries: u64,
    /// Requests before it in the queue of the server.
    pub server_queue: u64,
    /// And in that of the backend.
    pub backend_queue: u64,
}

/// Durations, milliseconds; None: it did not come so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Timers {
    /// Until the request was whole.
    #[serde(rename = "TR")]
    pub request: Option<u64>,
    /// In queues.
    #[serde(rename = "Tw")]
    pub queue: Option<u64>,
    /// Until there was a connection.
    #[serde(rename = "Tc")]
    pub connect: Option<u64>,
    /// Until the response began.
    #[serde(rename = "Tr")]
    pub response: Option<u64>,
    /// All of it.
    #[serde(rename = "Ta")]
    pub active: Option<u64>,
}

/// A rule that took effect.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Rule {
    /// Its file.
    pub file: Option<String>,
    /// And its line there.
    pub line: Option<u64>,
    /// Its first words.
    pub rule: String,
    /// What stands in the line, in the configuration that served the request.
    pub text: Option<String>,
    /// Whether it ended the rules.
    pub ends: bool,
}

/// A server that failed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Try {
    /// The server.
    pub server: String,
    /// When, milliseconds after the first byte.
    pub after_ms: u64,
    /// How.
    pub failure: String,
}

impl Request {
    /// Each step that was reached with its duration, in their order. What remains of all of it is that of the
    /// data; of a step that has not ended, where the request failed; or of the proxy, which replied itself.
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

    /// Whether it failed, as the filter `outcome failed` means it.
    pub fn has_failed(&self) -> bool {
        self.status.is_some_and(|status| status / 100 == 5)
            || self.termination.starts_with(|c| "CcSsRIDUK".contains(c))
    }
}
