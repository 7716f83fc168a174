//! Requests of the control role: handled one at a time in their order; checks run in parallel.

use crate::control::{Asker, RequestInterface};
use crate::loading::{LoadError, LoaderResult, Loading};
use crate::state::Supervisor;
use crate::state::cluster::{ControlRequest, Trial, VersionInProgress};
use crate::version::LoadedVersion;
use part::role::{DiagnosticFormat, Load, SupervisorMessage};
use part::spawn::OWN_PROGRAM;
use part::trace;
use part::versions::Findings;
use part::{SharedFd, memory};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

const ASKS_MAX: usize = 64;

impl Supervisor {
    pub(super) fn queue_control_request(&mut self, ask: ControlRequest) {
        if self.service.stop.is_some() {
            return self.answer_set(ask.number(), false, "the machine is stopping");
        }
        if self.cluster.waiting_requests.len() >= ASKS_MAX {
            return self.answer_set(ask.number(), false, "too many requests at the same time");
        }
        self.cluster.waiting_requests.push_back(ask);
    }

    pub(in super::super) fn answer_set(&mut self, ask: u64, good: bool, words: &str) {
        self.answer_check(ask, good, false, words);
    }

    fn answer_check(&mut self, ask: u64, good: bool, together: bool, words: &str) {
        let descriptors: Vec<SharedFd> = memory::create("evenkeel words", words.as_bytes())
            .map(Arc::new)
            .into_iter()
            .collect();
        if let Some(role) = self.slots.governing.process() {
            // If this fails, the role has ended; the main loop notices that.
            let _ = role.send_numbered(
                ask,
                &SupervisorMessage::Verdict { good, together },
                &descriptors,
            );
        }
    }

    pub(super) fn drop_asks(&mut self) {
        self.cluster.waiting_requests = VecDeque::new();
    }

    pub(super) fn go_on_with_asks(&mut self) {
        self.begin_check();
        if self.cluster.serving.is_none() && std::mem::take(&mut self.cluster.orphaned) {
            self.settle_trial();
        }
        while let Some(at) = self.next_ask() {
            let Some(ask) = self.cluster.waiting_requests.remove(at) else {
                return;
            };
            match ask {
                // Checks are handled separately.
                ControlRequest::Check { .. } => {}
                ControlRequest::Serve {
                    ask,
                    set,
                    trial,
                    operation,
                } => {
                    return self.serve_set(ask, set, trial, operation);
                }
                ControlRequest::Accept { ask } => self.accept_trial(ask),
                ControlRequest::Revert { ask } => self.revert_trial(ask),
            }
        }
    }

    /// Returns the first request that is not a check, unless a change is in progress.
    fn next_ask(&self) -> Option<usize> {
        let busy = self.changing.loading.is_some()
            || self.versions.candidate.is_some()
            || self.cluster.serving.is_some()
            || self.changing.upgrade.is_some()
            || self.is_going_back()
            || (self.versions.last_good.is_some() && !self.serves());
        let other = |ask: &ControlRequest| !matches!(ask, ControlRequest::Check { .. });
        let at = self.cluster.waiting_requests.iter().position(other);
        at.filter(|_| !busy && self.service.stop.is_none())
    }

    fn serve_set(&mut self, ask: u64, set: SharedFd, trial: bool, operation: String) {
        if self
            .cluster
            .start
            .as_ref()
            .is_none_or(|start| start.arbiter)
        {
            return self.answer_set(ask, false, "an arbiter serves nothing");
        }
        if self.cluster.trial.is_some() || self.cluster.first.is_some() {
            // First a rollback to the version with which the new one would be compared.
            self.cluster
                .waiting_requests
                .push_front(ControlRequest::Serve {
                    ask,
                    set,
                    trial,
                    operation,
                });
            return self.begin_rollback();
        }
        self.cluster.load_at = None;
        self.cluster.serving = Some(VersionInProgress {
            set,
            trial,
            operation,
            shown: String::new(),
        });
        self.changing.requests.ask(Some(Asker {
            id: ask,
            at: RequestInterface::Cluster,
            look: None,
            fresh: false,
        }));
        // A reload that was requested meanwhile is part of this change.
        let _ = self.changing.requests.begin();
        self.begin_load(Path::new(OWN_PROGRAM));
    }

    /// Returns the files of the cluster for a loader; None if it must read the files of this
    /// machine.
    pub(in super::super) fn set_to_load(&self) -> Option<SharedFd> {
        let serving = self.cluster.serving.as_ref().map(|one| one.set.clone());
        serving.or_else(|| self.cluster.accepted.clone())
    }

