//! Checks at each poll whether a role, a helper process or the loader is frozen, and kills it; the
//! main loop notices the end and restarts the role.

use crate::programs;
use crate::pulse::check_role;
use crate::state::Supervisor;
use std::time::Instant;

impl Supervisor {
    pub(super) fn poll_heartbeats(&mut self) {
        let Some(look) = self.pulses.look(Instant::now()) else {
            return;
        };
        if self.service.stop.is_some() {
            return self.pulses.restart(&mut self.slots);
        }
        let upgrade = self.changing.upgrade.as_ref();
        let is_upgraded = upgrade.is_some_and(|upgrade| upgrade.trial().is_some());
        let voice = &mut self.voice;
        let mut proxy = self.slots.serving.running.as_mut();
        self.pulses
            .check_proxy(proxy.as_deref_mut(), is_upgraded, look, voice);
        if let Some(proxy) = proxy {
            let versions = [
                self.versions.last_good.as_ref(),
                self.cluster.trial_version(),
            ];
            let mut versions = versions.into_iter().flatten();
            let has_programs = versions.any(|version| !version.plan().programs.is_empty());
            programs::check_helpers(proxy, has_programs, look, voice);
        }
        if let Some(loading) = &mut self.changing.loading {
            // Only records that the loader is frozen; the main loop then ends it.
            loading.poll_process(look);
        }
        for slot in self.slots.all_mut().filter(|slot| !slot.is_primary()) {
            check_role(slot, look, voice);
        }
    }
}
