//! Checks what a simulated VRRP machine concludes about others. It must not count an owner as
//! silent whose kernel responds, or whose packets it missed because it was itself delayed. After
//! it was suspended or dead while another machine took over, it must not consider itself still
//! master.

use super::super::network::HOSTS;
use super::super::scene::Scene;
use super::InvariantResult;
use crate::vrrp::{Reason, VrrpAction, VrrpState};

#[derive(Default)]
pub struct Belief {
    asked: [u64; HOSTS],
    answered: [Option<u64>; HOSTS],
}

impl Belief {
    pub fn action(&mut self, scene: &Scene, host: usize, action: &VrrpAction) -> InvariantResult {
        match action {
            VrrpAction::Probe { .. } => {
                self.asked[host] = scene.now;
                self.answered[host] = None;
                Ok(())
            }
            VrrpAction::Entered {
                to: VrrpState::Master,
                why: Reason::Silence { .. },
                ..
            } => self.silence(scene, host),
            VrrpAction::Entered {
                to: VrrpState::Master,
                why: Reason::Resumed,
                ..
            } => resumed(scene, host),
            _ => Ok(()),
        }
    }

    pub fn answered(&mut self, host: usize, now: u64) {
        self.answered[host] = Some(now);
    }

    fn silence(&self, scene: &Scene, host: usize) -> InvariantResult {
        let answered = self.answered[host].is_some_and(|at| at >= self.asked[host]);
        if scene.plan.settings[host].probing.is_some() && answered {
            return Err(format!(
                "machine {host} takes over although the owner's kernel answers"
            ));
        }
        let of = &scene.hosts[host];
        let interval = scene.plan.interval_ns;
        // After its first long suspension since the last advert, the machine must listen for an
        // interval. Later suspensions need no such excuse.
        if of.pauses == 1 && scene.now - of.slept_until < interval - interval / 50 {
            return Err(format!(
                "machine {host} stood still until {} ns ago, and believes that the owner is silent",
                scene.now - of.slept_until
            ));
        }
        Ok(())
    }

    /// Checks that a master that was suspended for long yields if it finds adverts of another
    /// master.
    pub fn woke(&self, scene: &Scene, host: usize, slept: u64, heard: bool) -> InvariantResult {
        let down = super::super::plan::down_ns(&scene.plan.settings[host], scene.plan.interval_ns);
        let long = slept > down + scene.slack(down);
        if long && heard && scene.hosts[host].state == VrrpState::Master {
            return Err(format!(
                "machine {host} stood still for {slept} ns, heard another master and takes it from that one"
            ));
        }
        Ok(())
    }
}

/// Checks that a process that was dead for so long that another machine became master does not
/// continue as master.
fn resumed(scene: &Scene, host: usize) -> InvariantResult {
    let killed_at = scene.hosts[host].killed_at;
    let interval = scene.plan.interval_ns;
    let calm = killed_at.min(scene.now).saturating_sub(interval * 5);
    for other in scene.hosts.iter().filter(|other| other.place != host) {
        let clean = scene.network.clean_both_since(host, other.place);
        // Counts only a takeover after silence (`unsure`). A machine that preempts or follows a
        // stop takes over without a probe, so the killed process cannot exclude it.
        if other.rules()
            && other.unsure
            && other.awake_since == 0
            && clean.is_some_and(|since| since <= calm)
            && other.master_since > killed_at
            && scene.now - other.master_since > interval * 3 / 2
            && scene.forged_until < calm
        {
            return Err(format!(
                "machine {host} goes on as master, and machine {} took over {} ns ago",
                other.place,
                scene.now - other.master_since
            ));
        }
    }
    Ok(())
}
