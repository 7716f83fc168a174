//! Defines the state of a copy that is stored on disk besides its data, and the changes to that
//! state. One [`DurableChange`] is stored at a time; actions that depend on it wait until it is
//! stored.

use super::geometry::{Extent, Geometry};
use super::record::{CopyId, Epoch, Generation, Incarnation, NodeId};
use serde::{Deserialize, Serialize};

/// Identifier of a volume: 16 random bytes, generated at its creation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VolumeId(pub [u8; 16]);

/// Identifier of a boot of a machine (Linux: `/proc/sys/kernel/random/boot_id`). Unflushed writes
/// of a disk persist until the boot ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Boot(pub u128);

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CopyState {
    /// Complete: the copy has everything since it joined at this generation of the record.
    Joined(Generation),
    /// Incomplete: a resync is in progress.
    Syncing {
        /// Generation at which the resync source had joined. The source's dirty bits count from
        /// this generation on.
        base: Generation,
    },
}

/// Identity of a copy. It detects files of another copy in this place: swapped, restored or copied
/// to the wrong node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CopyIdentity {
    /// Node to which the copy belongs; None in metadata of an earlier release.
    pub node: Option<NodeId>,
    /// Random number of the copy; None in metadata of an earlier release.
    pub copy: Option<CopyId>,
    /// Other copy, to which the dirty bits refer; None if it is unknown.
    pub tracked: Option<CopyId>,
}

impl CopyIdentity {
    pub fn is_foreign(&self, me: NodeId) -> bool {
        self.node.is_some_and(|node| node != me)
    }
}

/// Head of a copy: values that change together, stored atomically.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CopyHeader {
    /// Identifier of the volume; None for a blank copy.
    pub volume: Option<VolumeId>,
    pub blocks: u64,
    /// Promised epoch of the lease. No owner of an earlier epoch may write to this copy.
    pub promised: Epoch,
    pub incarnation: Incarnation,
    pub state: CopyState,
    /// Boot of the machine in which the copy acknowledged writes that may not be flushed. After
    /// another boot the copy may lack these writes.
    pub unflushed: Option<Boot>,
    pub identity: CopyIdentity,
}

/// Complete durable state, as read at the start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Durable {
    pub head: CopyHeader,
    pub hot: Vec<Extent>,
    /// Dirty bits of blocks that the other copy may lack, 64 per word.
    pub dirty: Vec<u64>,
}

/// Change of the durable state, stored atomically. Order of the writes: `fill`, then `bits`, then,
/// after a flush, `head` and `hot` together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DurableChange {
    pub head: CopyHeader,
    pub hot: Vec<Extent>,
    /// Value that all dirty bits get first.
    pub fill: Option<bool>,
    /// Dirty bits of evicted extents, 64 blocks per word.
    pub bits: Vec<(Extent, Vec<u64>)>,
}

impl Durable {
    /// Returns the state of a copy that never belonged to a volume.
    pub fn blank(geometry: Geometry) -> Durable {
        Durable {
            head: CopyHeader {
                volume: None,
                blocks: geometry.blocks,
                promised: Epoch(0),
                incarnation: Incarnation(0),
                state: CopyState::Syncing {
                    base: Generation(0),
                },
                unflushed: None,
                identity: CopyIdentity::default(),
            },
            hot: Vec::new(),
            dirty: vec![0; geometry.blocks.div_ceil(64) as usize],
        }
    }

    /// Returns the state of the first copy of a new volume, full of zeroes.
    pub fn created(geometry: Geometry, volume: VolumeId) -> Durable {
        let mut durable = Durable::blank(geometry);
        durable.head.volume = Some(volume);
        durable.head.incarnation = Incarnation(1);
        durable.head.state = CopyState::Joined(Generation(1));
        durable
    }

    pub fn apply(&mut self, geometry: Geometry, change: &DurableChange) {
        let blocks = self.head.blocks.max(change.head.blocks);
        let geometry = Geometry { blocks, ..geometry };
        self.dirty.resize(blocks.div_ceil(64) as usize, 0);
        if let Some(fill) = change.fill {
            self.dirty.fill(if fill { u64::MAX } else { 0 });
        }
        for (extent, words) in &change.bits {
            for (place, block) in geometry.blocks_of(*extent).iter().enumerate() {
                let stored = words.get(place / 64).copied().unwrap_or_default();
                let bit = (stored >> (place % 64)) & 1;
                let word = &mut self.dirty[(block / 64) as usize];
                *word = *word & !(1 << (block % 64)) | bit << (block % 64);
            }
        }
        self.head = change.head;
        self.dirty.truncate(self.head.blocks.div_ceil(64) as usize);
        self.hot.clone_from(&change.hot);
    }
}
