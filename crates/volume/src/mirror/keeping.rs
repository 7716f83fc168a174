//! Takes a snapshot of this node's copy before a resync, which makes the copy inconsistent while it
//! runs. The role takes the snapshot on a thread that may create files, and the metadata store that
//! begins the resync waits for it. The snapshot is removed when the copy is complete again. A
//! failed snapshot never fails the resync.

use super::Mirror;
use super::mailbox::{ClusterRequest, SnapshotAction};
use crate::device::Backing;
use crate::disk::Failure;
use crate::layout;
use crate::replica::{CopyState, DurableChange};
use rustix::io::Errno;

#[derive(Debug)]
pub(super) struct ResyncSnapshot {
    /// True if this node takes snapshots before a resync: the replica is in files.
    can: bool,
    has: bool,
    waits: Option<(u64, DurableChange)>,
}

impl ResyncSnapshot {
    /// Returns the initial state; a previous process may have left a snapshot.
    pub(super) fn new(backing: &Backing) -> ResyncSnapshot {
        let can = matches!(backing, Backing::File(_));
        ResyncSnapshot {
            can,
            has: can,
            waits: None,
        }
    }
}

fn begins_resync(before: &layout::Superblock, change: &DurableChange) -> bool {
    let was_whole = before.volume.is_some() && matches!(before.state, layout::SyncState::Joined(_));
    was_whole && matches!(change.head.state, CopyState::Syncing { .. })
}

impl Mirror {
    /// Stores a change of the metadata. If the change begins a resync of a copy in a file, requests
    /// a snapshot first, and stores the change after the result has arrived.
    pub(super) fn store(&mut self, number: u64, change: DurableChange) {
        if self.keeping.can && begins_resync(self.local.head(), &change) {
            self.keeping.waits = Some((number, change));
            return (self.outside.wishes)(ClusterRequest::Keep(SnapshotAction::Take));
        }
        self.local.store(number, change);
    }

    pub(super) fn forget_waiting_store(&mut self) {
        self.keeping.waits = None;
    }

    pub(super) fn handle_snapshot_result(
        &mut self,
        what: SnapshotAction,
        result: Result<bool, String>,
    ) {
        if let Err(words) = &result {
            let what = match what {
                SnapshotAction::Take => "no snapshot before the resync, which starts without one",
                SnapshotAction::Remove => "the snapshot from before the resync was not removed",
            };
            (self.outside.say)(format!("{what}: {words}"));
        }
        if what == SnapshotAction::Take {
            self.keeping.has = result != Ok(false);
            if let Some((number, change)) = self.keeping.waits.take() {
                self.local.store(number, change);
            }
        }
    }

    /// Removes the snapshot when the copy is complete, or when the disk is full: two complete
    /// copies are worth more than an old one.
    pub(super) fn remove_obsolete_snapshot(&mut self) {
        if !self.keeping.has {
            return;
        }
        let is_complete = matches!(self.local.head().state, layout::SyncState::Joined(_));
        let is_full = self.local.trouble == Some(Failure::Io(Errno::NOSPC));
        let is_waited_for = self.keeping.waits.is_some() || self.local.is_storing();
        if is_waited_for || !(is_complete || is_full) {
            return;
        }
        self.keeping.has = false;
        if !is_complete {
            let words = "the disk is full: the snapshot from before the resync is removed, and the resync goes on";
            (self.outside.say)(words.to_owned());
        }
        (self.outside.wishes)(ClusterRequest::Keep(SnapshotAction::Remove));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::{CopyHeader, CopyIdentity, Epoch, Generation, Incarnation, VolumeId};

    #[test]
    fn only_a_complete_copy_gets_a_snapshot_before_resync() {
        let before = |volume: Option<u8>, state| layout::Superblock {
            volume: volume.map(|byte| layout::VolumeId([byte; 16])),
            size_bytes: 1 << 20,
            data_offset: 0,
            promised: 1,
            incarnation: 1,
            state,
            unflushed: None,
            hot: Vec::new(),
            identity: None,
            overwrite: None,
        };
        let change = |state| DurableChange {
            head: CopyHeader {
                volume: Some(VolumeId([1; 16])),
                blocks: 256,
                promised: Epoch(1),
                incarnation: Incarnation(1),
                state,
                unflushed: None,
                identity: CopyIdentity::default(),
            },
            hot: Vec::new(),
            fill: None,
            bits: Vec::new(),
        };
        let base = Generation(1);
        let (syncing, joined) = (CopyState::Syncing { base }, CopyState::Joined(base));
        let (whole, part) = (layout::SyncState::Joined(1), layout::SyncState::Syncing(1));
        for (before, state, expected) in [
            (before(Some(1), whole), syncing, true),
            (before(Some(1), whole), joined, false),
            (before(Some(1), part), syncing, false),
            (before(Some(1), part), joined, false),
            (before(None, part), syncing, false),
        ] {
            assert_eq!(
                begins_resync(&before, &change(state)),
                expected,
                "{before:?}"
            );
        }
    }
}
