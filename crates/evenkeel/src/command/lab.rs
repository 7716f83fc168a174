//! Implements `evenkeel lab clean`: removes network namespaces and other remains of labs that were
//! killed together with their guard process.

use super::{print, refuse};
use clap::ArgMatches;
use namespace::Removed;
use std::process::ExitCode;

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
    let removed = namespace::clean();
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
