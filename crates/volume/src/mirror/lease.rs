//! Converts the cluster's reports about the lease of a volume to lease events of the replica.

use super::admission::WriteAdmission;
use super::adoption::Adoption;
use super::founding::FoundingAction;
use super::record::NodeNames;
use crate::replica::{Epoch, Generation, Incarnation, Record, Time};
use part::role::KnownLease;

/// Maximum number of grants that a node may have missed while it was cut off from the cluster. An
/// epoch further in the future is not believed: a copy that promised it would refuse every owner.
const UNSEEN_MAX: u64 = 16;

/// Lease event for the replica.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum News {
    /// The lease was granted: epoch, end of validity, record.
    Granted(Epoch, Time, Record),
    /// The lease was granted, but the cluster has no record of the volume.
    Unfounded(Epoch),
    /// The lease was renewed: epoch, new end of validity.
    Renewed(Epoch, Time),
    /// The record has changed within this node's epoch.
    Recorded(Record),
    Ended,
}

/// Number of the cluster's record, and the write admission that the record contains.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct RecordedAdmission {
    pub(super) number: u64,
    pub(super) clients: WriteAdmission,
}

/// Lease of the volume, as the cluster reports it. The replica never gets an epoch that a previous
/// process had, or that this one has released.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) names: NodeNames,
    /// Last epoch that the replica must not use: a previous process had it, or it was released.
    used: Epoch,
    /// Last epoch that the cluster is known to have granted to any node.
    seen: Epoch,
    pub(super) reported: Option<Epoch>,
    granted: Option<Epoch>,
    epoch: Option<Epoch>,
    held: bool,
    /// Epoch being released, until the cluster has confirmed the release.
    releasing: Option<Epoch>,
    pub(super) holder: String,
    told_at: Option<Generation>,
    pub(super) record: Option<Record>,
    pub(super) recorded: RecordedAdmission,
    /// Nodes with a complete copy according to `record`, if the configuration names none of them.
    pub(super) complete_strangers: Vec<String>,
    pub(super) is_known: bool,
    pub(super) told: Option<u32>,
    pub(super) adopts: Option<Adoption>,
    pub(super) founding: Option<FoundingAction>,
}

impl Lease {
    pub(super) fn new(names: NodeNames, promised: Epoch) -> Lease {
        Lease {
            names,
            used: promised,
            seen: promised,
            reported: None,
            granted: None,
            epoch: None,
            held: false,
            releasing: None,
            holder: String::new(),
            told_at: None,
            record: None,
            recorded: RecordedAdmission::default(),
            complete_strangers: Vec::new(),
            is_known: false,
            told: None,
            adopts: None,
            founding: None,
        }
    }

    pub(super) fn is_held(&self) -> bool {
        self.held && self.releasing.is_none()
    }

    pub(super) fn is_plausible(&self, epoch: Epoch) -> bool {
        epoch.0 <= self.seen.0.saturating_add(UNSEEN_MAX)
    }

    pub(super) fn history(&self) -> Option<Incarnation> {
        self.record.as_ref().map(|record| record.incarnation)
    }

    pub(super) fn is_releasing(&self) -> bool {
        self.releasing.is_some()
    }

    /// Returns the epoch of the held lease, if the volume has no record or its record is to be
    /// replaced.
    pub(super) fn unfounded(&self) -> Option<Epoch> {
        let is_unfounded = self.record.is_none() || self.adopts.is_some();
        let is_granted = self.granted.is_some() && self.granted == self.epoch;
        self.epoch
            .filter(|_| is_unfounded && !is_granted && self.is_held())
    }

    pub(super) fn adopt(&mut self) {
        let (at, begins) = (self.seen, None);
        self.adopts = Some(Adoption { at, begins });
    }

    pub(super) fn release(&mut self, epoch: Epoch) {
        self.releasing = Some(epoch);
        self.granted = None;
        self.used = self.used.max(epoch);
    }

    fn is_meant(&self, record: &Record) -> bool {
        let begins = self.adopts.map(|one| one.begins);
        begins.is_none_or(|begins| begins == Some(record.incarnation))
    }

