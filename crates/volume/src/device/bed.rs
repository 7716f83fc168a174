//! Creates replicas of volumes on disk for tests.

use super::{Backing, create};
use crate::layout::{Superblock, SyncState, VolumeId};
use std::path::Path;

/// Returns the metadata of a replica that is in sync, with this incarnation of the volume.
pub(crate) fn joined(size_bytes: u64, incarnation: u64) -> Superblock {
    Superblock {
        volume: Some(VolumeId([5; 16])),
        size_bytes,
        data_offset: 0,
        promised: 0,
        incarnation,
        state: SyncState::Joined(1),
        unflushed: None,
        hot: Vec::new(),
        identity: None,
        overwrite: None,
    }
}

pub(crate) fn create_mail(directory: &Path, head: Superblock) -> Backing {
    let backing = Backing::File(directory.to_owned());
    drop(create(&backing, "mail", head, false, &mut |_| {}).unwrap());
    backing
}
