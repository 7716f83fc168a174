//! Decides the steps of a live migration on the node to which the guest moves, as a state machine
//! without I/O and clock.

use super::{MigrationDefect, MigrationMessage, Progress};
use crate::defect::InjectedDefect;

/// Timeout for the lease after everything else has arrived, milliseconds.
const LEASE_MAX_MS: u64 = 60_000;
/// Timeout for [`MigrationMessage::Done`] after the lease has arrived, milliseconds.
const DONE_MAX_MS: u64 = 10_000;

/// Order for QEMU or for the connection to the source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TargetOrder {
    Listen,
    Send(MigrationMessage),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    Heard(MigrationMessage),
    Lost(String),
    Waits,
    Listens,
    Qemu(Progress),
}

/// Resources of the guest that the target node holds now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TargetResources {
    pub has_lease: bool,
    pub has_volumes: bool,
}

/// Target side of one migration. The guest may run here only when [`MigrationTarget::has_arrived`]
/// is true. After a failure ([`MigrationTarget::failed`]) the caller kills the QEMU process.
#[derive(Clone, Debug, Default)]
pub struct MigrationTarget {
    is_listening: bool,
    takes: bool,
    is_ready: bool,
    is_complete: bool,
    /// The source has confirmed that the guest never runs there again.
    is_done: bool,
    /// Deadline for the resource that is missing, milliseconds.
    until: Option<u64>,
    failed: Option<String>,
    broken: InjectedDefect<MigrationDefect>,
}

impl MigrationTarget {
    #[cfg(test)]
    pub(super) fn with(broken: Option<MigrationDefect>) -> MigrationTarget {
        MigrationTarget {
            broken: InjectedDefect::new(broken),
            ..MigrationTarget::default()
        }
    }

    /// Returns whether the guest is complete here and runs nowhere else, so that it may run with
    /// its lease.
    pub fn has_arrived(&self) -> bool {
        let done = self.is_done || self.broken.is(&MigrationDefect::TrustsTheStream);
        self.failed.is_none() && self.is_complete && done
    }

    pub fn takes_volumes(&self) -> bool {
        self.takes && self.failed.is_none()
    }

    pub fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    pub fn deadline(&self) -> Option<u64> {
        self.until.filter(|_| self.failed.is_none())
    }

    fn fail(&mut self, words: String) -> Vec<TargetOrder> {
        if self.failed.is_some() {
            return Vec::new();
        }
        self.failed = Some(words.clone());
        vec![TargetOrder::Send(MigrationMessage::Abort(words))]
    }

    pub fn apply_input(&mut self, input: Input) -> Vec<TargetOrder> {
        if self.failed.is_some() {
            return Vec::new();
        }
        match input {
            Input::Waits if !self.is_listening => {
                self.is_listening = true;
                vec![TargetOrder::Listen]
            }
            Input::Listens => vec![TargetOrder::Send(MigrationMessage::Listening)],
            Input::Heard(MigrationMessage::Switch) => {
                self.takes = true;
                Vec::new()
            }
            Input::Heard(MigrationMessage::Done { .. }) => {
                self.is_done = true;
                vec![TargetOrder::Send(MigrationMessage::Taken)]
            }
            // Fails only before `Done`; afterwards it does not matter if the source is lost.
            Input::Heard(MigrationMessage::Abort(words)) | Input::Lost(words)
                if !self.is_done && !self.broken.is(&MigrationDefect::TrustsTheStream) =>
            {
                self.fail(words)
            }
            Input::Heard(_) | Input::Lost(_) | Input::Waits => Vec::new(),
            Input::Qemu(Progress::Completed) => {
                self.is_complete = true;
                Vec::new()
            }
            Input::Qemu(Progress::Failed(words)) => self.fail(words),
            Input::Qemu(Progress::Gone) => self.fail("its QEMU ended".to_owned()),
            Input::Qemu(Progress::Active | Progress::Paused) => Vec::new(),
        }
    }

    pub fn next(&mut self, here: TargetResources, now: u64) -> Vec<TargetOrder> {
        if self.takes && here.has_volumes && !self.is_ready && self.failed.is_none() {
            self.is_ready = true;
            return vec![TargetOrder::Send(MigrationMessage::Ready)];
        }
        let waits = match (self.has_arrived(), here.has_lease) {
            (true, false) => Some((LEASE_MAX_MS, "the lease did not arrive in time")),
            // Waits only for a short time: the source has lost the lease, so it can no longer let
            // the guest run.
            (false, true) => Some((DONE_MAX_MS, "the rest of the guest did not arrive in time")),
            _ if self.is_done && !self.is_complete => {
                Some((LEASE_MAX_MS, "the rest of the guest did not arrive in time"))
            }
            _ => None,
        };
        let Some((limit, words)) = waits else {
            self.until = None;
            return Vec::new();
        };
        let until = *self.until.get_or_insert(now.saturating_add(limit));
        if now < until {
            return Vec::new();
        }
        self.fail(words.to_owned())
    }
}
