//! Upgrade of the binary: a reload while the installed program differs from the running one. The
//! new program is tested, loads the files, and its role serves beside the old role. The old role is
//! paused and ends only after the new one has run for a while; then this process executes the new
//! program, too.
//!
//! If a step fails, the old role continues and nothing has changed.

mod arbiter;
mod extras;
mod hand_over;
mod resume;

use crate::self_test::SelfTest;
use crate::slot::RunningRole;
use crate::state::Supervisor;
use crate::state::upgrade::{Next, Trial, Upgrade, UpgradeStage};
use crate::stop::Stop;
use crate::turn::ProcessTurn;
use crate::version::LoadedVersion;
use crate::{programs, serving, tell};
use part::SharedFd;
use part::role::SupervisorMessage;
use part::voice::Gravity;
use std::time::{Duration, Instant};

/// Time for which a new role serves together with the old one before it is trusted.
const PROBATION: Duration = Duration::from_secs(3);
const STATE_LIMIT: Duration = Duration::from_secs(10);
/// Maximum time for which a change in progress may delay the execution of the new program.
const QUIET_LIMIT: Duration = Duration::from_secs(10);

impl Supervisor {
    /// Begins an upgrade instead of a plain reload, if the installed program differs.
    pub(super) fn begin_upgrade(&mut self) -> bool {
        let adopted = self
            .slots
            .serving
            .running
            .as_ref()
            .filter(|proxy| proxy.adopted);
        let Some(newer) = self
            .process
            .program
            .newer(adopted.map(|proxy| proxy.process.number()))
        else {
            return false;
        };
        tracing::info!(program = %newer.path.display(), "upgrade started");
        match SelfTest::begin(&newer.path) {
            Ok(test) => {
                let stage = UpgradeStage::Testing(test);
                self.changing.upgrade = Some(Upgrade { newer, stage });
            }
            Err(error) => self.refuse_program(&newer.path.display().to_string(), &error),
        }
        true
    }

    fn refuse_program(&mut self, path: &str, error: &dyn std::fmt::Display) {
        self.refuse_change(&format!("the new program {path}: {error}"), "");
    }

    pub(super) fn upgrades(&self) -> bool {
        let stage = self.changing.upgrade.as_ref().map(|upgrade| &upgrade.stage);
        matches!(stage, Some(UpgradeStage::Loading))
    }

