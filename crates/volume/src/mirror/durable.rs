//! Converts the durable state of a replica to the on-disk metadata and back.

use super::record::NodeNames;
use crate::layout;
use crate::replica::{
    BLOCK_BYTES, Boot, CopyHeader, CopyId, CopyIdentity, CopyState, Durable, DurableChange, Epoch,
    Extent, Generation, Incarnation, VolumeId,
};
use rustix::rand::{GetRandomFlags, getrandom};

pub(super) fn loaded(loaded: &layout::Loaded, names: &NodeNames) -> Durable {
    let head = &loaded.head;
    Durable {
        head: kept(head, names),
        hot: head.hot.iter().copied().map(Extent).collect(),
        dirty: loaded.dirty.clone(),
    }
}

/// Converts a head from the disk, without its activity log.
pub(super) fn kept(head: &layout::Superblock, names: &NodeNames) -> CopyHeader {
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
        identity: head
            .identity
            .as_ref()
            .map_or_else(CopyIdentity::default, |one| CopyIdentity {
                node: Some(names.node(&one.node)),
                copy: copy_id(one.copy),
                tracked: copy_id(one.tracked),
            }),
    }
}

fn copy_id(number: u64) -> Option<CopyId> {
    (number != 0).then_some(CopyId(number))
}

pub(super) fn draw_copy() -> Result<CopyId, rustix::io::Errno> {
    let mut bytes = [0; 8];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(CopyId(u64::from_ne_bytes(bytes).max(1)))
}

/// Converts the identity of a copy for the disk. `on` is the identity on the disk now. A name there
/// that stands for the same node is kept.
fn identity(
    on: Option<&layout::CopyIdentity>,
    identity: CopyIdentity,
    names: &NodeNames,
) -> Option<layout::CopyIdentity> {
    let same = on.filter(|on| identity.node == Some(names.node(&on.node)));
    let node = match same {
        Some(on) => on.node.as_str(),
        None => names.of(identity.node?),
    };
    Some(layout::CopyIdentity {
        node: node.to_owned(),
        copy: identity.copy.map_or(0, |copy| copy.0),
        tracked: identity.tracked.map_or(0, |copy| copy.0),
    })
}

/// Converts a head and its activity log for the disk. `on` is the copy's head on the disk now.
pub(super) fn head(
    on: &layout::Superblock,
    head: &CopyHeader,
    hot: &[Extent],
    names: &NodeNames,
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
        identity: identity(on.identity.as_ref(), head.identity, names),
        overwrite: on.overwrite,
    }
}

pub(super) fn change(
    on: &layout::Superblock,
    change: DurableChange,
    names: &NodeNames,
) -> layout::MetadataChange {
    layout::MetadataChange {
        head: head(on, &change.head, &change.hot, names),
        fill: change.fill,
        bits: change
            .bits
            .into_iter()
            .map(|(extent, words)| (extent.0, words))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{ME, OTHER};
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
            identity: None,
            overwrite: None,
        };
        let names = NodeNames {
            me: "alpha".to_owned(),
            other: "beta".to_owned(),
        };
        let identity = |node, copy, tracked| CopyIdentity {
            node,
            copy,
            tracked,
        };
        let heads = [
            (
                Some(VolumeId([9; 16])),
                CopyState::Joined(Generation(7)),
                Some(Boot(5)),
                identity(Some(ME), Some(CopyId(3)), Some(CopyId(4))),
            ),
            (
                None,
                CopyState::Syncing {
                    base: Generation(3),
                },
                None,
                identity(Some(OTHER), Some(CopyId(3)), None),
            ),
            (
                None,
                CopyState::Joined(Generation(1)),
                None,
                identity(None, None, None),
            ),
        ];
        for (volume, state, unflushed, identity) in heads {
            let kept = CopyHeader {
                volume,
                blocks: 1 << 19,
                promised: Epoch(11),
                incarnation: Incarnation(2),
                state,
                unflushed,
                identity,
            };
            let hot = [Extent(1), Extent(200)];
            let stored = head(&on, &kept, &hot, &names);
            assert_eq!((stored.size_bytes, stored.data_offset), (1 << 31, 1 << 20));
            let found = loaded(
                &layout::Loaded {
                    head: stored,
                    dirty: vec![3, 4],
                    damaged_pages: 0,
                },
                &names,
            );
            assert_eq!(found.head, kept);
            assert_eq!((found.hot, found.dirty), (hot.to_vec(), vec![3, 4]));
        }
    }

    #[test]
    fn name_of_a_former_node_stays_until_the_copy_is_adopted() {
        let names = NodeNames {
            me: "alpha".to_owned(),
            other: "beta".to_owned(),
        };
        let on = layout::CopyIdentity {
            node: "gamma".to_owned(),
            copy: 7,
            tracked: 0,
        };
        let mut found = CopyIdentity {
            node: Some(names.node("gamma")),
            copy: Some(CopyId(7)),
            tracked: None,
        };
        assert_eq!(identity(Some(&on), found, &names), Some(on.clone()));
        found.node = Some(ME);
        let adopted = identity(Some(&on), found, &names).map(|one| one.node);
        assert_eq!(adopted.as_deref(), Some("alpha"));
        found.node = None;
        assert_eq!(identity(None, found, &names), None);
    }
}
