//! Runs guests: virtual machines on the nodes of a cluster.
//!
//! - [`config`] holds the settings of guests, and [`keyword`] their keywords: the section
//!   `guest`, and lines of the section `node`.
//! - [`placement`] computes on which node each guest runs, as a pure function.
//! - [`agreement`] is the state that the nodes agree on: leases, records, desired states.
//! - [`life`] is the life cycle of a guest: desired state and QEMU events yield the next order.
//! - [`fence`] powers off a failed node before its guests start elsewhere.
//! - [`migration`] moves a running guest between two nodes.
//! - [`qemu`] runs QEMU on this machine; [`qmp`] encodes its machine protocol without I/O.
//! - [`section`] writes the section of a guest as text, for clones.
//! - [`standstill`] keeps a guest from writing while snapshots of its disks are taken.
//! - [`check`] checks the health of a guest; [`announce`] announces its addresses.
//! - [`remote`] relays commands of an operator to the node of a guest, and their output.
//! - [`role`] joins them.
//!
//! This crate never decides which node holds a lease, and never reads the disks of a guest.

pub mod agreement;
pub mod announce;
pub mod check;
mod clock;
pub mod config;
pub mod console;
mod defect;
mod difference;
mod display;
pub mod fence;
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
pub mod standstill;
