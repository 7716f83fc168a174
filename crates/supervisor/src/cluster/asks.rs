//! Executes the requests of the control role: changes one at a time in their order, and beside them
//! one check at a time. Also refuses reloads that must not interfere with a change, and retries
//! versions that lack something.

use crate::control::{Asker, RequestInterface};
use crate::loading::Loading;
use crate::state::Supervisor;
use crate::state::cluster::{
    ChangeRequest, CheckRequest, ControlRequest, ServeRequest, ServeStep, Verdict,
};
use crate::version::LoadedVersion;
use part::role::{DiagnosticFormat, Load, SupervisorMessage};
use part::spawn::OWN_PROGRAM;
use part::trace;
use part::{SharedFd, memory};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

impl Supervisor {
    pub(super) fn queue_control_request(&mut self, request: ControlRequest) {
        let ask = request.number();
        let words = if self.service.stop.is_some() {
            "the machine is stopping"
        } else if !self.cluster.requests.push(request) {
            "too many requests at the same time"
        } else {
            return;
        };
        self.send_verdict(&Verdict::new(ask, false, words));
    }

    pub(in super::super) fn send_verdict(&mut self, verdict: &Verdict) {
        let words = memory::create("evenkeel words", verdict.words.as_bytes());
        let descriptors: Vec<SharedFd> = words.map(Arc::new).into_iter().collect();
        let message = SupervisorMessage::Verdict {
            good: verdict.is_good,
            together: verdict.is_simultaneous,
        };
        if let Some(role) = self.slots.governing.process() {
            // Ignored: if the message cannot be sent, the role has ended, which the main loop
            // notices.
            let _ = role.send_numbered(verdict.ask, &message, &descriptors);
        }
    }

    pub(super) fn handle_control_requests(&mut self) {
        self.begin_check();
        if self.cluster.take_orphaned() {
            self.settle_trial();
        }
        while self.may_begin_request()
            && let Some(request) = self.cluster.requests.next_change()
        {
            match request {
                ChangeRequest::Serve(request) => return self.serve_set(request),
                ChangeRequest::Accept { ask } => self.accept_trial(ask),
                ChangeRequest::Revert { ask } => self.revert_trial(ask),
            }
        }
    }

    /// Returns whether a request of the control role may begin: no load, candidate, rollback,
    /// upgrade or stop is in progress, and the version in service is served, if there is one.
    fn may_begin_request(&self) -> bool {
        let is_busy = self.changing.loading.is_some()
            || self.versions.candidate.is_some()
            || self.cluster.is_changing()
            || self.changing.upgrade.is_some()
            || self.cluster.is_rolling_back()
            || (self.versions.last_good.is_some() && !self.serves());
        !is_busy && self.service.stop.is_none()
    }

    fn serve_set(&mut self, request: ServeRequest) {
        let ask = request.ask;
        match self.cluster.serve(request) {
            ServeStep::Refused(verdict) => self.send_verdict(&verdict),
            ServeStep::RollBack => self.begin_rollback(),
            ServeStep::Load => {
                self.changing.requests.ask(Some(Asker {
                    id: ask,
                    at: RequestInterface::Cluster,
                    look: None,
                    fresh: false,
                }));
                // Begins the change together with a reload that was requested meanwhile.
                let _ = self.changing.requests.begin();
                self.begin_load(Path::new(OWN_PROGRAM));
            }
        }
    }

    /// Refuses a pending reload while a candidate is served, or if the cluster has no version
    /// yet. On an arbiter, starts an upgrade instead.
    pub(in super::super) fn refuse_reload(&mut self) {
        if self.cluster.is_arbiter() {
            return self.reload_arbiter();
        }
        if let Some(words) = self.cluster.reload_refusal()
            && self.service.stop.is_none()
            && self.changing.requests.begin().is_some()
        {
            self.refuse_change(words, "");
        }
    }

    fn begin_check(&mut self) {
        if self.cluster.check.is_running() || self.service.stop.is_some() {
            return;
        }
        let Some(CheckRequest { ask, set, as_json }) = self.cluster.requests.next_check() else {
            return;
        };
        let mut descriptors = vec![set];
        // The loader gets the open sockets, so that it does not open them again.
        let serves = self.version_in_service();
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
            Ok(loading) => self.cluster.check.begin(loading, ask, as_json),
            Err(error) => self.send_verdict(&Verdict::new(ask, false, &error.to_string())),
        }
    }

    /// Loads the version in service again if this machine lacks something that the version needs,
    /// an attempt is due, and nothing else is in progress.
    pub(super) fn retry_missing(&mut self, now: Instant) {
        let kept = self.versions.last_good.as_ref();
        let lacks = kept.is_some_and(|kept| !kept.plan().lacks.missing.is_empty());
        let is_idle = self.may_change()
            && (self.cluster.loads_accepted() || !self.cluster.is_member())
            && !self.cluster.has_candidate()
            && !self.changing.requests.is_asked();
        let lacks = lacks && self.service.stop.is_none();
        if !self.cluster.retry.poll(lacks, is_idle, now) {
            return;
        }
        self.changing.requests.ask(None);
        if self.changing.requests.begin().is_some() {
            self.cluster.retry.begin_load();
            self.begin_load(Path::new(OWN_PROGRAM));
        }
    }
}
