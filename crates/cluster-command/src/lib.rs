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

pub static COMMANDS: [Subcommand; 3] = [
    Subcommand::new("cluster", crate::cluster::cluster, crate::cluster::main),
    Subcommand::new(
        "arbiter",
        crate::cluster::arbiter,
        crate::cluster::arbiter_main,
    ),
    Subcommand::new("config", config::config, config::main),
];
