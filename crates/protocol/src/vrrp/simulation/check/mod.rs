//! What has to hold in every history. Checkers see the whole scene and what each
//! machine does; they share no code with the machines.

mod belief;
mod convergence;
mod floods;
mod hand_over;
mod order;
mod two_owners;
mod unowned;

use super::scene::Scene;
use crate::vrrp::Action;

/// What was violated, in words.
pub type Verdict = Result<(), String>;

/// All checkers.
#[derive(Default)]
pub struct Checks {
    belief: belief::Belief,
    convergence: convergence::Convergence,
    floods: floods::Floods,
    hand_over: hand_over::HandOvers,
    order: order::Order,
    two_owners: two_owners::TwoOwners,
    unowned: unowned::Unowned,
}

impl Checks {
    /// A machine does this, right now; the scene is as before it.
    pub fn action(&mut self, scene: &Scene, host: usize, action: &Action) -> Verdict {
        self.belief.action(scene, host, action)?;
        self.convergence.action(scene, host, action);
        self.floods.action(scene, host, action)?;
        self.hand_over.action(scene, host, action)?;
        self.order.action(scene, host, action)?;
        self.unowned.action(scene, host, action);
        Ok(())
    }

    /// A machine that stood still goes on: it had heard these masters.
    pub fn woke(&mut self, scene: &Scene, host: usize, slept: u64, heard: bool) -> Verdict {
        self.belief.woke(scene, host, slept, heard)
    }

    /// An answer of another kernel comes to an awake process.
    pub fn answered(&mut self, host: usize, now: u64) {
        self.belief.answered(host, now);
    }

    /// Something has happened, and all have reacted.
    pub fn moment(&mut self, scene: &Scene) -> Verdict {
        self.order.moment(scene)?;
        self.hand_over.moment(scene)?;
        self.two_owners.moment(scene)?;
        self.unowned.moment(scene)
    }

    /// All was healed and calm for long.
    pub fn end(&mut self, scene: &Scene) -> Verdict {
        self.convergence.end(scene)
    }
}
