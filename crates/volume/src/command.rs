//! Creates, removes and renames the replica of a volume on this node, for commands such as
//! `evenkeel volume create` and `remove`. The commands send no message to the volume role: the lock
//! of the backing store shows whether the role uses it.

use crate::config::Spec;
use crate::device::{self, Backing, DeviceError, LeftoverFiles, Snapshot, SnapshotError, snapshot};
use crate::layout::{CopyIdentity, LayoutError, Metadata, Superblock, SyncState, VolumeId};
use rustix::rand::{GetRandomFlags, getrandom};

/// Reason why a replica was not created, opened, renamed or removed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommandError {
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("the snapshot has {has} bytes, the new volume {size}")]
    Smaller { has: u64, size: u64 },
    #[error("cannot generate an identity for the volume: {0}")]
    Random(rustix::io::Errno),
}

/// Open replica that no role uses, and that a command can remove or rename.
#[derive(Debug)]
pub struct Removable {
    device: device::Device,
    layout: Metadata,
}

/// Creates the replica of a volume, full of zeroes. `overwrites` permits destroying the content of
/// a device. `progress` receives the number of zeroed bytes of a device.
///
/// # Errors
/// The backing store is refused and nothing was written, or a system call or LVM fails.
pub fn create(
    name: &str,
    spec: &Spec,
    overwrites: bool,
    progress: &mut dyn FnMut(u64),
) -> Result<VolumeId, CommandError> {
    let (id, head) = founded(spec)?;
    device::create(&spec.backing, name, head, overwrites, progress)?;
    Ok(id)
}

/// Creates the replica of a volume as a clone of a snapshot.
///
/// # Errors
/// The snapshot is larger than the volume, the backing store is refused or not on the snapshot's
/// file system, or a system call fails. No replica is created.
pub fn create_from(name: &str, spec: &Spec, snapshot: &Snapshot) -> Result<VolumeId, CommandError> {
    if snapshot.size_bytes > spec.size_bytes {
        let (has, size) = (snapshot.size_bytes, spec.size_bytes);
        return Err(CommandError::Smaller { has, size });
    }
    let Backing::File(directory) = &spec.backing else {
        return Err(SnapshotError::NotAFile(snapshot.path.clone()).into());
    };
    let (id, head) = founded(spec)?;
    // Keeps the replica locked until it has the data, so that no other process opens it before.
    let (device, _) = device::create(&spec.backing, name, head, false, &mut |_| {})?;
    if let Err(error) = snapshot::fill(&device.data.file, snapshot, directory) {
        device::remove(device, &spec.backing, name)?;
        return Err(error.into());
    }
    Ok(id)
}

fn founded(spec: &Spec) -> Result<(VolumeId, Superblock), CommandError> {
    let mut bytes = [0; 32];
    getrandom(&mut bytes, GetRandomFlags::empty()).map_err(CommandError::Random)?;
    let id = VolumeId(std::array::from_fn(|at| bytes[at]));
    // Leaves a replica of a pair blank until both nodes have connected.
    let is_pair = spec.pair.is_some();
    let history = u64::from_ne_bytes(std::array::from_fn(|at| bytes[16 + at])) | 1;
    let head = Superblock {
        volume: (!is_pair).then_some(id),
        size_bytes: spec.size_bytes,
        data_offset: 0,
        promised: 0,
        // Uses a random number, so that the cluster's record shows whether it refers to this
        // volume.
        incarnation: if is_pair { 0 } else { history },
        state: if is_pair {
            SyncState::Syncing(0)
        } else {
            SyncState::Joined(1)
        },
        unflushed: None,
        hot: Vec::new(),
        identity: spec.pair.as_ref().map(|pair| CopyIdentity {
            node: pair.me.clone(),
            copy: u64::from_ne_bytes(std::array::from_fn(|at| bytes[24 + at])).max(1),
            tracked: 0,
        }),
        overwrite: None,
    };
    Ok((id, head))
}