    /// Refuses a pending reload while a candidate is served, or if the cluster has no version
    /// yet. On an arbiter, starts an upgrade instead.
    pub(in super::super) fn refuse_reload(&mut self) {
        if self.is_arbiter() {
            return self.reload_arbiter();
        }
        let words = match &self.cluster {
            cluster if !cluster.is_member() => return,
            cluster if cluster.trial.is_some() || cluster.first.is_some() => {
                "a candidate version is being tried; try again when it is decided (`evenkeel config status`)"
            }
            // A version that is being served for the first time may still arrive, so the request
            // waits.
            cluster if cluster.accepted.is_none() && cluster.serving.is_none() => {
                "nothing is served here; restart to run another program"
            }
            _ => return,
        };
        if self.service.stop.is_none() && self.changing.requests.begin().is_some() {
            self.refuse_change(words, "");
        }
    }

    pub(in super::super) fn brings_trial(&self) -> bool {
        let serving = self.cluster.serving.as_ref();
        self.versions.last_good.is_some() && serving.is_some_and(|serving| serving.trial)
    }

    pub(in super::super) fn version_brought(&mut self, taken: bool) {
        let serving = self.cluster.serving.take();
        if let Some(serving) = serving.filter(|_| taken) {
            self.cluster.first = None;
            self.cluster.accepted = Some(serving.set);
        }
    }

    pub(in super::super) fn trial_begins(&mut self, version: LoadedVersion) {
        if let Some(serving) = self.cluster.serving.take() {
            self.cluster.trial = Some(Trial {
                version,
                set: serving.set,
                back_until: None,
                accepting: None,
                asks: Vec::new(),
            });
        }
    }

    fn begin_check(&mut self) {
        if self.cluster.checking.is_some() || self.service.stop.is_some() {
            return;
        }
        let check = |ask: &ControlRequest| matches!(ask, ControlRequest::Check { .. });
        let at = self.cluster.waiting_requests.iter().position(check);
        let Some(ControlRequest::Check { ask, set, as_json }) =
            at.and_then(|at| self.cluster.waiting_requests.remove(at))
        else {
            return;
        };
        let mut descriptors = vec![set];
        // The loader gets the open sockets, so that it does not open them again.
        let serves = self.cluster.trial.as_ref().map(|trial| &trial.version);
        let serves = serves.or(self.versions.last_good.as_ref());
        descriptors.extend(serves.iter().flat_map(|version| version.whole()));
        let load = self.load(&[]);
        let look = load.look.map(|look| DiagnosticFormat { as_json, ..look });
        let load = Load {
            previous: serves.map(LoadedVersion::known_plan),
            look,
            set: true,
            dry: true,
            accepted: false,
            retries: false,
            operation: trace::new_operation(),
            ..load
        };
        tracing::debug!(op = %load.operation, "check of a version started");
        match Loading::begin(Path::new(OWN_PROGRAM), load, &descriptors, &[]) {
            Ok(loading) => {
                self.cluster.checking = Some(loading);
                self.cluster.check_ask = (ask, as_json);
            }
            Err(error) => self.answer_set(ask, false, &error.to_string()),
        }
    }

    pub(super) fn look_at_check(&mut self) {
        if let Some(told) = Loading::settle(&mut self.cluster.checking) {
            let plan = told
                .as_ref()
                .ok()
                .and_then(|told| told.outcome.as_ref().ok());
            let mut parts = plan.iter().flat_map(|plan| &plan.parts);
            let together = parts.any(|part| part.together);
            let difference = plan.map_or_else(String::new, |plan| plan.difference.clone());
            let (good, words) = verdict(told);
            tracing::info!(good, together, "version checked");
            let (ask, as_json) = self.cluster.check_ask;
            let words = if as_json {
                Findings::of(&words, &difference).json()
            } else {
                words
            };
            self.answer_check(ask, good, together, &words);
        }
    }

    pub(super) fn drop_check(&mut self) {
        Loading::abandon(&mut self.cluster.checking);
    }
}

/// Returns the result of a loader that only checked. Dropping the result closes what the loader
/// opened.
fn verdict(told: Result<LoaderResult, LoadError>) -> (bool, String) {
    match told {
        Ok(told) => (told.outcome.is_ok(), told.shown),
        Err(error) => (false, error.to_string()),
    }
}
