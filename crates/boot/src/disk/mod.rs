//! What stores the sectors that machines use over the network, whatever they use it by.
//!
//! - [`device`] is what a disk can do, and [`storage`] what makes one.
//! - [`file`] is a file or a block device, [`volume`] a volume that this node serves.

pub mod device;
pub mod file;
pub mod storage;
pub mod volume;

pub use device::{Disk, DiskError};
pub use file::FileDisk;
pub use storage::Storage;
pub use volume::NbdDisk;
