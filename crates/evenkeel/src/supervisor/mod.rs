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
mod cluster;
mod control;
mod ended;
mod first;
mod follower;
mod former;
mod keep;
mod limits;
mod loading;
mod notify;
mod operate;
mod programs;
mod proxy;
mod pulse;
mod requests;
mod route;
mod run;
mod settle;
mod signals;
mod slot;
mod stop;
mod tell;
mod turn;
mod upgrade;
mod version;
mod watch;

pub mod directory;
pub mod master;

pub use cluster::Start as ClusterStart;
pub use signals::{CLEAR_STATISTICS as SIGNAL_CLEAR_STATISTICS, JSON as SIGNAL_JSON};
pub use slot::PROXY_READY_LIMIT;
pub use upgrade::{is_next_image, self_test_words};

use crate::process::Before;
use crate::voice::{Form, Voice};
use ::address::message::LogWish;
use part::role::Personality;
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
    /// Where the log goes, under keepalived's name.
    pub log: LogWish,
    /// What the command line says to the roles of parts, as only these read it.
    pub options: Vec<(&'static str, Vec<u8>)>,
    /// A stop makes the roles beside the proxy give up what they have.
    pub releases: bool,
    /// A role beside the proxy that dies is not followed by another one.
    pub once: bool,
    /// The file of the address role's process id.
    pub role_pid_file: Option<PathBuf>,
    /// The machine belongs to a cluster, whose versions it serves.
    pub cluster: Option<ClusterStart>,
}

impl Default for Command {
    fn default() -> Self {
        Command {
            personality: Personality::Own,
            arguments: Vec::new(),
            paths: Vec::new(),
            quiet: false,
            masters: Vec::new(),
            notify: false,
            before: Before::default(),
            log: LogWish::default(),
            options: Vec::new(),
            releases: true,
            once: false,
            role_pid_file: None,
            cluster: None,
        }
    }
}

impl Command {
    /// What the role of a part reads of the command line.
    fn options_of(&self, part: &str) -> &[u8] {
        let mut all = self.options.iter();
        all.find(|(of, _)| *of == part)
            .map_or(&[], |(_, options)| options)
    }

    fn form(&self) -> Form {
        match self.personality {
            Personality::Own => Form::Own,
            Personality::Haproxy => Form::Haproxy,
            Personality::Keepalived => Form::Keepalived,
        }
    }
}

/// Supervises until the end.
pub fn main(command: Command) -> ExitCode {
    let mut voice = Voice::new(command.form(), command.quiet);
    voice.log_to(command.log.clone());
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
