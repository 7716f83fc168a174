//! Stores the disks that machines use over the network, independent of the protocol.
//!
//! - [`device`] is the interface of a disk, and [`storage`] creates one.
//! - [`mod@file`] is a file or a block device, [`volume`] a volume that this node serves.
//! - [`served`] is a disk with the clients that have used it.
//! - [`overlay`] has the changes of one machine to a shared disk, and [`overlays`] those of all
//!   machines of a disk.

pub mod device;
pub mod file;
pub mod overlay;
pub mod overlays;
pub mod served;
mod stable;
pub mod storage;
pub mod volume;

pub use device::{Disk, DiskError};
pub use file::FileDisk;
pub use overlay::{Overlay, OverlayDisk};
pub use overlays::Overlays;
pub use served::{BootCounts, DiskUser, ServedDisk};
pub use storage::Storage;
pub use volume::NbdDisk;
