//! The start of a machine that belongs to a cluster: the control role, and the version
//! that it accepted last, which it serves when it is alone.

use super::role;
use crate::roles::spawn::OWN_PROGRAM;
use crate::supervisor::directory;
use crate::supervisor::loading::Told;
use crate::supervisor::route::CLUSTER;
use crate::supervisor::run::Supervisor;
use crate::voice::write_error;
use cluster::message::Run;
use cluster::request;
use cluster::role::directory::{self as state_directory, ACCEPTED};
use part::memory;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long until an accepted version that could not be served is tried again: a name
/// may not resolve yet, an address not be there.
pub(super) const AGAIN: Duration = Duration::from_secs(5);

/// As what the machine belongs to a cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Start {
    /// The state directory.
    pub directory: PathBuf,
    /// It serves nothing, ever.
    pub arbiter: bool,
}

/// The version that was accepted last as a memory file, and what is wrong with the first of
/// its two copies. It is not looked at.
pub(super) fn read_accepted(state: &Path) -> io::Result<(OwnedFd, Option<&'static str>)> {
    let accepted = state_directory::read_accepted(state)?;
    let file = memory::create("evenkeel version", &accepted.bytes)?;
    Ok((file, accepted.damage))
}

impl Supervisor {
    /// Whether this machine is a cluster's arbiter.
    pub(in super::super) fn is_arbiter(&self) -> bool {
        let start = self.cluster.start.as_ref();
        start.is_some_and(|start| start.arbiter)
    }

    /// Begins as a machine of a cluster.
    pub(in super::super) fn begin_as_member(&mut self) {
        let Some(start) = self.cluster.start.clone() else {
            return;
        };
        if self.control.is_none() {
            self.open_control();
        }
        if self.slots[CLUSTER].running.is_none() {
            self.start_control();
        }
        if start.arbiter {
            self.voice.notice(
                "this machine is an arbiter: it votes and stores the log, but serves nothing",
            );
            return self.wait_for_version();
        }
        if self.cluster.accepted.is_none() {
            self.find_accepted(&start);
        }
        if self.cluster.accepted.is_none() {
            self.voice.notice(
                "this machine has not accepted a version yet: it serves nothing until the cluster has one",
            );
            self.wait_for_version();
        }
    }

    /// Finds the version that was accepted last.
    fn find_accepted(&mut self, start: &Start) {
        let path = start.directory.join(ACCEPTED);
        match read_accepted(&start.directory) {
            Ok((set, damage)) => {
                if let Some(damage) = damage {
                    self.voice.warning(format_args!(
                        "{} {damage}: serving its copy, {ACCEPTED}.copy; the next accepted version replaces both",
                        path.display()
                    ));
                }
                self.cluster.accepted = Some(Arc::new(set));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.voice.alert(format_args!(
                "cannot read the last accepted version ({}: {error}); waiting for the cluster to send it",
                path.display()
            )),
        }
    }

    /// Reports readiness without a version: the cluster may have none for a long time.
    pub(super) fn wait_for_version(&mut self) {
        self.notify.ready("waiting for a version from the cluster");
        self.tell_ready();
    }

    /// Loads the version that was accepted last, at a start.
    pub(in super::super) fn load_accepted(&mut self) {
        if self.cluster.accepted.is_none() || self.loading.is_some() || self.kept.is_some() {
            return;
        }
        self.voice
            .notice("serving the last accepted version, without the cluster for now");
        let descriptors: Vec<_> = self.cluster.accepted.iter().cloned().collect();
        match self.begin_loading(Path::new(OWN_PROGRAM), self.load(&[]), &descriptors) {
            Ok(loading) => self.loading = Some(loading),
            Err(error) => self.first_failed(&error.to_string(), ""),
        }
    }

    /// A first version could not be served. The process stays: the cluster may have
    /// a better one.
    pub(in super::super) fn first_failed(&mut self, words: &str, shown: &str) {
        self.kept = None;
        if self.cluster.serving.is_some() {
            let again = self.cluster.accepted.is_some();
            self.cluster.load_at = again.then(|| Instant::now() + AGAIN);
            return self.refuse_change(words, shown);
        }
        if !words.is_empty() {
            self.voice.alert(words);
        }
        self.voice.alert(format_args!(
            "cannot serve the last accepted version; next attempt in {} s",
            AGAIN.as_secs()
        ));
        self.cluster.load_at = Some(Instant::now() + AGAIN);
        self.wait_for_version();
    }

    /// Keeps the output of the loader of a first version, for the client that asked.
    pub(in super::super) fn first_told(&mut self, told: &Told) {
        if self.is_member() {
            write_error(&told.plain);
            if let Some(serving) = &mut self.cluster.serving {
                serving.shown.clone_from(&told.shown);
            }
        }
    }

    /// The first version is served.
    pub(in super::super) fn first_serves(&mut self) {
        if let Some(serving) = &self.cluster.serving {
            let shown = serving.shown.clone();
            let first = serving.trial.then(|| self.before_first());
            self.version_brought(true);
            self.cluster.first = first;
            self.tell_change(&[], &shown);
        }
    }

    /// Starts a control role.
    pub(in super::super) fn start_control(&mut self) {
        self.slots[CLUSTER].restart_at = None;
        let Some(start) = &self.cluster.start else {
            return;
        };
        let socket =
            directory::place(request::SOCKET).map(|path| path.as_os_str().as_bytes().to_vec());
        let run = Run {
            directory: start.directory.as_os_str().as_bytes().to_vec(),
            socket: socket.unwrap_or_default(),
        };
        match role::start(Path::new(OWN_PROGRAM), &run) {
            Ok(role) => {
                self.voice.notice(format_args!(
                    "control role ({}) started",
                    role.process.number()
                ));
                self.slots[CLUSTER].running = Some(role);
                self.tell_held(CLUSTER);
            }
            Err(error) => {
                self.voice.alert(error);
                let (slot, now) = (&mut self.slots[CLUSTER], Instant::now());
                let wait = slot.backoff.died(now, now, false);
                slot.restart_at = Some(now + wait.max(AGAIN));
            }
        }
    }
}
