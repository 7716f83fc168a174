//! Implements the commands that put an operating system onto the volumes of a guest: from an image
//! of another hypervisor, from a Xen guest, or Debian from its packages.

mod create;
pub mod definition;
mod grub;
mod import;
mod look;
pub mod place;
mod server;
mod trial;
mod xen;

use clap::ArgMatches;
use std::process::ExitCode;

pub fn create(matches: &ArgMatches) -> ExitCode {
    create::main(matches)
}

pub fn import(matches: &ArgMatches) -> ExitCode {
    match matches.subcommand() {
        Some(("xen", matches)) => xen::main(matches),
        _ => import::main(matches),
    }
}
