//! A machine in a cluster also runs a control role, which chooses the version in service. The
//! supervisor carries out its requests one at a time with loaders and roles, as any other reload,
//! and reports the results.
//!
//! While a candidate is served, the last accepted version remains the last good one: restarts and
//! rollbacks use it. Virtual addresses only change when a version is accepted, so that they never
//! change partially.
//!
//! The service never waits for the control role. When that role ends, the version in service stays;
//! only a candidate is decided then ([`first`]).

mod asks;
mod begin;
mod first;
mod role;
mod trial;

use crate::slot::RunningRole;
use crate::state::Supervisor;
use crate::state::cluster::{ChangeRequest, CheckRequest, ControlRequest, ServeRequest, Verdict};
use part::SharedFd;
use part::channel::Received;
use part::role::{Manner, SupervisorMessage};
use part::spawn::ProcessExit;
use part::voice::Form;
use std::sync::Arc;
use std::time::{Duration, Instant};

const END_LIMIT: Duration = Duration::from_secs(3);

impl Supervisor {
    pub(super) fn poll_cluster(&mut self) {
        let now = Instant::now();
        if self.cluster.is_member() {
            if let Some(verdict) = self.cluster.check.poll() {
                let (good, together) = (verdict.is_good, verdict.is_simultaneous);
                tracing::info!(good, together, "version checked");
                self.send_verdict(&verdict);
            }
            if self.cluster.is_load_due(now) {
                self.load_accepted();
            }
        }
        self.retry_missing(now);
        if self.cluster.is_trial_late(now) {
            self.kill_proxy();
        }
        if self.cluster.is_member() {
            self.handle_control_requests();
        }
    }

    pub(super) fn hear_control(&mut self, received: Received) {
        let ask = received.ask;
        match received.message {
            SupervisorMessage::Check | SupervisorMessage::Find => {
                let as_json = matches!(received.message, SupervisorMessage::Find);
                self.ask_with(received, |set| {
                    ControlRequest::Check(CheckRequest { ask, set, as_json })
                });
            }
            SupervisorMessage::Serve {
                trial,
                ref operation,
            } => {
                let operation = operation.clone();
                self.ask_with(received, |set| {
                    let request = ServeRequest {
                        ask,
                        set,
                        trial,
                        operation,
                    };
                    ControlRequest::Change(ChangeRequest::Serve(request))
                });
            }
            SupervisorMessage::Accept => {
                let request = ChangeRequest::Accept { ask };
                self.queue_control_request(ControlRequest::Change(request));
            }
            SupervisorMessage::Revert => {
                let request = ChangeRequest::Revert { ask };
                self.queue_control_request(ControlRequest::Change(request));
            }
            SupervisorMessage::Ended { words } => {
                self.voice.alert(format_args!("the control role: {words}"));
            }
            other => self.not_understood(self.slots.governing.row.part, &other),
        }
    }

    fn ask_with(&mut self, received: Received, ask: impl FnOnce(SharedFd) -> ControlRequest) {
        match received.descriptors.into_iter().next() {
            Some(set) => self.queue_control_request(ask(Arc::new(set))),
            None => {
                let verdict = Verdict::new(received.ask, false, "no version was given");
                self.send_verdict(&verdict);
            }
        }
    }

    pub(super) fn control_ended(&mut self, role: &RunningRole, ending: ProcessExit) {
        self.obey_signals();
        self.cluster.requests.clear();
        self.slots.governing.stop_until = None;
        if self.process.exit.is_some() || self.service.stop.is_some() {
            return;
        }
        self.note_crash(self.slots.governing.row.part, role, ending);
        let wait = self
            .slots
            .governing
            .backoff
            .died(role.born, Instant::now(), false);
        if self.voice.form() == Form::Own {
            self.voice.warning(format_args!(
                "the control role (process {}) {}; traffic is not affected, restarting it in {} s",
                role.process.number(),
                role::ended_words(ending),
                wait.as_secs_f32()
            ));
        }
        self.slots.governing.restart_at = Some(Instant::now() + wait);
        self.cluster.orphan_change();
        self.settle_trial();
    }

    /// Cancels the restart of the control role, and what waits for its requests or a timer. A
    /// running control role continues to vote and to hold leases.
    pub(super) fn quiet_control(&mut self) {
        self.slots.governing.restart_at = None;
        self.cluster.cancel_pending();
    }

    /// Makes the control role end, because the supervisor ends or executes another program.
    pub(super) fn stop_control(&mut self) {
        self.quiet_control();
        if let Some(role) = &mut self.slots.governing.running {
            role.process
                .stop(Manner::Soft, rustix::process::Signal::TERM);
            let until = Instant::now() + END_LIMIT;
            self.slots.governing.stop_until = self.slots.governing.stop_until.or(Some(until));
        }
    }

    pub(super) fn end_control(&mut self) {
        self.stop_control();
        self.slots.governing.end();
    }
}
