//! What a command asks a supervisor for.

use crate::master::MasterSocket;
use crate::signals::Caught;
use part::before::Before;
use part::role::{PartMessage, Personality};
use part::voice::Form;
use part::voice::keepalived::LogWish;
use std::ffi::OsString;
use std::path::PathBuf;

/// As what the machine belongs to a cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Start {
    /// The state directory.
    pub directory: PathBuf,
    /// It serves nothing, ever.
    pub arbiter: bool,
}

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
    pub masters: Vec<MasterSocket>,
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
    /// The part whose role has a file of its process id, and that file.
    pub role_pid_file: Option<(&'static str, PathBuf)>,
    /// Under keepalived's name: what a part is told on a signal that has no meaning for the
    /// supervisor.
    pub on_signal: fn(Caught) -> Option<PartMessage>,
    /// The machine belongs to a cluster, whose versions it serves.
    pub cluster: Option<Start>,
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
            on_signal: |_| None,
            cluster: None,
        }
    }
}

impl Command {
    /// What the role of a part reads of the command line.
    pub(crate) fn options_of(&self, part: &str) -> &[u8] {
        let mut all = self.options.iter();
        all.find(|(of, _)| *of == part)
            .map_or(&[], |(_, options)| options)
    }

    pub(crate) fn form(&self) -> Form {
        self.personality
    }
}
