//! State of a cluster member: the accepted version, the candidate, and the requests of the control
//! role.

use crate::command::Start;
use crate::loading::Loading;
use crate::version::LoadedVersion;
use part::SharedFd;
use part::channel::Channel;
use rustix::event::PollFd;
use std::collections::VecDeque;
use std::time::Instant;

/// State of a cluster member; empty on other machines.
#[derive(Default)]
pub struct Cluster {
    pub start: Option<Start>,
    /// Requests that wait for the change in progress.
    pub waiting_requests: VecDeque<ControlRequest>,
    /// The version of the change in progress.
    pub serving: Option<VersionInProgress>,
    /// True if the control role that requested the change has died, so that the result is settled
    /// without it.
    pub orphaned: bool,
    /// The loader of a check, the number of the request, and whether the findings are JSON.
    pub checking: Option<Loading>,
    pub check_ask: (u64, bool),
    pub accepted: Option<SharedFd>,
    pub trial: Option<Trial>,
    /// State for a rollback, while the first version of this machine is served as a candidate.
    pub first: Option<First>,
    /// Time of the next attempt to load the accepted version, after a failure at the start.
    pub load_at: Option<Instant>,
    /// The reason why the accepted version could not be served at the start; empty if it is served.
    pub failure: String,
    /// Time of the next attempt to find what the version in service lacks.
    pub retry_at: Option<Instant>,
    /// True if the load in progress is such an attempt.
    pub retrying: bool,
    /// Number of unsuccessful attempts to find what the version lacks.
    pub retries: u32,
}

impl Cluster {
    pub fn trial_version(&self) -> Option<&LoadedVersion> {
        self.trial.as_ref().map(|trial| &trial.version)
    }

    /// Creates the state; `start` is None on a machine without a cluster.
    pub fn new(start: Option<Start>) -> Cluster {
        Cluster {
            start,
            ..Cluster::default()
        }
    }

    pub fn is_member(&self) -> bool {
        self.start.is_some()
    }

    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        let checking = self.checking.iter();
        checking.flat_map(|one| one.process.watched())
    }

    pub fn channels(&self) -> impl Iterator<Item = &Channel> {
        let checking = self.checking.iter().map(|one| &one.process);
        checking
            .filter(|process| !process.is_channel_closed)
            .map(|process| &process.channel)
    }

    pub fn deadline(&self) -> Option<Instant> {
        let checking = self.checking.as_ref().map(|one| one.until);
        let trial = self.trial.as_ref().and_then(Trial::until);
        [self.load_at, self.retry_at, checking, trial]
            .into_iter()
            .flatten()
            .min()
    }
}

/// A request of the control role.
#[derive(Clone)]
pub enum ControlRequest {
    /// Check whether a version could be served.
    Check {
        ask: u64,
        set: SharedFd,
        as_json: bool,
    },
    Serve {
        ask: u64,
        set: SharedFd,
        trial: bool,
        operation: String,
    },
    Accept {
        ask: u64,
    },
    /// Roll back to the version before the trial.
    Revert {
        ask: u64,
    },
}

impl ControlRequest {
    pub fn number(&self) -> u64 {
        match self {
            ControlRequest::Check { ask, .. }
            | ControlRequest::Serve { ask, .. }
            | ControlRequest::Accept { ask }
            | ControlRequest::Revert { ask } => *ask,
        }
    }
}

/// The version of a change in progress.
pub struct VersionInProgress {
    pub set: SharedFd,
    pub trial: bool,
    pub operation: String,
    pub shown: String,
}

pub struct Trial {
    pub version: LoadedVersion,
    pub set: SharedFd,
    /// Deadline of a rollback in progress, after which the proxy is killed.
    pub back_until: Option<Instant>,
    /// Numbers of the rollback requests that get a response at the end.
    pub asks: Vec<u64>,
    /// Number and deadline of the accept request. The version is accepted once the proxy reports
    /// that it did not roll back meanwhile.
    pub accepting: Option<(u64, Instant)>,
}

impl Trial {
    pub fn until(&self) -> Option<Instant> {
        self.back_until.or(self.accepting.map(|(_, until)| until))
    }
}

/// The state before a first version.
pub struct First {
    /// An accepted version that this machine could not serve.
    pub accepted: Option<SharedFd>,
}
