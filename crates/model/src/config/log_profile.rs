//! `log-profile`: what of a stream is logged at which moment, for the targets that name
//! it; else the lines of its proxy are.

use crate::compiled::Format;
use language::Span;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The moments, as files name them; the latter ones are those of a `do-log` rule.
pub const LOG_STEPS: [&str; 15] = [
    "accept",
    "request",
    "connect",
    "response",
    "close",
    "error",
    "any",
    "quic-init",
    "tcp-req-conn",
    "tcp-req-sess",
    "tcp-req-cont",
    "tcp-res-cont",
    "http-req",
    "http-res",
    "http-after-res",
];

/// A stream that begins.
pub const STEP_ACCEPT: &str = "accept";
/// A request that is there.
pub const STEP_REQUEST: &str = "request";
/// A connection to a server that stands.
pub const STEP_CONNECT: &str = "connect";
/// The end of a stream.
pub const STEP_CLOSE: &str = "close";
/// The end of a stream or connection that failed.
pub const STEP_ERROR: &str = "error";
/// An answer that begins.
pub const STEP_RESPONSE: &str = "response";
/// All that the section does not name.
const STEP_ANY: &str = "any";

/// The moments that `log-steps` knows: a bit each, in this order.
pub const STREAM_STEPS: [&str; 5] = [
    STEP_ACCEPT,
    STEP_REQUEST,
    STEP_CONNECT,
    STEP_RESPONSE,
    STEP_CLOSE,
];

/// What `%OG` calls a moment.
pub fn log_origin(step: &'static str) -> &'static str {
    match step {
        STEP_ACCEPT => "txn_accept",
        STEP_REQUEST => "txn_request",
        STEP_CONNECT => "txn_connect",
        STEP_RESPONSE => "txn_response",
        STEP_CLOSE | STEP_ERROR => "txn_close",
        "" => "unspec",
        rule => rule,
    }
}

/// `log-steps`: the moments at which a frontend logs its streams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogSteps(pub u8);

impl LogSteps {
    /// Whether a moment is among them.
    pub fn has(self, step: &str) -> bool {
        let at = STREAM_STEPS.iter().position(|known| *known == step);
        at.is_some_and(|at| self.0 & 1 << at != 0)
    }
}

/// One `log-profile` section.
#[derive(Clone, Debug)]
pub struct LogProfile {
    /// Its name.
    pub name: Box<str>,
    /// Where that stands.
    pub span: Span,
    /// `log-tag`.
    pub tag: Option<Box<[u8]>>,
    /// `on`, by the names of the moments.
    pub steps: BTreeMap<&'static str, LogStep>,
}

/// One `on` line.
#[derive(Clone, Debug, Default)]
pub struct LogStep {
    /// `drop`: no line.
    pub dropped: bool,
    /// `format`: in place of the proxy's.
    pub format: Option<Arc<Format>>,
    /// `sd`: in place of the proxy's.
    pub structured: Option<Arc<Format>>,
}

/// `profile` of a `log` line.
#[derive(Clone, Debug)]
pub struct ProfileReference {
    /// The name.
    pub name: Box<str>,
    /// Where it stands.
    pub span: Span,
    /// The section, once all are read.
    pub profile: Option<Arc<LogProfile>>,
}

impl LogProfile {
    /// What is said of a moment, or of all.
    pub fn step(&self, name: &str) -> Option<&LogStep> {
        self.steps.get(name).or_else(|| self.steps.get(STEP_ANY))
    }

    /// An alias of one of its formats that only HTTP has.
    pub fn needs_http(&self) -> Option<&'static str> {
        let formats = self.steps.values();
        formats
            .flat_map(|step| [&step.format, &step.structured])
            .flatten()
            .find_map(|format| format.needs_http())
    }
}
