//! Starting the process: by the supervisor, or by a process that serves without one.

use crate::roles::channel::ChannelError;
use crate::roles::spawn::{self, OWN_PROGRAM, Started};
use protocol::role::{CheckProgram, Message, Personality, RunPrograms};
use proxy::config::Config;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

/// Why it could not be started.
#[derive(Debug)]
pub enum StartRunnerError {
    /// The process.
    Process(io::Error),
    /// What it was to be told.
    Channel(ChannelError),
}

impl fmt::Display for StartRunnerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why: &dyn fmt::Display = match self {
            StartRunnerError::Process(error) => error,
            StartRunnerError::Channel(error) => error,
        };
        write!(
            f,
            "the process of external checks could not be started: {why}"
        )
    }
}

impl std::error::Error for StartRunnerError {}

/// Starts it as a process of that program; the process, which ends when the connection is
/// closed, and the connection.
pub fn start(
    personality: Personality,
    run: RunPrograms,
) -> Result<(Started, OwnedFd), StartRunnerError> {
    let (theirs, ours) = socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|errno| StartRunnerError::Process(errno.into()))?;
    let entry = spawn::CHECKS_ENTRY;
    let mut process = spawn::start(Path::new(OWN_PROGRAM), entry, personality, &[])
        .map_err(StartRunnerError::Process)?;
    let message = Message::RunPrograms(Box::new(run));
    match process.channel.send(&message, &[Arc::new(theirs)]) {
        Ok(()) => Ok((process, ours)),
        Err(error) => {
            process.end_now();
            Err(StartRunnerError::Channel(error))
        }
    }
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
