//! A candidate version, with the last good version for a rollback.

use crate::state::Supervisor;
use crate::state::cluster::Trial;
use crate::version::LoadedVersion;
use part::SharedFd;
use part::role::{SupervisorMessage, TakeTrial};
use part::voice::Gravity;
use std::time::{Duration, Instant};

/// Time for a proxy to roll back. The previous version is still compiled; a proxy that exceeds the
/// timeout is replaced by one with the accepted version.
const BACK_LIMIT: Duration = Duration::from_secs(5);

impl Supervisor {
    /// Returns the message by which a proxy starts to serve a candidate. None if there is no
    /// previous version, or no proxy that could return to it.
    pub(in super::super) fn trial_message(
        &self,
        version: &LoadedVersion,
    ) -> Option<SupervisorMessage> {
        let former = self
            .versions
            .last_good
            .as_ref()
            .filter(|_| self.brings_trial())?;
        Some(SupervisorMessage::TakeTrial(Box::new(TakeTrial {
            take: version.for_role(),
            former: former.for_role(),
        })))
    }

    pub(in super::super) fn trial_descriptors(&self, version: &LoadedVersion) -> Vec<SharedFd> {
        let mut all = version.all_descriptors(None);
        let former = self.versions.last_good.iter();
        all.extend(former.flat_map(|former| former.all_descriptors(None)));
        all
    }

    /// Starts the trial of a version that only concerns sidecars. They apply it when it is
    /// accepted; until then no role knows of it, and a proxy that loses its last listener
    /// continues.
    pub(in super::super) fn trial_without_proxy(&mut self, version: LoadedVersion, shown: &str) {
        let words = "it is applied when it is accepted".to_owned();
        self.trial_begins(version);
        self.report_change(&[(Gravity::Notice, words)], shown);
    }

    /// Handles a proxy that cannot roll back: it is killed, and its successor starts with the
    /// accepted version.
    pub(in super::super) fn not_gone_back(&mut self, words: &str) {
        self.voice
            .alert(format_args!("the proxy did not roll back: {words}"));
        self.kill_proxy();
    }

    pub(in super::super) fn is_going_back(&self) -> bool {
        let trial = self.cluster.trial.as_ref();
        trial.is_some_and(|trial| trial.back_until.is_some())
    }

    pub(super) fn accept_trial(&mut self, ask: u64) {
        if self.accept_first() {
            return self.answer_set(ask, true, "");
        }
        let Some(trial) = &mut self.cluster.trial else {
            return self.answer_set(ask, false, "no candidate version is being tried");
        };
        trial.accepting = Some((ask, Instant::now() + BACK_LIMIT));
        // A proxy that was started for the candidate has no version to return to.
        let is_first = self.versions.last_good.as_ref();
        let is_first = is_first.is_some_and(LoadedVersion::is_without_proxy);
        match &mut self.slots.serving.running {
            // If this fails, the role has ended; the main loop notices that.
            Some(proxy) if !trial.version.is_without_proxy() && !is_first => {
                let _ = proxy.send_message(&SupervisorMessage::Accept);
            }
            _ => self.trial_ended(),
        }
    }

    pub(in super::super) fn trial_ended(&mut self) {
        let accepted = |trial: &mut Trial| trial.accepting.is_some();
        let Some(trial) = self.cluster.trial.take_if(accepted) else {
            return;
        };
        // Dropping the previous version closes its descriptors.
        self.versions.last_good = Some(trial.version);
        self.cluster.accepted = Some(trial.set);
        self.versions.unsettled = None;
        self.keep_version();
        self.see_off_without_listeners();
        self.follow_version();
        if let Some((ask, _)) = trial.accepting {
            self.answer_set(ask, true, "");
        }
        for ask in trial.asks {
            self.answer_set(ask, false, "it was accepted");
        }
    }

    pub(super) fn revert_trial(&mut self, ask: u64) {
        match &mut self.cluster.trial {
            Some(trial) => {
                trial.asks.push(ask);
                self.begin_rollback();
            }
            None if self.cluster.first.is_some() => {
                self.serve_nothing();
                self.answer_set(ask, true, "");
            }
            None => self.answer_set(ask, true, "no candidate version is being tried"),
        }
    }

    pub(super) fn begin_rollback(&mut self) {
        if self.cluster.first.is_some() {
            return self.serve_nothing();
        }
        let Some(trial) = &mut self.cluster.trial else {
            return;
        };
        if trial.back_until.is_some() {
            return;
        }
        trial.back_until = Some(Instant::now() + BACK_LIMIT);
        if trial.version.is_without_proxy() {
            // No role knows of the candidate yet.
            return self.gone_back("");
        }
        if self.is_without_proxy() {
            // The proxy was started for the candidate.
            self.see_off_without_listeners();
            return self.gone_back("");
        }
        // Without a running proxy, the next one starts with the accepted version.
        let told = self
            .slots
            .serving
            .running
            .as_mut()
            .map(|proxy| proxy.send_message(&SupervisorMessage::Revert));
        if told == Some(false) {
            self.kill_proxy();
        }
    }

    pub(in super::super) fn gone_back(&mut self, words: &str) {
        let Some(trial) = self.cluster.trial.take() else {
            return;
        };
        self.answer_gone_back(trial.accepting, trial.asks, words);
    }

    /// Responds after a rollback: success to rollback requests, failure to a pending accept
    /// request.
    fn answer_gone_back(&mut self, accepting: Option<(u64, Instant)>, asks: Vec<u64>, words: &str) {
        if let Some((ask, _)) = accepting {
            self.answer_set(ask, false, words);
        }
        for ask in asks {
            self.answer_set(ask, true, words);
        }
    }

    /// Handles a proxy that rolled back by itself, or died with the candidate: the accepted version
    /// is served from now on.
    pub(in super::super) fn handle_proxy_rollback(&mut self, words: &str) {
        if self.cluster.first.is_some() {
            let words = words.to_owned();
            self.send_to_control(&SupervisorMessage::WentBack { words });
            return self.serve_nothing();
        }
        let Some(trial) = self.cluster.trial.take() else {
            return;
        };
        self.voice.warning(format_args!(
            "the candidate version is rolled back: {words}; the accepted version is served again"
        ));
        let told = words.to_owned();
        self.send_to_control(&SupervisorMessage::WentBack { words: told });
        self.answer_gone_back(trial.accepting, trial.asks, words);
    }

    pub(super) fn look_at_going_back(&mut self, now: Instant) {
        let until = self.cluster.trial.as_ref().and_then(Trial::until);
        if until.is_some_and(|until| until <= now) {
            self.kill_proxy();
        }
    }

    fn kill_proxy(&mut self) {
        match &self.slots.serving.running {
            // The main loop notices the end of the process.
            Some(proxy) => proxy.process.kill(),
            None => self.gone_back(""),
        }
    }
}
