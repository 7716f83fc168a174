//! Implements fencing: powers a failed node off before its guests start elsewhere. A node that
//! hangs is reset by its own watchdog.
//!
//! - [`power`] powers one node off, without I/O: methods in order, timeouts, confirmation. The
//!   commands and the meaning of their results are in [`part::power`].
//! - [`gate`] delays a guest until the node on which it ran is off, without I/O.
//! - [`nodes`] joins them for all nodes; [`proof`] tries the methods without powering anything off.
//! - [`watchdog`] feeds the watchdog of this node.
//!
//! The safety of data does not depend on fencing: a guest starts only where its lease is, and a
//! volume refuses the epoch of an earlier lease. Fencing ends what leases cannot: virtual CPUs
//! that still run on an unreachable node, with the addresses of a guest.

pub mod gate;
pub mod nodes;
pub mod power;
pub mod proof;
pub mod silence;
pub mod watchdog;
