//! Records changes that converters make to a stream (`set-var`, `capture-req`). Expressions have
//! only shared access to the stream, so their changes are recorded separately, are visible to
//! variable lookups at once, and are applied before the next rule.

use super::{ProxyStream, set_variable, unset_variable};
use crate::sample::{Sample, Scope, VariableName};
use std::cell::Cell;
use std::fmt;

/// Maximum number of pending changes. Further changes of a single rule are dropped.
const CHANGES_MAX: usize = 64;

#[derive(Debug)]
enum RuleAssignment {
    /// Sets a variable, or unsets it with None.
    Variable(VariableName, Sample<'static>),
    /// Fills a slot of the captured headers of the request or of the response.
    Capture(Captured, usize, Vec<u8>),
}

/// Selects the captures of the request or of the response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Captured {
    Request,
    Response,
}

/// Pending changes. Most streams never have one.
#[derive(Default)]
#[expect(
    clippy::box_collection,
    reason = "one word in a stream, and rarely there"
)]
pub struct Assigned(Cell<Option<Box<Vec<RuleAssignment>>>>);

impl fmt::Debug for Assigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with(|changes| changes.fmt(f))
    }
}

impl Assigned {
    pub fn set(&self, name: VariableName, value: Sample<'static>) {
        self.note(RuleAssignment::Variable(name, value));
    }

    pub fn capture(&self, whose: Captured, slot: usize, text: &[u8]) {
        self.note(RuleAssignment::Capture(whose, slot, text.to_vec()));
    }

    fn note(&self, change: RuleAssignment) {
        let mut list = self.0.take().unwrap_or_default();
        if let RuleAssignment::Variable(name, _) = &change {
            list.retain(|old| !matches!(old, RuleAssignment::Variable(other, _) if other == name));
        }
        if list.len() < CHANGES_MAX {
            list.push(change);
        }
        self.0.set(Some(list));
    }

    fn with<R>(&self, look: impl FnOnce(&[RuleAssignment]) -> R) -> R {
        let list = self.0.take();
        let seen = look(list.as_deref().map_or(&[], Vec::as_slice));
        self.0.set(list);
        seen
    }

    /// Returns the pending value of a variable, or Some(None) if it will be unset.
    pub fn get(&self, name: VariableName) -> Option<Sample<'static>> {
        self.with(|changes| {
            changes.iter().find_map(|change| match change {
                RuleAssignment::Variable(other, value) if *other == name => Some(value.clone()),
                _ => None,
            })
        })
    }
}

impl ProxyStream {
    pub fn apply_pending(&mut self) {
        let Some(list) = self.rules.assigned.0.get_mut().take() else {
            return;
        };
        for change in *list {
            match change {
                RuleAssignment::Variable(name, Some(value)) => set_variable(self, name, value),
                RuleAssignment::Variable(name, None) => unset_variable(self, name),
                RuleAssignment::Capture(whose, slot, text) => {
                    let captures = &self.frontend().captures;
                    let count = match whose {
                        Captured::Request => captures.request.len(),
                        Captured::Response => captures.response.len(),
                    };
                    let slots = match whose {
                        Captured::Request => &mut self.log.captured_request,
                        Captured::Response => &mut self.log.captured_response,
                    };
                    slots.resize(count, None);
                    if let Some(kept) = slots.get_mut(slot) {
                        *kept = Some(text);
                    }
                }
            }
        }
    }

    /// Applies the pending changes, and removes the variables of a scope that ends.
    pub fn end_scope(&mut self, scope: Scope) {
        self.apply_pending();
        if !self.rules.variables.is_empty() {
            self.rules.variables.end_scope(scope);
        }
    }
}
