//! Ways to bring an operating system onto the volumes of a guest: an image of another hypervisor, a
//! guest of Xen, or Debian from its packages.

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

/// Does what the words behind `guest create` ask.
pub fn create(matches: &ArgMatches) -> ExitCode {
    create::main(matches)
}

/// Does what the words behind `guest import` ask.
pub fn import(matches: &ArgMatches) -> ExitCode {
    match matches.subcommand() {
        Some(("xen", matches)) => xen::main(matches),
        _ => import::main(matches),
    }
}
