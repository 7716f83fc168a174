//! The inputs of every step of the state machine: the time, the settings, and the queue
//! of actions.

use super::defect::Defect;
use super::{Action, Instance, Settings, Time};
use std::collections::VecDeque;

/// Maximum number of waiting actions. Beyond it, mere reports are dropped; actions that change a
/// state never are (states change no faster than timers).
const PENDING_ACTIONS: usize = 4096;

/// Inputs that are passed to every step of a machine.
pub(super) struct Context<'a> {
    /// Current time.
    pub now: Time,
    pub at: Instance,
    pub settings: &'a Settings,
    /// Queue of actions for the driver.
    pub out: &'a mut VecDeque<Action>,
    /// Defect that a test injects.
    #[cfg(test)]
    pub defect: Option<Defect>,
}

impl Context<'_> {
    /// Returns whether a test injects this defect.
    #[cfg(test)]
    pub(super) fn broken(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }

    /// Returns false: outside tests, no defect is active.
    #[cfg(not(test))]
    pub(super) const fn broken(&self, _defect: Defect) -> bool {
        false
    }

    /// Queues an action that must be executed.
    pub(super) fn must(&mut self, action: Action) {
        self.out.push_back(action);
    }

    /// Queues a mere report, which may be dropped if the driver does not poll.
    pub(super) fn say(&mut self, action: Action) {
        if self.out.len() < PENDING_ACTIONS {
            self.out.push_back(action);
        }
    }
}
