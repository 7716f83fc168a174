//! Decides how two copies continue when they connect: they are equal, the owner's dirty bits show
//! what the other copy lacks, a full comparison is needed, or the copy is refused. If both copies
//! have writes that the other one lacks, both are preserved.

use super::durable::{CopyHeader, CopyState, VolumeId};
use super::geometry::Extent;
use super::record::{CopyId, Epoch, Generation, Incarnation, NodeId, Record};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Introduction of a copy, which a follower sends to the owner.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Introduction {
    /// Identifier of the copy's volume; None for a blank copy.
    pub volume: Option<VolumeId>,
    pub blocks: u64,
    pub room: u64,
    pub incarnation: Incarnation,
    pub state: CopyState,
    /// Extents in the copy's activity log from a time when its node was the owner: the copies may
    /// differ there.
    pub hot: Vec<Extent>,
    /// The copy lost power and may lack acknowledged writes.
    pub lacks: bool,
    /// The copy has acknowledged writes since it was last stored as clean.
    pub unclean: bool,
    /// Identity of the copy; None if its node runs an earlier release.
    #[serde(default)]
    pub copy: Option<CopyId>,
    /// The copy belongs to another node, and refuses to be written. The introduction then has
    /// [`NO_VOLUME`] as its volume.
    #[serde(default)]
    pub is_foreign: bool,
}

/// Volume in the introduction of a copy that belongs to another node. Owners that run an earlier
/// release refuse this volume.
pub const NO_VOLUME: VolumeId = VolumeId([0; 16]);

/// Range of blocks that a resync has to examine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resume {
    /// The owner's dirty bits, and the extents in both activity logs.
    Bits,
    Everything,
}

/// Reason why a copy cannot join the volume.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum JoinRefusal {
    #[error(
        "the other copy belongs to another volume; nothing on it is changed. To continue with this one, run \
         `evenkeel volume resync NAME --discard-mine` there"
    )]
    OtherVolume,
    #[error(
        "the files of the other copy belong to another node's copy: they were swapped, restored or copied \
         to the wrong node. Nothing on them is changed. Restore the files of that node"
    )]
    OfAnotherNode,
    #[error(
        "the other copy is a duplicate of this one: its files were copied from here. Nothing on them is \
         changed. Restore the files of that node, or remove them (`evenkeel volume remove`) and create the \
         copy again"
    )]
    Duplicate,
    #[error(
        "the other copy has room for {theirs} blocks of 4 KiB, the volume has {ours}: the other node has not \
         reloaded the larger `size` yet, or its backing has no room for it (`evenkeel volume list` there)"
    )]
    OtherSize { ours: u64, theirs: u64 },
    #[error(
        "the copies have diverged: the other one left this volume's history (incarnation {theirs}, here \
         {ours}) with writes of its own. Both are kept. To continue with this one, run `evenkeel volume \
         resync NAME --discard-mine` there"
    )]
    Diverged { ours: u64, theirs: u64 },
    #[error(
        "the other copy joined at generation {theirs}, and the cluster knows {known} only: the cluster's state was replaced by an older one"
    )]
    Newer { known: u64, theirs: u64 },
    #[error("the other copy has promised epoch {}: the epoch of this one has ended", promised.0)]
    OldEpoch { promised: Epoch },
}

/// Decides which blocks a resync has to examine. `mine` is the head of the owner's copy, which is
/// in sync.
///
/// # Errors
/// The other copy belongs to another node, volume or history, is a duplicate of the owner's copy,
/// or has no space for the volume.
pub fn decide(
    mine: &CopyHeader,
    record: &Record,
    theirs: &Introduction,
) -> Result<Resume, JoinRefusal> {
    if theirs.is_foreign {
        return Err(JoinRefusal::OfAnotherNode);
    }
    if theirs.copy.is_some() && theirs.copy == mine.identity.copy {
        return Err(JoinRefusal::Duplicate);
    }
    if theirs.volume.is_some() && theirs.volume != mine.volume {
        return Err(JoinRefusal::OtherVolume);
    }
    // Accepts a larger copy, which adopts the owner's size: no data beyond that size was
    // acknowledged.
    let room = theirs.room.max(theirs.blocks);
    if room < mine.blocks {
        return Err(JoinRefusal::OtherSize {
            ours: mine.blocks,
            theirs: room,
        });
    }
    if theirs.volume.is_none() {
        return Ok(Resume::Everything);
    }
    if let Some(refusal) = foreign(record, theirs.incarnation, theirs.state) {
        return Err(refusal);
    }
    if theirs.incarnation != record.incarnation {
        return Ok(Resume::Everything);
    }
    let CopyState::Joined(joined) = mine.state else {
        return Ok(Resume::Everything);
    };
    let tracked = mine.identity.tracked.zip(theirs.copy);
    if tracked.is_some_and(|(tracked, theirs)| tracked != theirs) {
        return Ok(Resume::Everything);
    }
    Ok(match theirs.state {
        // Examines only the dirty blocks: the copy joined at this generation or a later one whose
        // confirmation this node missed. The dirty bits count from an earlier time, so they
        // suffice.
        CopyState::Joined(at) if at >= joined => Resume::Bits,
        CopyState::Syncing { base } if base == joined => Resume::Bits,
        _ => Resume::Everything,
    })
}

