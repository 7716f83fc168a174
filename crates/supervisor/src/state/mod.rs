//! Defines the state of the supervisor, in groups by concept. The modules of the crate that carry
//! out its functions use this state and not each other.

mod changes;
pub mod cluster;
pub mod upgrade;

pub use changes::{Changes, ReloadResult};

use crate::between::Between;
use crate::carried::Carried;
use crate::command::StartParameters;
use crate::control::ControlSocket;
use crate::directory::{Entry, Lock};
use crate::draining::DrainingRoles;
use crate::entry_status::EntryStatus;
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
use crate::slot::Slots;
use crate::stop::{FAILED, Stop};
use crate::version::{LoadedVersion, decider};
use crate::watcher::Watcher;
use cluster::Cluster;
use part::SharedFd;
use part::daemon::Ready;
use part::voice::MessagePrinter;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use upgrade::Upgrade;

pub const TAKE_LIMIT: Duration = Duration::from_secs(300);

/// The supervisor with all of its state. Only its single thread accesses the state, one event of
/// the main loop at a time.
pub struct Supervisor {
    pub command: StartParameters,
    pub voice: MessagePrinter,
    pub process: SupervisorProcess,
    pub interfaces: Doors,
    pub versions: Versions,
    pub changing: Changing,
    pub service: Service,
    pub slots: Slots,
    pub cluster: Cluster,
    pub between: Between,
    pub pulses: Pulses,
    pub carried: Carried,
}

pub struct SupervisorProcess {
    pub signals: Signals,
    pub files_soft: u64,
    pub since: Instant,
    pub program: Program,
    /// The parent process, which waits until a version is in service.
    pub ready: Option<Ready>,
    pub pid_file: Option<PidFile>,
    pub pid_path: Option<PathBuf>,
    pub exit: Option<u8>,
}

/// Interfaces on which others reach the supervisor, and the service manager.
#[derive(Default)]
pub struct Doors {
    pub control: Option<ControlSocket>,
    /// Entry in the runtime directory until the control socket is open.
    pub claim: Option<(Entry, OwnedFd)>,
    /// Lock on the state directory of a cluster member, until this process ends.
    pub member: Option<Lock>,
    /// Master sockets; None until they are opened.
    pub master: Option<Master>,
    pub notify: Notify,
    pub entries: EntryStatus,
}

#[derive(Default)]
pub struct Versions {
    pub last_good: Option<LoadedVersion>,
    /// An adopted role whose configuration version is not known yet.
    pub unsettled: Option<Unsettled>,
    pub candidate: Option<Candidate>,
    pub last: u64,
}

impl Versions {
    pub fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub fn is_without_proxy(&self) -> bool {
        let kept = self.last_good.as_ref();
        kept.is_some_and(LoadedVersion::is_without_proxy)
    }

    /// Returns whether the last good version can be served only with the role of this part.
    pub fn decides(&self, part: &str) -> bool {
        decider(self.last_good.as_ref()) == part
    }

    /// Returns whether the role of this part applies the change in progress, or refuses it.
    pub fn decides_change(&self, part: &str) -> bool {
        let candidate = self.candidate.as_ref();
        candidate.is_some_and(|candidate| decider(Some(&candidate.version)) == part)
    }

    /// Returns the time for connections to finish, as configured in the last good version.
    pub fn hard_stop_after_ms(&self) -> Option<u64> {
        self.last_good.as_ref()?.plan().hard_stop_after_ms
    }
}

/// The reload in progress, and the requests for the next one.
#[derive(Default)]
pub struct Changing {
    pub loading: Option<Loading>,
    pub operation: String,
    pub requests: Requests,
    pub watcher: Watcher,
    pub counts: Changes,
    pub upgrade: Option<Upgrade>,
}

/// State of the service: whether a version was ever served and whether it is paused, the stop in
/// progress, and the proxy roles that finish their connections.
#[derive(Default)]
pub struct Service {
    pub served: bool,
    pub paused: bool,
    pub stop: Option<Stop>,
    /// Number of roles that were killed before anything was served.
    pub killed_at_start: u32,
    pub draining: DrainingRoles,
}

/// A version that the role got and has not confirmed yet.
pub struct Candidate {
    pub version: LoadedVersion,
    pub trial: bool,
    /// Output of the loader, for the client that asked.
    pub shown: String,
    /// Time at which the requesters get an error because the role takes too long.
    pub until: Instant,
}

#[derive(Default)]
pub struct Unsettled {
    pub sockets: Vec<SharedFd>,
    /// Entry of the adopted role's former supervisor in the runtime directory; None once the entry
    /// of this supervisor exists.
    pub entry: Option<PathBuf>,
}

impl Supervisor {
    pub fn new(command: StartParameters, voice: MessagePrinter) -> Result<Supervisor, StartError> {
        let signals = Signals::new().map_err(StartError::Threads)?;
        let notify = if command.notify {
            Notify::of_environment()
        } else {
            Notify::default()
        };
        Ok(Supervisor {
            carried: Carried::from(command.before.clone()),
            cluster: Cluster::new(command.cluster.clone()),
            command,
            voice,
            process: SupervisorProcess {
                signals,
                files_soft: limits::raise_own(),
                since: Instant::now(),
                program: Program::of_start(),
                ready: None,
                pid_file: None,
                pid_path: None,
                exit: None,
            },
            interfaces: Doors {
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
        self.process.exit = Some(FAILED);
    }

    /// Returns the candidate, or the last good version if there is none.
    pub fn version_in_service(&self) -> Option<&LoadedVersion> {
        let candidate = self.cluster.trial_version();
        candidate.or(self.versions.last_good.as_ref())
    }
}
