//! Upgrade of the binary: a change that is asked for while another program is in
//! the place of the one that runs. The new one is tested, loads, and serves
//! beside the old role, which is paused but ends only when the new one has lived
//! for a while; then this process executes it, too.
//!
//! Whatever goes wrong on the way, the old role goes on and nothing was changed.

mod arbiter;
mod extras;
mod hand_over;
mod program;
mod resume;
mod self_test;

pub use hand_over::{number, role as handed_role, socket as handed_socket};
pub use program::{Program, is_of_another_program};
pub use resume::{ResumeError, Resumed, is_next_image};
pub use self_test::words as self_test_words;

use super::route::PROXY;
use super::run::Supervisor;
use super::slot::{PROXY_READY_LIMIT, Running};
use super::stop::Stop;
use super::tell;
use super::turn::Turn;
use super::version::Version;
use super::{programs, proxy};
use crate::voice::Gravity;
use part::Shared;
use part::role::Message;
use program::Newer;
use rustix::event::PollFd;
use self_test::SelfTest;
use std::time::{Duration, Instant};

/// How long a new role serves beside the old one before it is trusted.
const PROBATION: Duration = Duration::from_secs(3);
/// How long it may take to respond meanwhile.
const SILENCE_LIMIT: Duration = Duration::from_secs(3);
/// Deadline for the state of the old role.
const STATE_LIMIT: Duration = Duration::from_secs(10);
/// How long a change in progress may delay the execution of the new program.
const QUIET_LIMIT: Duration = Duration::from_secs(10);
/// Interval at which the end of that change is checked.
const QUIET_TICK: Duration = Duration::from_millis(20);

/// An upgrade in progress.
pub struct Upgrade {
    newer: Newer,
    stage: Stage,
}

#[expect(clippy::large_enum_variant, reason = "there is one of them")]
enum Stage {
    /// The program says what it is.
    Testing(SelfTest),
    /// Its loader works.
    Loading,
    /// The old role is asked for what it knows.
    Asking(Next, Instant),
    /// The new role begins, or serves beside the old one until then.
    Trying(Trial),
    /// It serves; the supervisor is to follow.
    Executing(Instant),
}

/// What is to be served.
struct Next {
    version: Version,
    /// Output of the loader, for the client that asked.
    shown: String,
}

struct Trial {
    new: Running,
    next: Next,
    /// When it is trusted; None until it serves.
    until: Option<Instant>,
    /// Since when it has not responded to a question; None where it has.
    silent: Option<Instant>,
    /// It was asked again at the end of the trial.
    asked_last: bool,
}

impl Trial {
    /// Asks the role whether it is alive.
    fn ask(&mut self, now: Instant) {
        self.silent = Some(now);
        // If this fails, the role has ended; the main loop notices that.
        let _ = self.new.say(&Message::TellPulse);
    }

    /// When it is to be looked at.
    fn deadline(&self) -> Option<Instant> {
        let silent = self.silent.map(|since| since + SILENCE_LIMIT);
        match self.until {
            None => self.new.deadline(PROXY_READY_LIMIT),
            Some(_) if self.asked_last => silent,
            Some(until) => Some(silent.map_or(until, |silent| silent.min(until))),
        }
    }

    /// Whether it may serve alone: it has served for a while, and responds at the end.
    fn is_trusted(&mut self, now: Instant) -> bool {
        if self.until.is_none_or(|until| until > now) {
            return false;
        }
        if !std::mem::replace(&mut self.asked_last, true) && self.silent.is_none() {
            self.ask(now);
        }
        self.silent.is_none()
    }

    /// Whether it has not responded for too long.
    fn is_silent(&self, now: Instant) -> bool {
        self.silent
            .is_some_and(|since| since + SILENCE_LIMIT <= now)
    }
}

impl Upgrade {
    /// What is to be watched.
    pub fn watched(&self) -> Vec<PollFd<'_>> {
        match &self.stage {
            Stage::Testing(test) => test.watched().into_iter().collect(),
            Stage::Trying(trial) => trial.new.process.watched().collect(),
            Stage::Loading | Stage::Asking(..) | Stage::Executing(_) => Vec::new(),
        }
    }

    /// The role that is tried.
    pub fn trial(&self) -> Option<&Running> {
        match &self.stage {
            Stage::Trying(trial) => Some(&trial.new),
            _ => None,
        }
    }

    /// When something is due by itself.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Testing(test) => Some(test.deadline()),
            Stage::Loading => None,
            Stage::Asking(_, until) => Some(*until),
            Stage::Trying(trial) => trial.deadline(),
            Stage::Executing(_) => Some(Instant::now() + QUIET_TICK),
        }
    }
}

