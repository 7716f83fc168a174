//! Whose copy it is: a volume with one copy has no record of a cluster that would say so.

use super::grow::places;
use super::{Backing, Device, DeviceError, LogicalVolume};
use crate::layout::Metadata;

/// Checks that it is the copy of the volume with this name. One that was created by a program that
/// stored no name is that of any volume.
///
/// # Errors
/// It is that of another one.
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

/// Makes an open copy that of the volume with this name.
///
/// # Errors
/// The operating system refuses it.
pub fn rename(
    device: &Device,
    layout: &mut Metadata,
    backing: &Backing,
    name: &str,
) -> Result<(), DeviceError> {
    let phases = layout.rename(name);
    places(device, backing, name)?.1.write(&phases)
}
