//! The inputs of every step of the state machine: the time, the settings, and the queue
//! of actions.

use super::defect::Defect;
use super::{Action, Instance, Settings, Time};
use std::collections::VecDeque;

/// Actions that wait for the driver, at most; what is only said is dropped above
/// it, what changes a state never is (states change no faster than timers).
const PENDING_ACTIONS: usize = 4096;

/// Given to every step of a machine.
pub(super) struct Context<'a> {
    /// The time.
    pub now: Time,
    /// The instance.
    pub at: Instance,
    /// Its settings.
    pub settings: &'a Settings,
    /// Where its actions go.
    pub out: &'a mut VecDeque<Action>,
    /// The defect that a test injects.
    #[cfg(test)]
    pub defect: Option<Defect>,
}

impl Context<'_> {
    /// Returns whether a test injects this defect.
    #[cfg(test)]
    pub(super) fn broken(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// It never is.
    #[cfg(not(test))]
    pub(super) const fn broken(&self, _defect: Defect) -> bool {
        false
    }

    /// Something that has to be done.
    pub(super) fn must(&mut self, action: Action) {
        self.out.push_back(action);
    }

    /// Something that is only said: it may be dropped when a driver does not poll.
    pub(super) fn say(&mut self, action: Action) {
        if self.out.len() < PENDING_ACTIONS {
            self.out.push_back(action);
        }
    }
}
