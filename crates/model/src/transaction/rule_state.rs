//! What rules have done to a stream so far, and where they go on.

use super::Overrides;
use super::assigned::Assigned;
use crate::compiled::LineState;
use crate::password::Checked;
use crate::sample::Variables;
use crate::tables::Trackers;
use std::cell::OnceCell;

/// What rules have done to a stream so far.
#[derive(Debug, Default)]
pub struct RuleState {
    /// The rule of its list at which rules go on once the body is there.
    pub resume_at: u32,
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
            resume_at,
            lenient,
            variables,
            assigned,
            overrides,
            tracked,
            lines,
            checked_users,
        } = self;
        (*resume_at, *lenient) = (0, false);
        variables.clear();
        *assigned = Assigned::default();
        (*overrides, *tracked, *lines) = (None, None, None);
        if checked_users.get().is_some() {
            *checked_users = OnceCell::new();
        }
    }
}
