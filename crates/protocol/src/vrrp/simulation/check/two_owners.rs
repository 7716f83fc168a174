//! Checks in the VRRP simulation that two machines that receive each other's adverts own the
//! address for at most one advert interval. After a suspension, one and a half intervals more are
//! allowed.

use super::super::scene::Scene;
use super::InvariantResult;

#[derive(Default)]
pub struct TwoOwners;

impl TwoOwners {
    pub fn moment(&mut self, scene: &Scene) -> InvariantResult {
        for a in &scene.hosts {
            for b in &scene.hosts[..a.place] {
                if !a.rules() || !b.rules() {
                    continue;
                }
                let Some(clean) = scene.network.clean_both_since(a.place, b.place) else {
                    continue;
                };
                let interval = scene.plan.interval_ns;
                // Allows one and a half intervals after a suspension, in which a machine may only
                // listen.
                let listens = |awake: u64| {
                    if awake == 0 {
                        0
                    } else {
                        awake + interval * 3 / 2
                    }
                };
                let since = clean
                    .max(a.master_since)
                    .max(b.master_since)
                    .max(listens(a.awake_since))
                    .max(listens(b.awake_since));
                let limit = interval + scene.slack(interval);
                let length = scene.now.saturating_sub(since);
                if length > limit {
                    return Err(format!(
                        "machines {} and {} both own it for {length} ns, {limit} allowed",
                        b.place, a.place
                    ));
                }
            }
        }
        Ok(())
    }
}
