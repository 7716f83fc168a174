//! Start of a cluster member: the control role, and the last accepted version, which the machine
//! serves when it is alone.

use super::role;
use crate::between::Asks;
use crate::command::Start;
use crate::directory;
use crate::loading::LoaderResult;
use crate::state::Supervisor;
use part::role::SupervisorMessage;
use part::row::{ControllerProperties, Life};
use part::spawn::OWN_PROGRAM;
use part::voice::write_unrecorded;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Interval after which an accepted version that could not be served is tried again: a host name
/// may not resolve yet, or an address not exist.
pub(super) const AGAIN: Duration = Duration::from_secs(5);

impl Supervisor {
    pub(in super::super) fn is_arbiter(&self) -> bool {
        let start = self.cluster.start.as_ref();
        start.is_some_and(|start| start.arbiter)
    }

    pub(in super::super) fn begin_as_member(&mut self) {
        let Some(start) = self.cluster.start.clone() else {
            return;
        };
        if self.interfaces.control.is_none() {
            self.open_control();
        }
        if self.slots.governing.running.is_none() {
            self.start_control();
        }
        if !start.arbiter {
            self.hold_first_messages(&start);
        }
        if start.arbiter {
            self.voice.notice(
                "this machine is an arbiter: it votes and stores the log, but serves nothing",
            );
            return self.wait_for_version();
        }
        if self.cluster.accepted.is_none() {
            self.find_accepted(&start);
        }
        if self.cluster.accepted.is_none() {
            self.voice.notice(
                "this machine has not accepted a version yet: it serves nothing until the cluster has one",
            );
            self.wait_for_version();
        }
    }

    /// Stores the messages for parts that follow from the state directory, until the control role
    /// reports.
    fn hold_first_messages(&mut self, start: &Start) {
        let governing = self.slots.governing.row.part;
        let first = (self.governs().read_first_messages)(&start.directory);
        if !first.reason.is_empty() {
            self.voice.warning(first.reason);
        }
        for message in &first.messages {
            let of = Asks::Role(governing, 0);
            let sent = SupervisorMessage::Part(Box::new(message.clone()));
            if let Some(to) = self.receiver(of, &message.part, &sent) {
                self.hold(of, to, message);
            }
        }
    }

    fn find_accepted(&mut self, start: &Start) {
        let governs = self.governs();
        let path = start.directory.join(governs.accepted);
        match (governs.read_accepted)(&start.directory) {
            Ok(accepted) => {
                if let Some(damage) = accepted.damage {
                    self.voice.warning(format_args!(
                        "{} {damage}: serving its copy, {}.copy; the next accepted version replaces both",
                        path.display(),
                        governs.accepted
                    ));
                }
                self.cluster.accepted = Some(Arc::new(accepted.file));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.voice.alert(format_args!(
                "cannot read the last accepted version ({}: {error}); waiting for the cluster to send it",
                path.display()
            )),
        }
    }

    /// Reports readiness without a version: the cluster may have none for a long time.
    pub(super) fn wait_for_version(&mut self) {
        self.interfaces
            .notify
            .ready("waiting for a version from the cluster");
        self.report_ready();
    }

    pub(in super::super) fn load_accepted(&mut self) {
        if self.cluster.accepted.is_none()
            || self.changing.loading.is_some()
            || self.versions.last_good.is_some()
        {
            return;
        }
        self.voice
            .notice("serving the last accepted version, without the cluster for now");
        let descriptors: Vec<_> = self.cluster.accepted.iter().cloned().collect();
        match self.begin_loading(Path::new(OWN_PROGRAM), self.load(&[]), &descriptors) {
            Ok(loading) => self.changing.loading = Some(loading),
            Err(error) => self.first_failed(&error.to_string(), ""),
        }
    }

    /// Handles a first version that could not be served. The process continues, because the cluster
    /// may have a better one.
    pub(in super::super) fn first_failed(&mut self, words: &str, shown: &str) {
        self.versions.last_good = None;
        if self.cluster.serving.is_some() {
            let again = self.cluster.accepted.is_some();
            self.cluster.load_at = again.then(|| Instant::now() + AGAIN);
            return self.refuse_change(words, shown);
        }
        if !words.is_empty() {
            self.voice.alert(words);
        }
        self.voice.alert(format_args!(
            "cannot serve the last accepted version; next attempt in {} s",
            AGAIN.as_secs()
        ));
        let first_line = |text: &str| {
            let mut lines = text.lines().map(str::trim);
            lines.find(|line| !line.is_empty()).map(str::to_owned)
        };
        let why = first_line(words).or_else(|| first_line(shown));
        self.cluster.failure = why.unwrap_or_else(|| "the log says why".to_owned());
        self.cluster.load_at = Some(Instant::now() + AGAIN);
        self.wait_for_version();
    }

    /// Keeps the output of the loader of a first version, for the client that asked.
    pub(in super::super) fn first_told(&mut self, told: &LoaderResult) {
        if self.is_member() {
            write_unrecorded(&told.plain);
            if let Some(serving) = &mut self.cluster.serving {
                serving.shown.clone_from(&told.shown);
            }
        }
    }

    pub(in super::super) fn first_serves(&mut self) {
        self.cluster.failure.clear();
        if let Some(serving) = &self.cluster.serving {
            let shown = serving.shown.clone();
            let first = serving.trial.then(|| self.before_first());
            self.version_brought(true);
            self.cluster.first = first;
            self.report_change(&[], &shown);
        }
    }

    pub(super) fn governs(&self) -> ControllerProperties {
        match self.slots.governing.row.life {
            Life::Governs(governs) => governs,
            _ => unreachable!("the control role has a slot"),
        }
    }

    pub(in super::super) fn start_control(&mut self) {
        self.slots.governing.restart_at = None;
        let Some(start) = &self.cluster.start else {
            return;
        };
        let row = self.slots.governing.row;
        let governs = self.governs();
        let socket = directory::place(governs.socket).unwrap_or_default();
        let payload = (governs.payload)(&start.directory, &socket);
        match role::start(row.entry, Path::new(OWN_PROGRAM), &payload) {
            Ok(role) => {
                self.voice.notice(format_args!(
                    "control role (process {}) started",
                    role.process.number()
                ));
                self.slots.governing.running = Some(role);
                self.send_stored_messages(row.part);
            }
            Err(error) => {
                self.voice.alert(error);
                let (slot, now) = (&mut self.slots.governing, Instant::now());
                let wait = slot.backoff.died(now, now, false);
                slot.restart_at = Some(now + wait.max(AGAIN));
            }
        }
    }
}
