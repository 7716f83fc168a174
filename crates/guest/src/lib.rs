//! Guests: virtual machines on the nodes of a cluster.
//!
//! - [`config`] is what the files say.
//! - [`keyword`] is how they say it: the section `guest`, and lines of the section `node`.
//! - [`placement`] decides on which node each guest runs, as a function of what is known.
//! - [`agreement`] is what the nodes agree on: leases, records, what is wanted of a guest here.
//! - [`life`] leads a guest there: what is wanted and what is seen of its QEMU, to the next order.
//! - [`fence`] powers off a node that is gone before its guests start elsewhere.
//! - [`migration`] moves a guest between two nodes while it runs.
//! - [`qemu`] is QEMU on this machine, [`qmp`] its machine protocol as a value.
//! - [`section`] is the section of a guest as text, for copies of it.
//! - [`standstill`] is a guest that writes nothing while snapshots of its disks are taken.
//! - [`image`] is what is known of disk images and of the machines that they come from.
//! - [`check`] is whether a guest works, and [`announce`] shows its network where it is.
//! - [`remote`] is what an operator at one node wants of a guest of another one, with its output.
//! - [`role`] joins them.
//!
//! This crate never decides which node holds a lease, and never knows what is on a disk
//! of a guest: [`image`] is of commands, before there is a guest.

pub mod agreement;
pub mod announce;
pub mod check;
mod clock;
pub mod config;
pub mod console;
mod difference;
mod display;
pub mod fence;
pub mod image;
pub mod keyword;
pub mod life;
pub mod message;
pub mod migration;
pub mod placement;
pub mod qemu;
pub mod qmp;
mod record;
pub mod remote;
pub mod role;
pub mod section;
mod size;
pub mod standstill;
