//! Starts and ends the helper processes of external checks. A proxy role requests a helper, which
//! runs the programs of the checks, and gets the connection to it ([`part::checks`]). The helper
//! belongs to the role and ends with it. It only knows the programs of the versions that exist when
//! it starts, so a role requests another one after a reload.

use crate::pulse::{is_stopped, report_frozen};
use crate::slot::RunningRole;
use crate::version::LoadedVersion;
use part::checks;
use part::heart::PollTiming;
use part::role::{CheckProgram, PROGRAMS_MAX, RunPrograms, SupervisorMessage};
use part::spawn::{CHECKS_ENTRY, Started};
use part::voice::MessagePrinter;
use rustix::process::{Pid, Signal, kill_process_group};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Minimum interval between two starts of a helper for one role; the role repeats its request.
const START_EVERY: Duration = Duration::from_millis(400);

/// Starts a process that runs the programs of these versions, and sends a role the connection to
/// it. Returns the process id.
pub fn start_helper<'v>(
    role: &mut RunningRole,
    versions: impl Iterator<Item = &'v LoadedVersion>,
    files_soft: u64,
    voice: &mut MessagePrinter,
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
    // Starts nothing if no version has an external check: the role's request is wrong.
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
            let message = SupervisorMessage::Helper;
            // Ignored: if the message cannot be sent, the role has ended, which the main loop
            // notices.
            let _ = role.process.send_message(&message, &[Arc::new(connection)]);
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

/// Checks the helper processes of external checks: frozen ones are killed, and all of them if no
/// version has such a check. The proxy requests a new one.
pub fn check_helpers(
    proxy: &mut RunningRole,
    has_programs: bool,
    look: PollTiming,
    voice: &mut MessagePrinter,
) {
    proxy.helpers.retain_mut(|helper| {
        let frozen = is_stopped(helper, look);
        if let Some(why) = frozen {
            report_frozen(voice, CHECKS_ENTRY.display_name, helper.number(), None, why);
        }
        let ends = frozen.is_some() || !has_programs;
        if ends {
            end(helper);
        }
        !ends && helper.process_exit().is_none()
    });
}

/// Ends a helper process and its programs, each of which is a process group.
fn end(process: &Started) {
    // Stops the helper first, so that it starts no further program while its programs are killed.
    process.signal(Signal::STOP);
    for child in children(process.number()) {
        // The error is ignored: the program may have ended by itself.
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
