//! Determines the tasks of a node in a rollout, one after the other, from the committed state, the
//! served version and the judge.
//!
//! The caller calls [`Agent::next`], executes the task, reports the result, and calls
//! again. Without a task it waits for a change of the state, for news of its machine,
//! or until [`Agent::wake_at`].

use super::desired::{Desired, TRIAL_SILENCE_MS};
use super::judge::{Finding, Judge, Probes};
use crate::command::{CheckFindings, Reported, RolloutReport, VersionId};
use crate::machine::{Health, MachineVerdict};
use crate::member::MemberId;
use crate::state::{ClusterState, RolloutStage};

/// Interval between samples without a candidate version, in milliseconds.
pub const IDLE_SAMPLE_MS: u64 = 2000;
/// Interval between samples of a candidate version, in milliseconds.
pub const TRIAL_SAMPLE_MS: u64 = 500;
/// Age below which a sample suffices for a switch, milliseconds.
const FRESH_MS: u64 = 1000;
const REPEAT_MS: u64 = 1000;
/// Time after which an accepted version that this node could not serve is tried again,
/// milliseconds: a missing system file or a port may be available again.
const RETRY_MS: u64 = 60_000;

/// The next task of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Task {
    /// Check the version without serving it; then [`Agent::checked`].
    Check(VersionId),
    /// Sample the health, and if required probe each frontend; then [`Agent::sampled`].
    Sample { probe: bool },
    /// Serve the version; then [`Agent::served`].
    Serve {
        version: VersionId,
        /// True if the version that is served now has to be kept for a rollback.
        trial: bool,
    },
    /// The candidate is accepted: keep it, also on disk; then [`Agent::kept`].
    Accept(VersionId),
    /// Roll back from this version to the previous one; then [`Agent::reverted`].
    Revert(VersionId),
    /// Propose this report. The state shows whether it was applied.
    Say(RolloutReport),
}

/// A candidate version that is served.
#[derive(Clone, PartialEq, Debug)]
struct Trial {
    version: VersionId,
    /// Name of the stage in which the node evaluates the version; None before the first stage.
    stage: Option<&'static str>,
    found: Option<Finding>,
}

/// The tasks of a node in a rollout, one at a time. The caller executes the task that
/// [`Agent::next`] returns and reports its result before it calls again.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Agent {
    me: MemberId,
    /// Version that the node serves without a candidate.
    base: Option<VersionId>,
    trial: Option<Trial>,
    /// Report on the version in progress, or on the accepted one.
    own: Option<RolloutReport>,
    said_at_ms: Option<u64>,
    found: CheckFindings,
    sampled_at_ms: Option<u64>,
    /// Accepted version that the node could not serve, and the time of the failure.
    failed: Option<(VersionId, u64)>,
    judge: Judge,
    disk_stuck_ms: u64,
    /// Newest version that the node accepted: it serves no older one as accepted. A state
    /// that names an older version is outdated, or comes from members that lost their
    /// logs.
    accepted: Option<VersionId>,
}

impl Agent {
    /// Creates an agent that serves this version (the accepted one) at its start. A candidate that
    /// the previous process served has already been rolled back by the machine.
    pub fn new(me: MemberId, serves: Option<VersionId>) -> Agent {
        Agent {
            me,
            base: serves,
            accepted: serves,
            ..Agent::default()
        }
    }

    pub fn has_accepted(&mut self, version: VersionId) {
        self.accepted = self.accepted.max(Some(version));
    }

    pub fn newest_accepted(&self) -> Option<VersionId> {
        self.accepted
    }

    pub fn serves(&self) -> Option<VersionId> {
        self.trial
            .as_ref()
            .map_or(self.base, |trial| Some(trial.version))
    }

    pub fn on_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// Sets the time for which this machine's disk has not responded, milliseconds; 0 if the disk
    /// responds. The leader counts a node with a stuck disk as unreachable. So the agent behaves as
    /// if the leader had been silent for this time: it could not save a candidate.
    pub fn disk_is_stuck_for(&mut self, ms: u64) {
        self.disk_stuck_ms = ms;
    }

    pub fn next(&mut self, state: &ClusterState, now_ms: u64, silence_ms: u64) -> Option<Task> {
        let silence_ms = silence_ms.max(self.disk_stuck_ms);
        let mut desired = Desired::of(state, self.me, silence_ms);
        if state.accepted < self.accepted {
            self.hold(&mut desired);
        }
        if let Some(trial) = &self.trial {
            let version = trial.version;
            if desired.serve == Some(version) && !desired.trial {
                return Some(Task::Accept(version));
            }
            if desired.serve != Some(version) || self.spoke_against(version) {
                self.remember_why(state, version, silence_ms);
                return Some(Task::Revert(version));
            }
            self.follow_stage(state, now_ms, desired.judge_ms);
        }
        self.has_checked(&desired);
        if let Some(report) = self.owed(state, now_ms, silence_ms) {
            return Some(Task::Say(report));
        }
        self.to_serve(&desired, now_ms)
            .or_else(|| self.to_check(&desired))
            .or_else(|| self.to_sample(state, now_ms))
    }

