//! Stores the name of a volume, and the mark of an incomplete volume, in the metadata of a replica.
//! They are needed on the disk because the cluster has no record of a volume with one replica.

use super::grow::places;
use super::{Backing, Device, DeviceError, LogicalVolume};
use crate::layout::Metadata;
use crate::overwrite::OverwriteMark;

/// Checks that the replica belongs to the volume with this name. A replica without a stored name,
/// from an earlier release, matches any volume.
///
/// # Errors
/// The replica belongs to another volume.
pub fn is_own(layout: &Metadata, backing: &Backing, name: &str) -> Result<(), DeviceError> {
    match layout.name() {
        Some(found) if found != name => Err(DeviceError::OfOther {
            path: match backing {
                Backing::File(directory) => directory.join(format!("{name}.metadata")),
                Backing::Device(path) | Backing::Lvm(LogicalVolume { path, .. }) => path.clone(),
            },
            found: found.to_owned(),
            name: name.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Stores the name of the volume in an open replica.
///
/// # Errors
/// A system call fails.
pub fn rename(
    device: &Device,
    layout: &mut Metadata,
    backing: &Backing,
    name: &str,
) -> Result<(), DeviceError> {
    let phases = layout.rename(name);
    places(device, backing, name)?.1.write(&phases)
}

/// Stores the mark of an incomplete volume in an open replica, or removes it. The change is on
/// stable storage when this function returns.
///
/// # Errors
/// A system call fails. The mark may be stored or not.
pub fn set_overwrite(
    device: &Device,
    layout: &mut Metadata,
    backing: &Backing,
    name: &str,
    mark: Option<OverwriteMark>,
) -> Result<(), DeviceError> {
    let phases = layout.set_overwrite(mark);
    let written = places(device, backing, name)?.1.write(&phases);
    if written.is_err() {
        layout.failed();
    }
    written
}
