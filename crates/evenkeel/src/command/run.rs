//! Implements `evenkeel run`: becomes the supervisor of an instance in the foreground, with files
//! or with the configuration of a cluster, and refuses files that another instance serves already.

pub use ::command::instance::absolute;

use super::refuse;
use crate::master::{self, MasterAddress};
use clap::ArgMatches;
#[cfg(feature = "cluster")]
use cluster::role::directory::{DirectoryError, LocalMember, MEMBER, StateDirectory};
use part::before::{Before, PredecessorSignal};
#[cfg(feature = "cluster")]
use part::durable;
use part::role::Personality;
use part::voice::Form;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use supervisor::MasterSocket;
use supervisor::{ClusterStart, directory};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigurationSource {
    Files(Vec<PathBuf>),
    Cluster(ClusterStart),
}

#[derive(Debug, thiserror::Error)]
pub enum WantedError {
    #[cfg(feature = "cluster")]
    #[error("nothing to serve: name a file with `evenkeel run -f FILE`. This machine is not a member of a cluster \
             ({} contains no cluster state); `evenkeel cluster init NAME` creates a cluster, `evenkeel cluster join \
             TOKEN` joins one", .0.display())]
    Nothing(PathBuf),
    #[cfg(not(feature = "cluster"))]
    #[error(
        "nothing to serve: name a file with `evenkeel run -f FILE`. This evenkeel was built without the part cluster"
    )]
    Unbuilt,
    #[cfg(feature = "cluster")]
    #[error("{file} is missing, but its copy {copy} is there. If this machine is a member of a cluster, restore it: \
             `cp -p {copy} {file}`. If it was removed from the cluster, delete the copy",
            file = .0.display(), copy = durable::copy_of(.0).display())]
    Copy(PathBuf),
    #[cfg(feature = "cluster")]
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

pub fn wanted(
    files: Vec<PathBuf>,
    state: Option<&Path>,
) -> Result<ConfigurationSource, WantedError> {
    if !files.is_empty() {
        return Ok(ConfigurationSource::Files(files));
    }
    membership(state)
}

#[cfg(not(feature = "cluster"))]
fn membership(_: Option<&Path>) -> Result<ConfigurationSource, WantedError> {
    Err(WantedError::Unbuilt)
}

/// Returns the cluster whose state is in a directory.
#[cfg(feature = "cluster")]
fn membership(state: Option<&Path>) -> Result<ConfigurationSource, WantedError> {
    let state = state.unwrap_or_else(|| Path::new(cluster::role::directory::USUAL));
    let member = local_member(state)?;
    let absolute = absolute(&[state.to_owned()]);
    Ok(ConfigurationSource::Cluster(ClusterStart {
        directory: absolute.into_iter().next().unwrap_or_default(),
        arbiter: member.kind == cluster::member::MemberKind::Arbiter,
    }))
}

/// Returns this machine as a member of the cluster whose state is in a directory.
///
/// # Errors
/// The directory has no state of a member, or it cannot be read.
#[cfg(feature = "cluster")]
pub fn local_member(state: &Path) -> Result<LocalMember, WantedError> {
    if !StateDirectory::is_of_a_member(state) {
        let member = state.join(MEMBER);
        return Err(if durable::copy_of(&member).exists() {
            WantedError::Copy(member)
        } else {
            WantedError::Nothing(state.to_owned())
        });
    }
    Ok(StateDirectory::open(state)?.member()?)
}

/// Runs the supervisor until it ends. `sockets` are the master sockets of `-S`, in HAProxy's
/// format.
pub fn main(wanted: &ConfigurationSource, sockets: &[String], before: Before) -> ExitCode {
    let (paths, cluster) = match wanted {
        ConfigurationSource::Files(paths) => (paths.clone(), None),
        ConfigurationSource::Cluster(start) => (Vec::new(), Some(start.clone())),
    };
    let absolute = match &cluster {
        Some(start) => vec![start.directory.clone()],
        None => absolute(&paths),
    };
    let base = std::env::current_dir().unwrap_or_default();
    let masters = sockets.iter().map(|text| master::parse(text, &base));
    let masters: Vec<Option<MasterAddress>> = match masters.collect() {
        Ok(masters) => masters,
        Err(error) => return refuse(format_args!("-S: {error}")),
    };
    let masters: Vec<MasterSocket> = masters
        .into_iter()
        .flatten()
        .map(|master| master::socket(master, Form::Own))
        .collect();
    // Skips the test for a running instance if this process replaces it: both have the same files.
    if before == Before::default()
        && !supervisor::is_next_image()
        && let Some(pid) = already_running(&absolute)
    {
        return refuse(format_args!(
            "process {pid} already serves these files; `evenkeel reload --pid {pid}` reloads them"
        ));
    }
    supervisor::main(supervisor::StartParameters {
        personality: Personality::Own,
        arguments: paths.iter().map(Into::into).collect(),
        paths: absolute,
        quiet: false,
        masters,
        notify: true,
        before,
        cluster,
        ..supervisor::StartParameters::default()
    })
}

pub fn before(matches: &ArgMatches) -> Before {
    let pids = |name| matches.get_many::<u32>(name).into_iter().flatten().copied();
    Before {
        socket: matches.get_one::<OsString>("take-over").cloned(),
        pids: pids("finish").chain(pids("end")).collect(),
        farewell: if matches.contains_id("end") {
            PredecessorSignal::End
        } else {
            PredecessorSignal::Finish
        },
    }
}

/// Returns the process ID of a supervisor with the same files in the same network. Both would share
/// the addresses, and each would get some of the connections.
pub fn already_running(paths: &[PathBuf]) -> Option<u32> {
    // A pipe is never the same file.
    if !paths.iter().all(|path| directory::is_lasting(path)) {
        return None;
    }
    let instances = directory::instances().ok()?;
    let same = |one: &&directory::Instance| one.is_of("evenkeel", paths);
    instances.iter().find(same).map(|one| one.pid)
}
