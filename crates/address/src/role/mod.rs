//! The address role: what runs a [`Config`] on this machine. One thread and one
//! loop of its own: between a timer and an address stands nothing else.
//!
//! [`run`] opens the kernel and the wire, starts the [`protocol::vrrp::Router`], and
//! then, on every turn: takes all packets that have arrived, tells the router the
//! time, and does what it says. What it is told from outside comes by [`Orders`].
//!
//! What always holds:
//! - only CLOCK_BOOTTIME decides; the time of day is for people;
//! - nothing that a script, a mail server, a file or a reader does can hold the loop up:
//!   they run beside it, with an end to every wait and a bound to every queue;
//! - packets are drained before time is told, so a machine that was late does not
//!   take its own lateness for a dead master.

mod announce;
mod begin;
mod bfd;
mod carry_out;
mod changes;
mod clock;
mod event_loop;
mod files;
mod given;
mod hand_over;
mod health;
mod interfaces;
mod kept;
mod leases;
mod links;
mod mail;
mod member;
mod namespace;
mod orders;
mod processes;
mod realtime;
mod reason;
mod render;
mod report;
pub mod runner;
mod scripts;
mod settings;
mod sockets;
mod statics;
mod tell;
mod tracker;
mod trial;
mod vmacs;
mod weight;

pub use given::{Dump, Exit, Given, Level, Log, Order, Orders, RoleError, Told};
pub use kept::{KeptInstance, KeptState};
pub use leases::{Lease, WantedLease};
pub use report::{HAND_OVER, LEASE, LEASE_MOVES, VIRTUAL_IP};

use crate::config::Config;

/// Runs a configuration until it is told to stop.
pub fn run(config: Config, given: Given) -> Result<Exit, RoleError> {
    event_loop::run(config, given)
}
