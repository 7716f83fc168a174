//! An upgrade of the binary, as far as it is.

use crate::program::Newer;
use crate::self_test::SelfTest;
use crate::slot::Running;
use crate::version::Version;
use part::role::Message;
use rustix::event::PollFd;
use std::time::{Duration, Instant};

/// How long it may take to respond meanwhile.
const SILENCE_LIMIT: Duration = Duration::from_secs(3);
/// Interval at which the end of that change is checked.
const QUIET_TICK: Duration = Duration::from_millis(20);

/// An upgrade in progress.
pub struct Upgrade {
    pub newer: Newer,
    pub stage: Stage,
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

#[expect(clippy::large_enum_variant, reason = "there is one of them")]
pub enum Stage {
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
pub struct Next {
    pub version: Version,
    /// Output of the loader, for the client that asked.
    pub shown: String,
}

/// The role of the new program, which is tried beside the old one.
pub struct Trial {
    pub new: Running,
    /// How long it may take until it serves.
    pub ready_limit: Option<Duration>,
    pub next: Next,
    /// When it is trusted; None until it serves.
    pub until: Option<Instant>,
    /// Since when it has not responded to a question; None where it has.
    pub silent: Option<Instant>,
    /// It was asked again at the end of the trial.
    pub asked_last: bool,
}

impl Trial {
    /// Asks the role whether it is alive.
    pub fn ask(&mut self, now: Instant) {
        self.silent = Some(now);
        // If this fails, the role has ended; the main loop notices that.
        let _ = self.new.say(&Message::TellPulse);
    }

    /// When it is to be looked at.
    pub fn deadline(&self) -> Option<Instant> {
        let silent = self.silent.map(|since| since + SILENCE_LIMIT);
        match self.until {
            None => self.new.deadline(self.ready_limit),
            Some(_) if self.asked_last => silent,
            Some(until) => Some(silent.map_or(until, |silent| silent.min(until))),
        }
    }

    /// Whether it may serve alone: it has served for a while, and responds at the end.
    pub fn is_trusted(&mut self, now: Instant) -> bool {
        if self.until.is_none_or(|until| until > now) {
            return false;
        }
        if !std::mem::replace(&mut self.asked_last, true) && self.silent.is_none() {
            self.ask(now);
        }
        self.silent.is_none()
    }

    /// Whether it has not responded for too long.
    pub fn is_silent(&self, now: Instant) -> bool {
        self.silent
            .is_some_and(|since| since + SILENCE_LIMIT <= now)
    }
}
