//! Starts a cluster member: starts the control role, and loads the last accepted version, which the
//! machine serves until the cluster sends another one.

use super::role;
use crate::between::Asks;
use crate::command::Start;
use crate::directory;
use crate::loading::Loading;
use crate::state::Supervisor;
use crate::state::cluster::AGAIN;
use part::role::SupervisorMessage;
use part::row;
use part::spawn::OWN_PROGRAM;
use std::path::Path;
use std::time::Instant;

impl Supervisor {
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
        let controller = self.slots.controller();
        self.cluster.find_accepted(&controller, &mut self.voice);
        if !self.cluster.has_accepted() {
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
        let first = (self.slots.controller().read_first_messages)(&start.directory);
        if !first.reason.is_empty() {
            self.voice.warning(first.reason);
        }
        for message in &first.messages {
            let of = Asks::Role(governing, 0);
            let sent = SupervisorMessage::Part(Box::new(message.clone()));
            if let Some(to) = of.receiver(row::all(), &message.part, &sent) {
                self.between.stored.store(of, to, message);
            }
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
        let Some(accepted) = self.cluster.set_to_load() else {
            return;
        };
        if self.changing.loading.is_some() || self.versions.last_good.is_some() {
            return;
        }
        self.voice
            .notice("serving the last accepted version, without the cluster for now");
        let (own, load) = (Path::new(OWN_PROGRAM), self.load(&[]));
        match Loading::begin_with_masters(own, load, &[accepted], &self.command.masters) {
            Ok(loading) => self.changing.loading = Some(loading),
            Err(error) => self.first_failed(&error.to_string(), ""),
        }
    }

    /// Handles a first version that could not be served. The process continues, because the cluster
    /// may have a better one.
    pub(in super::super) fn first_failed(&mut self, words: &str, shown: &str) {
        self.versions.last_good = None;
        if self.cluster.first_failed(words, shown, Instant::now()) {
            return self.refuse_change(words, shown);
        }
        if !words.is_empty() {
            self.voice.alert(words);
        }
        self.voice.alert(format_args!(
            "cannot serve the last accepted version; next attempt in {} s",
            AGAIN.as_secs()
        ));
        self.wait_for_version();
    }

    pub(in super::super) fn start_control(&mut self) {
        self.slots.governing.restart_at = None;
        let Some(start) = &self.cluster.start else {
            return;
        };
        let row = self.slots.governing.row;
        let governs = self.slots.controller();
        let socket = directory::place(governs.socket).unwrap_or_default();
        let payload = (governs.payload)(&start.directory, &socket);
        match role::start(row.entry, Path::new(OWN_PROGRAM), &payload) {
            Ok(role) => {
                self.voice.notice(format_args!(
                    "control role (process {}) started",
                    role.process.number()
                ));
                self.slots.governing.running = Some(role);
                self.between.stored.send_to(&mut self.slots.governing);
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
