//! Starts the proxy role, sends it versions with their resource limits, and stops it.

use crate::limits;
use crate::slot::RunningRole;
use crate::stop::Stop;
use crate::version::LoadedVersion;
use part::SharedFd;
use part::role::{Manner, SupervisorMessage, VersionPlan};
use part::row::Entry;
use part::spawn::{self, StartFailure, Started};
use rustix::process::Signal;
use std::path::Path;

/// Starts a proxy role of a program with a version and the state of its predecessor. With `guard`,
/// the role continues to serve without a supervisor, and listens on the socket in it, if any, for a
/// new one.
pub fn start(
    entry: Entry,
    program: &Path,
    version: &LoadedVersion,
    state: Option<&SharedFd>,
    guard: Option<Option<&SharedFd>>,
) -> Result<RunningRole, StartFailure> {
    let personality = version.take.personality;
    let first = |process: &mut Started| {
        guard.map_or(Ok(()), |listener| process.set_survives_supervisor(listener))?;
        limits::set_limits(process, version.plan(), false)?;
        process.send(&version.message(state), &version.all_descriptors(state))
    };
    let process = spawn::start(program, entry, personality, &[], first)?;
    Ok(RunningRole::begun(process))
}

pub fn send_version(proxy: &mut RunningRole, version: &LoadedVersion) -> Result<(), StartFailure> {
    let all = version.all_descriptors(None);
    send_version_as(proxy, version.plan(), &version.message(None), &all)
}

/// Sends the proxy role a version with this plan, in the given message.
pub fn send_version_as(
    proxy: &mut RunningRole,
    plan: &VersionPlan,
    message: &SupervisorMessage,
    descriptors: &[SharedFd],
) -> Result<(), StartFailure> {
    limits::set_limits(&proxy.process, plan, proxy.ready)?;
    proxy.process.send(message, descriptors)
}

pub fn stop(proxy: &mut RunningRole, stop: &Stop) {
    let manner = if stop.is_soft() {
        Manner::Soft
    } else {
        Manner::Now {
            signal: stop.signal as u32,
        }
    };
    let signal = match stop.signal {
        nix::sys::signal::Signal::SIGUSR1 => Signal::USR1,
        nix::sys::signal::Signal::SIGINT => Signal::INT,
        _ => Signal::TERM,
    };
    proxy.process.stop(manner, signal);
}
