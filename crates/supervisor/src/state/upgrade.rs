//! Moves an upgrade of the binary through its stages: test of the new program, load of the files,
//! state of the old role, trial of the new role, execution. Returns events, which the supervisor
//! carries out.

use crate::carried::Carried;
use crate::program::Newer;
use crate::self_test::{SelfTest, SelfTestError};
use crate::slot::RunningRole;
use crate::turn::ProcessTurn;
use crate::version::LoadedVersion;
use crate::{programs, serving, tell};
use part::SharedFd;
use part::role::SupervisorMessage;
use part::row::RoleRow;
use part::voice::MessagePrinter;
use rustix::event::PollFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Time for which a new role serves together with the old one before it is trusted.
const PROBATION: Duration = Duration::from_secs(3);
/// Time for the old role to report its state.
const STATE_LIMIT: Duration = Duration::from_secs(10);
/// Maximum time for which a change in progress may delay the execution of the new program.
const QUIET_LIMIT: Duration = Duration::from_secs(10);
/// Time for the new role to respond to a ping during the trial.
const SILENCE_LIMIT: Duration = Duration::from_secs(3);
/// Interval at which the supervisor checks whether it may execute the new program.
const QUIET_TICK: Duration = Duration::from_millis(20);

/// An upgrade in progress. The caller polls it in each turn of the main loop, carries out the event,
/// and drops the value if the upgrade fails; the old role has continued until then.
pub struct Upgrade {
    pub newer: Newer,
    pub stage: UpgradeStage,
}

/// Event of an upgrade, as the result of a poll.
#[derive(Debug, PartialEq, Eq)]
pub enum UpgradeEvent {
    Nothing,
    /// The new program can run; it must load the files next.
    Tested,
    Failed(UpgradeFailure),
    /// The old role has not reported its state in time, so its counters are lost.
    StateMissing,
    /// The new role serves from now on; the old one must pause.
    Serves,
    /// The new role may serve alone.
    Trusted,
    /// The supervisor should execute the new program, and must not wait longer if it is late.
    Execute {
        is_late: bool,
    },
}

#[derive(Debug, PartialEq, Eq)]
pub struct UpgradeFailure {
    pub words: String,
    /// Output of the loader, for the client that asked.
    pub shown: String,
}

