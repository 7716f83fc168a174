//! Upgrades the binary in a reload while the installed program differs from the running one. The
//! new program is tested, loads the files, and its role serves beside the old role. The old role is
//! paused and ends only after the new one has run for a while; then this process executes the new
//! program, too.
//!
//! If a step fails before that, the old role continues and nothing has changed. If only the
//! execution fails, the supervisor continues as the old program with the new role.

mod arbiter;
mod extras;
mod hand_over;
mod resume;

use crate::slot::RunningRole;
use crate::state::Supervisor;
use crate::state::upgrade::{Next, Trial, Upgrade, UpgradeEvent, UpgradeStage};
use crate::stop::Stop;
use crate::tell;
use crate::version::LoadedVersion;
use part::SharedFd;
use part::role::SupervisorMessage;
use part::voice::Gravity;
use std::time::Instant;

impl Supervisor {
    /// Begins an upgrade instead of a plain reload, if the installed program differs. Returns
    /// whether it differs; the reload is refused if the program cannot be started.
    pub(super) fn begin_upgrade(&mut self) -> bool {
        let proxy = self.slots.serving.running.as_ref();
        let adopted = proxy.filter(|proxy| proxy.adopted);
        let adopted = adopted.map(|proxy| proxy.process.number());
        let Some(newer) = self.process.program.newer(adopted) else {
            return false;
        };
        tracing::info!(program = %newer.path.display(), "upgrade started");
        match Upgrade::begin(newer) {
            Ok(upgrade) => self.changing.upgrade = Some(upgrade),
            Err(failure) => self.refuse_change(&failure.words, &failure.shown),
        }
        true
    }

    pub(super) fn upgrade_loaded(&mut self, version: LoadedVersion, shown: String) {
        let next = Next { version, shown };
        if next.version.is_without_proxy() != self.versions.is_without_proxy() {
            let words = "the installed program is a different one, and these files add the first listener or \
                         remove the last one: reload with the previous files first, then with these";
            return self.refuse_change(words, &next.shown);
        }
        if next.version.is_without_proxy() {
            return self.upgrade_alone(next);
        }
        if let Some(upgrade) = &mut self.changing.upgrade {
            upgrade.wait_for_state(next);
        }
        let asked = |proxy: &mut RunningRole| proxy.send_message(&SupervisorMessage::TellState);
        if !self.slots.serving.running.as_mut().is_some_and(asked) {
            // Continues without the counters of the old role, which cannot get the request for
            // them.
            self.try_upgrade(None);
        }
    }

    /// Upgrades without a proxy, where no trial is needed: the new program was tested and has read
    /// the files, and its role replaces the running one.
    fn upgrade_alone(&mut self, next: Next) {
        let Some(upgrade) = &mut self.changing.upgrade else {
            return;
        };
        let words = format!("{} runs now", upgrade.newer.path.display());
        upgrade.execute_when_quiet();
        let mut lines = tell::changed(&next.version);
        lines.insert(0, (Gravity::Notice, words));
        self.versions.last_good = Some(next.version);
        self.keep_version();
        self.report_change(&lines, &next.shown);
    }

    /// Starts the new role if the upgrade waits for the state of the old one. `state` is None if
    /// the old role does not report it.
    pub(super) fn try_upgrade(&mut self, state: Option<&SharedFd>) {
        let Some(upgrade) = &mut self.changing.upgrade else {
            return;
        };
        match upgrade.start_trial(self.slots.serving.row, state) {
            Ok(Some(process)) => tell::forked(&mut self.voice, process),
            Ok(None) => {}
            Err(failure) => self.refuse_change(&failure.words, &failure.shown),
        }
    }

