//! Limits of the system that a role gets, set from outside: it has given up
//! the right to raise its own.

use part::role::Plan;
use part::spawn::{StartFailure, Started, Why};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// Raises what this process may open to what the system allows it anyway (it
/// keeps every listener); what the start allowed.
pub fn raise_own() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // It then only fails later, and with a message, when there are too many.
    let _ = setrlimit(Resource::Nofile, raised);
    limit.current.unwrap_or(u64::MAX)
}

/// Gives a role the limits of a plan. One that serves already has given up its rights: it
/// is another user's process, which root of a container may not touch. It raises what it
/// may itself, and says what it may not.
pub fn give(role: &Started, plan: &Plan, serves: bool) -> Result<(), StartFailure> {
    match set(role.pid(), plan) {
        Err(Errno::PERM) if serves => Ok(()),
        set => set.map_err(|errno| role.failure(Why::Limits(errno))),
    }
}

fn set(pid: Pid, plan: &Plan) -> Result<(), Errno> {
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
