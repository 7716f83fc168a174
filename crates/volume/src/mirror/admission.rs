//! Decides whose clients may write (write admission): those of both nodes, or those of one node
//! only. The cluster's record stores the decision, so each owner knows it from its first request
//! on. The owner refuses other clients' writes wherever they are connected. A stale guest process
//! that keeps running after a migration therefore changes nothing.
//!
//! A change takes effect in this order: no further write of excluded clients begins; their writes
//! in progress end; the record contains the change.

use super::clients::{RequestLocation, RequestOrigin};
use super::mailbox::ClusterRequest;
use super::{Mirror, lease};
use crate::overwrite::{MarkChange, OverwriteMark};
use crate::replica::{Epoch, RequestId};
use rustix::io::Errno;
use std::time::{Duration, Instant};

const AGAIN: Duration = Duration::from_millis(200);

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct WriteAdmission {
    pub(super) count: u64,
    /// Name of the node whose clients alone may write; empty for both nodes.
    pub(super) only: String,
    /// [`super::peer::number_of`] the user for which the node was admitted; 0 if unknown.
    pub(super) user: u64,
    pub(super) overwrite: Option<OverwriteMark>,
    pub(super) marks: u64,
}

impl WriteAdmission {
    pub(super) fn admissions(&self) -> u64 {
        self.count.saturating_sub(self.marks)
    }

    fn admits(&self, node: &str) -> bool {
        self.only.is_empty() || self.only == node
    }

    fn next(&self, only: String, user: u64) -> WriteAdmission {
        WriteAdmission {
            count: self.count.saturating_add(1),
            only,
            user,
            ..self.clone()
        }
    }

    fn next_mark(&self, overwrite: Option<OverwriteMark>) -> WriteAdmission {
        WriteAdmission {
            count: self.count.saturating_add(1),
            marks: self.marks.saturating_add(1),
            overwrite,
            ..self.clone()
        }
    }

    fn rebased(&self, change: &WriteAdmission) -> WriteAdmission {
        let is_same_user = (&self.only, self.user) == (&change.only, change.user);
        if is_same_user {
            self.next_mark(change.overwrite)
        } else {
            WriteAdmission {
                overwrite: change.overwrite,
                ..self.next(change.only.clone(), change.user)
            }
        }
    }
}

/// Admission change in progress, and reporting of refused writes.
#[derive(Debug, Default)]
pub(super) struct Admission {
    wanted: Option<WriteAdmission>,
    proposed: Option<Instant>,
    reported: Option<u64>,
    /// Sequence number of the last admission change that needs no further log message.
    shown_admissions: u64,
}

impl Admission {
    pub(super) fn next<'a>(&'a self, recorded: &'a WriteAdmission) -> &'a WriteAdmission {
        match (&self.wanted, self.proposed) {
            (Some(wanted), Some(_)) => wanted,
            _ => recorded,
        }
    }

    /// Returns the last change: the pending one, which the cluster may still record; without one
    /// the recorded change.
    fn last(&self, recorded: &WriteAdmission) -> WriteAdmission {
        let pending = self.wanted.as_ref();
        let pending = pending.filter(|wanted| wanted.count > recorded.count);
        pending.unwrap_or(recorded).clone()
    }

    pub(super) fn change_mark(&mut self, change: MarkChange, recorded: &WriteAdmission) -> bool {
        let last = self.last(recorded);
        let mark = change.applied(last.overwrite);
        if let Some(mark) = mark {
            if self.wanted.is_none() {
                self.shown_admissions = recorded.admissions();
            }
            self.proposed = None;
            self.wanted = Some(last.next_mark(mark));
        }
        mark.is_some()
    }
}

impl Mirror {
    /// Starts to admit only clients of the node `only`; empty: clients of both nodes. `user` is the
    /// number of the user for which the node is admitted, or 0.
    pub(super) fn admit(&mut self, only: String, user: u64) {
        if self.replica.serves().is_some() {
            let last = self.clients.admission.last(&self.lease.recorded.clients);
            self.clients.admission.proposed = None;
            self.clients.admission.wanted = Some(last.next(only, user));
            self.shown.is_due = true;
        }
    }

    pub(super) fn is_admitting(&self, only: &str) -> bool {
        let wanted = self.clients.admission.wanted.as_ref();
        wanted.is_some_and(|wanted| wanted.only == only)
    }

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

