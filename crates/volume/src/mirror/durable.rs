//! Conversion between the replica's durable state and the on-disk metadata.

use crate::layout;
use crate::replica::{
    BLOCK_BYTES, Boot, CopyHeader, CopyState, Durable, DurableChange, Epoch, Extent, Generation,
    Incarnation, VolumeId,
};

pub(super) fn loaded(loaded: &layout::Loaded) -> Durable {
    let head = &loaded.head;
    Durable {
        head: kept(head),
        hot: head.hot.iter().copied().map(Extent).collect(),
        dirty: loaded.dirty.clone(),
    }
}

/// Converts a head, without its activity log.
pub(super) fn kept(head: &layout::Superblock) -> CopyHeader {
    CopyHeader {
        volume: head.volume.map(|volume| VolumeId(volume.0)),
        blocks: head.size_bytes / BLOCK_BYTES,
        promised: Epoch(head.promised),
        incarnation: Incarnation(head.incarnation),
        state: match head.state {
            layout::SyncState::Joined(at) => CopyState::Joined(Generation(at)),
            layout::SyncState::Syncing(base) => CopyState::Syncing {
                base: Generation(base),
            },
        },
        unflushed: head.unflushed.map(Boot),
    }
}

/// Converts a head and its activity log, based on the copy's current head `on`.
pub(super) fn head(
    on: &layout::Superblock,
    head: &CopyHeader,
    hot: &[Extent],
) -> layout::Superblock {
    layout::Superblock {
        volume: head.volume.map(|volume| layout::VolumeId(volume.0)),
        promised: head.promised.0,
        incarnation: head.incarnation.0,
        state: match head.state {
            CopyState::Joined(at) => layout::SyncState::Joined(at.0),
            CopyState::Syncing { base } => layout::SyncState::Syncing(base.0),
        },
        unflushed: head.unflushed.map(|boot| boot.0),
        hot: hot.iter().map(|extent| extent.0).collect(),
        size_bytes: head.blocks * BLOCK_BYTES,
        data_offset: on.data_offset,
    }
}

pub(super) fn change(on: &layout::Superblock, change: DurableChange) -> layout::MetadataChange {
    layout::MetadataChange {
        head: head(on, &change.head, &change.hot),
        fill: change.fill,
        bits: { change.bits.into_iter() }
            .map(|(extent, words)| (extent.0, words))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_loaded_as_it_was_stored() {
        let on = layout::Superblock {
            volume: None,
            size_bytes: 1 << 30,
            data_offset: 1 << 20,
            promised: 0,
            incarnation: 0,
            state: layout::SyncState::Syncing(0),
            unflushed: None,
            hot: Vec::new(),
        };
        let heads = [
            (
                Some(VolumeId([9; 16])),
                CopyState::Joined(Generation(7)),
                Some(Boot(5)),
            ),
            (
                None,
                CopyState::Syncing {
                    base: Generation(3),
                },
                None,
            ),
        ];
        for (volume, state, unflushed) in heads {
            let kept = CopyHeader {
                volume,
                blocks: 1 << 19,
                promised: Epoch(11),
                incarnation: Incarnation(2),
                state,
                unflushed,
            };
            let hot = [Extent(1), Extent(200)];
            let stored = head(&on, &kept, &hot);
            assert_eq!((stored.size_bytes, stored.data_offset), (1 << 31, 1 << 20));
            let found = loaded(&layout::Loaded {
                head: stored,
                dirty: vec![3, 4],
                damaged_pages: 0,
            });
            assert_eq!(found.head, kept);
            assert_eq!((found.hot, found.dirty), (hot.to_vec(), vec![3, 4]));
        }
    }
}
