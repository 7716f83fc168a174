//! An operator begins a volume anew with the copy of this node: the cluster has no record of
//! it, or the copies that its record means are gone. Never done otherwise.

use super::Mirror;
use super::record::{ME, OTHER};
use crate::replica::{Epoch, Incarnation, Record, belongs};

/// An operator's word that the volume is what this copy has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Adoption {
    /// The last epoch that was known to be granted when it was given. It is void if the other
    /// node gets a later one.
    pub(super) at: Epoch,
    /// The history that begins with this copy, when it is being written.
    pub(super) begins: Option<Incarnation>,
}

/// What is known of the two copies, to decide whether one may be adopted, and what is said
/// where none can serve.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Copies<'a> {
    /// The other node; empty: the file names this one only.
    other: &'a str,
    /// The record has this copy, and the other one.
    listed: [bool; 2],
    /// This copy is part of the history that the record has.
    belongs: bool,
    /// This copy has data.
    has_data: bool,
    /// The other node is connected, and whether its copy has data.
    there: Option<bool>,
    /// The other node serves.
    there_serves: bool,
}

impl Copies<'_> {
    /// Why this copy cannot be adopted now, if it cannot.
    fn no_adoption(&self) -> Option<String> {
        let other = self.other;
        if self.there_serves {
            return Some(format!("{other} serves this volume"));
        }
        if self.listed[0] && self.belongs {
            return Some(
                "the cluster knows that this copy is complete, so there is nothing to adopt: it serves when it has the \
                 lease, or `evenkeel volume show` says why not"
                    .to_owned(),
            );
        }
        if self.there == Some(true) && self.listed[1] {
            return Some(format!(
                "{other} is connected, and its copy is complete as far as the cluster knows. If it cannot serve, \
                 `evenkeel volume show` there says why; if its copy is to be given up, stop that node first"
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

    /// What is wrong where no copy is the one that the record means, if that is so.
    fn gone(&self) -> Option<String> {
        let other = self.other;
        if self.there_serves || self.belongs && self.listed[0] {
            return None;
        }
        let adopt = "`evenkeel volume adopt NAME --yes`";
        match (self.has_data, self.there) {
            (false, Some(false)) => Some(format!(
                "the cluster's record is of an earlier volume of this name, and both copies are new and empty. If they \
                 were removed on purpose, {adopt} begins a new volume; otherwise bring back one of the disks"
            )),
            (true, Some(false)) if !self.listed[0] => Some(format!(
                "the complete copy was that of {other}, where there is a new and empty one now. Bring back its disk as \
                 it was; or {adopt} goes on with this copy, without what was written since it was complete"
            )),
            (false, _) if self.listed == [true, false] => Some(format!(
                "the complete copy was on this node, where there is a new and empty one now. Bring back the disk as it \
                 was; or {adopt} on {other} goes on with the copy there, without what was written since that was \
                 complete"
            )),
            _ => None,
        }
    }
}

impl Mirror {
    fn copies(&self, record: &Record) -> Copies<'_> {
        let connected = self.peer.session().is_some();
        let theirs = self.peer.facts.as_ref().filter(|_| connected);
        let head = super::durable::kept(self.local.head());
        Copies {
            other: &self.lease.names.other,
            listed: [ME, OTHER].map(|node| record.in_sync.contains(node)),
            belongs: belongs(&head, record),
            has_data: head.volume.is_some(),
            there: theirs.map(|facts| facts.volume.is_some()),
            there_serves: self.peer.serves(),
        }
    }

    /// Why this copy cannot be adopted now, if it cannot. Without a record, any can.
    pub(super) fn no_adoption(&self) -> Option<String> {
        let record = self.lease.record.as_ref()?;
        self.copies(record).no_adoption()
    }

    /// What is wrong where no copy is the one that the cluster's record means.
    pub(super) fn gone(&self) -> Option<String> {
        let record = self.lease.record.as_ref()?;
        let other = &self.lease.names.other;
        // The other node may be about to serve what it has begun.
        let may_serve = self.lease.holder == *other
            && (self.peer.session().is_none() || self.peer.may_have_more);
        if may_serve || self.lease.is_held() {
            return None;
        }
        self.copies(record).gone()
    }

    /// Whether the record has this node, and this copy is not the one that it means.
    pub(super) fn is_another(&self, record: &Record) -> bool {
        let head = super::durable::kept(self.local.head());
        record.in_sync.contains(ME) && !belongs(&head, record)
    }

    /// An operator wants it.
    pub(super) fn adopt(&mut self) {
        if let Some(why) = self.no_adoption() {
            return (self.outside.say)(format!("not adopted: {why}"));
        }
        self.lease.adopt();
        self.found_again();
    }

    /// The other node is connected with a copy that has data: an order that was given without
    /// it is to be given again.
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
    use super::super::mailbox::Letter;
    use super::*;
    use crate::device::bed::joined;
    use crate::layout::{self, State};
    use crate::link::greeting::{Facts, Greeting};
    use crate::replica::{Generation, InSync};
    use lab::Scratch;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::time::Instant;
    use wire::Wire;

    /// What is known of the copies, in words of [`ROWS`], and what is said: why there is no
    /// adoption, and what is gone.
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

    /// Whom the record lists; this copy is `ours`, of its history, or not, and has `data`; the
    /// other one is connected, and has data.
    #[rustfmt::skip]
    const ROWS: &[Row] = &[
        ("both ours data serves", Some(true), Some("serves"), None),
        ("both ours data", None, NOTHING, None),
        ("mine ours data", None, NOTHING, None),
        // The disk of the complete copy is gone.
        ("mine", None, Some("is not connected"), HERE),
        ("mine", Some(true), Some("on beta"), HERE),
        ("theirs ours data", Some(false), None, THERE),
        ("theirs ours data", None, None, None),
        ("theirs ours data", Some(true), COMPLETE, None),
        // Both are new.
        ("both", Some(false), None, NEW),
        ("mine", Some(false), None, NEW),
        ("theirs", Some(false), None, NEW),
        ("both", Some(true), COMPLETE, None),
        // Files of other volumes are in their place.
        ("both data", Some(true), COMPLETE, None),
        ("both data", None, None, None),
    ];

    #[test]
    fn nothing_that_is_complete_is_given_up_and_there_is_a_way_on_from_each_state() {
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

    /// What both copies of an earlier volume were.
    fn earlier(incarnation: u64) -> Record {
        Record {
            incarnation: Incarnation(incarnation),
            generation: Generation(4),
            epoch: Epoch(3),
            in_sync: InSync::Both(ME, OTHER),
            forks: Vec::new(),
        }
    }

    /// A new and empty copy.
    fn new_copy(scratch: &Scratch) -> Mirror {
        let head = layout::Head {
            volume: None,
            state: State::Syncing(0),
            ..joined(SIZE, 0)
        };
        bed::mirror(scratch, head)
    }

    /// The other node connects, with a new and empty copy. Returns its end.
    fn connect(mirror: &mut Mirror) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let greeting = Greeting {
            volume: "mail".to_owned(),
            from: "beta".to_owned(),
            to: "alpha".to_owned(),
            facts: Facts {
                volume: None,
                size_bytes: SIZE,
            },
        };
        let wire = Wire::from(OwnedFd::from(ours));
        let letters = mirror.outside.mailbox.letters();
        letters.put(Letter::Connected(wire, greeting));
        mirror.read_letters(Instant::now());
        assert!(mirror.peer.session().is_some());
        theirs
    }

    #[test]
    fn two_new_copies_are_told_of_at_the_node_that_did_not_have_the_lease_last_too() {
        let scratch = Scratch::new().unwrap();
        let mut mirror = new_copy(&scratch);
        bed::learn(&mut mirror, "beta", 0, &earlier(7));
        assert_eq!(mirror.gone(), None);
        let _beta = connect(&mut mirror);
        let gone = mirror.gone().unwrap_or_default();
        assert!(gone.contains("both copies are new and empty"), "{gone}");
    }

    #[test]
    fn a_copy_that_begins_a_new_history_is_not_told_of_as_an_empty_one() {
        let scratch = Scratch::new().unwrap();
        let mut mirror = new_copy(&scratch);
        bed::learn(&mut mirror, "beta", 0, &earlier(7));
        let _beta = connect(&mut mirror);
        // An operator has said on beta that the volume begins anew, and beta is about to serve.
        bed::learn(&mut mirror, "beta", 0, &earlier(8));
        assert_eq!(mirror.gone(), None);
    }
    #[test]
    fn connection_without_tls_takes_the_place_of_a_lost_one_only() {
        let scratch = Scratch::new().unwrap();
        let mut mirror = new_copy(&scratch);
        bed::learn(&mut mirror, "beta", 0, &earlier(7));
        let first = connect(&mut mirror);
        let session = mirror.peer.session();
        // A stranger replays the greeting, again and again.
        let mut strangers = Vec::new();
        for _ in 0..3 {
            strangers.push(connect(&mut mirror));
            assert_eq!(mirror.peer.session(), session);
        }
        // The node itself connects again, and its old connection ends.
        let again = connect(&mut mirror);
        drop((first, strangers));
        mirror.lose(crate::link::LinkError::Closed);
        let next = mirror.peer.session();
        assert!(next.is_some() && next != session);
        drop(again);
    }
}
