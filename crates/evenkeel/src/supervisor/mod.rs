//! The supervisor: the process that was started, and stays. It starts loaders
//! and the proxy role, passes bundles and descriptors from one to the other
//! unread, keeps those of the last good version, restarts what dies, and obeys
//! signals and `evenkeel reload`. It takes over the role of one that was killed
//! ([`adopt`]), and goes over to another program in the place of its own
//! ([`upgrade`]).
//!
//! It parses nothing but its own command line: what a user wrote is the
//! loader's, what the network sends is the role's. It has one thread and waits
//! in one place ([`run`]). It serves nobody, and nobody who is served waits for it.

mod adopt;
mod backoff;
mod carried;
mod change;
mod control;
mod first;
mod former;
mod keep;
mod limits;
mod loading;
mod notify;
mod operate;
mod proxy;
mod requests;
mod run;
mod settle;
mod signals;
mod stop;
mod tell;
mod upgrade;
mod version;
mod watch;

pub mod directory;
pub mod master;

pub use upgrade::{is_next_image, self_test_words};

use crate::process::Before;
use crate::voice::{Form, Voice};
use protocol::role::Personality;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// What a command asks a supervisor for.
#[derive(Clone, Debug)]
pub struct Command {
    /// As which program.
    pub personality: Personality,
    /// What the loader is given: the words of the command line for HAProxy's,
    /// the paths for ours.
    pub arguments: Vec<OsString>,
    /// The files and directories of the command line, absolute.
    pub paths: Vec<PathBuf>,
    /// Nothing is said.
    pub quiet: bool,
    /// `-S`: the master's sockets.
    pub masters: Vec<master::MasterAddress>,
    /// The service manager is told what happens.
    pub notify: bool,
    /// From whom it takes over.
    pub before: Before,
}

impl Command {
    fn form(&self) -> Form {
        match self.personality {
            Personality::Own => Form::Own,
            Personality::Haproxy => Form::Haproxy,
        }
    }
}

/// Supervises until the end.
pub fn main(command: Command) -> ExitCode {
    let mut voice = Voice::new(command.form(), command.quiet);
    let left = match upgrade::Resumed::find().transpose() {
        Ok(left) => left,
        Err(error) => {
            tell::not_resumed(&mut voice, &error);
            None
        }
    };
    match run::Supervisor::new(command, voice.clone()) {
        Ok(supervisor) => ExitCode::from(supervisor.run(left)),
        Err(error) => {
            voice.fatal(error);
            ExitCode::FAILURE
        }
    }
}
