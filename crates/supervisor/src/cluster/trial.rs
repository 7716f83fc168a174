//! Carries out the trial of a candidate version: starts it on the proxy, accepts it, or rolls back
//! to the last good version, and sends the control role the verdict.

use crate::state::Supervisor;
use crate::state::cluster::{AcceptStep, RollbackStep, Verdict};
use crate::version::LoadedVersion;
use part::SharedFd;
use part::role::{SupervisorMessage, TakeTrial};
use part::voice::Gravity;
use std::time::Instant;

impl Supervisor {
    /// Returns the message by which a proxy starts to serve a candidate, with the last good version
    /// for a rollback. None if there is no last good version, or if the version is not to be tried
    /// as a candidate.
    pub(in super::super) fn trial_message(
        &self,
        version: &LoadedVersion,
    ) -> Option<SupervisorMessage> {
        let former = self
            .versions
            .last_good
            .as_ref()
            .filter(|_| self.cluster.loads_candidate())?;
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
        self.cluster.begin_trial(version);
        self.report_change(&[(Gravity::Notice, words)], shown);
    }

    /// Handles a proxy that cannot roll back: it is killed, and its successor starts with the
    /// accepted version.
    pub(in super::super) fn not_gone_back(&mut self, words: &str) {
        self.voice
            .alert(format_args!("the proxy did not roll back: {words}"));
        self.kill_proxy();
    }

    pub(super) fn accept_trial(&mut self, ask: u64) {
        let is_without_proxy = match self.cluster.accept(ask, Instant::now()) {
            AcceptStep::First => {
                self.follow_version();
                return self.send_verdict(&Verdict::new(ask, true, ""));
            }
            AcceptStep::NoCandidate => {
                let words = "no candidate version is being tried";
                return self.send_verdict(&Verdict::new(ask, false, words));
            }
            AcceptStep::Trial { is_without_proxy } => is_without_proxy,
        };
        // A proxy that was started for the candidate gets no message, because it has no version to
        // return to.
        let is_first = self.versions.is_without_proxy();
        match &mut self.slots.serving.running {
            // Ignored: if the message cannot be sent, the role has ended, which the main loop
            // notices.
            Some(proxy) if !is_without_proxy && !is_first => {
                let _ = proxy.send_message(&SupervisorMessage::Accept);
            }
            _ => self.trial_ended(),
        }
    }

    pub(in super::super) fn trial_ended(&mut self) {
        let Some(accepted) = self.cluster.end_accept() else {
            return;
        };
        // Replaces the last good version; dropping the previous one closes its descriptors.
        self.versions.last_good = Some(accepted.version);
        self.versions.unsettled = None;
        self.keep_version();
        self.see_off_without_listeners();
        self.follow_version();
        for verdict in &accepted.verdicts {
            self.send_verdict(verdict);
        }
    }

    pub(super) fn revert_trial(&mut self, ask: u64) {
        if self.cluster.wait_for_rollback(ask) {
            return self.begin_rollback();
        }
        let words = if self.cluster.has_first_candidate() {
            self.serve_nothing();
            ""
        } else {
            "no candidate version is being tried"
        };
        self.send_verdict(&Verdict::new(ask, true, words));
    }

    pub(super) fn begin_rollback(&mut self) {
        match self.cluster.begin_rollback(Instant::now()) {
            RollbackStep::Nothing => return,
            RollbackStep::ServeNothing => return self.serve_nothing(),
            RollbackStep::Ended(verdicts) => {
                for verdict in &verdicts {
                    self.send_verdict(verdict);
                }
                return;
            }
            RollbackStep::Proxy => {}
        }
        if self.versions.is_without_proxy() {
            // Ends the proxy, which was started for the candidate only: the last good version has
            // none.
            self.see_off_without_listeners();
            return self.gone_back("");
        }
        // Without a running proxy, the next one starts with the accepted version.
        let proxy = self.slots.serving.running.as_mut();
        if proxy.is_some_and(|proxy| !proxy.send_message(&SupervisorMessage::Revert)) {
            self.kill_proxy();
        }
    }

    pub(in super::super) fn gone_back(&mut self, words: &str) {
        for verdict in self.cluster.end_rollback(words).iter().flatten() {
            self.send_verdict(verdict);
        }
    }

    /// Handles a proxy that rolled back by itself, or died with the candidate: the accepted version
    /// is served from now on.
    pub(in super::super) fn handle_proxy_rollback(&mut self, words: &str) {
        if !self.cluster.has_candidate() {
            return;
        }
        let is_first = self.cluster.has_first_candidate();
        if !is_first {
            self.voice.warning(format_args!(
                "the candidate version is rolled back: {words}; the accepted version is served again"
            ));
        }
        if let Some(role) = self.slots.governing.process() {
            let words = words.to_owned();
            // Ignored: if the message cannot be sent, the role has ended, which the main loop
            // notices.
            role.send_message(&SupervisorMessage::WentBack { words }, &[]);
        }
        if is_first {
            self.serve_nothing();
        } else {
            self.gone_back(words);
        }
    }

    pub(super) fn kill_proxy(&mut self) {
        match &self.slots.serving.running {
            // Only kills the proxy: the main loop notices its end, which then ends the rollback.
            Some(proxy) => proxy.process.kill(),
            None => self.gone_back(""),
        }
    }
}
