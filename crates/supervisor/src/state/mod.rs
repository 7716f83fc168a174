//! What the supervisor holds, in order by concept. The modules above, one for each thing
//! that it does, know this one and not each other.

mod changes;
pub mod cluster;
pub mod upgrade;

pub use changes::{Changes, Ending};

use crate::between::Between;
use crate::carried::Carried;
use crate::command::Command;
use crate::control::Control;
use crate::directory::{Entry, Lock};
use crate::error::StartError;
use crate::first::PidFile;
use crate::limits;
use crate::loading::Loading;
use crate::master::Master;
use crate::notify::Notify;
use crate::program::Program;
use crate::pulse::Pulses;
use crate::requests::Requests;
use crate::signals::Signals;
use crate::slot::{Running, Slots};
use crate::stop::{FAILED, Stop};
use crate::version::Version;
use crate::watcher::Watcher;
use cluster::Cluster;
use part::Shared;
use part::daemon::Ready;
use part::voice::Voice;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use upgrade::Upgrade;

/// How long a role may take to take a version in.
pub const TAKE_LIMIT: Duration = Duration::from_secs(300);

/// A supervisor.
pub struct Supervisor {
    pub command: Command,
    pub voice: Voice,
    pub own: Own,
    pub doors: Doors,
    pub versions: Versions,
    pub changing: Changing,
    pub service: Service,
    /// The roles.
    pub slots: Slots,
    /// The cluster that this machine belongs to.
    pub cluster: Cluster,
    /// What parts say to each other.
    pub between: Between,
    /// Whether the roles show life.
    pub pulses: Pulses,
    pub carried: Carried,
}

/// This process.
pub struct Own {
    pub signals: Signals,
    /// How many files it could open when it was started.
    pub files_soft: u64,
    /// When it began.
    pub since: Instant,
    /// Which file this program is.
    pub program: Program,
    /// The parent, which waits until something is served.
    pub ready: Option<Ready>,
    pub pid_file: Option<PidFile>,
    /// Where that is, once it was written.
    pub pid_path: Option<PathBuf>,
    /// With what it exits, once it does.
    pub exit: Option<u8>,
}

/// Where others reach the supervisor, and whom it reports to.
#[derive(Default)]
pub struct Doors {
    pub control: Option<Control>,
    /// The entry in the runtime directory until then.
    pub claim: Option<(Entry, OwnedFd)>,
    /// The lock on the state directory of a member, as long as this process lives.
    pub member: Option<Lock>,
    /// None until they are opened.
    pub master: Option<Master>,
    pub notify: Notify,
}

/// The versions that it knows.
#[derive(Default)]
pub struct Versions {
    /// The last good version.
    pub kept: Option<Version>,
    /// A role was taken whose version is not known.
    pub unsettled: Option<Unsettled>,
    pub candidate: Option<Candidate>,
    /// The number of the newest one.
    pub last: u64,
}

impl Versions {
    /// How long connections may take to finish, as the last good version says.
    pub fn hard_stop_after_ms(&self) -> Option<u64> {
        self.kept.as_ref()?.plan().hard_stop_after_ms
    }
}

/// The change in progress, and who wants the next one.
#[derive(Default)]
pub struct Changing {
    pub loading: Option<Loading>,
    pub requests: Requests,
    pub watcher: Watcher,
    pub counts: Changes,
    pub upgrade: Option<Upgrade>,
}

/// What is served, and how that ends.
#[derive(Default)]
pub struct Service {
    /// It served at least once.
    pub served: bool,
    pub paused: bool,
    pub stop: Option<Stop>,
    /// Roles that were killed before anything was served.
    pub killed_at_start: u32,
    /// Roles that finish.
    pub formers: Vec<Former>,
    /// A role of another program, which finishes once there is one of ours.
    pub foreign: Option<Running>,
}

/// A version that the role was handed and did not answer yet.
pub struct Candidate {
    /// What it is.
    pub version: Version,
    /// Served as a candidate.
    pub trial: bool,
    /// Output of the loader, for the client that asked.
    pub shown: String,
    /// When those who asked are told that it takes too long.
    pub until: Instant,
}

/// A role that is served by no version that is known, until there is one.
#[derive(Default)]
pub struct Unsettled {
    /// Its sockets.
    pub sockets: Vec<Shared>,
    /// The entry of the supervisor that it had; None once this one can be found.
    pub entry: Option<PathBuf>,
}

/// A role that finishes.
pub struct Former {
    /// The role.
    pub proxy: Running,
    /// When it is ended by force.
    pub until: Option<Instant>,
    /// It told what it counted at last.
    pub told: bool,
}

impl Former {
    /// One that finishes until then.
    pub fn new(proxy: Running, until: Option<Instant>) -> Former {
        Former {
            proxy,
            until,
            told: false,
        }
    }
}

impl Supervisor {
    /// One that has not begun.
    pub fn new(command: Command, voice: Voice) -> Result<Supervisor, StartError> {
        let signals = Signals::new().map_err(StartError::Threads)?;
        let notify = match command.notify {
            true => Notify::of_environment(),
            false => Notify::default(),
        };
        Ok(Supervisor {
            carried: Carried::from(command.before.clone()),
            cluster: Cluster::new(command.cluster.clone()),
            command,
            voice,
            own: Own {
                signals,
                files_soft: limits::raise_own(),
                since: Instant::now(),
                program: Program::of_start(),
                ready: None,
                pid_file: None,
                pid_path: None,
                exit: None,
            },
            doors: Doors {
                notify,
                ..Doors::default()
            },
            versions: Versions::default(),
            changing: Changing::default(),
            service: Service::default(),
            slots: Slots::default(),
            between: Between::default(),
            pulses: Pulses::default(),
        })
    }

    pub fn fail(&mut self, error: impl std::fmt::Display) {
        self.voice.fatal(error);
        self.own.exit = Some(FAILED);
    }

    /// The number of the next version.
    pub fn next_version(&mut self) -> u64 {
        self.versions.last += 1;
        self.versions.last
    }
}
