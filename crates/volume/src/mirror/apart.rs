//! Explains why the copy of this node does not belong to the volume that the other node serves, and
//! discards it if an operator orders that. Nothing else ever discards such a copy.

use super::record::NodeNames;
use super::{ME, Mirror, OTHER, durable};
use crate::layout;
use crate::replica::{BLOCK_BYTES, EXTENT_BLOCKS, JoinRefusal, Record, VolumeId, belongs, refusal};

/// Reason why this node's copy does not belong to the volume, and the data that would be lost if it
/// were discarded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Apart {
    pub words: String,
    /// True if the other node serves the volume, so that a resync could fill this copy.
    pub other_serves: bool,
    /// Upper bound of data that was written here and not replicated, bytes.
    pub written_bytes: u64,
}

/// Returns the reason why a copy with this head does not belong to the volume. `theirs` is the
/// volume that the other node has reported.
fn reason(
    head: &layout::Superblock,
    record: &Record,
    theirs: Option<VolumeId>,
    names: &NodeNames,
) -> Option<String> {
    let kept = durable::kept(head, names);
    let is_listed = record.in_sync.contains(ME);
    if kept.identity.node == Some(OTHER) || is_listed && kept.identity.is_foreign(ME) {
        return foreign_words(head, names);
    }
    let mine = kept.volume?;
    let other = &names.other;
    if is_listed {
        let is_meant = belongs(&kept, record, ME);
        return (!is_meant).then(|| {
            "this copy is not the one that the cluster knows: its files are those of another volume, of another \
             history of this one, or of an earlier copy of this node. Check whether files were renamed, \
             swapped or restored"
                .to_owned()
        });
    }
    if theirs.is_some_and(|theirs| theirs != mine) {
        return Some(format!(
            "this copy belongs to another volume than the one of {other}"
        ));
    }
    Some(match refusal(record, &kept)? {
        JoinRefusal::Diverged { ours, theirs } => format!(
            "the copies have diverged: this one left the volume's history (incarnation {theirs} here, {ours} at \
             {other})"
        ),
        JoinRefusal::Newer { known, theirs } => format!(
            "this copy joined at generation {theirs}, and the cluster knows {known} only: the cluster's state was \
             replaced by an older one"
        ),
        JoinRefusal::OtherVolume
        | JoinRefusal::OfAnotherNode
        | JoinRefusal::Duplicate
        | JoinRefusal::OtherSize { .. }
        | JoinRefusal::OldEpoch { .. } => return None,
    })
}

fn foreign_words(head: &layout::Superblock, names: &NodeNames) -> Option<String> {
    let NodeNames { me, .. } = names;
    let is_foreign = durable::kept(head, names).identity.is_foreign(ME);
    let node = &head.identity.as_ref().filter(|_| is_foreign)?.node;
    Some(format!(
        "this is the copy of {node} instead of that of {me}: files or disks were swapped, restored or \
         copied to the wrong node. Nothing on it is changed. Stop this node, restore the files of {me} here \
         and those of {node} there, and start it. If this is the only copy, and the node {node} is {me} \
         now: `evenkeel volume adopt`; if {node} serves the volume: `evenkeel volume resync --discard-mine` \
         here"
    ))
}

impl Mirror {
    pub(super) fn foreign_words(&self) -> Option<String> {
        foreign_words(self.local.head(), &self.lease.names)
    }

    /// Returns a new identity for a copy that begins a history or becomes blank. None: the kernel
    /// has no random bytes, and the caller repeats the attempt.
    pub(super) fn next_identity(&self) -> Option<layout::CopyIdentity> {
        let copy = durable::draw_copy().ok()?;
        Some(layout::CopyIdentity {
            node: self.lease.names.me.clone(),
            copy: copy.0,
            tracked: 0,
        })
    }

    pub(super) fn apart(&self) -> Option<Apart> {
        let record = self.lease.record.as_ref()?;
        let head = self.local.head();
        if self.lease.is_held() || self.replica.serves().is_some() {
            return None;
        }
        let connected = self.peer.session().is_some();
        let theirs = self.peer.facts.as_ref().filter(|_| connected);
        let theirs = theirs.and_then(|facts| facts.volume);
        let words = reason(head, record, theirs, &self.lease.names)?;
        let dirty = self.replica.report(super::boottime()).dirty_blocks;
        let hot = head.hot.len() as u64 * u64::from(EXTENT_BLOCKS);
        let blocks = (dirty + hot).min(head.size_bytes / BLOCK_BYTES);
        Some(Apart {
            words,
            other_serves: self.peer.serves(),
            written_bytes: blocks * BLOCK_BYTES,
        })
    }

