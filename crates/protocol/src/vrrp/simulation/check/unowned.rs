//! Checks in the VRRP simulation how long an address may be unowned while a machine is healthy: at
//! most the down interval plus twice the wait for probes. A healthy machine that receives no master
//! takes over after at most the longer of the down interval and the probes' bound, plus an interval
//! and twice that wait. After the owner announced a stop: at most an advert interval, plus one
//! second in version 2. [`Scene::slack`] is added to each limit.

use super::super::network::HOSTS;
use super::super::plan::{down_ns, source};
use super::super::scene::{Scene, VrrpSimulatedHost};
use super::InvariantResult;
use crate::vrrp::{VrrpAction, VrrpState};

#[derive(Default)]
pub struct Unowned {
    /// For each machine: time since when it has been healthy while no machine had the address.
    unowned: [Option<u64>; HOSTS],
    /// For each machine: time since when it has been healthy and has received nothing of a live
    /// master.
    unruled: [Option<u64>; HOSTS],
    /// For each machine: latest time at which the address must be owned after the owner stopped.
    stopped: [Option<u64>; HOSTS],
    stops: u32,
    /// For each machine: time of its last advert before it stopped.
    sent: [u64; HOSTS],
}

/// Number of stops in a history after which checks of stops end, because machines trust further
/// ones only at a limited rate.
const STOPS_BELIEVED: u32 = 5;

impl Unowned {
    pub fn action(&mut self, scene: &Scene, host: usize, action: &VrrpAction) {
        if let VrrpAction::Send { bytes, .. } = action
            && bytes[2] > 0
        {
            self.sent[host] = scene.now;
        }
        let stops = matches!(
            action,
            VrrpAction::Entered {
                from: VrrpState::Master,
                to: VrrpState::Init | VrrpState::Fault,
                ..
            }
        );
        if !stops {
            return;
        }
        self.stops += 1;
        // Ignores a stop that may be revoked by an advert that arrives after it, and all stops
        // after forged packets, because machines then trust stops only at a limited rate.
        let revoked = self.sent[host] + scene.network.longest_ns() >= scene.now;
        if revoked || scene.forged_until > 0 {
            return;
        }
        for other in scene.hosts.iter().filter(|other| other.place != host) {
            let knows = other.status().is_some_and(|status| {
                status
                    .owner
                    .is_some_and(|(owner, _, _)| owner == source(host))
            });
            let hears = scene.network.clean_since(host, other.place).is_some();
            if knows && hears && other.state == VrrpState::Backup && self.stops <= STOPS_BELIEVED {
                let skew = down_ns(&scene.plan.settings[0], 0) + scene.plan.interval_ns;
                let until = scene.now + skew + scene.slack(skew);
                self.stopped[other.place] = Some(until);
            }
        }
    }

    pub fn moment(&mut self, scene: &Scene) -> InvariantResult {
        let interval = scene.plan.interval_ns;
        let settings = &scene.plan.settings[0];
        let (wait, bound) = settings.probing.map_or((0, 0), |probing| {
            (
                probing.wait.as_nanos() as u64,
                probing.bound.as_nanos() as u64,
            )
        });
        let down = down_ns(settings, interval);
        let is_owned = scene.is_owned();
        for host in &scene.hosts {
            let place = host.place;
            let healthy = scene.is_healthy(host) && host.steady_since < scene.now;
            let limit = down + 2 * wait;
            let limit = limit + scene.slack(limit);
            let length = lasts(&mut self.unowned[place], healthy && !is_owned, scene.now);
            if length > limit {
                return Err(format!(
                    "unowned for {length} ns, {limit} allowed, while machine {place} is healthy"
                ));
            }
            let limit = down.max(bound) + interval + 2 * wait;
            let limit = limit + scene.slack(limit);
            let unruled = healthy && !host.rules() && !hears_a_master(scene, host);
            let length = lasts(&mut self.unruled[place], unruled, scene.now);
            if length > limit {
                return Err(format!(
                    "machine {place} is healthy, hears no master for {length} ns ({limit} allowed) and takes nothing over"
                ));
            }
            if is_owned || !healthy {
                self.stopped[place] = None;
            }
            if self.stopped[place].is_some_and(|until| until < scene.now) {
                return Err(format!(
                    "machine {place} heard that the owner stops, and takes nothing over"
                ));
            }
        }
        Ok(())
    }
}

fn lasts(since: &mut Option<u64>, holds: bool, now: u64) -> u64 {
    if holds {
        now - *since.get_or_insert(now)
    } else {
        *since = None;
        0
    }
}

fn hears_a_master(scene: &Scene, host: &VrrpSimulatedHost) -> bool {
    let mut others = scene.hosts.iter().filter(|o| o.place != host.place);
    others.any(|other| {
        other.awake()
            && other.state == VrrpState::Master
            && scene.network.passes(other.place, host.place)
    })
}
