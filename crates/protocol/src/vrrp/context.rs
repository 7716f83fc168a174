//! Defines the inputs of every step of the VRRP state machine: the time, the settings, and the
//! queue of actions.

use super::defect::VrrpDefect;
use super::{Instance, Settings, Time, VrrpAction};
use std::collections::VecDeque;

/// Maximum number of waiting actions. Beyond it, adverts, announcements and reports are dropped,
/// but never actions that change a state, which are rare.
const PENDING_ACTIONS: usize = 4096;

/// Inputs that are passed to every step of a machine.
pub(super) struct Context<'a> {
    pub now: Time,
    pub at: Instance,
    pub settings: &'a Settings,
    pub out: &'a mut VecDeque<VrrpAction>,
    #[cfg(test)]
    pub defect: Option<VrrpDefect>,
}

impl Context<'_> {
    #[cfg(test)]
    pub(super) fn broken(&self, defect: VrrpDefect) -> bool {
        self.defect == Some(defect)
    }

    /// Returns false: outside tests, no defect is active.
    #[cfg(not(test))]
    pub(super) const fn broken(&self, _defect: VrrpDefect) -> bool {
        false
    }

    pub(super) fn queue_required(&mut self, action: VrrpAction) {
        self.out.push_back(action);
    }

    /// Queues an action that may be dropped if the driver does not poll.
    pub(super) fn queue_report(&mut self, action: VrrpAction) {
        if self.out.len() < PENDING_ACTIONS {
            self.out.push_back(action);
        }
    }
}
