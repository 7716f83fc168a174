//! Records, for a session that an operator traces, the decisions on its streams in order:
//! conditions with the values that they compared, rules that took effect, and the choice of
//! backend and server. All other sessions only pay for a check whether a trace exists.

use super::Session;
use language::Span;
use std::sync::{Arc, Mutex, PoisonError};

/// Maximum number of recorded steps of a session. Further steps are only counted, except for those
/// that decide.
const STEPS_MAX: usize = 10_000;
/// Maximum number of recorded values of a term.
const VALUES_MAX: usize = 8;
/// Maximum length of a recorded value, bytes.
const VALUE_BYTES_MAX: usize = 160;

#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Trace {
    pub steps: Vec<TraceStep>,
    /// Number of steps that were not recorded.
    pub left_out: usize,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TraceStep {
    Condition {
        /// Position of the condition, from its `if`.
        span: Span,
        /// Result; None if more bytes may change it.
        met: Option<bool>,
        /// The evaluated terms, up to the one that decided.
        terms: Vec<Term>,
    },
    Rule {
        span: Span,
        /// The rule ended the evaluation of its list.
        ends: bool,
    },
    Backend {
        name: Box<str>,
        /// Position of the line that chose it; None if the proxy is its own backend.
        by: Option<Span>,
        fate: Fate,
    },
    /// The proxy itself generates the response, without a rule.
    Page(&'static str),
    /// Persistence assigns the request to a server.
    Belongs { name: Box<str>, by: Tie },
    /// The server was chosen: the persistent one if it can take the request, otherwise by
    /// `balance`.
    Server {
        name: Box<str>,
        /// The `balance` algorithm needs a key that the request lacks.
        lacks_key: bool,
    },
    /// The stream waits for a slot of its server or of any server.
    Waits {
        /// The stream waits for one particular server.
        for_one: bool,
    },
    /// Address of the connection to the server; None if it cannot be determined.
    Address(Option<String>),
}

/// Result of the choice of a backend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// The stream uses the backend.
    Taken,
    /// The backend does not exist: the next line is evaluated.
    Unknown,
    Disabled,
}

/// Kind of persistence that assigns a stream to a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tie {
    Rule,
    Cookie,
    Table,
    /// The cookie of a remote desktop client.
    RdpCookie,
    /// The session of an application.
    Application,
    /// A `dispatch` or `option transparent` line.
    Dispatch,
}

impl Tie {
    /// Returns the description of the kind of persistence, for operators.
    pub fn words(self) -> &'static str {
        match self {
            Tie::Rule => "a use-server rule",
            Tie::Cookie => "its persistence cookie",
            Tie::Table => "its entry in the stick table",
            Tie::RdpCookie => "its RDP cookie",
            Tie::Application => "its application session",
            Tie::Dispatch => "dispatch or transparent mode",
        }
    }
}

/// A term of a condition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Term {
    /// Name of the ACL; empty for an anonymous one in braces.
    pub name: Box<str>,
    /// Position of the name or the braces.
    pub span: Span,
    /// The term begins with `!`.
    pub negated: bool,
    /// Result of the ACL before the `!`; None if more bytes may change it.
    pub met: Option<bool>,
    /// The first values that its tests compared.
    pub values: Vec<String>,
}

impl Term {
    pub(crate) fn new(name: &str, span: Span, negated: bool) -> Term {
        Term {
            name: name.into(),
            span,
            negated,
            met: None,
            values: Vec::new(),
        }
    }

    pub(crate) fn compare(&mut self, text: &[u8]) {
        if self.values.len() < VALUES_MAX {
            let shown = text.get(..VALUE_BYTES_MAX).unwrap_or(text);
            self.values
                .push(String::from_utf8_lossy(shown).into_owned());
        }
    }
}

impl Session {
    /// Records the decisions on the session's streams in `into` from now on. Its streams do not
    /// connect to a server.
    pub fn trace(&self, into: Arc<Mutex<Trace>>) {
        // Ignores a second trace of the same session.
        let _ = self.details().trace.set(into);
    }

    #[inline]
    pub fn is_traced(&self) -> bool {
        self.details
            .get()
            .is_some_and(|details| details.trace.get().is_some())
    }

    /// Records a step if the session is traced.
    pub fn note(&self, step: impl FnOnce() -> TraceStep) {
        let Some(trace) = self.details.get().and_then(|details| details.trace.get()) else {
            return;
        };
        let step = step();
        let mut trace = trace.lock().unwrap_or_else(PoisonError::into_inner);
        // Steps that decide are recorded even beyond the limit.
        let decides = !matches!(
            step,
            TraceStep::Condition { .. } | TraceStep::Rule { ends: false, .. }
        );
        if decides || trace.steps.len() < STEPS_MAX {
            trace.steps.push(step)
        } else {
            trace.left_out += 1
        }
    }
}
