//! What the address role is started with and told.

use super::super::Command;
use super::super::slot::Running;
use super::Run;
use crate::roles::Shared;
use crate::roles::spawn::{self, StartFailure, Started};
use address::message::Options;
use part::codec;
use part::role::{Message, Take};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Where another supervisor comes, the file of the state, the heartbeats.
type Beside<'s> = (Option<&'s Shared>, Option<&'s Shared>, Option<&'s Shared>);

/// Starts one.
pub fn start(
    program: &Path,
    run: &Run,
    command: &Command,
    (guard, keep, vitals): Beside<'_>,
) -> Result<Running, StartFailure> {
    let message = take(run, command, keep, vitals);
    let first = |process: &mut Started| {
        guard.map_or(Ok(()), |listener| process.guard(Some(listener)))?;
        process.send(&message.0, &message.1)
    };
    let entry = spawn::ADDRESS_ENTRY;
    let process = spawn::start(program, entry, command.personality, &[], first)?;
    Ok(Running::begun(process))
}

/// Gives it what it is to run from now on.
pub fn give(role: &mut Running, run: &Run, command: &Command) -> Result<(), StartFailure> {
    let (message, descriptors) = take(run, command, None, None);
    role.process.send(&message, &descriptors)
}

/// The message that says what a role is to run, with its descriptors.
fn take(
    run: &Run,
    command: &Command,
    keep: Option<&Shared>,
    vitals: Option<&Shared>,
) -> (Message, Vec<Shared>) {
    let options = Options {
        plan: run.plan.clone(),
        log: command.log.clone(),
        dump_directory: command.dumps.as_os_str().as_bytes().to_vec(),
    };
    let take = Take {
        version: run.version,
        personality: command.personality,
        options: codec::encode(&options),
        keep: keep.is_some(),
        shared: vitals.is_some(),
        ..Take::default()
    };
    let beside = keep.into_iter().chain(vitals);
    let descriptors = std::iter::once(&run.config).chain(beside).cloned();
    (Message::Take(Box::new(take)), descriptors.collect())
}