    pub(super) fn upgrade_loaded(&mut self, version: LoadedVersion, shown: String) {
        let next = Next { version, shown };
        if next.version.is_without_proxy() != self.is_without_proxy() {
            let words = "the installed program is a different one, and these files add the first listener or \
                         remove the last one: reload with the previous files first, then with these";
            return self.refuse_change(words, &next.shown);
        }
        if next.version.is_without_proxy() {
            return self.upgrade_alone(next);
        }
        if let Some(upgrade) = &mut self.changing.upgrade {
            upgrade.stage = UpgradeStage::Asking(next, Instant::now() + STATE_LIMIT);
        }
        let asked = |proxy: &mut RunningRole| proxy.send_message(&SupervisorMessage::TellState);
        if !self.slots.serving.running.as_mut().is_some_and(asked) {
            // The old role does not report its state in time, so its counters are lost.
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
        upgrade.stage = UpgradeStage::Executing(Instant::now() + QUIET_LIMIT);
        let mut lines = tell::changed(&next.version);
        lines.insert(0, (Gravity::Notice, words));
        self.versions.last_good = Some(next.version);
        self.keep_version();
        self.report_change(&lines, &next.shown);
    }

    /// Handles the state of the old role; None if the role does not know the request.
    pub(super) fn state_told(&mut self, state: Option<SharedFd>) {
        let stage = self.changing.upgrade.as_ref().map(|upgrade| &upgrade.stage);
        if matches!(stage, Some(UpgradeStage::Asking(..))) {
            self.try_upgrade(state);
        }
    }

    fn try_upgrade(&mut self, state: Option<SharedFd>) {
        let Some(Upgrade {
            newer,
            stage: UpgradeStage::Asking(next, _),
        }) = self.changing.upgrade.take()
        else {
            return;
        };
        match serving::start(
            self.slots.serving.row.entry,
            &newer.path,
            &next.version,
            state.as_ref(),
            None,
        ) {
            Ok(new) => {
                tell::forked(&mut self.voice, new.process.number());
                let stage = UpgradeStage::Trying(Trial {
                    new,
                    ready_limit: self.slots.serving.row.ready_limit,
                    next,
                    until: None,
                    silent: None,
                    asked_last: false,
                });
                self.changing.upgrade = Some(Upgrade { newer, stage });
            }
            Err(error) => {
                self.refuse_change(&format!("the new program: {error}"), &next.shown);
            }
        }
    }

    pub(super) fn look_at_upgrade(&mut self) {
        let now = Instant::now();
        let arbiter = self.is_arbiter();
        let Some(upgrade) = &mut self.changing.upgrade else {
            return;
        };
        match &mut upgrade.stage {
            UpgradeStage::Testing(test) => match test.look() {
                None => {}
                Some(Ok(())) if arbiter => self.arbiter_tested(),
                Some(Ok(())) => {
                    upgrade.stage = UpgradeStage::Loading;
                    let program = upgrade.newer.path.clone();
                    self.begin_load(&program);
                }
                Some(Err(error)) => {
                    let path = upgrade.newer.path.display().to_string();
                    self.refuse_program(&path, &error);
                }
            },
            UpgradeStage::Loading => {}
            UpgradeStage::Asking(_, until) if *until <= now => self.try_upgrade(None),
            UpgradeStage::Asking(..) => {}
            UpgradeStage::Trying(_) => self.look_at_trial(now),
            UpgradeStage::Executing(until) => {
                let late = *until <= now;
                self.execute_when_quiet(late);
            }
        }
    }

    fn look_at_trial(&mut self, now: Instant) {
        let Some(Upgrade {
            stage: UpgradeStage::Trying(trial),
            ..
        }) = &mut self.changing.upgrade
        else {
            return;
        };
        let mut begins = false;
        let mut turn = ProcessTurn::of(&mut trial.new.process);
        while let Some(received) = turn.next(Some(&mut trial.new.process), &mut self.voice) {
            trial.silent = None;
            if received.message == SupervisorMessage::WantsHelper {
                let version = std::iter::once(&trial.next.version);
                let soft = self.process.files_soft;
                let pid = programs::start_helper(&mut trial.new, version, soft, &mut self.voice);
                self.carried.expect(pid);
            }
            if matches!(received.message, SupervisorMessage::Ready { .. }) && !trial.new.ready {
                trial.new.ready = true;
                trial.until = Some(now + PROBATION);
                trial.ask(now);
                begins = true;
            }
        }
        if let Some(ending) = turn.ending(Some(&trial.new.process)) {
            let (words, shown) = (tell::trial_ended(ending), trial.next.shown.clone());
            return self.refuse_change(&words, &shown);
        }
        let late = trial
            .new
            .deadline(trial.ready_limit)
            .is_some_and(|until| until <= now);
        let (silent, trusted) = (trial.is_silent(now), trial.is_trusted(now));
        if silent {
            let words = "the proxy of the new program does not respond";
            let shown = trial.next.shown.clone();
            return self.refuse_change(words, &shown);
        }
        if late {
            let shown = trial.next.shown.clone();
            return self.refuse_change("the new proxy did not start to serve in time", &shown);
        }
        if begins {
            // The address role sees no gap in the heartbeats: the old role writes until the new one
            // does.
            let vitals = self.pulses.file();
            trial.new.process.share(vitals);
        }
        if begins {
            if self.service.paused {
                let _ = trial.new.send_message(&SupervisorMessage::Pause);
            }
            if let Some(old) = &mut self.slots.serving.running {
                // If this fails, the role has ended; the main loop notices that.
                let _ = old.send_message(&SupervisorMessage::Pause);
            }
        }
        if trusted {
            self.trust_upgrade();
        }
    }

    fn trust_upgrade(&mut self) {
        let Some(Upgrade {
            newer,
            stage: UpgradeStage::Trying(trial),
        }) = self.changing.upgrade.take()
        else {
            return;
        };
        let Trial { new, next, .. } = trial;
        let old = self.slots.serving.running.replace(new);
        // The new role gets its guard first: if this process is killed now, one role continues to
        // serve.
        self.slots.serving.send_adoption_socket();
        if let Some(old) = old {
            self.see_off(old);
        }
        if self.service.paused {
            self.pause(true);
        }
        let mut lines = tell::changed(&next.version);
        let words = format!("now serving with {}", newer.path.display());
        lines.insert(0, (Gravity::Notice, words));
        // Dropping the previous version closes its descriptors.
        self.versions.last_good = Some(next.version);
        self.versions.unsettled = None;
        self.keep_version();
        if newer.whole && self.service.stop.is_none() {
            let stage = UpgradeStage::Executing(Instant::now() + QUIET_LIMIT);
            self.changing.upgrade = Some(Upgrade { newer, stage });
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
            true if self.is_arbiter() => self.execute_as_arbiter(&upgrade.newer.path).to_string(),
            true => self.execute(&upgrade.newer.path).to_string(),
            false => "a process accepts no messages".to_owned(),
        };
        self.voice.warning(format_args!(
            "the supervisor continues with the old program ({error}); the next reload tries again"
        ));
    }

    /// Returns whether the upgrade can be aborted unnoticed, because no role knows of it yet.
    pub(super) fn upgrade_is_young(&self) -> bool {
        let stage = self.changing.upgrade.as_ref().map(|upgrade| &upgrade.stage);
        stage.is_none_or(|stage| matches!(stage, UpgradeStage::Testing(_) | UpgradeStage::Loading))
    }

    /// Returns the new role while it serves instead of the old one.
    pub(super) fn tried(&mut self) -> Option<&mut RunningRole> {
        match self
            .changing
            .upgrade
            .as_mut()
            .map(|upgrade| &mut upgrade.stage)
        {
            Some(UpgradeStage::Trying(trial)) if trial.until.is_some() => Some(&mut trial.new),
            _ => None,
        }
    }

    /// Returns the process that serves while the old role is paused, until the upgrade is trusted.
    pub(super) fn tried_process(&self) -> Option<i32> {
        match self.changing.upgrade.as_ref().map(|upgrade| &upgrade.stage) {
            Some(UpgradeStage::Trying(trial)) if trial.until.is_some() => {
                Some(trial.new.process.number())
            }
            _ => None,
        }
    }

    /// Returns whether the primary role is paused while a candidate is there. Its state must not
    /// be given to a successor then.
    pub(super) fn upgrade_has_paused(&self) -> bool {
        let stage = self.changing.upgrade.as_ref().map(|upgrade| &upgrade.stage);
        matches!(stage, Some(UpgradeStage::Trying(trial)) if trial.until.is_some())
    }

    pub(super) fn abandon_upgrade(&mut self) {
        let Some(upgrade) = self.changing.upgrade.take() else {
            return;
        };
        let UpgradeStage::Trying(mut trial) = upgrade.stage else {
            return;
        };
        trial.new.process.kill_and_wait();
        if trial.until.is_some()
            && !self.service.paused
            && let Some(old) = &mut self.slots.serving.running
        {
            // If this fails, the role has ended; the main loop notices that.
            let _ = old.send_message(&SupervisorMessage::Resume);
        }
    }

    /// Handles a stop during an upgrade: a new role that serves already is stopped like the old
    /// one.
    pub(super) fn stop_upgrade(&mut self, stop: &Stop) {
        let serves = matches!(
            &self.changing.upgrade,
            Some(Upgrade { stage: UpgradeStage::Trying(trial), .. }) if trial.until.is_some()
        );
        if serves && stop.is_soft() {
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
        match &upgrade.stage {
            UpgradeStage::Trying(trial) if trial.until.is_some() => {
                self.trust_upgrade();
                true
            }
            // The new role serves already.
            UpgradeStage::Executing(_) => {
                self.changing.upgrade = None;
                false
            }
            _ => {
                self.refuse_change("the proxy died meanwhile", "");
                false
            }
        }
    }
}