    pub(super) fn apply_report(&mut self, lease: Option<KnownLease>) -> Vec<News> {
        let mut news = Vec::new();
        let Some(lease) = lease else {
            self.is_known = true;
            if std::mem::take(&mut self.held) {
                news.push(News::Ended);
            }
            self.releasing = None;
            self.record = None;
            self.recorded = RecordedAdmission::default();
            self.complete_strangers.clear();
            return news;
        };
        self.is_known = true;
        self.holder = lease.holder;
        self.recorded.number = lease.number;
        let epoch = Epoch(lease.epoch);
        self.seen = self.seen.max(epoch);
        self.reported = Some(epoch);
        if self.holder == self.names.other && self.adopts.is_some_and(|one| epoch > one.at) {
            self.adopts = None;
        }
        if self.releasing.is_some_and(|releasing| epoch > releasing) {
            self.releasing = None;
        }
        (self.record, self.recorded.clients) = match self.names.decode(&lease.record) {
            Some((record, clients)) => (Some(record), clients),
            None => (None, WriteAdmission::default()),
        };
        self.complete_strangers = match &self.record {
            Some(_) => self.names.complete_strangers(&lease.record),
            None => Vec::new(),
        };
        let is_unreadable = self.record.is_none() && !lease.record.is_empty();
        if is_unreadable && self.adopts.is_none() {
            self.founding = Some(FoundingAction::Unreadable);
        } else if self.founding == Some(FoundingAction::Unreadable) {
            self.founding = None;
        }
        if lease.until_ns == 0 {
            self.releasing = None;
            if std::mem::take(&mut self.held) {
                news.push(News::Ended);
            }
            return news;
        }
        self.held = true;
        self.epoch = Some(epoch);
        let until = Time(lease.until_ns);
        if self.granted == Some(epoch) {
            news.push(News::Renewed(epoch, until));
            // Passes on a record that has changed while this node briefly did not hold the lease.
            let newer = |record: &Record| self.told_at.is_none_or(|at| record.generation > at);
            if let Some(record) = self.record.clone().filter(newer) {
                self.told_at = Some(record.generation);
                news.push(News::Recorded(record));
            }
        } else if epoch <= self.used {
            self.releasing = Some(epoch);
        } else if let Some(record) = self.record.clone().filter(|record| self.is_meant(record)) {
            self.granted = Some(epoch);
            self.told_at = Some(record.generation);
            self.used = epoch;
            self.founding = None;
            self.adopts = None;
            news.push(News::Granted(epoch, until, record));
        } else {
            news.push(News::Unfounded(epoch));
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{ME, OTHER};
    use super::*;
    use crate::replica::InSync;

    fn lease() -> Lease {
        let names = NodeNames {
            me: "alpha".to_owned(),
            other: "beta".to_owned(),
        };
        Lease::new(names, Epoch(4))
    }

    fn record(generation: u64) -> Record {
        Record {
            incarnation: Incarnation(1),
            generation: Generation(generation),
            epoch: Epoch(0),
            in_sync: InSync::Both(ME, OTHER),
            copies: Vec::new(),
            forks: Vec::new(),
        }
    }

    fn known(
        lease: &Lease,
        epoch: u64,
        until_ns: u64,
        generation: Option<u64>,
    ) -> Option<KnownLease> {
        let record =
            generation.map(|at| lease.names.encode(&record(at), &WriteAdmission::default()));
        Some(KnownLease {
            epoch,
            until_ns,
            holder: "alpha".to_owned(),
            record: record.unwrap_or_default(),
            ..KnownLease::default()
        })
    }

    #[test]
    fn the_epoch_of_a_previous_process_is_released() {
        let mut lease = lease();
        let still = known(&lease, 4, 100, Some(1));
        assert_eq!(lease.apply_report(still), []);
        assert!(lease.is_releasing());
        let gone = known(&lease, 4, 0, Some(1));
        assert_eq!(lease.apply_report(gone), [News::Ended]);
        assert!(!lease.is_releasing());
        let next = known(&lease, 5, 100, Some(1));
        let granted = News::Granted(Epoch(5), Time(100), record(1));
        assert_eq!(lease.apply_report(next), [granted]);
        assert!(lease.is_held());
    }

    #[test]
    fn an_epoch_that_was_never_granted_is_implausible() {
        let mut lease = lease();
        assert!(lease.is_plausible(Epoch(4 + UNSEEN_MAX)));
        assert!(!lease.is_plausible(Epoch(u64::MAX)));
        // The other node has the lease; this node has missed many grants.
        let theirs = known(&lease, 1000, 0, Some(1));
        lease.apply_report(theirs);
        assert!(lease.is_plausible(Epoch(1000)));
        assert!(lease.is_plausible(Epoch(1000 + UNSEEN_MAX)));
        assert!(!lease.is_plausible(Epoch(1001 + UNSEEN_MAX)));
    }

    #[test]
    fn a_record_is_reported_once_and_a_renewal_each_time() {
        let mut lease = lease();
        let first = known(&lease, 5, 100, Some(1));
        lease.apply_report(first);
        let again = known(&lease, 5, 200, Some(1));
        let renewed = |until| News::Renewed(Epoch(5), Time(until));
        assert_eq!(lease.apply_report(again), [renewed(200)]);
        let changed = known(&lease, 5, 200, Some(2));
        let recorded = News::Recorded(record(2));
        assert_eq!(lease.apply_report(changed), [renewed(200), recorded]);
        let ended = known(&lease, 5, 0, Some(2));
        assert_eq!(lease.apply_report(ended), [News::Ended]);
        // The same epoch returns, and the replica continues in it.
        let back = known(&lease, 5, 300, Some(2));
        assert_eq!(lease.apply_report(back), [renewed(300)]);
    }

    #[test]
    fn a_record_changed_without_the_lease_is_reported_at_renewal() {
        let mut lease = lease();
        let first = known(&lease, 5, 100, Some(1));
        lease.apply_report(first);
        let ended = known(&lease, 5, 0, Some(2));
        assert_eq!(lease.apply_report(ended), [News::Ended]);
        let back = known(&lease, 5, 300, Some(2));
        let renewed = News::Renewed(Epoch(5), Time(300));
        assert_eq!(
            lease.apply_report(back),
            [renewed, News::Recorded(record(2))]
        );
    }

    #[test]
    fn a_released_epoch_is_not_used_again_and_a_later_grant_ends_the_release() {
        let mut lease = lease();
        let first = known(&lease, 5, 100, Some(1));
        lease.apply_report(first);
        lease.release(Epoch(5));
        assert!(!lease.is_held());
        let late = known(&lease, 5, 200, Some(1));
        assert_eq!(lease.apply_report(late), []);
        let next = known(&lease, 6, 300, Some(1));
        let granted = News::Granted(Epoch(6), Time(300), record(1));
        assert_eq!(lease.apply_report(next), [granted]);
        assert!(lease.is_held());
    }

    #[test]
    fn an_unreadable_record_is_not_treated_as_missing() {
        let mut lease = lease();
        let strange = |until| {
            let mut strange = known(&lease, 5, until, None);
            strange.as_mut().unwrap().record = vec![0xff, 1, 2];
            strange
        };
        let (first, second, third) = (strange(100), strange(200), strange(300));
        let bare = known(&lease, 5, 400, None);
        lease.apply_report(first);
        assert_eq!(lease.founding, Some(FoundingAction::Unreadable));
        // An operator may replace the record, or it may become readable again.
        lease.adopt();
        lease.apply_report(second);
        assert_eq!(lease.founding, None);
        lease.adopts = None;
        lease.apply_report(third);
        assert_eq!(lease.founding, Some(FoundingAction::Unreadable));
        lease.apply_report(bare);
        assert_eq!(lease.founding, None);
    }

    #[test]
    fn a_record_that_an_operator_replaces_is_not_granted_until_it_is_replaced() {
        let mut lease = lease();
        lease.adopt();
        for until in [100, 200] {
            let old = known(&lease, 5, until, Some(1));
            assert_eq!(lease.apply_report(old), [News::Unfounded(Epoch(5))]);
        }
        assert_eq!(lease.unfounded(), Some(Epoch(5)));
        // The local copy starts the incarnation of the next record.
        lease.adopts.as_mut().unwrap().begins = Some(Incarnation(1));
        let new = known(&lease, 5, 300, Some(2));
        let granted = News::Granted(Epoch(5), Time(300), record(2));
        assert_eq!(lease.apply_report(new), [granted]);
        assert_eq!((lease.adopts, lease.unfounded()), (None, None));
    }

    #[test]
    fn an_order_is_void_after_a_lease_of_the_other_node() {
        let mut lease = lease();
        let by = |lease: &Lease, epoch, holder: &str| {
            let mut known = known(lease, epoch, 0, Some(1));
            known.as_mut().unwrap().holder = holder.to_owned();
            known
        };
        let before = by(&lease, 7, "beta");
        lease.apply_report(before.clone());
        lease.adopt();
        lease.apply_report(before);
        assert!(lease.adopts.is_some());
        let again = by(&lease, 8, "beta");
        lease.apply_report(again);
        assert!(lease.adopts.is_none());
    }

    #[test]
    fn a_volume_without_a_record_is_not_granted_to_the_replica() {
        let mut lease = lease();
        for until in [100, 200] {
            let bare = known(&lease, 5, until, None);
            assert_eq!(lease.apply_report(bare), [News::Unfounded(Epoch(5))]);
        }
        let founded = known(&lease, 5, 300, Some(1));
        let granted = News::Granted(Epoch(5), Time(300), record(1));
        assert_eq!(lease.apply_report(founded), [granted]);
    }
}
