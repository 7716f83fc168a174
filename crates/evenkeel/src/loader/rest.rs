//! Finds roles that must run only to clean up what earlier processes left on this machine, such as
//! a running guest or an address in the kernel. Their sections were removed from the files while no
//! process ran, so the version itself does not need these roles.

use crate::parts::{LoadedParts, Payloads, RolePayload};
use configuration::Rest;
use part::role::Load;
use part::state_file;
use rustix::fs::{Mode, OFlags, open};
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use supervisor::directory;

/// Returns the roles that run only for the cleanup, in addition to those of the version. `before`
/// has the inputs of the previous version's roles; these clean up removed sections themselves.
pub(super) fn running(
    load: &Load,
    site: &LoadedParts,
    running: &[RolePayload],
    before: &Payloads,
) -> Vec<RolePayload> {
    let runtime = directory::path();
    let claimed = directory::claimed_by_others(load.pid);
    let has_role = |part: &str| {
        let mut running = running.iter().map(|one| one.part.name);
        before.contains_key(part) || running.any(|one| one == part)
    };
    site.left(|part, run, built| {
        let state = stored_state(load, part.name);
        let rest = Rest {
            runtime: &runtime,
            state: state.as_deref(),
            claimed: &claimed,
        };
        let wanted = || (run.leftover_input)(built, &rest);
        (!has_role(part.name)).then(wanted).flatten()
    })
}

/// Returns the state that the last process of a role stored; None without a readable file.
fn stored_state(load: &Load, part: &str) -> Option<Vec<u8>> {
    let path = Path::new(OsStr::from_bytes(load.states.get(part)?));
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty()).ok()?;
    state_file::read(file.as_fd())
}