impl Upgrade {
    /// Starts the self-test of the new program.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn begin(newer: Newer) -> Result<Upgrade, UpgradeFailure> {
        match SelfTest::begin(&newer.path) {
            Ok(test) => Ok(Upgrade {
                stage: UpgradeStage::Testing(test),
                newer,
            }),
            Err(error) => Err(test_failure(&newer, &error)),
        }
    }

    /// Returns whether the new program loads the files.
    pub fn is_loading(&self) -> bool {
        matches!(self.stage, UpgradeStage::Loading)
    }

    /// Returns whether the upgrade can be aborted unnoticed, because no role knows of it yet.
    pub fn is_young(&self) -> bool {
        matches!(self.stage, UpgradeStage::Testing(_) | UpgradeStage::Loading)
    }

    /// Returns the new role while it serves instead of the old one.
    pub fn serving(&self) -> Option<&RunningRole> {
        match &self.stage {
            UpgradeStage::Trying(trial) if trial.until.is_some() => Some(&trial.new),
            _ => None,
        }
    }

    pub fn serving_mut(&mut self) -> Option<&mut RunningRole> {
        match &mut self.stage {
            UpgradeStage::Trying(trial) if trial.until.is_some() => Some(&mut trial.new),
            _ => None,
        }
    }

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

    /// Begins the load of the files by the tested program, whose path is returned.
    pub fn load(&mut self) -> PathBuf {
        self.stage = UpgradeStage::Loading;
        self.newer.path.clone()
    }

    /// Waits for the state of the old role, before the new one starts with this version.
    pub fn wait_for_state(&mut self, next: Next) {
        self.stage = UpgradeStage::Asking(next, Instant::now() + STATE_LIMIT);
    }

    /// Starts the role of the new program, with the state of the old role if there is one. Returns
    /// its process id; None if the upgrade does not wait for a state.
    ///
    /// # Errors
    /// The role cannot be started.
    pub fn start_trial(
        &mut self,
        row: &RoleRow,
        state: Option<&SharedFd>,
    ) -> Result<Option<i32>, UpgradeFailure> {
        let next = match std::mem::replace(&mut self.stage, UpgradeStage::Loading) {
            UpgradeStage::Asking(next, _) => next,
            other => {
                self.stage = other;
                return Ok(None);
            }
        };
        match serving::start(row.entry, &self.newer.path, &next.version, state, None) {
            Ok(new) => {
                let process = new.process.number();
                self.stage = UpgradeStage::Trying(Trial::new(new, row.ready_limit, next));
                Ok(Some(process))
            }
            Err(error) => Err(UpgradeFailure {
                words: format!("the new program: {error}"),
                shown: next.shown,
            }),
        }
    }

    /// Enters the stage in which the supervisor executes the new program as soon as nothing else is
    /// in progress. Returns the trial, if one ends with this.
    pub fn execute_when_quiet(&mut self) -> Option<Trial> {
        let executing = UpgradeStage::Executing(Instant::now() + QUIET_LIMIT);
        match std::mem::replace(&mut self.stage, executing) {
            UpgradeStage::Trying(trial) => Some(trial),
            _ => None,
        }
    }

    /// Advances the upgrade. `files_soft` and `carried` are for helper processes of the new role.
    pub fn poll(
        &mut self,
        now: Instant,
        files_soft: u64,
        carried: &mut Carried,
        voice: &mut MessagePrinter,
    ) -> UpgradeEvent {
        match &mut self.stage {
            UpgradeStage::Testing(test) => match test.look() {
                None => UpgradeEvent::Nothing,
                Some(Ok(())) => UpgradeEvent::Tested,
                Some(Err(error)) => UpgradeEvent::Failed(test_failure(&self.newer, &error)),
            },
            UpgradeStage::Asking(_, until) if *until <= now => UpgradeEvent::StateMissing,
            UpgradeStage::Loading | UpgradeStage::Asking(..) => UpgradeEvent::Nothing,
            UpgradeStage::Trying(trial) => trial.poll(now, files_soft, carried, voice),
            UpgradeStage::Executing(until) => UpgradeEvent::Execute {
                is_late: *until <= now,
            },
        }
    }
}

