//! Guests: virtual machines on the nodes of a cluster.
//!
//! - [`config`] is what the files say.
//! - [`keyword`] is how they say it: the section `guest`, and lines of the section `node`.
//! - [`placement`] decides on which node each guest runs, as a function of what is known.
//! - [`qmp`] is QEMU's machine protocol, as a value.
//!
//! This crate never decides which node holds a lease, and never knows what is on a disk.

pub mod config;
mod difference;
pub mod keyword;
pub mod placement;
pub mod qmp;
mod size;
