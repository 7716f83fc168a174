//! Fencing: a node that is gone is powered off before its guests start elsewhere, and a node that
//! hangs is reset by its own watchdog.
//!
//! - [`power`] powers one node off, as a value: methods in order, timeouts, confirmation.
//!   Commands and what their results mean are those of [`part::power`].
//! - [`gate`] holds a guest until the node on which it ran is off, as a value.
//! - [`nodes`] joins them for all nodes; [`proof`] tries the methods without powering anything off.
//! - [`watchdog`] feeds the watchdog of this node.
//!
//! Data does not depend on fencing: a guest starts only where its lease is, and a volume refuses the
//! epoch of an earlier lease. Fencing ends what leases cannot: processors that still run on a node
//! that nobody reaches, with the addresses of a guest.

pub mod gate;
pub mod nodes;
pub mod power;
pub mod proof;
pub mod silence;
pub mod watchdog;