fn foreign(record: &Record, incarnation: Incarnation, state: CopyState) -> Option<JoinRefusal> {
    let (CopyState::Joined(at) | CopyState::Syncing { base: at }) = state;
    if incarnation != record.incarnation {
        let mut forks = record.forks.iter();
        let former = forks.find(|fork| fork.incarnation == incarnation);
        let diverged = JoinRefusal::Diverged {
            ours: record.incarnation.0,
            theirs: incarnation.0,
        };
        return former.is_none_or(|fork| at > fork.at).then_some(diverged);
    }
    // Accepts a generation that is one ahead of the record, which a join that was not confirmed can
    // have.
    let newer = JoinRefusal::Newer {
        known: record.generation.0,
        theirs: at.0,
    };
    (at > record.generation.next()).then_some(newer)
}

/// Returns the reason why the owner refuses a copy with this head; None if it is accepted.
pub fn refusal(record: &Record, head: &CopyHeader) -> Option<JoinRefusal> {
    foreign(record, head.incarnation, head.state)
}

/// Returns whether the copies are known to be equal, so that both can serve at once.
pub fn is_clean(mine: &CopyHeader, is_quiet: bool, record: &Record, theirs: &Introduction) -> bool {
    let joined = |state| matches!(state, CopyState::Joined(_));
    record.in_sync.is_both()
        && is_quiet
        && mine.unflushed.is_none()
        && theirs.hot.is_empty()
        && !theirs.unclean
        && theirs.volume == mine.volume
        && theirs.blocks == mine.blocks
        && theirs.incarnation == record.incarnation
        && joined(mine.state)
        && theirs.state == mine.state
}

/// Returns whether this node's copy belongs to the recorded history, and, if the record lists this
/// node, is the copy that the record lists.
pub fn belongs(mine: &CopyHeader, record: &Record, me: NodeId) -> bool {
    let is_meant = !mine.identity.is_foreign(me) && record.can_mean(me, mine.identity.copy);
    is_meant && mine.volume.is_some() && mine.incarnation == record.incarnation
}

/// Returns whether a copy may own the volume according to its disk and the record, provided that
/// it is not [older](is_older) than the record.
pub fn may_own(mine: &CopyHeader, record: &Record, me: NodeId) -> bool {
    let is_joined = matches!(mine.state, CopyState::Joined(_));
    belongs(mine, record, me) && is_joined
}

/// Returns whether a recorded copy is older than the record, because its disk was reset to an
/// earlier state. It may lack acknowledged writes.
pub fn is_older(mine: &CopyHeader, record: &Record) -> bool {
    // Before a record with both copies was proposed, both copies stored its generation, and each
    // stored the promise of its epoch.
    let is_both = record.in_sync.is_both();
    is_cut(mine) || mine.promised < record.epoch || is_both && joined(mine) < record.generation
}

/// Returns whether a copy lost data because its disk became shorter.
pub fn is_cut(mine: &CopyHeader) -> bool {
    mine.state == CopyState::Joined(Generation(0))
}

