//! Keeps the mark of an incomplete volume with two replicas. The cluster's record has the mark, so
//! that both nodes refuse the volume, also one whose copy is not in sync. Each copy that is in sync
//! also stores it, for an adoption after the cluster has lost its record.
//!
//! A command requests the mark at its node, which need not be the owner: heartbeats carry the
//! request to the owner, and the owner proposes it like a write admission. A node shows the mark
//! once the cluster has recorded it and its own copy has stored it. Only then the command writes.
//! The removal is recorded first, and then stored.

use super::Mirror;
use super::record::ME;
use crate::export::{OverwriteStatus, overwrite_event};
use crate::overwrite::{MarkChange, OverwriteMark};
use crate::replica::InSync;
use std::time::{Duration, Instant};

const WANTED_FOR: Duration = Duration::from_secs(30);
const STORE_AGAIN: Duration = Duration::from_secs(1);

/// Requests of this node, and state of the local copy.
#[derive(Debug, Default)]
pub(super) struct Overwriting {
    wanted: Option<(MarkChange, Instant)>,
    pub(super) stored: Option<OverwriteMark>,
    said: Option<OverwriteMark>,
    store_again_at: Option<Instant>,
}

impl Overwriting {
    pub(super) fn new(stored: Option<OverwriteMark>) -> Overwriting {
        Overwriting {
            stored,
            said: stored,
            ..Overwriting::default()
        }
    }
}

impl Mirror {
    pub(super) fn request_mark(&mut self, change: MarkChange, now: Instant) {
        self.overwriting.wanted = Some((change, now + WANTED_FOR));
    }

    /// Returns the mark of the volume in the cluster's record; while the record is not known, the
    /// mark of the local copy.
    pub(super) fn overwrite(&self) -> Option<OverwriteMark> {
        match &self.lease.record {
            Some(_) => self.lease.recorded.clients.overwrite,
            None => self.overwriting.stored,
        }
    }

    pub(super) fn shown_overwrite(&self) -> Option<OverwriteMark> {
        let mark = self.overwrite();
        mark.filter(|_| !self.stores_mark() || self.overwriting.stored == mark)
    }

    fn stores_mark(&self) -> bool {
        let record = self.lease.record.as_ref();
        record
            .is_some_and(|record| InSync::contains(record.in_sync, ME) && !self.is_another(record))
    }

    /// Applies a requested change of the mark if this node is the owner. Another node ignores the
    /// request.
    pub(super) fn change_mark(&mut self, change: MarkChange) {
        if self.replica.serves().is_none() || self.lease.record.is_none() {
            return;
        }
        let recorded = &self.lease.recorded.clients;
        if self.clients.admission.change_mark(change, recorded) {
            self.shown.is_due = true;
        }
    }

    /// Continues a change of the mark, and applies the mark to the clients. Called in every turn of
    /// the event loop.
    pub(super) fn advance_overwrite(&mut self, now: Instant) {
        let mark = self.overwrite();
        // Keeps a removal requested, because the cluster may still record an earlier request.
        let is_done = |change| matches!(change, MarkChange::Set(new) if mark == Some(new));
        self.overwriting
            .wanted
            .take_if(|(change, until)| now >= *until || is_done(*change));
        let wanted = self.overwriting.wanted.map(|(change, _)| change);
        if let Some(change) = wanted {
            self.change_mark(change);
        }
        self.peer.wanted_mark = wanted;
        let rests = self.overwriting.store_again_at.is_some_and(|at| now < at);
        if self.overwriting.stored != mark
            && self.stores_mark()
            && !self.local.is_storing()
            && !rests
        {
            self.local.store_mark(mark);
        }
        self.export.set_overwrite(mark);
        if self.overwriting.said != mark {
            self.overwriting.said = mark;
            self.shown.is_due = true;
            let status = OverwriteStatus::new(mark, self.export.holder());
            (self.outside.say)(overwrite_event(status));
        }
    }

    pub(super) fn mark_stored(&mut self, is_stored: bool) {
        if is_stored {
            self.overwriting.store_again_at = None;
            self.overwriting.stored = self.local.head().overwrite;
            self.shown.is_due = true;
        } else {
            self.overwriting.store_again_at = Some(Instant::now() + STORE_AGAIN);
        }
    }

    pub(super) fn overwrite_deadline(&self) -> Option<Instant> {
        let now = Instant::now();
        let until = self.overwriting.store_again_at.filter(|at| *at > now);
        // Wakes when the request expires. Until then it has to reach an owner, which may change.
        let wanted = self.overwriting.wanted.map(|(_, until)| until);
        until.into_iter().chain(wanted).min()
    }
}

#[cfg(test)]
mod tests {
    use super::super::admission::WriteAdmission;
    use super::super::bed;
    use super::super::record::OTHER;
    use super::*;
    use crate::client::{Address, Client, Server};
    use crate::device::bed::joined;
    use crate::layout::stored_overwrite;
    use crate::link::frame::{FrameHeader, FrameKind};
    use crate::mirror::{Mirror, wire};
    use crate::overwrite::OverwriteKind;
    use crate::replica::{Epoch, Generation, Incarnation, Record};
    use lab::{ScratchDirectory, eventually};
    use part::role::KnownLease;

    const SOON: Duration = Duration::from_secs(20);

    fn mark() -> OverwriteMark {
        OverwriteMark::new(OverwriteKind::VolumeImport, 1_796_043_600, 7)
    }

