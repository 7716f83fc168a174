//! Creating and removing a copy, for the commands of the same names. Nothing here asks a
//! role: the lock of the backing says whether one has it.

use crate::config::Spec;
use crate::device::{self, Backing, DeviceError, Leftover, Snapshot, SnapshotError, snapshot};
use crate::layout::{Head, LayoutError, Metadata, State, VolumeId};
use rustix::rand::{GetRandomFlags, getrandom};

/// Why a copy was not created or removed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommandError {
    /// The backing.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The snapshot.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The volume that is to hold it.
    #[error("the snapshot has {has} bytes, the new volume {size}")]
    Smaller {
        /// The snapshot's size, bytes.
        has: u64,
        /// The volume's size, bytes.
        size: u64,
    },
    /// The system has no random bytes for an identity.
    #[error("cannot draw an identity for the volume: {0}")]
    Random(rustix::io::Errno),
}

/// A copy that can be removed or renamed: it is open, so no role has it.
#[derive(Debug)]
pub struct Removable {
    device: device::Device,
    layout: Metadata,
}

/// Creates the copy of a volume, or one of two, whose data is zeroes. `overwrites`: what a device holds is
/// given up. `progress` gets the bytes of a device that are zeroed.
///
/// # Errors
/// The backing is refused, and nothing was written; or it fails.
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

/// Creates the copy of a volume with the data of a snapshot, with which it shares its blocks.
///
/// # Errors
/// The backing is refused, or is not on the file system of the snapshot. Nothing was created.
pub fn create_from(name: &str, spec: &Spec, snapshot: &Snapshot) -> Result<VolumeId, CommandError> {
    if snapshot.size_bytes > spec.size_bytes {
        let (has, size) = (snapshot.size_bytes, spec.size_bytes);
        return Err(CommandError::Smaller { has, size });
    }
    let Backing::File(directory) = &spec.backing else {
        return Err(SnapshotError::NotAFile(snapshot.path.clone()).into());
    };
    let (id, head) = founded(spec)?;
    // Nobody can open it before it has the data, because its lock is held here.
    let (device, _) = device::create(&spec.backing, name, head, false, &mut |_| {})?;
    if let Err(error) = snapshot::fill(&device.data.file, snapshot, directory) {
        device::remove(device, &spec.backing, name)?;
        return Err(error.into());
    }
    Ok(id)
}

/// The identity and the metadata of a new volume.
fn founded(spec: &Spec) -> Result<(VolumeId, Head), CommandError> {
    let mut bytes = [0; 24];
    getrandom(&mut bytes, GetRandomFlags::empty()).map_err(CommandError::Random)?;
    let id = VolumeId(std::array::from_fn(|at| bytes[at]));
    // One of two copies is nothing until both have met.
    let is_pair = spec.pair.is_some();
    let history = u64::from_ne_bytes(std::array::from_fn(|at| bytes[16 + at])) | 1;
    let head = Head {
        volume: (!is_pair).then_some(id),
        size_bytes: spec.size_bytes,
        data_offset: 0,
        promised: 0,
        // Of no other volume, so that the cluster's record shows whether it means this one.
        incarnation: if is_pair { 0 } else { history },
        state: if is_pair {
            State::Syncing(0)
        } else {
            State::Joined(1)
        },
        unflushed: None,
        hot: Vec::new(),
    };
    Ok((id, head))
}

/// What to do about a volume whose data file is there and whose metadata cannot be used: the
/// file is the raw disk. `other`: the node with the other copy of one of two.
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
            "{holds}: copy it away first ({copied}), then delete {files}, run {create} and `evenkeel volume import {name} \
             {}`",
            raw.display()
        ),
        Some(other) => format!(
            "if the copy of {other} is complete: stop this node, delete {files}, start the node and run {create}, and \
             {other} fills this copy. If not, {holds}: copy it away first ({copied})"
        ),
    })
}

/// Opens the files of a volume that [`open`] refused because they are damaged, or incomplete, to
/// remove them. `None`: that is not why, or there are none.
///
/// # Errors
/// They are in use, or the operating system refuses it.
pub fn leftover(
    refused: &CommandError,
    name: &str,
    backing: &Backing,
) -> Result<Option<Leftover>, CommandError> {
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
    Ok(Leftover::open(backing, name)?)
}

/// Opens the copy of a volume to remove or rename it.
///
/// # Errors
/// It is not there, in use, or not a volume.
pub fn open(name: &str, backing: &Backing) -> Result<Removable, CommandError> {
    let (device, layout, _) = device::open(backing, name, None)?;
    Ok(Removable { device, layout })
}

impl Removable {
    /// Its size in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.layout.head().size_bytes
    }

    /// Its identity.
    pub fn id(&self) -> Option<VolumeId> {
        self.layout.head().volume
    }

    /// The volume whose copy it is, by its metadata; None where that does not say it.
    pub fn name(&self) -> Option<&str> {
        self.layout.name()
    }

    /// Makes it the copy of the volume with this name.
    ///
    /// # Errors
    /// The operating system refuses it.
    pub fn rename(mut self, name: &str, backing: &Backing) -> Result<(), CommandError> {
        let renamed = device::rename(&self.device, &mut self.layout, backing, name);
        Ok(renamed?)
    }

    /// Removes it.
    ///
    /// # Errors
    /// The operating system refuses it.
    pub fn remove(self, name: &str, backing: &Backing) -> Result<(), CommandError> {
        Ok(device::remove(self.device, backing, name)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::Scratch;

    #[test]
    fn files_of_a_newer_program_are_not_left_over() {
        let scratch = Scratch::new().unwrap();
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
