//! Target side of a migration: the node to which the guest comes.

use super::{Defect, Message, Progress};

/// Timeouts for the lease after everything else has arrived, and for [`Message::Done`] after the
/// lease; milliseconds.
const LEASE_MAX_MS: u64 = 60_000;
const DONE_MAX_MS: u64 = 10_000;

/// Order for QEMU or for the connection to the source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// Let QEMU listen for the migration.
    Listen,
    /// Send a message to the source.
    Send(Message),
}

/// Event of a migration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// A message of the source arrived.
    Heard(Message),
    /// The connection to the source is lost.
    Lost(String),
    /// QEMU has started and waits for the migration.
    Waits,
    /// QEMU listens.
    Listens,
    /// QEMU reports progress.
    Qemu(Progress),
}

/// Resources of the guest that this node holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Here {
    /// The lease of the guest is held.
    pub has_lease: bool,
    /// The volumes of the guest are writable here.
    pub has_volumes: bool,
}

/// State machine of a migration on its target.
#[derive(Clone, Debug, Default)]
pub struct Target {
    is_listening: bool,
    /// The source has handed the volumes over.
    takes: bool,
    /// The source was told that the volumes are open here.
    is_ready: bool,
    /// The migration stream is complete.
    is_complete: bool,
    /// The source has confirmed that the guest never runs there again.
    is_done: bool,
    /// Deadline for the missing resource, milliseconds.
    until: Option<u64>,
    /// Reason of the failure.
    failed: Option<String>,
    broken: Option<Defect>,
}

impl Target {
    /// Creates a migration with a deliberate defect.
    #[cfg(test)]
    pub(super) fn with(broken: Option<Defect>) -> Target {
        Target {
            broken,
            ..Target::default()
        }
    }

    /// Returns whether the guest is complete here and runs nowhere else, so that it may run with
    /// its lease.
    pub fn has_arrived(&self) -> bool {
        let done = self.is_done || self.broken == Some(Defect::TrustsTheStream);
        self.failed.is_none() && self.is_complete && done
    }

    /// Returns whether the volumes of the guest have to be opened here.
    pub fn takes_volumes(&self) -> bool {
        self.takes && self.failed.is_none()
    }

    /// Returns the reason of the failure, after which the QEMU process has to be killed.
    pub fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// Returns the next time at which [`Target::next`] has something to do, milliseconds.
    pub fn deadline(&self) -> Option<u64> {
        self.until.filter(|_| self.failed.is_none())
    }

    fn fail(&mut self, words: String) -> Vec<Order> {
        if self.failed.is_some() {
            return Vec::new();
        }
        self.failed = Some(words.clone());
        vec![Order::Send(Message::Abort(words))]
    }

    /// Applies an event and returns the resulting orders.
    pub fn see(&mut self, input: Input) -> Vec<Order> {
        if self.failed.is_some() {
            return Vec::new();
        }
        match input {
            Input::Waits if !self.is_listening => {
                self.is_listening = true;
                vec![Order::Listen]
            }
            Input::Listens => vec![Order::Send(Message::Listening)],
            Input::Heard(Message::Switch) => {
                self.takes = true;
                Vec::new()
            }
            Input::Heard(Message::Done { .. }) => {
                self.is_done = true;
                vec![Order::Send(Message::Taken)]
            }
            // After `Done` a lost source no longer matters.
            Input::Heard(Message::Abort(words)) | Input::Lost(words)
                if !self.is_done && self.broken != Some(Defect::TrustsTheStream) =>
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

    /// Returns the orders that follow from the held resources and from the time.
    pub fn next(&mut self, here: Here, now: u64) -> Vec<Order> {
        if self.takes && here.has_volumes && !self.is_ready && self.failed.is_none() {
            self.is_ready = true;
            return vec![Order::Send(Message::Ready)];
        }
        let waits = match (self.has_arrived(), here.has_lease) {
            (true, false) => Some((LEASE_MAX_MS, "the lease did not come in time")),
            // The source has lost the lease, so it cannot let the guest run any more.
            (false, true) => Some((DONE_MAX_MS, "the rest of the guest did not come in time")),
            _ if self.is_done && !self.is_complete => {
                Some((LEASE_MAX_MS, "the rest of the guest did not come in time"))
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