    /// Returns the latest time for the next call, if nothing happens earlier.
    pub fn wake_at(&self, now_ms: u64) -> u64 {
        let every_ms = self.sample_every_ms();
        let sampled_ms = self.sampled_at_ms.unwrap_or(now_ms);
        let sample_ms = sampled_ms.saturating_add(every_ms);
        let repeat_ms = self.said_at_ms.map(|at_ms| at_ms.saturating_add(REPEAT_MS));
        // Ignores a repetition that is due: the state has that report, because [`Agent::next`] did
        // not return it.
        let repeat_ms = repeat_ms.filter(|at_ms| *at_ms > now_ms);
        let wake_ms = repeat_ms.map_or(sample_ms, |at_ms| sample_ms.min(at_ms));
        wake_ms.max(now_ms.saturating_add(1))
    }

    pub fn checked(
        &mut self,
        version: VersionId,
        verdict: &MachineVerdict,
        addresses_owned: Option<u64>,
    ) {
        let outcome = if verdict.good {
            Reported::Checked
        } else {
            Reported::Refused
        };
        self.found = CheckFindings {
            together: verdict.together,
            addresses_owned,
        };
        self.set_report(version, outcome, verdict.words.clone());
    }

    /// Records the result of [`Task::Serve`]. After a failure the machine serves the
    /// previous version.
    pub fn served(
        &mut self,
        version: VersionId,
        trial: bool,
        verdict: &MachineVerdict,
        now_ms: u64,
    ) {
        if !verdict.good {
            self.failed = (!trial).then_some((version, now_ms));
            self.set_report(version, Reported::Refused, verdict.words.clone());
            return;
        }
        if trial {
            self.trial = Some(Trial {
                version,
                stage: None,
                found: None,
            });
        } else {
            self.base = Some(version);
            self.has_accepted(version);
            self.failed = None;
            self.judge.accepted();
        }
        self.set_report(version, Reported::Serves, verdict.words.clone());
    }

    pub fn kept(&mut self, version: VersionId, verdict: &MachineVerdict) {
        self.trial = None;
        if !verdict.good {
            // Drops the candidate: the machine rolled back from it meanwhile. The next task serves
            // the accepted version again.
            self.judge.reverted();
            return;
        }
        self.base = Some(version);
        self.has_accepted(version);
        self.judge.accepted();
    }

    pub fn reverted(&mut self) {
        self.trial = None;
        self.judge.reverted();
    }

    /// Handles a rollback by the machine itself, which had to take over an address.
    pub fn record_machine_rollback(&mut self, words: String) {
        if let Some(trial) = self.trial.take() {
            self.judge.reverted();
            self.set_report(trial.version, Reported::WentBack, words);
        }
    }

    pub fn sampled(&mut self, now_ms: u64, health: Option<Health>, probes: Option<Probes>) {
        self.sampled_at_ms = Some(now_ms);
        // Drops the sample: a candidate that is not judged is no baseline for the next version.
        if self.trial.is_some() && !self.judge.is_judging() {
            return;
        }
        self.judge.sample(now_ms, health, probes);
        let Some(finding) = self.judge.finding(now_ms) else {
            return;
        };
        let Some(trial) = &mut self.trial else {
            return;
        };
        if trial.found.is_none() || matches!(finding, Finding::Worse { .. }) {
            trial.found = Some(finding.clone());
            let version = trial.version;
            match finding {
                Finding::Good { words } => self.set_report(version, Reported::Good, words),
                Finding::Worse { words } => self.set_report(version, Reported::Worse, words),
            }
        }
    }

    /// Sets the report on a version. After a report against the version, another one against it is
    /// ignored.
    fn set_report(&mut self, version: VersionId, outcome: Reported, words: String) {
        let spoke_against = self.spoke_against(version);
        if spoke_against && crate::state::is_against(outcome) {
            return;
        }
        self.said_at_ms = None;
        self.own = Some(RolloutReport {
            version,
            node: self.me,
            outcome,
            words,
            found: self.found,
        });
    }

    fn spoke_against(&self, version: VersionId) -> bool {
        self.own
            .as_ref()
            .is_some_and(|own| own.version == version && crate::state::is_against(own.outcome))
    }

    /// Remembers the reason for a rollback of a version that may still be in progress:
    /// the other members must learn it.
    fn remember_why(&mut self, state: &ClusterState, version: VersionId, silence_ms: u64) {
        let on_its_way = state
            .on_its_way()
            .is_some_and(|record| record.id == version && record.stage.tried_by(self.me));
        if on_its_way && silence_ms >= TRIAL_SILENCE_MS {
            let seconds = TRIAL_SILENCE_MS / 1000;
            let words = if self.disk_stuck_ms >= TRIAL_SILENCE_MS {
                format!("its disk had not responded for {seconds} s")
            } else {
                format!("it had not heard from the leader for {seconds} s")
            };
            self.set_report(version, Reported::WentBack, words);
        }
    }

