//! External checks: a proxy role that has none asks for a process which runs their
//! programs, and is given the connection to one ([`part::checks`]). That process
//! belongs to the role from then on and ends with it; it knows the programs of the
//! versions that are there when it starts, so a role asks again after a change.

use crate::slot::Running;
use crate::version::Version;
use part::checks;
use part::role::{CheckProgram, Message, PROGRAMS_MAX, RunPrograms};
use part::spawn::Started;
use part::voice::Voice;
use rustix::process::{Pid, Signal, kill_process_group};
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
    let mut rights = take.plan.rights.clone();
    if let Some((uid, gid)) = take.plan.programs_account {
        (rights.uid, rights.gid, rights.groups) = (Some(uid), Some(gid), vec![gid]);
    }
    let run = RunPrograms {
        rights,
        files_soft,
        programs,
    };
    match checks::start(take.personality, run) {
        Ok((process, connection)) => {
            let message = Message::Helper;
            // A role that hears nothing is about to be seen as ended.
            let _ = role.process.say(&message, &[Arc::new(connection)]);
            let pid = process.pid();
            role.helpers.push(process);
            Some(pid)
        }
        Err(error) => {
            voice.alert(error);
            None
        }
    }
}

/// Ends a process that runs programs, and its programs, which are groups of their own.
pub fn end(process: &Started) {
    // It starts no further program meanwhile.
    process.signal(Signal::STOP);
    for child in children(process.number()) {
        // It may have ended by itself.
        let _ = kill_process_group(child, Signal::KILL);
    }
    process.kill();
}

fn children(pid: i32) -> Vec<Pid> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"));
    let lists = threads.into_iter().flatten().flatten();
    let lists = lists.map(|thread| std::fs::read_to_string(thread.path().join("children")));
    let pids: String = lists.map(Result::unwrap_or_default).collect();
    let pids = pids.split_whitespace();
    pids.filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect()
}
