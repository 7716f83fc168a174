//! Restarts a volume from the copy of this node, by an operator's order: because the cluster has no
//! record of the volume, or because the recorded copies are lost. Never automatic.

use super::Mirror;
use super::record::{ME, OTHER};
use crate::replica::{Epoch, Incarnation, Record, belongs};

/// Operator's order to continue the volume with the copy of this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Adoption {
    /// Last epoch known to be granted when the operator decided. A later grant to the other node
    /// voids the adoption.
    pub(super) at: Epoch,
    pub(super) begins: Option<Incarnation>,
}

/// Facts about both copies, which decide whether this copy can be adopted and what to report if
/// neither can serve.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Copies<'a> {
    /// Name of the other node; empty if the configuration names only this one.
    other: &'a str,
    listed: [bool; 2],
    belongs: bool,
    has_data: bool,
    /// True if the other copy has data; None if its node is not connected.
    there: Option<bool>,
    there_serves: bool,
}

impl Copies<'_> {
    fn no_adoption(&self) -> Option<String> {
        let other = self.other;
        if self.there_serves {
            return Some(format!("{other} serves this volume"));
        }
        if self.listed[0] && self.belongs {
            return Some(
                "the cluster knows that this copy is complete, so there is nothing to adopt: it serves when \
                 it has the lease, or `evenkeel volume show` shows why not"
                    .to_owned(),
            );
        }
        if self.there == Some(true) && self.listed[1] {
            return Some(format!(
                "{other} is connected, and its copy is complete as far as the cluster knows. If it cannot \
                 serve, `evenkeel volume show` there shows why; to discard its copy, stop that node first"
            ));
        }
        if self.has_data || other.is_empty() {
            return None;
        }
        match self.there {
            Some(false) => None,
            Some(true) => Some(format!(
                "this copy is new and empty, and that of {other} has data: adopt that one, on {other}"
            )),
            None => Some(format!(
                "this copy is new and empty, and {other}, which may have data, is not connected"
            )),
        }
    }

    fn gone(&self) -> Option<String> {
        let other = self.other;
        if self.there_serves || self.belongs && self.listed[0] {
            return None;
        }
        let adopt = "`evenkeel volume adopt NAME --yes`";
        match (self.has_data, self.there) {
            (false, Some(false)) => Some(format!(
                "the cluster's record is of an earlier volume of this name, and both copies are new and empty. If they \
                 were removed on purpose, {adopt} begins a new volume; otherwise restore one of the disks"
            )),
            (true, Some(false)) if !self.listed[0] => Some(format!(
                "the complete copy was that of {other}, which now has a new and empty one. Restore its \
                 previous disk; or {adopt} continues with this copy, without later writes"
            )),
            (false, _) if self.listed == [true, false] => Some(format!(
                "the complete copy was on this node, which now has a new and empty one. Restore the \
                 previous disk; or {adopt} on {other} continues with the copy there, without later writes"
            )),
            _ => None,
        }
    }
}