    /// Keeps serving the newer accepted version if the state names an older one, and refuses the
    /// version in progress. An outdated state catches up; otherwise an operator decides.
    fn hold(&mut self, desired: &mut Desired) {
        let (version, accepted) = (desired.check, self.accepted);
        *desired = Desired::default();
        if let (Some(version), Some(accepted)) = (version, accepted)
            && self.own.as_ref().is_none_or(|own| own.version != version)
        {
            let words = format!(
                "this node accepted version {accepted} before, which the others do not know: `evenkeel cluster status`"
            );
            self.set_report(version, Reported::Refused, words);
        }
    }

    /// Reports a rollback of a candidate that this process has not checked: the previous process
    /// died while it served the candidate, perhaps because of it, or the state is outdated.
    fn has_checked(&mut self, desired: &Desired) {
        let Some(version) = desired.serve.filter(|_| desired.trial) else {
            return;
        };
        if self.own.as_ref().is_none_or(|own| own.version != version) {
            let words = "it was restarted while it tried the version".to_owned();
            self.set_report(version, Reported::WentBack, words);
        }
    }

    /// Starts a separate window of judgement for each stage.
    fn follow_stage(&mut self, state: &ClusterState, now_ms: u64, judge_ms: Option<u64>) {
        let stage = state.on_its_way().map(|record| match &record.stage {
            // Treats the wait for confirmation as the stage before it: the version is still
            // observed, with the earlier judgement.
            RolloutStage::AwaitConfirmation { .. } => RolloutStage::Rest {
                nodes: Default::default(),
            }
            .name(),
            // Treats the stage of the remaining nodes as the canary stage if the canary is the only
            // node: its service was already judged.
            RolloutStage::Rest { nodes } if nodes.len() == 1 && !record.goes_together() => {
                RolloutStage::Canary { node: self.me }.name()
            }
            stage => stage.name(),
        });
        let Some(trial) = &mut self.trial else {
            return;
        };
        if trial.stage == stage {
            return;
        }
        trial.stage = stage;
        trial.found = None;
        // Withdraws the good report on the previous stage, which does not apply to the new stage.
        if let Some(own) = &mut self.own
            && own.outcome == Reported::Good
        {
            own.outcome = Reported::Serves;
        }
        if let Some(judge_ms) = judge_ms {
            self.judge.switched(now_ms, judge_ms);
        }
    }

    /// Returns the own report if the state does not have it yet; not again before [`REPEAT_MS`]
    /// have passed.
    fn owed(
        &mut self,
        state: &ClusterState,
        now_ms: u64,
        silence_ms: u64,
    ) -> Option<RolloutReport> {
        let own = self.own.as_ref()?;
        let record = state.version(own.version);
        let of_use =
            record.filter(|record| record.stage.on_its_way() || state.accepted == Some(record.id));
        let Some(record) = of_use else {
            // Drops a report that is no longer needed. A report on a version that this member has
            // not seen yet is kept.
            if own.version <= state.last_version {
                self.own = None;
            }
            return None;
        };
        let known = record.reports.get(&self.me).is_some_and(|said| {
            let for_good = record.stage.on_its_way() && crate::state::is_against(said.outcome);
            said.outcome == own.outcome || for_good
        });
        let just_said = self
            .said_at_ms
            .is_some_and(|at_ms| now_ms < at_ms.saturating_add(REPEAT_MS));
        if known || just_said || silence_ms >= TRIAL_SILENCE_MS {
            return None;
        }
        self.said_at_ms = Some(now_ms);
        self.own.clone()
    }

    fn to_serve(&self, desired: &Desired, now_ms: u64) -> Option<Task> {
        let version = desired.serve?;
        if self.trial.is_some() {
            return None;
        }
        if desired.trial {
            if self.spoke_against(version) {
                return None;
            }
            let fresh = self
                .judge
                .probed_before_ms()
                .is_some_and(|at_ms| now_ms < at_ms.saturating_add(FRESH_MS));
            if desired.judge_ms.is_some() && !fresh {
                return Some(Task::Sample { probe: true });
            }
        } else {
            let just_failed = self.failed.is_some_and(|(failed, at_ms)| {
                failed == version && now_ms < at_ms.saturating_add(RETRY_MS)
            });
            if self.base == Some(version) || just_failed {
                return None;
            }
        }
        let trial = desired.trial;
        Some(Task::Serve { version, trial })
    }

    fn to_check(&self, desired: &Desired) -> Option<Task> {
        let version = desired.check?;
        let said = self.own.as_ref().is_some_and(|own| own.version == version);
        (!said).then_some(Task::Check(version))
    }

    fn to_sample(&self, state: &ClusterState, now_ms: u64) -> Option<Task> {
        let due = self
            .sampled_at_ms
            .is_none_or(|at_ms| now_ms >= at_ms.saturating_add(self.sample_every_ms()));
        due.then(|| Task::Sample {
            probe: state.on_its_way().is_some(),
        })
    }

    fn sample_every_ms(&self) -> u64 {
        if self.trial.is_some() {
            TRIAL_SAMPLE_MS
        } else {
            IDLE_SAMPLE_MS
        }
    }
}

#[cfg(test)]
mod tests;