fn test_failure(newer: &Newer, error: &SelfTestError) -> UpgradeFailure {
    UpgradeFailure {
        words: format!("the new program {}: {error}", newer.path.display()),
        shown: String::new(),
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

/// Configuration version with which the role of the new program starts.
pub struct Next {
    pub version: LoadedVersion,
    pub shown: String,
}

/// The new program's role during its trial, while the old role still exists.
pub struct Trial {
    pub new: RunningRole,
    pub next: Next,
    /// Time for the role to become ready.
    ready_limit: Option<Duration>,
    /// Time at which the role is trusted; None until it serves.
    until: Option<Instant>,
    /// Time of a ping without a response; None if there is none.
    silent: Option<Instant>,
    /// True if the ping at the end of the trial was sent.
    asked_last: bool,
}

impl Trial {
    fn new(new: RunningRole, ready_limit: Option<Duration>, next: Next) -> Trial {
        Trial {
            new,
            next,
            ready_limit,
            until: None,
            silent: None,
            asked_last: false,
        }
    }

    fn poll(
        &mut self,
        now: Instant,
        files_soft: u64,
        carried: &mut Carried,
        voice: &mut MessagePrinter,
    ) -> UpgradeEvent {
        let mut begins = false;
        let mut turn = ProcessTurn::of(&mut self.new.process);
        while let Some(received) = turn.next(Some(&mut self.new.process), voice) {
            self.silent = None;
            if received.message == SupervisorMessage::WantsHelper {
                let version = std::iter::once(&self.next.version);
                let pid = programs::start_helper(&mut self.new, version, files_soft, voice);
                carried.expect(pid);
            }
            if matches!(received.message, SupervisorMessage::Ready { .. }) && !self.new.ready {
                self.new.ready = true;
                self.until = Some(now + PROBATION);
                self.ask(now);
                begins = true;
            }
        }
        if let Some(ending) = turn.ending(Some(&self.new.process)) {
            return self.failed(&tell::trial_ended(ending));
        }
        let is_trusted = self.is_trusted(now);
        if self.is_silent(now) {
            return self.failed("the proxy of the new program does not respond");
        }
        let deadline = self.new.deadline(self.ready_limit);
        if deadline.is_some_and(|until| until <= now) {
            return self.failed("the new proxy did not start to serve in time");
        }
        if begins {
            UpgradeEvent::Serves
        } else if is_trusted {
            UpgradeEvent::Trusted
        } else {
            UpgradeEvent::Nothing
        }
    }

    fn failed(&self, words: &str) -> UpgradeEvent {
        UpgradeEvent::Failed(UpgradeFailure {
            words: words.to_owned(),
            shown: self.next.shown.clone(),
        })
    }

    fn ask(&mut self, now: Instant) {
        self.silent = Some(now);
        // Ignored: if the message cannot be sent, the role has ended, which the main loop notices.
        let _ = self.new.send_message(&SupervisorMessage::TellPulse);
    }

    /// Returns when the trial must be checked next.
    fn deadline(&self) -> Option<Instant> {
        let silent = self.silent.map(|since| since + SILENCE_LIMIT);
        match self.until {
            None => self.new.deadline(self.ready_limit),
            Some(_) if self.asked_last => silent,
            Some(until) => Some(silent.map_or(until, |silent| silent.min(until))),
        }
    }

    /// Returns whether the role may serve alone: it has served for the trial period and responds to
    /// the final ping.
    fn is_trusted(&mut self, now: Instant) -> bool {
        if self.until.is_none_or(|until| until > now) {
            return false;
        }
        if !std::mem::replace(&mut self.asked_last, true) && self.silent.is_none() {
            self.ask(now);
        }
        self.silent.is_none()
    }

    fn is_silent(&self, now: Instant) -> bool {
        self.silent
            .is_some_and(|since| since + SILENCE_LIMIT <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bed::{Theirs, bed, voice};
    use part::memory;
    use part::role::Take;
    use part::spawn::LOADER_ENTRY;
    use std::process::ExitCode;

    static ROW: RoleRow = RoleRow::plain("test", LOADER_ENTRY, |_| ExitCode::SUCCESS, "tests");
    const READY: SupervisorMessage = SupervisorMessage::Ready {
        version: 1,
        words: String::new(),
    };

    fn next() -> Next {
        let bundle = memory::create("test", b"a bundle").expect("memory");
        Next {
            version: LoadedVersion::of(Take::default(), bundle, Vec::new()),
            shown: "the loader's output".to_owned(),
        }
    }

    fn upgrade(stage: UpgradeStage) -> Upgrade {
        Upgrade {
            newer: Newer::of_test("/nowhere/evenkeel"),
            stage,
        }
    }

    fn trial() -> (Upgrade, Theirs) {
        let (process, theirs) = bed();
        let role = RunningRole::begun(process);
        let trial = Trial::new(role, ROW.ready_limit, next());
        (upgrade(UpgradeStage::Trying(trial)), theirs)
    }

    fn poll(upgrade: &mut Upgrade, now: Instant) -> UpgradeEvent {
        upgrade.poll(now, 1024, &mut Carried::default(), &mut voice())
    }

    fn failure(event: UpgradeEvent) -> UpgradeFailure {
        match event {
            UpgradeEvent::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn role_is_trusted_after_the_probation_and_a_last_response() {
        let (mut upgrade, mut theirs) = trial();
        let now = Instant::now();
        assert_eq!(poll(&mut upgrade, now), UpgradeEvent::Nothing);
        assert!(upgrade.serving().is_none());
        theirs.channel.send(&READY, &[]).expect("sent");
        assert_eq!(poll(&mut upgrade, now), UpgradeEvent::Serves);
        assert!(upgrade.serving().is_some() && !upgrade.is_young());
        // A second report of readiness changes nothing, and is a response to the ping.
        theirs.channel.send(&READY, &[]).expect("sent");
        assert_eq!(poll(&mut upgrade, now), UpgradeEvent::Nothing);
        assert_eq!(upgrade.deadline(), Some(now + PROBATION));
        let over = now + PROBATION;
        assert_eq!(poll(&mut upgrade, over), UpgradeEvent::Nothing);
        assert_eq!(upgrade.deadline(), Some(over + SILENCE_LIMIT));
        let pulse = SupervisorMessage::Pulse;
        theirs.channel.send(&pulse, &[]).expect("sent");
        assert_eq!(poll(&mut upgrade, over), UpgradeEvent::Trusted);
    }

    #[test]
    fn role_that_does_not_serve_respond_or_live_fails() {
        let (mut upgrade, mut theirs) = trial();
        let now = Instant::now();
        let late = upgrade.deadline().expect("a limit");
        let failed = failure(poll(&mut upgrade, late));
        assert!(failed.words.contains("in time"), "{}", failed.words);
        assert_eq!(failed.shown, "the loader's output");
        theirs.channel.send(&READY, &[]).expect("sent");
        assert_eq!(poll(&mut upgrade, now), UpgradeEvent::Serves);
        let failed = failure(poll(&mut upgrade, now + SILENCE_LIMIT));
        assert!(failed.words.contains("respond"), "{}", failed.words);
        theirs.child.kill().expect("a signal");
        let mut event = UpgradeEvent::Nothing;
        assert!(lab::eventually(Duration::from_secs(20), || {
            event = poll(&mut upgrade, now);
            event != UpgradeEvent::Nothing
        }));
        let failed = failure(event);
        assert!(failed.words.contains("SIGKILL"), "{}", failed.words);
    }

    #[test]
    fn only_an_upgrade_that_waits_for_a_state_starts_a_role() {
        for stage in [
            UpgradeStage::Loading,
            UpgradeStage::Executing(Instant::now()),
        ] {
            let mut upgrade = upgrade(stage);
            let is_loading = upgrade.is_loading();
            assert_eq!(upgrade.start_trial(&ROW, None), Ok(None));
            assert_eq!(upgrade.is_loading(), is_loading);
        }
        let mut upgrade = upgrade(UpgradeStage::Loading);
        upgrade.wait_for_state(next());
        let now = Instant::now();
        assert_eq!(poll(&mut upgrade, now), UpgradeEvent::Nothing);
        let late = now + STATE_LIMIT;
        assert_eq!(poll(&mut upgrade, late), UpgradeEvent::StateMissing);
        let failed = upgrade.start_trial(&ROW, None).expect_err("no program");
        assert!(failed.words.contains("the new program"), "{}", failed.words);
        assert_eq!(upgrade.start_trial(&ROW, None), Ok(None), "twice");
    }

    #[test]
    fn execution_is_late_after_its_limit() {
        let mut upgrade = upgrade(UpgradeStage::Loading);
        assert!(upgrade.is_young());
        let now = Instant::now();
        upgrade.execute_when_quiet();
        assert!(!upgrade.is_young());
        let execute = |is_late| UpgradeEvent::Execute { is_late };
        assert_eq!(poll(&mut upgrade, now), execute(false));
        let late = now + QUIET_LIMIT + Duration::from_secs(1);
        assert_eq!(poll(&mut upgrade, late), execute(true));
    }

    #[test]
    fn program_that_cannot_run_is_refused() {
        let failed = Upgrade::begin(Newer::of_test("/nowhere/evenkeel"));
        let failed = failed.err().expect("no such program");
        assert!(failed.words.contains("/nowhere/evenkeel"));
    }
}
