//! Builds a configuration version with its sockets from the bundle and the descriptors that a role
//! receives.

use crate::process;
use configuration::{Recording, RecordingError};
use keyword::load;
use model::config::Config;
use model::log::{self, Sink};
use part::role::{Settings, Take, TakeTrial};
use part::{SharedFd, memory};
use proxy::listener::{self, AssignError, Listening};
use proxy::operations::{self, OperationsSocket};
use proxy::running::ServeOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Version as the supervisor passed it to the role. The role keeps the newest one, and passes it to
/// the next supervisor.
#[derive(Clone, Debug)]
pub struct SupervisorInput {
    pub take: Take,
    pub bundle: SharedFd,
    pub descriptors: Vec<SharedFd>,
    pub state: Option<SharedFd>,
}

#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    #[error(transparent)]
    Memory(#[from] memory::MemoryError),
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// The configuration of the bundle has errors for the role; contains the first message.
    #[error("the proxy refuses what the loader accepted: {0}")]
    Refused(String),
    #[error(transparent)]
    Assign(#[from] AssignError),
    #[error("a descriptor: {0}")]
    Descriptor(io::Error),
    #[error("the data plane: {0}")]
    DataPlane(io::Error),
}

/// Version that is built and ready to be served.
pub struct Built {
    pub config: Config,
    pub listening: Vec<Listening>,
    pub sockets: Vec<OperationsSocket>,
    pub sink: Sink,
}

impl SupervisorInput {
    /// Creates the input from a message; None if the descriptors do not fit the plan.
    pub fn new(mut take: Take, descriptors: Vec<OwnedFd>) -> Option<SupervisorInput> {
        let descriptors = descriptors.into_iter().map(Arc::new).collect();
        let parcel = take.sort(descriptors)?;
        // Clears the flag for state, which is only valid for this start of the role.
        take.state = false;
        Some(SupervisorInput {
            take,
            bundle: parcel.payload,
            descriptors: parcel.sockets,
            state: parcel.state,
        })
    }

    /// Returns a candidate version and its predecessor from a message; None if the descriptors do
    /// not fit.
    pub fn pair(
        trial: TakeTrial,
        mut descriptors: Vec<OwnedFd>,
    ) -> Option<(SupervisorInput, SupervisorInput)> {
        let own = trial.take.descriptors();
        if descriptors.len() < own {
            return None;
        }
        let former = descriptors.split_off(own);
        let given = SupervisorInput::new(trial.take, descriptors)?;
        Some((given, SupervisorInput::new(trial.former, former)?))
    }

    pub fn all_descriptors(&self) -> Vec<SharedFd> {
        std::iter::once(&self.bundle)
            .chain(&self.descriptors)
            .cloned()
            .collect()
    }

    pub fn options(&self) -> ServeOptions {
        let settings = &self.take.plan.settings;
        ServeOptions {
            threads: settings.threads as usize,
            connections_max: settings.connections_max,
        }
    }

    /// Builds the configuration from the bundle as the loader built it. A bundle with private keys
    /// is replaced by an empty one, since another supervisor requests only the sockets.
    pub fn replay(&mut self) -> Result<Config, VersionError> {
        let bytes = Zeroizing::new(memory::read(&self.bundle)?);
        let recording = Recording::decode(&bytes)?;
        if !configuration::without_secrets(&bytes) {
            let empty = memory::create("evenkeel bundle", &[]).map_err(VersionError::Descriptor)?;
            self.bundle = Arc::new(empty);
        }
        drop(bytes);
        let loaded = load::replay(recording);
        let mut config = loaded.config.ok_or_else(|| {
            let first = loaded.diagnostics.iter().next();
            VersionError::Refused(first.map(|d| d.message.clone()).unwrap_or_default())
        })?;
        let settings = &self.take.plan.settings;
        process::apply_plan(&mut config, &plan(settings));
        // Sets `maxconn` before values that are derived from it, such as `fullconn`.
        let connections = &mut config.global.maxconn;
        connections.get_or_insert(settings.connections_max);
        Ok(config)
    }

    /// Assigns the descriptors to listeners, statistics sockets and logs. The data plane shares the
    /// descriptor of a listener with this value.
    pub fn build(&mut self, config: Config) -> Result<Built, VersionError> {
        let plan = &self.take.plan;
        let mut given = std::mem::take(&mut self.descriptors).into_iter();
        let mut own = |count: u32| -> Result<Vec<OwnedFd>, VersionError> {
            let some = given.by_ref().take(count as usize);
            let some = some.map(|fd| Arc::try_unwrap(fd).or_else(|shared| shared.try_clone()));
            some.collect::<io::Result<_>>()
                .map_err(VersionError::Descriptor)
        };
        let listeners = own(plan.listeners)?;
        let sockets = own(plan.operations)?;
        let logs: Vec<SharedFd> = given.collect();
        let count = listener::wanted(&config).count() as u32;
        let sockets_left_out: Vec<u32> = plan
            .lacks
            .left_out
            .iter()
            .filter_map(|place| place.checked_sub(count))
            .collect();
        let listening = listener::assign(&config, listeners, &plan.lacks.left_out)?;
        let sockets = operations::assign(&config, sockets, &sockets_left_out)?;
        let copy = |fd: io::Result<OwnedFd>| fd.map_err(VersionError::Descriptor);
        let mut left = logs.iter();
        let mut sinks = Vec::with_capacity(plan.logs.len());
        for open in &plan.logs {
            let fd = open.then(|| left.next()).flatten();
            sinks.push(fd.map(|fd| copy(fd.try_clone())).transpose()?);
        }
        self.descriptors
            .extend(listening.iter().map(|one| Arc::clone(&one.fd)));
        for socket in &sockets {
            let fd = copy(socket.as_fd().try_clone_to_owned())?;
            self.descriptors.push(Arc::new(fd));
        }
        self.descriptors.extend(logs);
        let sink = Sink::from_descriptors(&log::targets(&config), sinks);
        Ok(Built {
            config,
            listening,
            sockets,
            sink,
        })
    }
}

fn plan(settings: &Settings) -> process::ProcessOverrides {
    process::ProcessOverrides {
        connections: settings.connections,
        proxy_connections: settings.proxy_connections,
        ..Default::default()
    }
}