/// Returns the generation at which the copy joined the volume; zero if it did not.
pub fn joined(head: &CopyHeader) -> Generation {
    match head.state {
        CopyState::Joined(at) => at,
        CopyState::Syncing { .. } => Generation(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::geometry::Geometry;
    use crate::replica::record::{HistoryFork, InSync, RecordedCopy};
    use crate::replica::{CopyIdentity, Durable, durable};

    const VOLUME: VolumeId = VolumeId([7; 16]);
    const BLOCKS: u64 = 64;

    fn mine() -> CopyHeader {
        let geometry = Geometry {
            blocks: BLOCKS,
            extent_blocks: 8,
            log_extents: 3,
        };
        let mut head = Durable::created(geometry, VOLUME).head;
        head.incarnation = Incarnation(3);
        head.state = CopyState::Joined(Generation(7));
        head
    }

    fn record() -> Record {
        Record {
            incarnation: Incarnation(3),
            generation: Generation(8),
            epoch: Epoch(0),
            in_sync: InSync::One(NodeId(0)),
            copies: Vec::new(),
            forks: vec![HistoryFork {
                incarnation: Incarnation(2),
                at: Generation(4),
            }],
        }
    }

    fn theirs(incarnation: u64, state: CopyState) -> Introduction {
        Introduction {
            volume: Some(VOLUME),
            blocks: BLOCKS,
            room: BLOCKS,
            incarnation: Incarnation(incarnation),
            state,
            hot: Vec::new(),
            lacks: false,
            unclean: false,
            copy: None,
            is_foreign: false,
        }
    }

    #[test]
    fn the_bits_apply_only_to_their_reference_copy() {
        let joined = |at| CopyState::Joined(Generation(at));
        let syncing = |base| CopyState::Syncing {
            base: Generation(base),
        };
        let diverged = |theirs| Err(JoinRefusal::Diverged { ours: 3, theirs });
        for (incarnation, state, decision) in [
            (3, joined(7), Ok(Resume::Bits)),
            (3, joined(9), Ok(Resume::Bits)),
            (3, joined(6), Ok(Resume::Everything)),
            (3, syncing(7), Ok(Resume::Bits)),
            (3, syncing(6), Ok(Resume::Everything)),
            (3, syncing(8), Ok(Resume::Everything)),
            (
                3,
                joined(10),
                Err(JoinRefusal::Newer {
                    known: 8,
                    theirs: 10,
                }),
            ),
            (2, joined(4), Ok(Resume::Everything)),
            (2, joined(5), diverged(2)),
            (1, joined(1), diverged(1)),
            (4, joined(9), diverged(4)),
        ] {
            let found = decide(&mine(), &record(), &theirs(incarnation, state));
            assert_eq!(found, decision, "{incarnation} {state:?}");
        }
    }

    #[test]
    fn foreign_copies_are_refused_and_a_blank_one_is_filled() {
        let joined = CopyState::Joined(Generation(7));
        let mut other = theirs(3, joined);
        other.volume = Some(durable::VolumeId([8; 16]));
        let decided = |other: &Introduction| decide(&mine(), &record(), other);
        assert_eq!(decided(&other), Err(JoinRefusal::OtherVolume));
        other.volume = None;
        assert_eq!(decided(&other), Ok(Resume::Everything));
        let mut small = theirs(3, joined);
        (small.blocks, small.room) = (63, 63);
        assert!(matches!(
            decided(&small),
            Err(JoinRefusal::OtherSize { .. })
        ));
        small.volume = None;
        assert!(matches!(
            decided(&small),
            Err(JoinRefusal::OtherSize { .. })
        ));
        // A copy that has the space grows, and a larger one shrinks.
        for (blocks, room) in [(63, 64), (70, 70)] {
            (small.blocks, small.room) = (blocks, room);
            assert_eq!(decided(&small), Ok(Resume::Everything));
            small.volume = mine().volume;
            assert_eq!(decided(&small), Ok(Resume::Bits));
            small.volume = None;
        }
    }

    #[test]
    fn foreign_and_duplicate_copies_are_refused_and_others_resynced() {
        let mut mine = mine();
        mine.identity = CopyIdentity {
            node: Some(NodeId(0)),
            copy: Some(CopyId(10)),
            tracked: Some(CopyId(20)),
        };
        let mut other = theirs(3, CopyState::Joined(Generation(7)));
        for (copy, is_foreign, decided) in [
            (Some(20), false, Ok(Resume::Bits)),
            (None, false, Ok(Resume::Bits)),
            (Some(30), false, Ok(Resume::Everything)),
            (Some(10), false, Err(JoinRefusal::Duplicate)),
            (Some(10), true, Err(JoinRefusal::OfAnotherNode)),
        ] {
            other.copy = copy.map(CopyId);
            other.is_foreign = is_foreign;
            assert_eq!(decide(&mine, &record(), &other), decided, "{copy:?}");
        }
    }

    #[test]
    fn only_the_recorded_copy_of_its_own_node_may_own() {
        let me = NodeId(0);
        let recorded = |copy: Option<u64>| {
            let copies = copy.map(|copy| RecordedCopy {
                node: me,
                copy: CopyId(copy),
            });
            Record {
                copies: copies.into_iter().collect(),
                ..record()
            }
        };
        for (node, copy, record, may) in [
            (None, None, None, true),
            (None, None, Some(1), true),
            (Some(0), Some(1), None, true),
            (Some(0), Some(1), Some(1), true),
            (Some(0), Some(2), Some(1), false),
            (Some(1), Some(1), Some(1), false),
            (Some(1), Some(1), None, false),
            (Some(2), Some(1), None, false),
        ] {
            let mut mine = mine();
            mine.identity.node = node.map(NodeId);
            mine.identity.copy = copy.map(CopyId);
            let found = may_own(&mine, &recorded(record), me);
            assert_eq!(found, may, "{node:?} {copy:?} {record:?}");
        }
    }

    #[test]
    fn a_copy_older_than_its_record_is_known() {
        let mut record = record();
        let mut mine = mine();
        assert!(may_own(&mine, &record, NodeId(0)) && !is_older(&mine, &record));
        record.in_sync = InSync::Both(NodeId(0), NodeId(1));
        assert!(is_older(&mine, &record));
        record.generation = Generation(7);
        assert!(!is_older(&mine, &record));
        // Each copy in a record has promised the epoch of the record.
        record.epoch = Epoch(5);
        for in_sync in [record.in_sync, InSync::One(NodeId(0))] {
            record.in_sync = in_sync;
            for (promised, older) in [(4, true), (5, false), (6, false)] {
                mine.promised = Epoch(promised);
                assert_eq!(is_older(&mine, &record), older, "{promised} {in_sync:?}");
            }
        }
    }
}
