//! A loader at work, as the supervisor sees it.

use part::channel::{ChannelError, Received};
use part::role::{Load, Message, NotLoaded, Plan};
use part::spawn::{self, StartFailure, Started, Why};
use part::{Shared, memory};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a loader may work. Names that nobody answers take seconds each.
const LIMIT: Duration = Duration::from_secs(300);
/// Names another limit, seconds.
const LIMIT_VARIABLE: &str = "EVENKEEL_LOADER_SECONDS";
/// The longest one.
const LIMIT_SECONDS_MAX: u64 = 86_400;

/// A loader at work.
pub struct Loading {
    /// The process.
    pub process: Started,
    /// When it is given up.
    pub until: Instant,
    limit: Duration,
}

fn limit() -> Duration {
    let named = std::env::var(LIMIT_VARIABLE).ok();
    let seconds = named.and_then(|text| text.parse().ok());
    let seconds = seconds.filter(|seconds| (1..=LIMIT_SECONDS_MAX).contains(seconds));
    seconds.map_or(LIMIT, Duration::from_secs)
}

/// What a loader said.
pub struct Told {
    /// The version's plan, or why there is none.
    pub outcome: Result<Plan, NotLoaded>,
    /// For a log.
    pub plain: String,
    /// For who asked.
    pub shown: String,
    /// The bundle and the sockets.
    pub descriptors: Vec<OwnedFd>,
}

/// Why a loader told nothing.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The process, or the channel to it.
    #[error(transparent)]
    Process(StartFailure),
    /// Another message than a loader sends.
    #[error("unexpected reply of the loader")]
    Message,
    /// What there is to print cannot be read.
    #[error("the loader's messages: {0}")]
    Notes(memory::MemoryError),
    /// It took longer than this.
    #[error(
        "the loader was stopped because it took longer than {} s (a pipe without a writer, an unresponsive \
         nameserver?); {LIMIT_VARIABLE} sets another limit",
        .0.as_secs()
    )]
    TooLong(Duration),
    /// It ended without a word.
    #[error("the loader ended without a message")]
    Ended,
}

impl Loading {
    /// Starts a loader of this program, with these variables besides, and says
    /// what is asked.
    pub fn begin(
        program: &Path,
        load: Load,
        descriptors: &[Shared],
        variables: &[(&str, &OsStr)],
    ) -> Result<Loading, LoadError> {
        let personality = load.personality;
        let message = Message::Load(Box::new(load));
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

    /// What it said, once it did.
    fn look(&mut self) -> Result<Option<Told>, LoadError> {
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

    /// Takes the loader out of its place when it is done, with what it said.
    pub fn settle(place: &mut Option<Loading>) -> Option<Result<Told, LoadError>> {
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

    /// Ends the loader in this place, if there is one.
    pub fn abandon(place: &mut Option<Loading>) {
        if let Some(loading) = place.take() {
            loading.process.kill();
            loading.end();
        }
    }

    /// Waits for its end, which is near.
    fn end(mut self) {
        /// It has nothing left to do.
        const PATIENCE: Duration = Duration::from_millis(500);
        self.process.wait_for_end(Instant::now() + PATIENCE);
    }
}

fn read(received: Received) -> Result<Told, LoadError> {
    let mut descriptors = received.descriptors.into_iter();
    let mut text = || {
        let fd = descriptors.next().ok_or(LoadError::Message)?;
        memory::text(&fd).map_err(LoadError::Notes)
    };
    let outcome = match received.message {
        Message::Loaded(plan) => Ok(*plan),
        Message::NotLoaded(why) => Err(*why),
        _ => return Err(LoadError::Message),
    };
    Ok(Told {
        outcome,
        plain: text()?,
        shown: text()?,
        descriptors: descriptors.collect(),
    })
}
