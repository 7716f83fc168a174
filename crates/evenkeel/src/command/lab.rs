//! `evenkeel lab clean`: takes away what a laboratory left that was killed together
//! with its guard.

use super::{print, refuse};
use ::lab::Removed;
use clap::ArgMatches;
use std::process::ExitCode;

/// Does what the words behind `lab` ask.
pub fn main(matches: &ArgMatches) -> ExitCode {
    match matches.subcommand_name() {
        Some("clean") => clean(),
        other => refuse(format_args!("unknown subcommand {other:?} of `lab`")),
    }
}

fn clean() -> ExitCode {
    if !rustix::process::geteuid().is_root() {
        return refuse("only root can remove network namespaces");
    }
    let removed = ::lab::clean();
    let lines = removed.iter().map(|what| match what {
        Removed::Host(name) => format!("removed namespace {name}\n"),
        Removed::Directory(path) => format!("removed {}\n", path.display()),
    });
    let text: String = lines.collect();
    print(if text.is_empty() {
        "nothing to remove\n"
    } else {
        &text
    })
}