/// Returns advice for a volume whose data file is present but whose metadata is unusable: the data
/// file is the raw disk. `other` is the node with the other replica, if there is one.
pub fn rescue(
    error: &DeviceError,
    name: &str,
    backing: &Backing,
    other: Option<&str>,
) -> Option<String> {
    let Backing::File(directory) = backing else {
        return None;
    };
    let file = |end: &str| directory.join(format!("{name}.{end}"));
    let (data, metadata) = (file("volume"), file("metadata"));
    let is_damaged = match error {
        DeviceError::Layout { source, .. } => !matches!(source, LayoutError::Newer(_)),
        DeviceError::Missing(path) => *path == metadata,
        _ => false,
    };
    if !is_damaged || !data.is_file() {
        return None;
    }
    let (raw, files) = (
        file("raw"),
        format!("{} and {}", data.display(), metadata.display()),
    );
    let copied = format!("`cp --sparse=always {} {}`", data.display(), raw.display());
    let create = format!("`evenkeel volume create {name}`");
    let holds = format!("{} is the raw disk and may be intact", data.display());
    Some(match other {
        None => format!(
            "{holds}: back it up first ({copied}), then delete {files}, run {create} and `evenkeel volume \
             import {name} {}`",
            raw.display()
        ),
        Some(other) => format!(
            "if the copy of {other} is complete: stop this node, delete {files}, start the node and run \
             {create}, and {other} fills this copy. If not, {holds}: back it up first ({copied})"
        ),
    })
}

/// Opens, for removal, volume files that [`open`] refused as damaged or incomplete. `None`:
/// [`open`] failed for another reason, or there are no files.
///
/// # Errors
/// The files are in use or not regular, or a system call fails.
pub fn leftover(
    refused: &CommandError,
    name: &str,
    backing: &Backing,
) -> Result<Option<LeftoverFiles>, CommandError> {
    let is_damaged = match refused {
        CommandError::Device(DeviceError::Layout { source, .. }) => {
            !matches!(source, LayoutError::Newer(_))
        }
        CommandError::Device(error) => matches!(
            error,
            DeviceError::Missing(_) | DeviceError::DataMissing { .. } | DeviceError::Shrunk { .. }
        ),
        _ => false,
    };
    if !is_damaged {
        return Ok(None);
    }
    Ok(LeftoverFiles::open(backing, name)?)
}

/// Opens the replica of a volume for removal or renaming.
///
/// # Errors
/// The replica does not exist, is in use, is damaged or has shrunk, or a system call fails.
pub fn open(name: &str, backing: &Backing) -> Result<Removable, CommandError> {
    let (device, layout, _) = device::open(backing, name, None)?;
    Ok(Removable { device, layout })
}

impl Removable {
    pub fn size_bytes(&self) -> u64 {
        self.layout.head().size_bytes
    }

    /// Returns the identifier of the volume; None for a blank replica.
    pub fn id(&self) -> Option<VolumeId> {
        self.layout.head().volume
    }

    /// Returns the name of the volume in the metadata; None if an earlier release created the
    /// volume without storing it.
    pub fn name(&self) -> Option<&str> {
        self.layout.name()
    }

    /// Assigns the replica to the volume with this name.
    ///
    /// # Errors
    /// A system call fails.
    pub fn rename(mut self, name: &str, backing: &Backing) -> Result<(), CommandError> {
        let renamed = device::rename(&self.device, &mut self.layout, backing, name);
        Ok(renamed?)
    }

    /// Removes the replica.
    ///
    /// # Errors
    /// A system call or LVM fails.
    pub fn remove(self, name: &str, backing: &Backing) -> Result<(), CommandError> {
        Ok(device::remove(self.device, backing, name)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::ScratchDirectory;

    #[test]
    fn files_of_a_newer_program_are_not_removable_rests() {
        let scratch = ScratchDirectory::new().unwrap();
        scratch.write("mail.volume", []).unwrap();
        scratch.write("mail.metadata", []).unwrap();
        let backing = Backing::File(scratch.path().to_path_buf());
        let left = |source| {
            let path = scratch.path().join("mail.metadata");
            let refused = CommandError::Device(DeviceError::Layout { path, source });
            let left = leftover(&refused, "mail", &backing).unwrap();
            left.map(|left| left.files().unwrap().len())
        };
        assert_eq!(left(LayoutError::Newer(9)), None);
        assert_eq!(left(LayoutError::Damaged), Some(2));
    }
}
