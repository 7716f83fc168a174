//! State of an upgrade of the binary.

use crate::program::Newer;
use crate::self_test::SelfTest;
use crate::slot::RunningRole;
use crate::version::LoadedVersion;
use part::role::SupervisorMessage;
use rustix::event::PollFd;
use std::time::{Duration, Instant};

/// Time for the new role to respond to a ping during the trial.
const SILENCE_LIMIT: Duration = Duration::from_secs(3);
/// Interval at which the supervisor checks whether it may execute the new program.
const QUIET_TICK: Duration = Duration::from_millis(20);

pub struct Upgrade {
    pub newer: Newer,
    pub stage: UpgradeStage,
}

impl Upgrade {
    pub fn watched(&self) -> Vec<PollFd<'_>> {
        match &self.stage {
            UpgradeStage::Testing(test) => test.watched().into_iter().collect(),
            UpgradeStage::Trying(trial) => trial.new.process.watched().collect(),
            UpgradeStage::Loading | UpgradeStage::Asking(..) | UpgradeStage::Executing(_) => {
                Vec::new()
            }
        }
    }

    pub fn trial(&self) -> Option<&RunningRole> {
        match &self.stage {
            UpgradeStage::Trying(trial) => Some(&trial.new),
            _ => None,
        }
    }

    pub fn trial_mut(&mut self) -> Option<&mut RunningRole> {
        match &mut self.stage {
            UpgradeStage::Trying(trial) => Some(&mut trial.new),
            _ => None,
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            UpgradeStage::Testing(test) => Some(test.deadline()),
            UpgradeStage::Loading => None,
            UpgradeStage::Asking(_, until) => Some(*until),
            UpgradeStage::Trying(trial) => trial.deadline(),
            UpgradeStage::Executing(_) => Some(Instant::now() + QUIET_TICK),
        }
    }
}

#[expect(clippy::large_enum_variant, reason = "there is one of them")]
pub enum UpgradeStage {
    Testing(SelfTest),
    Loading,
    /// The old role was asked for its state, until this deadline.
    Asking(Next, Instant),
    /// The new role starts, or serves together with the old one.
    Trying(Trial),
    /// The new role serves; the supervisor executes the new program by this deadline.
    Executing(Instant),
}

/// The version for the new role.
pub struct Next {
    pub version: LoadedVersion,
    pub shown: String,
}

/// The new program's role during its trial, while the old role still exists.
pub struct Trial {
    pub new: RunningRole,
    /// Time for the role to become ready.
    pub ready_limit: Option<Duration>,
    pub next: Next,
    /// Time at which the role is trusted; None until it serves.
    pub until: Option<Instant>,
    /// Time of a ping without a response; None if there is none.
    pub silent: Option<Instant>,
    /// True if the ping at the end of the trial was sent.
    pub asked_last: bool,
}

impl Trial {
    pub fn ask(&mut self, now: Instant) {
        self.silent = Some(now);
        // If this fails, the role has ended; the main loop notices that.
        let _ = self.new.send_message(&SupervisorMessage::TellPulse);
    }

    /// Returns when the trial must be checked next.
    pub fn deadline(&self) -> Option<Instant> {
        let silent = self.silent.map(|since| since + SILENCE_LIMIT);
        match self.until {
            None => self.new.deadline(self.ready_limit),
            Some(_) if self.asked_last => silent,
            Some(until) => Some(silent.map_or(until, |silent| silent.min(until))),
        }
    }

    /// Returns whether the role may serve alone: it has served for the trial period and responds to
    /// the final ping.
    pub fn is_trusted(&mut self, now: Instant) -> bool {
        if self.until.is_none_or(|until| until > now) {
            return false;
        }
        if !std::mem::replace(&mut self.asked_last, true) && self.silent.is_none() {
            self.ask(now);
        }
        self.silent.is_none()
    }

    pub fn is_silent(&self, now: Instant) -> bool {
        self.silent
            .is_some_and(|since| since + SILENCE_LIMIT <= now)
    }
}
