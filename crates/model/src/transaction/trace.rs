//! What was decided of the streams of one session, in order: which conditions were met and what
//! they compared, which rules took effect, where the request went. Kept only for a session that
//! somebody asks about; all others pay for one look whether there is one.

use super::Session;
use language::Span;
use std::sync::{Arc, Mutex, PoisonError};

/// Steps of one session that are kept; more are counted, but for those that decide.
const STEPS_MAX: usize = 10_000;
/// Values of one term that are kept, and the bytes of each.
const VALUES_MAX: usize = 8;
const VALUE_BYTES_MAX: usize = 160;

/// What was decided, in order.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Trace {
    /// The first steps.
    pub steps: Vec<Step>,
    /// How many more there were.
    pub left_out: usize,
}

/// One decision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// A condition was evaluated.
    Condition {
        /// Where it stands, from its `if`.
        span: Span,
        /// Whether it was met; None: more bytes may still change that.
        met: Option<bool>,
        /// The terms that were evaluated, until one decided.
        terms: Vec<Term>,
    },
    /// A rule took effect.
    Rule {
        /// Where its action stands.
        span: Span,
        /// It was the last one of its list.
        ends: bool,
    },
    /// A backend was chosen.
    Backend {
        /// Its name.
        name: Box<str>,
        /// By which line; None: the proxy is its own backend.
        by: Option<Span>,
        /// What becomes of that.
        fate: Fate,
    },
    /// The proxy replies by itself, by no rule.
    Page(&'static str),
    /// The request belongs to a server.
    Belongs {
        /// Its name.
        name: Box<str>,
        /// By what.
        by: Tie,
    },
    /// The server was chosen: that one if it can take the request, otherwise by `balance`.
    Server {
        /// Its name.
        name: Box<str>,
        /// `balance` goes by a key of the request, which it has not.
        lacks_key: bool,
    },
    /// It waits for a slot: of its server, or of any.
    Waits {
        /// It waits for one server.
        for_one: bool,
    },
    /// Where a connection to the server would go; None: its address cannot be made.
    Address(Option<String>),
}

/// What becomes of the choice of a backend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// The stream goes there.
    Taken,
    /// There is no such backend: the next line is evaluated.
    Unknown,
    /// It is disabled.
    Disabled,
}

/// By what a stream belongs to a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tie {
    /// A `use-server` rule.
    Rule,
    /// The persistence cookie.
    Cookie,
    /// An entry of a stick table.
    Table,
    /// The cookie of a remote desktop client.
    RdpCookie,
    /// The session of an application.
    Application,
    /// `dispatch`, or `option transparent`.
    Dispatch,
}

impl Tie {
    /// What it is, in words.
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
    /// The name of its ACL; empty where it stands in braces.
    pub name: Box<str>,
    /// Where that stands.
    pub span: Span,
    /// With a `!`.
    pub negated: bool,
    /// Whether the ACL was met, before the `!`; None: more bytes may still change that.
    pub met: Option<bool>,
    /// The first values that were compared, of all its tests.
    pub values: Vec<String>,
}

impl Term {
    /// A term that is being evaluated.
    pub(crate) fn new(name: &str, span: Span, negated: bool) -> Term {
        Term {
            name: name.into(),
            span,
            negated,
            met: None,
            values: Vec::new(),
        }
    }

    /// A value is compared.
    pub(crate) fn compare(&mut self, text: &[u8]) {
        if self.values.len() < VALUES_MAX {
            let shown = text.get(..VALUE_BYTES_MAX).unwrap_or(text);
            self.values
                .push(String::from_utf8_lossy(shown).into_owned());
        }
    }
}

impl Session {
    /// Keeps what is decided of its streams there from now on. They reach no server.
    pub fn trace(&self, into: Arc<Mutex<Trace>>) {
        // The first one counts.
        let _ = self.details().trace.set(into);
    }

    /// Whether that is kept.
    #[inline]
    pub fn is_traced(&self) -> bool {
        { self.details.get() }.is_some_and(|details| details.trace.get().is_some())
    }

    /// Adds a step, where they are kept.
    pub fn note(&self, step: impl FnOnce() -> Step) {
        let Some(trace) = { self.details.get() }.and_then(|details| details.trace.get()) else {
            return;
        };
        let step = step();
        let mut trace = trace.lock().unwrap_or_else(PoisonError::into_inner);
        // What decides is always kept.
        let decides = !matches!(
            step,
            Step::Condition { .. } | Step::Rule { ends: false, .. }
        );
        match decides || trace.steps.len() < STEPS_MAX {
            true => trace.steps.push(step),
            false => trace.left_out += 1,
        }
    }
}
