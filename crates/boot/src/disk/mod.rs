//! What stores the sectors that machines use over the network, whatever they use it by.
//!
//! - [`device`] is what a disk can do, and [`storage`] what makes one.
//! - [`mod@file`] is a file or a block device, [`volume`] a volume that this node serves.
//! - [`overlay`] is what one machine has changed of a disk that several use, and [`overlays`] those of all
//!   machines of a disk.

pub mod device;
pub mod file;
pub mod overlay;
pub mod overlays;
mod stable;
pub mod storage;
pub mod volume;

pub use device::{Disk, DiskError};
pub use file::FileDisk;
pub use overlay::{Overlaid, Overlay};
pub use overlays::Overlays;
pub use storage::Storage;
pub use volume::NbdDisk;
