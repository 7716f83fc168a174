//! Checks the result of a simulated VRRP history after a phase without faults: one owner, which the
//! neighbours know. With `preempt` the owner has the best priority, unless the history had a
//! hand-over or more than two preemptions.

use super::super::plan::{Disturbance, source};
use super::super::scene::Scene;
use super::InvariantResult;
use crate::vrrp::{Reason, VrrpAction};

/// Number of preemptions in a history, of all machines, before further ones may be delayed.
const UNDAMPED: u32 = 2;

#[derive(Default)]
pub struct Convergence {
    preemptions: u32,
}

impl Convergence {
    pub fn action(&mut self, _scene: &Scene, _host: usize, action: &VrrpAction) {
        if let VrrpAction::Entered {
            why: Reason::Preempts { .. },
            ..
        } = action
        {
            self.preemptions += 1;
        }
    }

    pub fn end(&mut self, scene: &Scene) -> InvariantResult {
        let owners: Vec<usize> = scene.places().filter(|h| scene.hosts[*h].rules()).collect();
        let &[owner] = owners.as_slice() else {
            return Err(format!("all is healed, and the owners are {owners:?}"));
        };
        if scene.neighbours != Some(owner) && !scene.unsure {
            return Err(format!(
                "machine {owner} owns it, and neighbours were told last by {:?}",
                scene.neighbours
            ));
        }
        let handed_over = scene
            .plan
            .steps
            .iter()
            .any(|(_, what)| matches!(what, Disturbance::HandOver(..)));
        if !scene.plan.settings[0].preempt || handed_over || self.preemptions > UNDAMPED {
            return Ok(());
        }
        let best = scene.places().max_by_key(|host| {
            let status = scene.hosts[*host].status();
            (status.map(|status| status.priority), source(*host))
        });
        let priority = |host: usize| scene.hosts[host].status().map(|s| s.priority);
        match best {
            // A machine does not preempt an owner of equal priority.
            Some(best) if priority(best) == priority(owner) => Ok(()),
            best => Err(format!("machine {owner} owns it, and {best:?} is better")),
        }
    }
}