impl Mirror {
    fn copies(&self, record: &Record) -> Copies<'_> {
        let connected = self.peer.session().is_some();
        let theirs = self.peer.facts.as_ref().filter(|_| connected);
        let head = self.local.header();
        Copies {
            other: &self.lease.names.other,
            listed: [ME, OTHER].map(|node| record.in_sync.contains(node)),
            belongs: belongs(&head, record, ME),
            has_data: head.volume.is_some(),
            there: theirs.map(|facts| facts.volume.is_some()),
            there_serves: self.peer.serves(),
        }
    }

    pub(super) fn no_adoption(&self) -> Option<String> {
        let record = self.lease.record.as_ref()?;
        self.copies(record).no_adoption()
    }

    pub(super) fn gone(&self) -> Option<String> {
        let record = self.lease.record.as_ref()?;
        let other = &self.lease.names.other;
        // Reports nothing while the other node may be about to serve a new history that it has
        // started.
        let may_serve = self.lease.holder == *other
            && (self.peer.session().is_none() || self.peer.may_have_more);
        if may_serve || self.lease.is_held() {
            return None;
        }
        self.copies(record).gone()
    }

    pub(super) fn is_another(&self, record: &Record) -> bool {
        record.in_sync.contains(ME) && !belongs(&self.local.header(), record, ME)
    }

    pub(super) fn adopt(&mut self) {
        if let Some(why) = self.no_adoption() {
            return (self.outside.say)(format!("not adopted: {why}"));
        }
        self.lease.adopt();
        self.retry_founding();
    }

    /// Drops an order that was given before the other node connected with a copy that has data. The
    /// operator has to repeat the order.
    pub(super) fn drop_adoption(&mut self) {
        let waits = self.lease.adopts.is_some_and(|one| one.begins.is_none());
        if waits && self.lease.record.is_some() {
            self.lease.adopts = None;
            let other = &self.lease.names.other;
            (self.outside.say)(format!(
                "not adopted: {other} is connected now, with a copy that has data"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bed::{self, SIZE};
    use super::super::mailbox::MailboxMessage;
    use super::*;
    use crate::device::bed::joined;
    use crate::layout::{self, SyncState};
    use crate::link::greeting::{Greeting, ReplicaProperties};
    use crate::replica::{Generation, InSync};
    use lab::ScratchDirectory;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::time::Instant;
    use wire::NodeConnection;

    /// Row of [`ROWS`]: the facts, why adoption is refused (None: it is not), and the message about
    /// lost copies.
    type Row = (
        &'static str,
        Option<bool>,
        Option<&'static str>,
        Option<&'static str>,
    );

    const NEW: Option<&str> = Some("both copies are new");
    const HERE: Option<&str> = Some("was on this node");
    const THERE: Option<&str> = Some("was that of beta");
    const COMPLETE: Option<&str> = Some("is complete");
    const NOTHING: Option<&str> = Some("nothing to adopt");

    /// Rows: which copies the record has; whether this copy is of the recorded history (`ours`) and
    /// has `data`; whether the other node is connected and has data; the expected messages.
    #[rustfmt::skip]
    const ROWS: &[Row] = &[
        ("both ours data serves", Some(true), Some("serves"), None),
        ("both ours data", None, NOTHING, None),
        ("mine ours data", None, NOTHING, None),
        // The disk of the complete copy is lost.
        ("mine", None, Some("is not connected"), HERE),
        ("mine", Some(true), Some("on beta"), HERE),
        ("theirs ours data", Some(false), None, THERE),
        ("theirs ours data", None, None, None),
        ("theirs ours data", Some(true), COMPLETE, None),
        // Both copies are new and empty.
        ("both", Some(false), None, NEW),
        ("mine", Some(false), None, NEW),
        ("theirs", Some(false), None, NEW),
        ("both", Some(true), COMPLETE, None),
        // Files of other volumes were put in place of the copies.
        ("both data", Some(true), COMPLETE, None),
        ("both data", None, None, None),
    ];

    #[test]
    fn no_complete_copy_is_discarded_and_no_state_is_final() {
        for &(words, there, refused, gone) in ROWS {
            let has = |word| words.split(' ').any(|each| each == word);
            let copies = Copies {
                other: "beta",
                listed: [!has("theirs"), !has("mine")],
                belongs: has("ours"),
                has_data: has("data"),
                there,
                there_serves: has("serves"),
            };
            for (found, expected) in [(copies.no_adoption(), refused), (copies.gone(), gone)] {
                let fits = match (&found, expected) {
                    (Some(words), Some(expected)) => words.contains(expected),
                    (found, expected) => found.is_none() && expected.is_none(),
                };
                assert!(fits, "{copies:?}: {found:?}, not {expected:?}");
            }
        }
    }

    /// Returns the record of an earlier volume.
    fn earlier(incarnation: u64) -> Record {
        Record {
            incarnation: Incarnation(incarnation),
            generation: Generation(4),
            epoch: Epoch(3),
            in_sync: InSync::Both(ME, OTHER),
            copies: Vec::new(),
            forks: Vec::new(),
        }
    }

    fn new_copy(scratch: &ScratchDirectory) -> Mirror {
        let head = layout::Superblock {
            volume: None,
            state: SyncState::Syncing(0),
            ..joined(SIZE, 0)
        };
        bed::mirror(scratch, head)
    }

    /// Connects the other node with a new and empty copy. Returns the other end of the connection.
    fn connect(mirror: &mut Mirror) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let greeting = Greeting {
            volume: "mail".to_owned(),
            from: "beta".to_owned(),
            to: "alpha".to_owned(),
            facts: ReplicaProperties {
                volume: None,
                size_bytes: SIZE,
            },
        };
        let wire = NodeConnection::from(OwnedFd::from(ours));
        let letters = mirror.outside.mailbox.letters();
        letters.put(MailboxMessage::Connected(wire, greeting));
        mirror.read_letters(Instant::now());
        assert!(mirror.peer.session().is_some());
        theirs
    }

    #[test]
    fn two_new_copies_are_reported_on_both_nodes() {
        let scratch = ScratchDirectory::new().unwrap();
        let mut mirror = new_copy(&scratch);
        bed::learn(&mut mirror, "beta", 0, &earlier(7));
        assert_eq!(mirror.gone(), None);
        let _beta = connect(&mut mirror);
        let gone = mirror.gone().unwrap_or_default();
        assert!(gone.contains("both copies are new and empty"), "{gone}");
    }

    #[test]
    fn a_copy_with_a_new_history_is_not_reported_as_empty() {
        let scratch = ScratchDirectory::new().unwrap();
        let mut mirror = new_copy(&scratch);
        bed::learn(&mut mirror, "beta", 0, &earlier(7));
        let _beta = connect(&mut mirror);
        // An operator has adopted the copy on beta, and beta is about to serve.
        bed::learn(&mut mirror, "beta", 0, &earlier(8));
        assert_eq!(mirror.gone(), None);
    }

    #[test]
    fn copy_of_the_other_node_does_not_found_the_volume() {
        let scratch = ScratchDirectory::new().unwrap();
        let identity = |node: &str| layout::CopyIdentity {
            node: node.to_owned(),
            copy: 3,
            tracked: 0,
        };
        for (node, rank) in [("alpha", 2), ("beta", 0)] {
            let head = layout::Superblock {
                identity: Some(identity(node)),
                ..joined(SIZE, 5)
            };
            let directory = scratch.path().join(node);
            std::fs::create_dir(&directory).unwrap();
            let mut mirror = bed::mirror_in(&directory, head);
            mirror.report_rank();
            assert_eq!(mirror.lease.told, Some(rank), "{node}");
            let words = mirror.foreign_words().unwrap_or_default();
            assert_eq!(words.contains("the copy of beta"), rank == 0, "{words}");
        }
    }

    #[test]
    fn connection_without_tls_takes_the_place_of_a_lost_one_only() {
        let scratch = ScratchDirectory::new().unwrap();
        let mut mirror = new_copy(&scratch);
        bed::learn(&mut mirror, "beta", 0, &earlier(7));
        let first = connect(&mut mirror);
        let session = mirror.peer.session();
        // An attacker repeats a recorded greeting.
        let mut strangers = Vec::new();
        for _ in 0..3 {
            strangers.push(connect(&mut mirror));
            assert_eq!(mirror.peer.session(), session);
        }
        // The node reconnects, and its old connection ends.
        let again = connect(&mut mirror);
        drop((first, strangers));
        mirror.handle_connection_loss(crate::link::LinkError::Closed);
        let next = mirror.peer.session();
        assert!(next.is_some() && next != session);
        drop(again);
    }
}
