//! Starting the process of external checks: by the supervisor, or by a process that
//! serves without one.

use super::spawn::{self, OWN_PROGRAM, StartFailure, Started, Why, failure};
use model::config::Config;
use part::codec;
use part::role::{CheckProgram, Message, Personality, RunPrograms, Take};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

/// Starts it under that program's name. Returns the process, which ends when the
/// connection is closed, and the connection.
pub fn start(
    personality: Personality,
    run: RunPrograms,
) -> Result<(Started, OwnedFd), StartFailure> {
    let entry = spawn::CHECKS_ENTRY;
    let (theirs, ours) = socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|errno| failure(entry, Why::Start(errno.into())))?;
    let message = Message::Take(Box::new(Take {
        personality,
        options: codec::encode(&run),
        ..Take::default()
    }));
    let first = |process: &mut Started| process.send(&message, &[Arc::new(theirs)]);
    let process = spawn::start(Path::new(OWN_PROGRAM), entry, personality, &[], first)?;
    Ok((process, ours))
}

/// The programs of a configuration, as processes of ours name them.
pub fn programs(config: &Config) -> Vec<CheckProgram> {
    let programs = config.check_programs().into_iter();
    let programs = programs.map(|(command, path)| CheckProgram {
        command: command.as_bytes().to_vec(),
        path: path.as_bytes().to_vec(),
    });
    programs.collect()
}
