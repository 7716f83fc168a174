//! Write admission: clients of both nodes may write, or those of one node only. The cluster's
//! record stores the decision, so each owner knows it from its first request on. The owner refuses
//! other clients' writes wherever they are connected. A stale guest process that keeps running
//! after a migration therefore changes nothing.
//!
//! A change takes effect in this order: no further write of excluded clients begins; their writes
//! in progress end; the record contains the change.

use super::clients::{RequestLocation, RequestOrigin};
use super::mailbox::ClusterRequest;
use super::{Mirror, lease};
use crate::replica::{Epoch, RequestId};
use rustix::io::Errno;
use std::time::{Duration, Instant};

/// Interval at which an unconfirmed change is proposed again.
const AGAIN: Duration = Duration::from_millis(200);

/// Write admission in the cluster's record.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct WriteAdmission {
    /// Sequence number of the change.
    pub(super) count: u64,
    /// Name of the admitted node; empty for both nodes.
    pub(super) only: String,
    /// [`super::peer::number_of`] the user that the node was admitted for; 0 if unknown.
    pub(super) user: u64,
}

impl WriteAdmission {
    fn admits(&self, node: &str) -> bool {
        self.only.is_empty() || self.only == node
    }

    /// Next change, which admits only clients of this node on behalf of this user.
    fn next(&self, only: String, user: u64) -> WriteAdmission {
        let count = self.count.saturating_add(1);
        WriteAdmission { count, only, user }
    }
}

/// Admission change in progress, and reporting of refused writes.
#[derive(Debug, Default)]
pub(super) struct Admission {
    wanted: Option<WriteAdmission>,
    /// Time of the last proposal.
    proposed: Option<Instant>,
    /// Change for which a refused write was reported.
    reported: Option<u64>,
}

impl Admission {
    /// Admission for the next proposed record.
    pub(super) fn next<'a>(&'a self, recorded: &'a WriteAdmission) -> &'a WriteAdmission {
        match (&self.wanted, self.proposed) {
            (Some(wanted), Some(_)) => wanted,
            _ => recorded,
        }
    }
}

impl Mirror {
    /// Starts to admit only clients of this node (empty: of both). `user` is the number of the
    /// user that the node is admitted for, or 0.
    pub(super) fn admit(&mut self, only: String, user: u64) {
        if self.replica.serves().is_some() {
            let recorded = &self.lease.recorded.clients;
            // Uses a higher number than a pending change, which the cluster may still record.
            let wanted = self.clients.admission.wanted.as_ref();
            let count = wanted.map_or(0, |wanted| wanted.count).max(recorded.count);
            let last = WriteAdmission {
                count,
                ..WriteAdmission::default()
            };
            self.clients.admission.proposed = None;
            self.clients.admission.wanted = Some(last.next(only, user));
            self.shown.is_due = true;
        }
    }

    /// Returns whether a change that admits only this node is in progress.
    pub(super) fn is_admitting(&self, only: &str) -> bool {
        let wanted = self.clients.admission.wanted.as_ref();
        wanted.is_some_and(|wanted| wanted.only == only)
    }

    /// Node to which a client is connected.
    fn node_of(&self, origin: RequestOrigin) -> &str {
        match origin {
            RequestOrigin::Here(_) => &self.lease.names.me,
            RequestOrigin::There(_) => &self.lease.names.other,
        }
    }

    fn admits(&self, origin: RequestOrigin) -> bool {
        let node = self.node_of(origin);
        let wanted = self.clients.admission.wanted.as_ref();
        self.lease.recorded.clients.admits(node) && wanted.is_none_or(|wanted| wanted.admits(node))
    }

    /// Refuses a request of a client that may not write, or lets it wait. Returns whether the
    /// request must not be submitted.
    pub(super) fn is_refused(&mut self, id: RequestId) -> bool {
        let Some(asked) = self.clients.get(id) else {
            return true;
        };
        if !asked.is_write() || !self.replica.takes_requests() {
            return false;
        }
        if self.is_of_another_user(asked.origin) {
            self.end(id, Err(Errno::SHUTDOWN));
            return true;
        }
        if self.admits(asked.origin) {
            return false;
        }
        if self.waits_for_admission(asked.origin) {
            self.clients.put(id, RequestLocation::Waiting);
            return true;
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

    /// Advances a change. Called in every turn.
    pub(super) fn advance_admission(&mut self, now: Instant) {
        let Some(wanted) = &self.clients.admission.wanted else {
            return;
        };
        let Some(Epoch(epoch)) = self.replica.serves() else {
            // The next owner reads the admission from the record.
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
            (self.outside.say)(words);
            return self.retry();
        }
        if self.lease.recorded.clients.count >= wanted.count {
            // The cluster has recorded an earlier change meanwhile.
            let recorded = &self.lease.recorded.clients;
            let next = recorded.next(wanted.only.clone(), wanted.user);
            self.clients.admission.wanted = Some(next);
            return self.advance_admission(now);
        }
        let waits = self
            .clients
            .admission
            .proposed
            .is_some_and(|at| now < at + AGAIN);
        let mut writes = self.clients.writes_in(RequestLocation::Replica);
        if waits || writes.any(|origin| !self.admits(origin)) {
            return;
        }
        drop(writes);
        let Some(record) = &self.lease.record else {
            return;
        };
        let (number, value) = self.lease.proposal(record, wanted);
        self.clients.admission.proposed = Some(now);
        (self.outside.wishes)(ClusterRequest::Record {
            epoch,
            number,
            value,
        });
    }

    /// Time at which a change has to be proposed again.
    pub(super) fn admission_deadline(&self) -> Option<Instant> {
        Some(self.clients.admission.proposed? + AGAIN)
            .filter(|_| self.clients.admission.wanted.is_some())
    }
}

impl lease::Lease {
    /// Number and encoding of a record for the cluster. The number is higher than those of all
    /// earlier records whose copies or admission differ.
    pub(super) fn proposal(
        &self,
        record: &crate::replica::Record,
        clients: &WriteAdmission,
    ) -> (u64, Vec<u8>) {
        let number = record.generation.0.saturating_add(clients.count);
        (number, self.names.encode(record, clients))
    }
}