    /// Refuses a request of a client that may not write, or lets the request wait. Returns whether
    /// the request must not be submitted.
    pub(super) fn is_refused(&mut self, id: RequestId) -> bool {
        let Some(asked) = self.clients.get(id) else {
            return true;
        };
        let is_local = matches!(asked.origin, RequestOrigin::Here(_));
        let is_stale = is_local && asked.is_write() && self.is_used_by_superseded();
        if is_stale || self.clients.has_ended(id) {
            self.end(id, Err(Errno::SHUTDOWN));
            return true;
        }
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

    pub(super) fn advance_admission(&mut self, now: Instant) {
        let Some(wanted) = &self.clients.admission.wanted else {
            return;
        };
        let Some(Epoch(epoch)) = self.replica.serves() else {
            // Drops the change: this node is no longer the owner, and the next owner reads the
            // admission from the record.
            self.clients.admission.wanted = None;
            return;
        };
        if self.lease.recorded.clients == *wanted {
            let words = match &*wanted.only {
                "" => "clients of both nodes may write".to_owned(),
                node => format!("only clients of {node} may write"),
            };
            let known = self.clients.admission.shown_admissions;
            let admissions = wanted.admissions();
            self.clients.admission.shown_admissions = admissions;
            self.clients.admission.wanted = None;
            self.shown.is_due = true;
            if admissions != known {
                (self.outside.say)(words);
            }
            return self.retry();
        }
        if self.lease.recorded.clients.count >= wanted.count {
            // Repeats the change on top of another one that the cluster has recorded in between.
            let next = self.lease.recorded.clients.rebased(wanted);
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

    pub(super) fn admission_deadline(&self) -> Option<Instant> {
        Some(self.clients.admission.proposed? + AGAIN)
            .filter(|_| self.clients.admission.wanted.is_some())
    }
}

impl lease::Lease {
    /// Returns the number and encoding of a record for the cluster. The number is higher than those
    /// of all earlier records whose copies or admission differ.
    pub(super) fn proposal(
        &self,
        record: &crate::replica::Record,
        clients: &WriteAdmission,
    ) -> (u64, Vec<u8>) {
        let number = record.generation.0.saturating_add(clients.count);
        (number, self.names.encode(record, clients))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overwrite::OverwriteKind;
    use proptest::prelude::*;

    fn mark(random: u16) -> OverwriteMark {
        OverwriteMark::new(OverwriteKind::VolumeRestore, 7, random)
    }

    #[test]
    fn change_of_the_mark_and_admission_of_a_node_keep_each_other() {
        let recorded = WriteAdmission::default().next("alpha".to_owned(), 5);
        let mut admission = Admission::default();
        assert!(admission.change_mark(MarkChange::Set(mark(1)), &recorded));
        let marked = admission.wanted.clone().unwrap();
        assert_eq!((&*marked.only, marked.user), ("alpha", 5));
        assert_eq!((marked.count, marked.marks), (2, 1));
        // A new admission would end the user of a node, so the number of admissions stays.
        assert_eq!(marked.admissions(), recorded.admissions());
        // Repeated requests start nothing new.
        assert!(!admission.change_mark(MarkChange::Set(mark(1)), &recorded));
        let moved = admission.last(&recorded).next("beta".to_owned(), 6);
        assert_eq!(moved.overwrite, Some(mark(1)));
        assert_eq!(moved.admissions(), recorded.admissions() + 1);
        // The cluster has recorded another change first.
        let other = recorded.next("beta".to_owned(), 6);
        let again = other.rebased(&marked);
        assert_eq!((&*again.only, again.overwrite), ("alpha", Some(mark(1))));
        assert!(again.count > other.count);
    }

    proptest! {
        /// Whatever a node requests, and whichever requests the cluster records late or never:
        /// sequence numbers grow, and the last request is in force at the end.
        #[test]
        fn last_requested_mark_is_recorded(steps in proptest::collection::vec(0_u8..6, 0..40)) {
            let mut recorded = WriteAdmission::default();
            let mut admission = Admission::default();
            let mut expected = None;
            let mut highest = 0;
            for step in steps {
                let change = match step {
                    0 | 1 => MarkChange::Set(mark(u16::from(step) + 1)),
                    2 => MarkChange::Clear(mark(1)),
                    3 => {
                        // Before that, the cluster has recorded the admission of another owner.
                        recorded = admission.last(&recorded).next("beta".to_owned(), 3);
                        expected = recorded.overwrite;
                        admission = Admission::default();
                        highest = highest.max(recorded.count);
                        continue;
                    }
                    4 => {
                        admission.wanted = Some(admission.last(&recorded).next("alpha".to_owned(), 9));
                        continue;
                    }
                    _ => {
                        recorded = admission.last(&recorded);
                        admission = Admission::default();
                        continue;
                    }
                };
                if let Some(mark) = change.applied(expected) {
                    expected = mark;
                }
                if admission.change_mark(change, &recorded) {
                    let count = admission.last(&recorded).count;
                    prop_assert!(count > highest);
                    highest = count;
                }
            }
            prop_assert_eq!(admission.last(&recorded).overwrite, expected);
            prop_assert!(recorded.marks <= recorded.count);
        }
    }
}
