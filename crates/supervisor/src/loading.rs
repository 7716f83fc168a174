//! A running loader, as seen by the supervisor.

use part::channel::{ChannelError, Received};
use part::role::{Load, NotLoaded, SupervisorMessage, VersionPlan};
use part::spawn::{self, StartFailure, Started, Why};
use part::{SharedFd, memory};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// Timeout of a loader. Each host name without a response takes seconds.
const LIMIT: Duration = Duration::from_secs(300);
/// Environment variable with another timeout, in seconds.
const LIMIT_VARIABLE: &str = "EVENKEEL_LOADER_SECONDS";
/// Maximum value of that variable.
const LIMIT_SECONDS_MAX: u64 = 86_400;

/// A running loader.
pub struct Loading {
    pub process: Started,
    /// Time at which the loader is killed.
    pub until: Instant,
    limit: Duration,
}

fn limit() -> Duration {
    let named = std::env::var(LIMIT_VARIABLE).ok();
    let seconds = named.and_then(|text| text.parse().ok());
    let seconds = seconds.filter(|seconds| (1..=LIMIT_SECONDS_MAX).contains(seconds));
    seconds.map_or(LIMIT, Duration::from_secs)
}

/// The result of a loader.
pub struct LoaderResult {
    /// Plan of the version, or the reason why there is none.
    pub outcome: Result<VersionPlan, NotLoaded>,
    pub plain: String,
    pub shown: String,
    /// The bundle and the sockets.
    pub descriptors: Vec<OwnedFd>,
}

/// The reason why a loader gave no result.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The process could not be started, or its channel failed.
    #[error(transparent)]
    Process(StartFailure),
    /// The loader sent an unexpected message.
    #[error("unexpected reply of the loader")]
    Message,
    /// The diagnostics cannot be read.
    #[error("the loader's messages: {0}")]
    Notes(memory::MemoryError),
    /// The loader exceeded this timeout.
    #[error(
        "the loader was stopped because it took longer than {} s (a pipe without a writer, an unresponsive \
         nameserver?); {LIMIT_VARIABLE} sets another limit",
        .0.as_secs()
    )]
    TooLong(Duration),
    /// The loader ended without a message.
    #[error("the loader ended without a message")]
    Ended,
}

impl Loading {
    /// Starts a loader of a program with additional environment variables, and sends the request.
    pub fn begin(
        program: &Path,
        load: Load,
        descriptors: &[SharedFd],
        variables: &[(&str, &OsStr)],
    ) -> Result<Loading, LoadError> {
        let personality = load.personality;
        let message = SupervisorMessage::Load(Box::new(load));
        let first = |process: &mut Started| process.send(&message, descriptors);
        let entry = spawn::LOADER_ENTRY;
        let process = spawn::start(program, entry, personality, variables, first)
            .map_err(LoadError::Process)?;
        let limit = limit();
        Ok(Loading {
            process,
            until: Instant::now() + limit,
            limit,
        })
    }

    /// Returns the result, once the loader has sent it.
    fn look(&mut self) -> Result<Option<LoaderResult>, LoadError> {
        let channel = &mut self.process.channel;
        let received = channel.flush().and_then(|()| channel.receive());
        match received {
            Ok(None) if Instant::now() >= self.until => Err(LoadError::TooLong(self.limit)),
            Ok(None) => Ok(None),
            Ok(Some(received)) => read(received).map(Some),
            Err(ChannelError::Closed) => Err(LoadError::Ended),
            Err(error) => {
                let failure = self.process.failure(Why::Channel(error));
                Err(LoadError::Process(failure))
            }
        }
    }

    /// Removes a loader that is done, and returns its result.
    pub fn settle(place: &mut Option<Loading>) -> Option<Result<LoaderResult, LoadError>> {
        let loading = place.as_mut()?;
        let told = loading.look().transpose()?;
        if told.is_err() {
            loading.process.kill();
        }
        if let Some(loading) = place.take() {
            loading.end();
        }
        Some(told)
    }

    /// Kills the loader in this slot, if there is one.
    pub fn abandon(place: &mut Option<Loading>) {
        if let Some(loading) = place.take() {
            loading.process.kill();
            loading.end();
        }
    }

    /// Waits for the end of the loader, which is expected soon.
    fn end(mut self) {
        /// Time to end after the last message; the loader has no work left.
        const PATIENCE: Duration = Duration::from_millis(500);
        self.process.wait_for_end(Instant::now() + PATIENCE);
    }
}

fn read(received: Received) -> Result<LoaderResult, LoadError> {
    let mut descriptors = received.descriptors.into_iter();
    let mut text = || {
        let fd = descriptors.next().ok_or(LoadError::Message)?;
        memory::text(&fd).map_err(LoadError::Notes)
    };
    let outcome = match received.message {
        SupervisorMessage::Loaded(plan) => Ok(*plan),
        SupervisorMessage::NotLoaded(why) => Err(*why),
        _ => return Err(LoadError::Message),
    };
    Ok(LoaderResult {
        outcome,
        plain: text()?,
        shown: text()?,
        descriptors: descriptors.collect(),
    })
}
