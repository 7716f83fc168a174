//! A copy that is given up.

use super::{Backing, Device, DeviceError, Place, RING_BYTES, names};
use rustix::fs::{AtFlags, fsync, unlinkat};
use rustix::io::{Errno, pwrite};
use std::path::Path;

/// Removes a copy that was opened: its two files, its logical volume, or the metadata at the
/// start of the device. The data of a device is not erased.
///
/// # Errors
/// The operating system refuses it.
pub fn remove(device: Device, backing: &Backing, name: &str) -> Result<(), DeviceError> {
    let failed = |action, path: &Path| {
        let path = path.to_path_buf();
        move |errno: Errno| DeviceError::Io {
            action,
            path,
            errno,
        }
    };
    match backing {
        Backing::File(directory) => {
            let (opened, data, metadata) = names(directory, name)?;
            // Metadata alone is refused, so it goes last.
            for path in [data, metadata] {
                let file = path.file_name().unwrap_or_default();
                unlinkat(&opened, file, AtFlags::empty()).map_err(failed("remove", &path))?;
            }
            let place = Place {
                file: opened.into(),
                path: directory.clone(),
            };
            fsync(&place.file).map_err(place.io("flush"))
        }
        Backing::Lvm(logical) => {
            // LVM removes none that is open.
            drop(device);
            logical.remove()
        }
        Backing::Device(path) => {
            let file = &device.metadata.file;
            let zeroes = vec![0; RING_BYTES];
            pwrite(file, &zeroes, 0).map_err(failed("write zeroes to", path))?;
            fsync(file).map_err(failed("flush", path))
        }
    }
}
