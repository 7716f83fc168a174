//! External checks: a proxy role that has none asks for a process which runs their
//! programs, and is given the connection to one ([`crate::check_runner`]). That process
//! belongs to the role from then on and ends with it; it knows the programs of the
//! versions that are there when it starts, so a role asks again after a change.

use super::route::PROXY;
use super::run::Supervisor;
use super::slot::Running;
use super::version::Version;
use crate::roles::checks;
use crate::voice::Voice;
use part::role::{CheckProgram, Message, PROGRAMS_MAX, RunPrograms};
use rustix::process::Pid;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The shortest time between two starts for one role: it asks again.
const START_EVERY: Duration = Duration::from_millis(400);

impl Supervisor {
    /// The role that serves has no process that runs its checks' programs.
    pub(super) fn give_programs(&mut self) {
        let versions = [self.kept.as_ref(), self.cluster.trial_version()];
        if let Some(proxy) = &mut self.slots[PROXY].running {
            let versions = versions.into_iter().flatten();
            let pid = give(proxy, versions, self.files_soft, &mut self.voice);
            self.carried.expect(pid);
        }
    }
}

/// Starts a process that runs the programs of these versions, and gives a role the
/// connection to it; its number.
pub(super) fn give<'v>(
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
