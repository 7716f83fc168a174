//! Defines the start parameters of a supervisor: the program name, the files, sockets and
//! predecessors of the command line, and the cluster of the machine.

use crate::master::MasterSocket;
use crate::signals::Caught;
use part::before::Before;
use part::role::{PartMessage, Personality};
use part::voice::Form;
use part::voice::keepalived::LogWish;
use std::ffi::OsString;
use std::path::PathBuf;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Start {
    pub directory: PathBuf,
    pub arbiter: bool,
}

#[derive(Clone, Debug)]
pub struct StartParameters {
    /// Program name under which the command was started.
    pub personality: Personality,
    /// Arguments for the loader: the words of the command line under HAProxy's name, otherwise the
    /// paths.
    pub arguments: Vec<OsString>,
    /// Absolute paths of the files and directories on the command line.
    pub paths: Vec<PathBuf>,
    pub quiet: bool,
    /// `-S`: the master sockets.
    pub masters: Vec<MasterSocket>,
    pub notify: bool,
    /// Processes whose listeners the start takes over, and which end then.
    pub before: Before,
    /// Targets of the log, under keepalived's name.
    pub log: LogWish,
    /// Command line options for the roles of parts, which only these roles decode.
    pub options: Vec<(&'static str, Vec<u8>)>,
    /// True if a stop makes the sidecars release what they hold.
    pub releases: bool,
    pub once: bool,
    /// Part whose role has a PID file, and the path of that file.
    pub role_pid_file: Option<(&'static str, PathBuf)>,
    /// Under keepalived's name: the message to a part for a signal that the supervisor does not
    /// handle itself.
    pub on_signal: fn(Caught) -> Option<PartMessage>,
    /// The cluster whose versions the machine serves; None without a cluster.
    pub cluster: Option<Start>,
}

impl Default for StartParameters {
    fn default() -> Self {
        StartParameters {
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

impl StartParameters {
    pub(crate) fn options_of(&self, part: &str) -> &[u8] {
        let mut all = self.options.iter();
        all.find(|(of, _)| *of == part)
            .map_or(&[], |(_, options)| options)
    }

    pub(crate) fn form(&self) -> Form {
        self.personality
    }
}
