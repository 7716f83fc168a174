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
        let settled = self.lease.holder != *other && !self.lease.is_held();
        let copies = settled.then(|| self.copies(record))?;
        copies.gone()
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
    use super::*;

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
}
