//! Creating and removing a copy, for the commands of the same names. Nothing here asks a
//! role: the lock of the backing says whether one has it.

use crate::config::Spec;
use crate::device::{self, Backing, DeviceError};
use crate::layout::{Head, State, VolumeId};
use rustix::rand::{GetRandomFlags, getrandom};

/// Why a copy was not created or removed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommandError {
    /// The backing.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The system has no random bytes for an identity.
    #[error("cannot draw an identity for the volume: {0}")]
    Random(rustix::io::Errno),
}

/// A copy that can be removed: it is open, so no role has it.
#[derive(Debug)]
pub struct Removable {
    device: device::Device,
    head: Head,
}

/// Creates the copy of a volume, whose data is zeroes. `overwrites`: what a device holds is
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
    let mut bytes = [0; 16];
    getrandom(&mut bytes, GetRandomFlags::empty()).map_err(CommandError::Random)?;
    let id = VolumeId(bytes);
    let head = Head {
        volume: Some(id),
        size_bytes: spec.size_bytes,
        data_offset: 0,
        promised: 0,
        incarnation: 1,
        state: State::Joined(1),
        unflushed: None,
        hot: Vec::new(),
    };
    device::create(&spec.backing, name, head, overwrites, progress)?;
    Ok(id)
}

/// Opens the copy of a volume to remove it.
///
/// # Errors
/// It is not there, in use, or not a volume.
pub fn open(name: &str, backing: &Backing) -> Result<Removable, CommandError> {
    let (device, _, loaded) = device::open(backing, name, None)?;
    let head = loaded.head;
    Ok(Removable { device, head })
}

impl Removable {
    /// Its size in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.head.size_bytes
    }

    /// Its identity.
    pub fn id(&self) -> Option<VolumeId> {
        self.head.volume
    }

    /// Removes it.
    ///
    /// # Errors
    /// The operating system refuses it.
    pub fn remove(self, name: &str, backing: &Backing) -> Result<(), CommandError> {
        Ok(device::remove(self.device, backing, name)?)
    }
}