    pub(super) fn poll_upgrade(&mut self) {
        let Some(upgrade) = &mut self.changing.upgrade else {
            return;
        };
        let files_soft = self.process.files_soft;
        let voice = &mut self.voice;
        match upgrade.poll(Instant::now(), files_soft, &mut self.carried, voice) {
            UpgradeEvent::Nothing => {}
            UpgradeEvent::Tested if self.cluster.is_arbiter() => self.arbiter_tested(),
            UpgradeEvent::Tested => {
                let program = upgrade.load();
                self.begin_load(&program);
            }
            UpgradeEvent::Failed(failure) => self.refuse_change(&failure.words, &failure.shown),
            UpgradeEvent::StateMissing => self.try_upgrade(None),
            UpgradeEvent::Serves => {
                // Gives the heartbeat memory to the new role before the old one pauses, so that the
                // address role sees no gap: the old role writes until the new one does.
                if let Some(new) = upgrade.serving_mut() {
                    new.process.share(self.pulses.file());
                    if self.service.paused {
                        let _ = new.send_message(&SupervisorMessage::Pause);
                    }
                }
                if let Some(old) = &mut self.slots.serving.running {
                    // Ignored: if the message cannot be sent, the role has ended, which the main
                    // loop notices.
                    let _ = old.send_message(&SupervisorMessage::Pause);
                }
            }
            UpgradeEvent::Trusted => self.trust_upgrade(),
            UpgradeEvent::Execute { is_late } => self.execute_when_quiet(is_late),
        }
    }

    fn trust_upgrade(&mut self) {
        let Some(upgrade) = &mut self.changing.upgrade else {
            return;
        };
        let (program, whole) = (upgrade.newer.path.clone(), upgrade.newer.whole);
        let Some(Trial { new, next, .. }) = upgrade.execute_when_quiet() else {
            return;
        };
        let old = self.slots.serving.running.replace(new);
        // The new role gets its guard first: if this process is killed now, one role continues to
        // serve.
        self.slots.serving.send_adoption_socket();
        if let Some(old) = old {
            let limit = self.versions.hard_stop_after_ms();
            self.service.draining.drain(old, limit);
        }
        if self.service.paused {
            self.pause(true);
        }
        let mut lines = tell::changed(&next.version);
        let words = format!("now serving with {}", program.display());
        lines.insert(0, (Gravity::Notice, words));
        // Replaces the last good version; dropping the previous one closes its descriptors.
        let before = self.versions.last_good.replace(next.version);
        self.versions.unsettled = None;
        self.keep_version();
        if !whole || self.service.stop.is_some() {
            self.changing.upgrade = None;
        }
        if before.is_none() {
            // Adopts the sidecars now: the version was unknown until now, because the previous
            // supervisor stores none with keys.
            self.follow_version();
        }
        self.report_change(&lines, &next.shown);
    }

    fn execute_when_quiet(&mut self, late: bool) {
        let quiet = self.is_quiet(late);
        if !quiet && !late {
            return;
        }
        let Some(upgrade) = self.changing.upgrade.take() else {
            return;
        };
        let error = match quiet {
            _ if upgrade.newer.is_replaced() => "it was replaced meanwhile".to_owned(),
            true if self.cluster.is_arbiter() => {
                self.execute_as_arbiter(&upgrade.newer.path).to_string()
            }
            true => self.execute(&upgrade.newer.path).to_string(),
            false => "a process accepts no messages".to_owned(),
        };
        self.voice.warning(format_args!(
            "the supervisor continues with the old program ({error}); the next reload tries again"
        ));
    }

    pub(super) fn abandon_upgrade(&mut self) {
        let Some(mut upgrade) = self.changing.upgrade.take() else {
            return;
        };
        let serves = upgrade.serving().is_some();
        if let Some(new) = upgrade.trial_mut() {
            new.process.kill_and_wait();
        }
        if serves
            && !self.service.paused
            && let Some(old) = &mut self.slots.serving.running
        {
            // Ignored: if the message cannot be sent, the role has ended, which the main loop
            // notices.
            let _ = old.send_message(&SupervisorMessage::Resume);
        }
    }

    /// Handles a stop during an upgrade: a new role that serves already is stopped like the old
    /// one.
    pub(super) fn stop_upgrade(&mut self, stop: &Stop) {
        let upgrade = self.changing.upgrade.as_ref();
        if stop.is_soft() && upgrade.is_some_and(|upgrade| upgrade.serving().is_some()) {
            self.trust_upgrade()
        } else {
            self.abandon_upgrade()
        }
    }

    /// Handles the death of the old role. Returns whether a new one replaces it at once.
    pub(super) fn old_died(&mut self) -> bool {
        let Some(upgrade) = &self.changing.upgrade else {
            return false;
        };
        if upgrade.serving().is_some() {
            self.trust_upgrade();
            return true;
        }
        if matches!(upgrade.stage, UpgradeStage::Executing(_)) {
            // Does not abort the upgrade, because the new role serves already.
            self.changing.upgrade = None;
        } else {
            self.refuse_change("the proxy died meanwhile", "");
        }
        false
    }
}
