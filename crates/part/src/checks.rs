//! Starts the process of external checks, from the supervisor or from a process that serves without
//! one.

use crate::codec;
use crate::role::{Personality, RunPrograms, SupervisorMessage, Take};
use crate::spawn::{self, OWN_PROGRAM, StartFailure, Started, Why, failure};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

/// Starts the process under the name of `personality`. Returns the process, which ends when the
/// connection is closed, and the connection.
///
/// # Errors
/// The process cannot be started.
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
    let message = SupervisorMessage::Take(Box::new(Take {
        personality,
        options: codec::encode(&run),
        ..Take::default()
    }));
    let first = |process: &mut Started| process.send(&message, &[Arc::new(theirs)]);
    let process = spawn::start(Path::new(OWN_PROGRAM), entry, personality, &[], first)?;
    Ok((process, ours))
}