    /// Executes an operator's order to discard this copy. The copy becomes blank, and the other
    /// node resynchronises it.
    pub(super) fn discard(&mut self) {
        let can = self.apart().is_some_and(|apart| apart.other_serves);
        if !can || self.local.is_busy() {
            let words = "the copy was not discarded: it is part of the volume, or the other node does not serve";
            return (self.outside.say)(words.to_owned());
        }
        let Some(identity) = self.next_identity() else {
            return;
        };
        // Ends the users in any case: the record may have the same history as the copy, for
        // instance after the cluster was restored.
        self.end_local_users("the copy is discarded");
        let before = self.local.head().clone();
        self.local.found(&layout::MetadataChange {
            head: layout::Superblock {
                volume: None,
                incarnation: 0,
                state: layout::SyncState::Syncing(0),
                unflushed: None,
                hot: Vec::new(),
                identity: Some(identity),
                overwrite: None,
                ..before
            },
            fill: Some(false),
            bits: Vec::new(),
        });
        (self.outside.say)("the copy is discarded, and filled by the other node".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::{Epoch, Generation, HistoryFork, InSync, Incarnation};

    fn head(volume: Option<u8>, incarnation: u64, joined: u64) -> layout::Superblock {
        layout::Superblock {
            volume: volume.map(|byte| layout::VolumeId([byte; 16])),
            size_bytes: 1 << 30,
            data_offset: 0,
            promised: 3,
            incarnation,
            state: layout::SyncState::Joined(joined),
            unflushed: None,
            hot: Vec::new(),
            identity: None,
            overwrite: None,
        }
    }

    fn names() -> NodeNames {
        NodeNames {
            me: "alpha".to_owned(),
            other: "beta".to_owned(),
        }
    }

    #[test]
    fn copy_of_the_other_node_is_refused_in_each_state_of_the_record() {
        let named = |node: &str| {
            Some(layout::CopyIdentity {
                node: node.to_owned(),
                copy: 1,
                tracked: 0,
            })
        };
        let records = [InSync::One(ME), InSync::One(OTHER), InSync::Both(ME, OTHER)].map(record);
        for (node, volume, refused) in [
            ("alpha", Some(1), [false; 3]),
            ("beta", Some(1), [true; 3]),
            ("beta", None, [true; 3]),
            // A disk of a node that is no longer configured may be filled, unless the record lists
            // another copy.
            ("gamma", Some(1), [true, false, true]),
        ] {
            let mut head = head(volume, 9, 5);
            head.identity = named(node);
            let theirs = Some(VolumeId([1; 16]));
            let found = { &records }.each_ref().map(|record| {
                let words = reason(&head, record, theirs, &names());
                words.is_some_and(|words| words.contains(&format!("the copy of {node}")))
            });
            assert_eq!(found, refused, "{node} {volume:?}");
        }
        let single = NodeNames {
            other: String::new(),
            ..names()
        };
        let mut head = head(Some(1), 9, 5);
        head.identity = named("beta");
        assert!(reason(&head, &records[0], None, &single).is_some());
    }

    fn record(in_sync: InSync) -> Record {
        Record {
            incarnation: Incarnation(9),
            generation: Generation(5),
            epoch: Epoch(0),
            in_sync,
            copies: Vec::new(),
            forks: vec![HistoryFork {
                incarnation: Incarnation(8),
                at: Generation(4),
            }],
        }
    }

    #[test]
    fn only_a_copy_with_its_own_history_is_apart() {
        let theirs = Some(VolumeId([1; 16]));
        let of_other = record(InSync::One(OTHER));
        for (head, theirs, expected) in [
            (head(Some(1), 9, 5), theirs, None),
            (head(Some(1), 9, 3), theirs, None),
            (head(Some(1), 8, 4), theirs, None),
            (head(None, 0, 0), theirs, None),
            (
                head(Some(1), 8, 5),
                theirs,
                Some("the copies have diverged"),
            ),
            (head(Some(1), 7, 1), None, Some("the copies have diverged")),
            (head(Some(1), 9, 7), theirs, Some("joined at generation 7")),
            (
                head(Some(2), 9, 5),
                theirs,
                Some("belongs to another volume"),
            ),
        ] {
            let found = reason(&head, &of_other, theirs, &names());
            let fits = match (&found, expected) {
                (Some(words), Some(expected)) => words.contains(expected),
                (found, expected) => found.is_none() && expected.is_none(),
            };
            assert!(fits, "{head:?}: {found:?}");
        }
        let of_both = record(InSync::Both(ME, OTHER));
        let found =
            |incarnation| reason(&head(Some(1), incarnation, 5), &of_both, theirs, &names());
        assert_eq!(found(9), None);
        assert!(found(7).is_some_and(|words| words.contains("not the one that the cluster knows")));
    }
}