    /// Reports a record with these copies in sync and this mark; beta holds the lease.
    fn record(alpha: &mut Mirror, in_sync: InSync, count: u64, overwrite: Option<OverwriteMark>) {
        let head = alpha.local.head();
        let record = Record {
            incarnation: Incarnation(head.incarnation),
            generation: Generation(7),
            epoch: Epoch(0),
            in_sync,
            copies: Vec::new(),
            forks: Vec::new(),
        };
        let clients = WriteAdmission {
            count,
            marks: count,
            overwrite,
            ..WriteAdmission::default()
        };
        alpha.outside.mailbox.set_lease(Some(KnownLease {
            epoch: 5,
            until_ns: 0,
            holder: "beta".to_owned(),
            number: count,
            record: alpha.lease.names.encode(&record, &clients),
            ..KnownLease::default()
        }));
        alpha.apply_lease_report();
    }

    fn on_disk(scratch: &ScratchDirectory) -> Option<OverwriteMark> {
        let bytes = std::fs::read(scratch.path().join("mail.metadata")).unwrap();
        stored_overwrite(&bytes)
    }

    /// Connects to the volume. Returns the error message, or an empty one.
    fn open(alpha: &mut Mirror, scratch: &ScratchDirectory) -> String {
        let address = Address {
            server: Server::Unix(scratch.path().join("socket")),
            export: "mail".to_owned(),
        };
        let client = std::thread::spawn(move || Client::connect(address).map(drop));
        let has_ended = || {
            alpha.turn_once();
            client.is_finished()
        };
        assert!(eventually(SOON, has_ended));
        let opened = client.join().unwrap();
        opened
            .err()
            .map_or(String::new(), |error| error.to_string())
    }

    #[test]
    fn copy_in_sync_stores_the_mark_of_the_record_and_refuses_clients() {
        let scratch = ScratchDirectory::new().unwrap();
        let mut alpha = bed::mirror(&scratch, joined(bed::SIZE, 7));
        let both = InSync::Both(ME, OTHER);
        record(&mut alpha, both, 1, Some(mark()));
        // The mark counts only after the copy has stored it.
        assert_eq!(alpha.overwrite(), Some(mark()));
        assert_eq!(alpha.shown_overwrite(), None);
        let is_stored = |alpha: &mut Mirror| {
            alpha.turn_once();
            alpha.shown_overwrite().is_some()
        };
        assert!(eventually(SOON, || is_stored(&mut alpha)));
        assert_eq!(on_disk(&scratch), Some(mark()));
        let words = open(&mut alpha, &scratch);
        assert!(
            words.contains("evenkeel volume accept mail --yes"),
            "{words}"
        );
        // The removal takes effect when the cluster has recorded it, and is then stored.
        record(&mut alpha, both, 2, None);
        assert_eq!(alpha.shown_overwrite(), None);
        let is_removed = |alpha: &mut Mirror| {
            alpha.turn_once();
            alpha.overwriting.stored.is_none()
        };
        assert!(eventually(SOON, || is_removed(&mut alpha)));
        assert_eq!(on_disk(&scratch), None);
        assert_eq!(open(&mut alpha, &scratch), "");
    }

    #[test]
    fn copy_that_is_not_in_sync_keeps_its_own_mark_and_obeys_that_of_the_record() {
        let scratch = ScratchDirectory::new().unwrap();
        let head = crate::layout::Superblock {
            overwrite: Some(mark()),
            ..joined(bed::SIZE, 7)
        };
        let mut alpha = bed::mirror(&scratch, head);
        // No record is known yet.
        assert!(open(&mut alpha, &scratch).contains("is incomplete"));
        record(&mut alpha, InSync::One(OTHER), 1, None);
        assert_eq!(open(&mut alpha, &scratch), "");
        for _ in 0..4 {
            alpha.turn_once();
        }
        // The copy keeps the mark: an operator may adopt it, and its content is incomplete.
        assert_eq!(on_disk(&scratch), Some(mark()));
        record(&mut alpha, InSync::One(OTHER), 2, Some(mark()));
        assert_eq!(alpha.shown_overwrite(), Some(mark()));
        assert!(open(&mut alpha, &scratch).contains("is incomplete"));
    }

    #[test]
    fn client_without_a_name_is_disconnected_when_an_overwrite_begins() {
        let scratch = ScratchDirectory::new().unwrap();
        let mut alpha = bed::mirror(&scratch, joined(bed::SIZE, 7));
        let address = Address {
            server: Server::Unix(scratch.path().join("socket")),
            export: "mail".to_owned(),
        };
        let client = std::thread::spawn(move || Client::connect(address).unwrap());
        let is_open = || {
            alpha.turn_once();
            client.is_finished()
        };
        assert!(eventually(SOON, is_open));
        let client = client.join().unwrap();
        assert_eq!(alpha.export.clients(), 1);
        record(&mut alpha, InSync::Both(ME, OTHER), 1, Some(mark()));
        alpha.turn_once();
        assert_eq!(alpha.export.clients(), 0);
        drop(client);
    }

    #[test]
    fn requested_mark_is_read_from_a_heartbeat() {
        for change in [MarkChange::Set(mark()), MarkChange::Clear(mark())] {
            let head = FrameHeader::new(FrameKind::Pulse);
            let (head, value) = wire::with_wanted_mark(head, change);
            assert!(FrameHeader::decode(&head.encode()).is_some());
            assert_eq!(wire::wanted_mark(&value), Some(change));
        }
        for value in [&[][..], &[1], &[0; 9], &[0xff; 40]] {
            assert_eq!(wire::wanted_mark(value), None);
        }
    }
}
