//! Runs the address role: serves a [`Config`] on this machine, on one thread with one event loop,
//! so that nothing delays an address after its timer.
//!
//! [`run`] opens the kernel's sockets and those for packets, and starts the
//! [`protocol::vrrp::Router`]. In every turn it then handles all received packets, advances the
//! router's time, and executes its actions. Requests from the process arrive through
//! [`OrderChannel`].
//!
//! Invariants:
//!
//! - only CLOCK_BOOTTIME affects decisions; the wall clock is for display;
//! - no script, mail server or reader of a pipe can delay the loop: scripts and mail run on other
//!   threads, and every wait has an end and every queue a bound;
//! - a request to the kernel may delay the loop, because the kernel serves the requests of all
//!   network namespaces one after the other; the adverts of a master continue meanwhile, from the
//!   thread of `pacemaker`;
//! - packets are drained before time advances, so a delayed machine does not mistake its own delay
//!   for a dead master.

mod announce;
mod begin;
mod bfd;
mod carry_out;
mod changes;
mod clock;
mod event_loop;
mod files;
mod filter;
mod given;
mod hand_over;
mod health;
mod host;
mod interfaces;
mod kept;
mod leases;
mod links;
mod mail;
mod member;
mod namespace;
mod orders;
mod pacemaker;
mod processes;
mod realtime;
mod reason;
mod render;
mod report;
pub mod runner;
mod scripts;
mod settings;
mod sockets;
mod standing;
mod statics;
mod tell;
mod tracker;
mod trial;
mod vmacs;
mod weight;

pub use given::{
    Dump, Exit, Level, Log, Notification, OrderChannel, RoleError, RoleInputs, RoleOrder,
};
pub use kept::{KeptInstance, KeptState};
pub use leases::{Lease, WantedLease};
pub use report::{BAND, FAULT, HAND_OVER, HEALTH, HEARD_OWNER, HERE, LEASE, VIRTUAL_IP};

use crate::config::Config;

/// Runs a configuration until the role must stop.
///
/// # Errors
/// - [`RoleError::TooMany`]: the configuration exceeds a limit of the role.
/// - [`RoleError::Namespace`]: the network namespace cannot be entered.
/// - [`RoleError::System`]: the kernel refused a socket or a descriptor of the event loop.
pub fn run(config: Config, given: RoleInputs) -> Result<Exit, RoleError> {
    event_loop::run(config, given)
}
