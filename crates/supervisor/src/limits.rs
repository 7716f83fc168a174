//! Sets the resource limits of roles, which have dropped the privilege to raise their own, and
//! raises the supervisor's own limit of open files.

use part::role::VersionPlan;
use part::spawn::{StartFailure, Started, Why};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// Raises the soft limit of open files of this process to the hard limit, because it holds every
/// listener. Returns the soft limit of the start.
pub fn raise_own() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // The error is ignored: if there are too many descriptors, opening one fails later with a
    // message.
    let _ = setrlimit(Resource::Nofile, raised);
    limit.current.unwrap_or(u64::MAX)
}

/// Sets the limits of a plan for a role. A role that serves already has dropped its privileges and
/// belongs to another user, so root in a container may not change it. Such a role raises its limits
/// itself as far as allowed, and reports the rest.
pub fn set_limits(role: &Started, plan: &VersionPlan, serves: bool) -> Result<(), StartFailure> {
    match set(role.pid(), plan) {
        Err(Errno::PERM) if serves => Ok(()),
        set => set.map_err(|errno| role.failure(Why::Limits(errno))),
    }
}

fn set(pid: Pid, plan: &VersionPlan) -> Result<(), Errno> {
    let hard = getrlimit(Resource::Nofile).maximum;
    let files = Rlimit {
        current: Some(plan.files_max),
        maximum: hard.map(|hard| hard.max(plan.files_max)),
    };
    prlimit(Some(pid), Resource::Nofile, files)?;
    if let Some(bytes) = plan.memory_bytes {
        let memory = Rlimit {
            current: Some(bytes),
            maximum: Some(bytes),
        };
        prlimit(Some(pid), Resource::Data, memory)?;
    }
    Ok(())
}
