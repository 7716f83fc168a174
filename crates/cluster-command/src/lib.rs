//! Implements the commands about a cluster: `evenkeel cluster` and `arbiter` for its members, and
//! `evenkeel config` for the versions of its configuration. They send requests to the control role
//! of this machine; the setup commands change its state directory.
//!
//! The crate joins the parts `cluster`, `volume` and `guest`: a change must not lose a volume or a
//! guest. The binary provides the loader of versions ([`set_version_loader`]), because loading
//! takes the sections of all parts.

mod cluster;
mod config;
mod connection;

pub use config::{CheckedVersion, VersionLoader, mask, set_version_loader};

use command::Subcommand;
use std::sync::OnceLock;

pub const CLUSTER: Subcommand =
    Subcommand::new("cluster", crate::cluster::cluster, crate::cluster::main);

pub const ARBITER: Subcommand = Subcommand::new(
    "arbiter",
    crate::cluster::arbiter,
    crate::cluster::arbiter_main,
);

static UNIT: OnceLock<&'static str> = OnceLock::new();

/// Sets the name of the systemd unit that runs this program as a member, for the messages of `init`
/// and `join`. Called once at the start of a process; without it, the unit is `evenkeel-cluster`.
pub fn set_unit(name: &'static str) {
    // Ignores a second call, which has no effect.
    let _ = UNIT.set(name);
}

fn unit() -> &'static str {
    UNIT.get_or_init(|| "evenkeel-cluster")
}

pub static COMMANDS: [Subcommand; 3] = [
    CLUSTER,
    ARBITER,
    Subcommand::new("config", config::config, config::main),
];
