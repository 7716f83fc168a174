//! What belongs to a machine of a cluster: the version that it accepted, the candidate, and
//! what the control role asks for.

use crate::command::Start;
use crate::loading::Loading;
use crate::version::Version;
use part::Shared;
use part::channel::Channel;
use rustix::event::PollFd;
use std::collections::VecDeque;
use std::time::Instant;

/// What belongs to a machine of a cluster; all of it is empty for another one.
#[derive(Default)]
pub struct Cluster {
    pub start: Option<Start>,
    /// Requests that wait for the change in progress.
    pub asks: VecDeque<Ask>,
    /// The version that a change brings.
    pub serving: Option<Serving>,
    /// Who asked for that has died: what comes of it is settled without it.
    pub orphaned: bool,
    /// A loader that only checks, who asked for that, and whether for a program.
    pub checking: Option<Loading>,
    pub check_ask: (u64, bool),
    /// The files of the last accepted version.
    pub accepted: Option<Shared>,
    pub trial: Option<Trial>,
    /// The served version is a candidate and the first one.
    pub first: Option<First>,
    /// When loading the accepted version is tried again, after it failed at the start.
    pub load_at: Option<Instant>,
    /// Why the accepted version could not be served at the start; empty: it is served.
    pub failure: String,
    /// When the things that the served version lacks are looked for again.
    pub retry_at: Option<Instant>,
    /// The load in progress looks for them.
    pub retrying: bool,
    /// How often they were looked for in vain.
    pub retries: u32,
}

impl Cluster {
    /// Returns the candidate version.
    pub fn trial_version(&self) -> Option<&Version> {
        self.trial.as_ref().map(|trial| &trial.version)
    }

    /// Of a machine that belongs to one, or to none.
    pub fn new(start: Option<Start>) -> Cluster {
        Cluster {
            start,
            ..Cluster::default()
        }
    }

    /// Whether the machine belongs to a cluster.
    pub fn is_member(&self) -> bool {
        self.start.is_some()
    }

    /// What is to be watched.
    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        let checking = self.checking.iter();
        checking.flat_map(|one| one.process.watched())
    }

    /// The channels to those that listen.
    pub fn channels(&self) -> impl Iterator<Item = &Channel> {
        let checking = self.checking.iter().map(|one| &one.process);
        checking
            .filter(|process| !process.silent)
            .map(|process| &process.channel)
    }

    /// When something is due by itself.
    pub fn deadline(&self) -> Option<Instant> {
        let checking = self.checking.as_ref().map(|one| one.until);
        let trial = self.trial.as_ref().and_then(Trial::until);
        [self.load_at, self.retry_at, checking, trial]
            .into_iter()
            .flatten()
            .min()
    }
}

/// Something that the control role asks for.
#[derive(Clone)]
pub enum Ask {
    /// Whether a version could be served.
    Check {
        /// Which answer is its.
        ask: u64,
        /// The version.
        set: Shared,
        /// What is found is for a program.
        as_json: bool,
    },
    /// A version is to be served.
    Serve {
        /// Which answer is its.
        ask: u64,
        /// The version.
        set: Shared,
        /// Whether it is a candidate.
        trial: bool,
    },
    /// Accepts the candidate version.
    Accept {
        /// Which answer is its.
        ask: u64,
    },
    /// What served before the trial serves again.
    Revert {
        /// Which answer is its.
        ask: u64,
    },
}

impl Ask {
    pub fn number(&self) -> u64 {
        match self {
            Ask::Check { ask, .. }
            | Ask::Serve { ask, .. }
            | Ask::Accept { ask }
            | Ask::Revert { ask } => *ask,
        }
    }
}

/// The version that a change brings.
pub struct Serving {
    /// Its files.
    pub set: Shared,
    /// Whether it is a candidate.
    pub trial: bool,
    /// Output of the loader of a first version.
    pub shown: String,
}

/// A candidate version.
pub struct Trial {
    /// What it is.
    pub version: Version,
    /// Its files.
    pub set: Shared,
    /// Rollback in progress; the instant at which it is forced.
    pub back_until: Option<Instant>,
    /// Requests to respond to when it is over.
    pub asks: Vec<u64>,
    /// It is accepted as soon as the proxy says that it did not go back meanwhile: who
    /// is answered, and how long that may take.
    pub accepting: Option<(u64, Instant)>,
}

impl Trial {
    /// Until when the proxy is waited for.
    pub fn until(&self) -> Option<Instant> {
        self.back_until.or(self.accepting.map(|(_, until)| until))
    }
}

/// What there was before a first version.
pub struct First {
    /// A version that was accepted, and that could not be served here.
    pub accepted: Option<Shared>,
}
