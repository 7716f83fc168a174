//! Checks the properties that must hold in every simulated VRRP history. Checkers see the whole
//! simulation and the actions of each machine; they share no code with the machines.

mod belief;
mod convergence;
mod floods;
mod hand_over;
mod order;
mod two_owners;
mod unowned;

use super::scene::Scene;
use crate::vrrp::VrrpAction;

/// The error is the description of the violated invariant.
pub type InvariantResult = Result<(), String>;

#[derive(Default)]
pub struct InvariantChecks {
    belief: belief::Belief,
    convergence: convergence::Convergence,
    floods: floods::Floods,
    hand_over: hand_over::HandOvers,
    order: order::ActionOrderCheck,
    two_owners: two_owners::TwoOwners,
    unowned: unowned::Unowned,
}

impl InvariantChecks {
    /// Checks an action of a machine. The scene is the state before the action.
    pub fn action(&mut self, scene: &Scene, host: usize, action: &VrrpAction) -> InvariantResult {
        self.belief.action(scene, host, action)?;
        self.convergence.action(scene, host, action);
        self.floods.action(scene, host, action)?;
        self.hand_over.action(scene, host, action)?;
        self.order.action(scene, host, action)?;
        self.unowned.action(scene, host, action);
        Ok(())
    }

    /// Checks a machine when a suspension ends; `heard`: it has received adverts of other masters
    /// by then.
    pub fn woke(&mut self, scene: &Scene, host: usize, slept: u64, heard: bool) -> InvariantResult {
        self.belief.woke(scene, host, slept, heard)
    }

    /// Records that a process that runs receives the reply of another machine's kernel.
    pub fn answered(&mut self, host: usize, now: u64) {
        self.belief.answered(host, now);
    }

    /// Checks the scene after an event and the reactions to it.
    pub fn moment(&mut self, scene: &Scene) -> InvariantResult {
        self.order.moment(scene)?;
        self.hand_over.moment(scene)?;
        self.two_owners.moment(scene)?;
        self.unowned.moment(scene)
    }

    /// Checks the final state, after the phase without faults.
    pub fn end(&mut self, scene: &Scene) -> InvariantResult {
        self.convergence.end(scene)
    }
}
