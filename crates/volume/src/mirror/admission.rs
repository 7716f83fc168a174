//! Whose clients may change a volume: those of both nodes, or of one alone. The cluster's record
//! of the volume says it, so each owner knows it from its first request on, and the owner refuses the
//! writes of others, wherever their client is connected: a guest that was moved, and runs on
//! where it was, changes nothing.
//!
//! A change takes effect in this order: no further write of those that are excluded begins; those
//! under way end; the record has it.

use super::clients::{Origin, Place};
use super::mailbox::Wish;
use super::{Mirror, lease};
use crate::replica::{Epoch, RequestId};
use rustix::io::Errno;
use std::time::{Duration, Instant};

/// A change that is not seen in the cluster is proposed again after this.
const AGAIN: Duration = Duration::from_millis(200);

/// Whose clients may write, as the cluster's record has it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Admitted {
    /// Counts the changes.
    pub(super) count: u64,
    /// The node; empty: both.
    pub(super) only: String,
    /// [`super::peer::number_of`] the user for which that node was admitted; 0: not known.
    pub(super) user: u64,
}

impl Admitted {
    fn admits(&self, node: &str) -> bool {
        self.only.is_empty() || self.only == node
    }

    /// The next one, with clients of this node, for this user.
    fn next(&self, only: String, user: u64) -> Admitted {
        let count = self.count.saturating_add(1);
        Admitted { count, only, user }
    }
}

/// A change under way, and what was said of refused writes.
#[derive(Debug, Default)]
pub(super) struct Admission {
    wanted: Option<Admitted>,
    /// When it was proposed the last time.
    proposed: Option<Instant>,
    /// The count at which a refused write was reported.
    reported: Option<u64>,
}

impl Admission {
    /// What a record is to say that is proposed now.
    pub(super) fn next<'a>(&'a self, recorded: &'a Admitted) -> &'a Admitted {
        match (&self.wanted, self.proposed) {
            (Some(wanted), Some(_)) => wanted,
            _ => recorded,
        }
    }
}

impl Mirror {
    /// Only clients of this node (empty: of both) are to write from now on. `user`: the number of
    /// the user for which it is admitted, or 0.
    pub(super) fn admit(&mut self, only: String, user: u64) {
        if self.replica.serves().is_some() {
            let recorded = &self.lease.recorded.clients;
            // One that was proposed may still be recorded: this one counts after it.
            let wanted = self.clients.admission.wanted.as_ref();
            let count = wanted.map_or(0, |wanted| wanted.count).max(recorded.count);
            let last = Admitted {
                count,
                ..Admitted::default()
            };
            self.clients.admission.proposed = None;
            self.clients.admission.wanted = Some(last.next(only, user));
            self.shown.is_due = true;
        }
    }

    /// Whether a change to this node's clients is under way.
    pub(super) fn is_admitting(&self, only: &str) -> bool {
        let wanted = self.clients.admission.wanted.as_ref();
        wanted.is_some_and(|wanted| wanted.only == only)
    }

    /// The node at which a client is connected.
    fn node_of(&self, origin: Origin) -> &str {
        match origin {
            Origin::Here(_) => &self.lease.names.me,
            Origin::There(_) => &self.lease.names.other,
        }
    }

    fn admits(&self, origin: Origin) -> bool {
        let node = self.node_of(origin);
        let wanted = self.clients.admission.wanted.as_ref();
        self.lease.recorded.clients.admits(node) && wanted.is_none_or(|wanted| wanted.admits(node))
    }

    /// Refuses a request of a client that may not write. Returns whether it has ended.
    pub(super) fn is_refused(&mut self, id: RequestId) -> bool {
        let Some(asked) = self.clients.get(id) else {
            return true;
        };
        if !asked.is_write() || !self.replica.takes_requests() || self.admits(asked.origin) {
            return false;
        }
        let node = self.node_of(asked.origin);
        let words = format!("a write of a client of {node} is refused");
        let count = Some(self.lease.recorded.clients.count);
        if std::mem::replace(&mut self.clients.admission.reported, count) != count {
            (self.outside.say)(words);
        }
        self.end(id, Err(Errno::SHUTDOWN));
        true
    }

    /// Brings a change further. To be called in every turn.
    pub(super) fn advance_admission(&mut self, now: Instant) {
        let Some(wanted) = &self.clients.admission.wanted else {
            return;
        };
        let Some(Epoch(epoch)) = self.replica.serves() else {
            // The next owner has what was recorded.
            self.clients.admission.wanted = None;
            return;
        };
        if self.lease.recorded.clients == *wanted {
            let words = match &*wanted.only {
                "" => "clients of both nodes may write".to_owned(),
                node => format!("only clients of {node} may write"),
            };
            self.clients.admission.wanted = None;
            self.shown.is_due = true;
            return (self.outside.say)(words);
        }
        if self.lease.recorded.clients.count >= wanted.count {
            // A change before this one was recorded in the meantime.
            let recorded = &self.lease.recorded.clients;
            let next = recorded.next(wanted.only.clone(), wanted.user);
            self.clients.admission.wanted = Some(next);
            return self.advance_admission(now);
        }
        let waits = { self.clients.admission.proposed }.is_some_and(|at| now < at + AGAIN);
        let mut writes = self.clients.writes_in(Place::Replica);
        if waits || writes.any(|origin| !self.admits(origin)) {
            return;
        }
        drop(writes);
        let Some(record) = &self.lease.record else {
            return;
        };
        let (number, value) = self.lease.proposal(record, wanted);
        self.clients.admission.proposed = Some(now);
        (self.outside.wishes)(Wish::Record {
            epoch,
            number,
            value,
        });
    }

    /// When a change is to be looked at again.
    pub(super) fn admission_deadline(&self) -> Option<Instant> {
        Some(self.clients.admission.proposed? + AGAIN)
            .filter(|_| self.clients.admission.wanted.is_some())
    }
}

impl lease::Lease {
    /// The number and the bytes of a record for the cluster: later than every one before in which
    /// either of both has changed.
    pub(super) fn proposal(
        &self,
        record: &crate::replica::Record,
        clients: &Admitted,
    ) -> (u64, Vec<u8>) {
        let number = record.generation.0.saturating_add(clients.count);
        (number, self.names.encode(record, clients))
    }
}
