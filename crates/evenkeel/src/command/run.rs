//! `evenkeel run`: serves in the foreground, as a supervisor.

use super::refuse;
use crate::process::{Before, Farewell};
use crate::supervisor::master::{self, MasterAddress};
use crate::supervisor::{self, directory};
use clap::ArgMatches;
use protocol::role::Personality;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Supervises a proxy that serves with these files, until the end.
/// `-S` as HAProxy writes it opens the master's sockets.
pub fn main(paths: &[PathBuf], sockets: &[String], before: Before) -> ExitCode {
    let absolute = absolute(paths);
    let base = std::env::current_dir().unwrap_or_default();
    let masters = sockets.iter().map(|text| master::parse(text, &base));
    let masters: Vec<Option<MasterAddress>> = match masters.collect() {
        Ok(masters) => masters,
        Err(error) => return refuse(format_args!("-S: {error}")),
    };
    let masters = masters.into_iter().flatten().collect();
    // The one that is taken over from serves with them, too.
    if before == Before::default()
        && !supervisor::is_next_image()
        && let Some(pid) = already_running(&absolute)
    {
        return refuse(format_args!(
            "process {pid} serves with these files already; `evenkeel reload --pid {pid}` makes it read them again"
        ));
    }
    supervisor::main(supervisor::Command {
        personality: Personality::Own,
        arguments: paths.iter().map(Into::into).collect(),
        paths: absolute,
        quiet: false,
        masters,
        notify: true,
        before,
        ..supervisor::Command::default()
    })
}

/// From whom the command line takes over.
pub fn before(matches: &ArgMatches) -> Before {
    let pids = |name| matches.get_many::<u32>(name).into_iter().flatten().copied();
    Before {
        socket: matches.get_one::<OsString>("take-over").cloned(),
        pids: pids("finish").chain(pids("end")).collect(),
        farewell: match matches.contains_id("end") {
            true => Farewell::End,
            false => Farewell::Finish,
        },
    }
}

/// Paths by which other processes know the files, too.
pub fn absolute(paths: &[PathBuf]) -> Vec<PathBuf> {
    let one = |path: &PathBuf| {
        let real = std::fs::canonicalize(path);
        real.or_else(|_| std::path::absolute(path))
            .unwrap_or_else(|_| path.clone())
    };
    paths.iter().map(one).collect()
}

/// A supervisor of our own that serves with the same files in the same network:
/// both would share the addresses, and each would get some of the connections.
fn already_running(paths: &[PathBuf]) -> Option<u32> {
    // What is no file (a pipe) is never the same one.
    if !paths.iter().all(|path| directory::is_lasting(path)) {
        return None;
    }
    let network = directory::network();
    let instances = directory::instances().ok()?;
    let same = |one: &&directory::Instance| {
        one.program == "evenkeel" && one.network == network && one.paths == paths
    };
    instances.iter().find(same).map(|one| one.pid)
}
