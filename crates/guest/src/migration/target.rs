//! The node to which a guest comes.

use super::{Defect, Message, Progress};

/// How long the lease, or [`Message::Done`], may take behind the other.
const LEASE_MAX_MS: u64 = 60_000;
const DONE_MAX_MS: u64 = 10_000;

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// Let QEMU listen.
    Listen,
    /// Send a message.
    Send(Message),
}

/// What is seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// The source says something.
    Heard(Message),
    /// There is no connection to it.
    Lost(String),
    /// QEMU is there, and waits.
    Waits,
    /// QEMU listens.
    Listens,
    /// QEMU says something.
    Qemu(Progress),
}

/// What holds here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Here {
    /// The lease of the guest is held.
    pub has_lease: bool,
    /// Its volumes can be written here.
    pub has_volumes: bool,
}

/// The move.
#[derive(Clone, Debug, Default)]
pub struct Target {
    is_listening: bool,
    /// The source has handed the volumes over.
    takes: bool,
    /// The source was told that they are here.
    is_ready: bool,
    /// The stream is complete.
    is_complete: bool,
    /// The source has done its part.
    is_done: bool,
    /// Until when what is missing has to come, milliseconds.
    until: Option<u64>,
    /// Why it has come to nothing.
    failed: Option<String>,
    broken: Option<Defect>,
}

impl Target {
    /// With a deliberate defect.
    #[cfg(test)]
    pub(super) fn with(broken: Option<Defect>) -> Target {
        Target {
            broken,
            ..Target::default()
        }
    }

    /// Whether the guest is here as a whole, and is nobody else's: it may go on with its lease.
    pub fn has_arrived(&self) -> bool {
        let done = self.is_done || self.broken == Some(Defect::TrustsTheStream);
        self.failed.is_none() && self.is_complete && done
    }

    /// Whether its volumes are to be here.
    pub fn takes_volumes(&self) -> bool {
        self.takes && self.failed.is_none()
    }

    /// Why it has come to nothing; its QEMU is to be killed.
    pub fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// When [`Target::next`] has something to do, milliseconds.
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

    /// Takes in what is seen. Returns what is to be done.
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
            // After that nothing of the source matters.
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

    /// Returns what is to be done by what holds here, and by the time.
    pub fn next(&mut self, here: Here, now: u64) -> Vec<Order> {
        if self.takes && here.has_volumes && !self.is_ready && self.failed.is_none() {
            self.is_ready = true;
            return vec![Order::Send(Message::Ready)];
        }
        let waits = match (self.has_arrived(), here.has_lease) {
            (true, false) => Some((LEASE_MAX_MS, "the lease did not come in time")),
            // The source cannot let it go on any more.
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
