//! Guests: virtual machines on the nodes of a cluster.
//!
//! - [`config`] is what the files say.
//! - [`placement`] decides on which node each guest runs, as a function of what is known.
//! - [`qmp`] is QEMU's machine protocol, as a value.
//!
//! This crate never decides which node holds a lease, and never knows what is on a disk.

pub mod agreement;
pub mod config;
pub mod life;
pub mod placement;
pub mod qemu;
pub mod qmp;
