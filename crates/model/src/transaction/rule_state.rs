//! Records the effects of rules on a stream so far, and the rule at which evaluation continues.

use super::Overrides;
use super::assigned::Assigned;
use crate::compiled::LineState;
use crate::password::Checked;
use crate::sample::Variables;
use crate::tables::Trackers;
use std::cell::OnceCell;

/// Rule lists of a request, and of a response, in the order of evaluation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum List {
    Content,
    Block,
    Request,
    /// Line rules of a request (`reqrep` and similar ones).
    Lines,
    Redirects,
    /// Response rules of the backend.
    Backend,
    /// Response rules of the frontend.
    Frontend,
}

/// Rule at which the evaluation for a message continues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resume {
    pub list: List,
    pub rule: u32,
}

impl List {
    pub fn at(self, rule: u32) -> Resume {
        Resume { list: self, rule }
    }

    /// Returns the first rule of this list to evaluate for a message that continues at `resume`.
    /// Returns None if the list is finished.
    pub fn from(self, resume: Option<Resume>) -> Option<u32> {
        match resume {
            Some(resume) if resume.list > self => None,
            Some(resume) if resume.list == self => Some(resume.rule),
            Some(_) | None => Some(0),
        }
    }
}

/// Effects of rules on a stream so far.
#[derive(Debug, Default)]
pub struct RuleState {
    /// Position at which the evaluation continues after a wait; None starts at the beginning.
    pub resume: Option<Resume>,
    /// Failed rewrites are ignored (`strict-mode off`).
    pub lenient: bool,
    /// Variables of the scopes `txn`, `req`, `res`.
    pub variables: Variables,
    /// Assignments of converters that were not applied yet.
    pub assigned: Assigned,
    pub overrides: Option<Box<Overrides>>,
    pub tracked: Option<Box<Trackers>>,
    pub lines: Option<Box<LineState>>,
    /// Verified passwords of the stream's users; empty until a rule requests one.
    pub checked_users: OnceCell<Box<Checked>>,
}

impl RuleState {
    /// Clears the effects of rules for the next stream and keeps the allocated memory.
    pub(super) fn renew(&mut self) {
        let RuleState {
            resume,
            lenient,
            variables,
            assigned,
            overrides,
            tracked,
            lines,
            checked_users,
        } = self;
        (*resume, *lenient) = (None, false);
        variables.clear();
        *assigned = Assigned::default();
        (*overrides, *tracked, *lines) = (None, None, None);
        if checked_users.get().is_some() {
            *checked_users = OnceCell::new();
        }
    }
}
