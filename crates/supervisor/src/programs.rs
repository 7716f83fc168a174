//! External checks: a proxy role that has none asks for a process which runs their
//! programs, and is given the connection to one ([`part::checks`]). That process
//! belongs to the role from then on and ends with it; it knows the programs of the
//! versions that are there when it starts, so a role asks again after a change.

use crate::slot::Running;
use crate::version::Version;
use part::checks;
use part::role::{CheckProgram, Message, PROGRAMS_MAX, RunPrograms};
use part::voice::Voice;
use rustix::process::Pid;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The shortest time between two starts for one role: it asks again.
const START_EVERY: Duration = Duration::from_millis(400);

/// Starts a process that runs the programs of these versions, and gives a role the
/// connection to it; its number.
pub fn give<'v>(
    role: &mut Running,
    versions: impl Iterator<Item = &'v Version>,
    files_soft: u64,
    voice: &mut Voice,
) -> Option<Pid> {
    let now = Instant::now();
    if role.helper_at.is_some_and(|at| now < at + START_EVERY) {
        return None;
    }
    role.helper_at = Some(now);
    let mut programs: Vec<CheckProgram> = Vec::new();
    let mut first = None;
    for version in versions {
        first.get_or_insert(&version.take);
        for program in &version.plan().programs {
            if !programs.contains(program) && programs.len() < PROGRAMS_MAX {
                programs.push(program.clone());
            }
        }
    }
    // None of them has any: the role says what is not so.
    let take = first.filter(|_| !programs.is_empty())?;
    let run = RunPrograms {
        rights: take.plan.rights.clone(),
        files_soft,
        programs,
    };
    match checks::start(take.personality, run) {
        Ok((process, connection)) => {
            let message = Message::Helper;
            // A role that hears nothing is about to be seen as ended.
            let _ = role.process.say(&message, &[Arc::new(connection)]);
            Some(process.pid())
        }
        Err(error) => {
            voice.alert(error);
            None
        }
    }
}