impl Supervisor {
    /// Begins an upgrade in place of a mere change, if there is reason to.
    pub(super) fn begin_upgrade(&mut self) -> bool {
        let adopted = self.slots[PROXY]
            .running
            .as_ref()
            .filter(|proxy| proxy.adopted);
        let Some(newer) = self
            .program
            .newer(adopted.map(|proxy| proxy.process.number()))
        else {
            return false;
        };
        match SelfTest::begin(&newer.path) {
            Ok(test) => {
                let stage = Stage::Testing(test);
                self.upgrade = Some(Upgrade { newer, stage });
            }
            Err(error) => self.refuse_program(&newer.path.display().to_string(), &error),
        }
        true
    }

    fn refuse_program(&mut self, path: &str, error: &dyn std::fmt::Display) {
        self.refuse_change(&format!("the new program {path}: {error}"), "");
    }

    /// Whether the version that a loader made is an upgrade's.
    pub(super) fn upgrades(&self) -> bool {
        let stage = self.upgrade.as_ref().map(|upgrade| &upgrade.stage);
        matches!(stage, Some(Stage::Loading))
    }

    /// The new program's loader made a version.
    pub(super) fn upgrade_loaded(&mut self, version: Version, shown: String) {
        let next = Next { version, shown };
        if next.version.is_without_proxy() != self.is_without_proxy() {
            let words = "the installed program is a different one, and these files bring the first listener or remove \
                         the last: reload with the previous files first, then with these";
            return self.refuse_change(words, &next.shown);
        }
        if next.version.is_without_proxy() {
            return self.upgrade_alone(next);
        }
        if let Some(upgrade) = &mut self.upgrade {
            upgrade.stage = Stage::Asking(next, Instant::now() + STATE_LIMIT);
        }
        let asked = |proxy: &mut Running| proxy.say(&Message::TellState);
        if !self.slots[PROXY].running.as_mut().is_some_and(asked) {
            // Whatever it counted is lost with it.
            self.try_upgrade(None);
        }
    }

    /// Without a proxy nothing is to be tried first: the new program was tested and
    /// has read the files; its role follows the one that runs.
    fn upgrade_alone(&mut self, next: Next) {
        let Some(upgrade) = &mut self.upgrade else {
            return;
        };
        let words = format!("{} runs now", upgrade.newer.path.display());
        upgrade.stage = Stage::Executing(Instant::now() + QUIET_LIMIT);
        let mut lines = tell::changed(&next.version);
        lines.insert(0, (Gravity::Notice, words));
        self.kept = Some(next.version);
        self.keep_version();
        self.tell_change(&lines, &next.shown);
    }

    /// The old role told what it knows, or does not know what that means.
    pub(super) fn state_told(&mut self, state: Option<Shared>) {
        let stage = self.upgrade.as_ref().map(|upgrade| &upgrade.stage);
        if matches!(stage, Some(Stage::Asking(..))) {
            self.try_upgrade(state);
        }
    }

    fn try_upgrade(&mut self, state: Option<Shared>) {
        let Some(Upgrade {
            newer,
            stage: Stage::Asking(next, _),
        }) = self.upgrade.take()
        else {
            return;
        };
        match proxy::start(&newer.path, &next.version, state.as_ref(), None) {
            Ok(new) => {
                tell::forked(&mut self.voice, new.process.number());
                let stage = Stage::Trying(Trial {
                    new,
                    next,
                    until: None,
                    silent: None,
                    asked_last: false,
                });
                self.upgrade = Some(Upgrade { newer, stage });
            }
            Err(error) => {
                self.refuse_change(&format!("the new program: {error}"), &next.shown);
            }
        }
    }

    /// Goes on with it as far as it is.
    pub(super) fn look_at_upgrade(&mut self) {
        let now = Instant::now();
        let arbiter = self.is_arbiter();
        let Some(upgrade) = &mut self.upgrade else {
            return;
        };
        match &mut upgrade.stage {
            Stage::Testing(test) => match test.look() {
                None => {}
                Some(Ok(())) if arbiter => self.arbiter_tested(),
                Some(Ok(())) => {
                    upgrade.stage = Stage::Loading;
                    let program = upgrade.newer.path.clone();
                    self.begin_load(&program);
                }
                Some(Err(error)) => {
                    let path = upgrade.newer.path.display().to_string();
                    self.refuse_program(&path, &error);
                }
            },
            Stage::Loading => {}
            Stage::Asking(_, until) if *until <= now => self.try_upgrade(None),
            Stage::Asking(..) => {}
            Stage::Trying(_) => self.look_at_trial(now),
            Stage::Executing(until) => {
                let late = *until <= now;
                self.execute_when_quiet(late);
            }
        }
    }

