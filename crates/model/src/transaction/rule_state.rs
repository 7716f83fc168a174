//! What rules have done to a stream so far, and where they go on.

use super::Overrides;
use super::assigned::Assigned;
use crate::compiled::LineState;
use crate::password::Checked;
use crate::sample::Variables;
use crate::tables::Trackers;
use std::cell::OnceCell;

/// The lists of rules of a request, and of a response, in the order in which they are
/// asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum List {
    /// `tcp-request content`.
    Content,
    /// `block`.
    Block,
    /// `http-request`.
    Request,
    /// The rules about lines of a request (`reqrep` and similar ones).
    Lines,
    /// `redirect`.
    Redirects,
    /// The backend's rules of a response.
    Backend,
    /// The frontend's.
    Frontend,
}

/// A rule at which the rules of a message go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resume {
    /// Its list.
    pub list: List,
    /// Its number there.
    pub rule: u32,
}

impl List {
    /// A rule of this list.
    pub fn at(self, rule: u32) -> Resume {
        Resume { list: self, rule }
    }

    /// The rule of this list with which a message begins that goes on at `resume`. None:
    /// the list is over.
    pub fn from(self, resume: Option<Resume>) -> Option<u32> {
        match resume {
            Some(resume) if resume.list > self => None,
            Some(resume) if resume.list == self => Some(resume.rule),
            Some(_) | None => Some(0),
        }
    }
}

/// What rules have done to a stream so far.
#[derive(Debug, Default)]
pub struct RuleState {
    /// Where the rules of a message go on once what they wait for is there; None: at
    /// their beginning.
    pub resume: Option<Resume>,
    /// Failed rewrites are ignored (`strict-mode off`).
    pub lenient: bool,
    /// Variables of the scopes `txn`, `req`, `res`.
    pub variables: Variables,
    /// What converters changed and is not made yet.
    pub assigned: Assigned,
    /// What rules set for it in place of what its proxies say.
    pub overrides: Option<Box<Overrides>>,
    /// Entries of tables that it tracks.
    pub tracked: Option<Box<Trackers>>,
    /// State of the rules about lines (`reqrep` and similar ones).
    pub lines: Option<Box<LineState>>,
    /// What is known of its user's password; empty where no rule asked.
    pub checked_users: OnceCell<Box<Checked>>,
}

impl RuleState {
    /// Forgets everything and keeps the memory.
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
