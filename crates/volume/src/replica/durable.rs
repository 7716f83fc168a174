//! What a copy keeps on disk beside its data, and the changes of it. One [`Change`] is
//! under way at a time; what depends on it waits until it is stored.

use super::geometry::{Extent, Geometry};
use super::record::{Epoch, Generation, Incarnation};
use serde::{Deserialize, Serialize};

/// Identity of a volume: 16 random bytes, drawn when it is created.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VolumeId(pub [u8; 16]);

/// One boot of a machine (Linux: `/proc/sys/kernel/random/boot_id`). What a disk had not
/// flushed is there until the boot ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Boot(pub u128);

/// How much of the volume a copy has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CopyState {
    /// All of it, when the copies joined at this generation, and what was sent since.
    Joined(Generation),
    /// Some of it: a resync is in progress.
    Syncing {
        /// The generation at which its source had joined, from which the source's dirty
        /// bits count.
        base: Generation,
    },
}

/// The values that change together, stored atomically.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Head {
    /// The volume; None for a blank copy.
    pub volume: Option<VolumeId>,
    /// Its size, blocks.
    pub blocks: u64,
    /// No owner of an earlier epoch may write.
    pub promised: Epoch,
    /// The history that its content belongs to.
    pub incarnation: Incarnation,
    /// How much it has.
    pub state: CopyState,
    /// The boot in which it acknowledged writes that it may not have flushed. If another
    /// boot follows, it may lack them.
    pub unflushed: Option<Boot>,
}

/// All of it, as read at the start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Durable {
    /// The values that change together.
    pub head: Head,
    /// The activity log.
    pub hot: Vec<Extent>,
    /// A bit a block that the other copy may lack, 64 a word.
    pub dirty: Vec<u64>,
}

/// A change, to be stored as a whole. The order on disk: `fill`, then `bits`, then, after a
/// flush, `head` and `hot` together and at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The values that change together.
    pub head: Head,
    /// The whole activity log.
    pub hot: Vec<Extent>,
    /// All dirty bits are set to this first.
    pub fill: Option<bool>,
    /// The bits of extents that left the log, 64 blocks a word.
    pub bits: Vec<(Extent, Vec<u64>)>,
}

impl Durable {
    /// A copy that has never been part of a volume.
    pub fn blank(geometry: Geometry) -> Durable {
        Durable {
            head: Head {
                volume: None,
                blocks: geometry.blocks,
                promised: Epoch(0),
                incarnation: Incarnation(0),
                state: CopyState::Syncing {
                    base: Generation(0),
                },
                unflushed: None,
            },
            hot: Vec::new(),
            dirty: vec![0; geometry.blocks.div_ceil(64) as usize],
        }
    }

    /// A copy of a volume that was just created: its content is zeros.
    pub fn created(geometry: Geometry, volume: VolumeId) -> Durable {
        let mut durable = Durable::blank(geometry);
        durable.head.volume = Some(volume);
        durable.head.incarnation = Incarnation(1);
        durable.head.state = CopyState::Joined(Generation(1));
        durable
    }

    /// Makes a stored change.
    pub fn apply(&mut self, geometry: Geometry, change: &Change) {
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