    fn look_at_trial(&mut self, now: Instant) {
        let Some(Upgrade {
            stage: Stage::Trying(trial),
            ..
        }) = &mut self.upgrade
        else {
            return;
        };
        let mut begins = false;
        let mut turn = Turn::of(&mut trial.new.process);
        while let Some(received) = turn.next(Some(&mut trial.new.process), &mut self.voice) {
            trial.silent = None;
            if received.message == Message::WantsHelper {
                let version = std::iter::once(&trial.next.version);
                let soft = self.files_soft;
                let pid = programs::give(&mut trial.new, version, soft, &mut self.voice);
                self.carried.expect(pid);
            }
            if matches!(received.message, Message::Ready { .. }) && !trial.new.ready {
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
            .deadline(PROXY_READY_LIMIT)
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
            // The address role sees no gap: the old one writes until the new one does.
            let vitals = self.pulses.file();
            trial.new.process.share(vitals);
        }
        if begins {
            if self.paused {
                let _ = trial.new.say(&Message::Pause);
            }
            if let Some(old) = &mut self.slots[PROXY].running {
                // If this fails, the role has ended; the main loop notices that.
                let _ = old.say(&Message::Pause);
            }
        }
        if trusted {
            self.trust_upgrade();
        }
    }

    /// The new role is the one that serves from now on.
    fn trust_upgrade(&mut self) {
        let Some(Upgrade {
            newer,
            stage: Stage::Trying(trial),
        }) = self.upgrade.take()
        else {
            return;
        };
        let Trial { new, next, .. } = trial;
        let old = self.slots[PROXY].running.replace(new);
        // The guard of the new role first: if this process is killed, one role continues
        // to serve.
        self.guard_proxy();
        if let Some(old) = old {
            self.see_off(old);
        }
        if self.paused {
            self.pause(true);
        }
        let mut lines = tell::changed(&next.version);
        let words = format!("now serving with {}", newer.path.display());
        lines.insert(0, (Gravity::Notice, words));
        // The descriptors of the version before are closed here.
        self.kept = Some(next.version);
        self.unsettled = None;
        self.keep_version();
        if newer.whole && self.stop.is_none() {
            let stage = Stage::Executing(Instant::now() + QUIET_LIMIT);
            self.upgrade = Some(Upgrade { newer, stage });
        }
        self.tell_change(&lines, &next.shown);
    }

    fn execute_when_quiet(&mut self, late: bool) {
        let quiet = self.is_quiet(late);
        if !quiet && !late {
            return;
        }
        let Some(upgrade) = self.upgrade.take() else {
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

    /// Whether it can be given up without anybody noticing: no role knows of it.
    pub(super) fn upgrade_is_young(&self) -> bool {
        let stage = self.upgrade.as_ref().map(|upgrade| &upgrade.stage);
        stage.is_none_or(|stage| matches!(stage, Stage::Testing(_) | Stage::Loading))
    }

    /// The role that is tried, where it serves in place of the one before.
    pub(super) fn tried(&mut self) -> Option<&mut Running> {
        match self.upgrade.as_mut().map(|upgrade| &mut upgrade.stage) {
            Some(Stage::Trying(trial)) if trial.until.is_some() => Some(&mut trial.new),
            _ => None,
        }
    }

    /// Whether the role that serves is paused while another one is tried: what it
    /// says of itself then holds for nobody who follows.
    pub(super) fn upgrade_has_paused(&self) -> bool {
        let stage = self.upgrade.as_ref().map(|upgrade| &upgrade.stage);
        matches!(stage, Some(Stage::Trying(trial)) if trial.until.is_some())
    }

    /// Aborts the upgrade in progress and undoes its changes.
    pub(super) fn abandon_upgrade(&mut self) {
        let Some(upgrade) = self.upgrade.take() else {
            return;
        };
        let Stage::Trying(mut trial) = upgrade.stage else {
            return;
        };
        trial.new.process.end_now();
        if trial.until.is_some()
            && !self.paused
            && let Some(old) = &mut self.slots[PROXY].running
        {
            // If this fails, the role has ended; the main loop notices that.
            let _ = old.say(&Message::Resume);
        }
    }

    /// The supervisor is to stop: a role that serves already is stopped like the
    /// one that it was to follow.
    pub(super) fn stop_upgrade(&mut self, stop: &Stop) {
        let serves = matches!(
            &self.upgrade,
            Some(Upgrade { stage: Stage::Trying(trial), .. }) if trial.until.is_some()
        );
        match serves && stop.is_soft() {
            true => self.trust_upgrade(),
            false => self.abandon_upgrade(),
        }
    }

    /// The old role died. Whether a new one takes its place at once.
    pub(super) fn old_died(&mut self) -> bool {
        let Some(upgrade) = &self.upgrade else {
            return false;
        };
        match &upgrade.stage {
            Stage::Trying(trial) if trial.until.is_some() => {
                self.trust_upgrade();
                true
            }
            // The new one serves already.
            Stage::Executing(_) => {
                self.upgrade = None;
                false
            }
            _ => {
                self.refuse_change("the proxy died meanwhile", "");
                false
            }
        }
    }
}
