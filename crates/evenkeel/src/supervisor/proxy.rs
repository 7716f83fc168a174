//! The proxy role, as the supervisor sees it.

use super::limits;
use super::stop::Stop;
use super::version::Version;
use crate::roles::Shared;
use crate::roles::channel::{ChannelError, Received};
use crate::roles::spawn::{self, Started};
use crate::voice::Voice;
use protocol::role::{Message, Plan};
use rustix::event::PollFd;
use rustix::process::Signal;
use std::fmt;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a role may take until it serves.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// A proxy role.
pub struct Proxy {
    /// The process.
    pub process: Started,
    /// When it was started.
    pub born: Instant,
    /// It serves.
    pub ready: bool,
    /// It did not serve in time, and is about to end.
    pub killed: bool,
    /// It was not started by this image of the supervisor.
    pub adopted: bool,
    /// It said that it ends by this signal.
    pub obeys: Option<nix::sys::signal::Signal>,
    /// When it was last given a process that runs programs of checks.
    pub programs_at: Option<Instant>,
}

/// What a role is told that is to stay.
pub struct Guard {
    /// The user of the start, who may supervise it.
    pub uid: u32,
    /// Where another supervisor would come.
    pub listener: Option<Shared>,
}

/// Why a role could not be started.
#[derive(Debug)]
pub enum ProxyError {
    /// The process.
    Start(io::Error),
    /// Its limits.
    Limits(rustix::io::Errno),
    /// The channel.
    Channel(ChannelError),
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyError::Start(error) => write!(f, "the proxy could not be started: {error}"),
            ProxyError::Limits(errno) => write!(f, "the limits of the proxy: {errno}"),
            ProxyError::Channel(error) => write!(f, "the proxy: {error}"),
        }
    }
}

impl std::error::Error for ProxyError {}

impl Proxy {
    /// Starts a role of a program with a version, and what the role before knew.
    /// One that is to stay is told so before anything else.
    pub fn start(
        program: &Path,
        version: &Version,
        state: Option<&Shared>,
        guard: Option<Guard>,
    ) -> Result<Proxy, ProxyError> {
        let personality = version.take.personality;
        let process = spawn::start(program, spawn::PROXY_ENTRY, personality, &[])
            .map_err(ProxyError::Start)?;
        let mut proxy = Proxy {
            process,
            born: Instant::now(),
            ready: false,
            killed: false,
            adopted: false,
            obeys: None,
            programs_at: None,
        };
        let told = guard.map_or(Ok(()), |guard| proxy.guard(guard));
        match told.and_then(|()| proxy.give(version, state)) {
            Ok(()) => Ok(proxy),
            Err(error) => {
                proxy.process.end_now();
                Err(error)
            }
        }
    }

    /// One that serves already.
    pub fn adopted(process: Started) -> Proxy {
        Proxy {
            process,
            born: Instant::now(),
            ready: true,
            killed: false,
            adopted: true,
            obeys: None,
            programs_at: None,
        }
    }

    /// What is to be watched.
    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.process.watched()
    }

    /// What it says next. One whose words cannot be understood is ended.
    pub fn hear(&mut self, voice: &mut Voice) -> Option<Received> {
        self.process.hear().unwrap_or_else(|error| {
            voice.alert(format_args!("the proxy: {error}"));
            None
        })
    }

    /// Tells it that it is the one to serve on when its supervisor goes.
    pub fn guard(&mut self, guard: Guard) -> Result<(), ProxyError> {
        let message = Message::Guard { uid: guard.uid };
        let listener: Vec<Shared> = guard.listener.into_iter().collect();
        let channel = &mut self.process.channel;
        channel
            .send(&message, &listener)
            .map_err(ProxyError::Channel)
    }

    /// Hands a version over, with what the role before knew.
    pub fn give(&mut self, version: &Version, state: Option<&Shared>) -> Result<(), ProxyError> {
        let all = version.all_descriptors(state);
        self.give_as(version.plan(), &version.message(state), &all)
    }

    /// Hands a version of this plan over in a message.
    pub fn give_as(
        &mut self,
        plan: &Plan,
        message: &Message,
        descriptors: &[Shared],
    ) -> Result<(), ProxyError> {
        match limits::give(self.process.pid(), plan) {
            // A role that has given up its rights is another user's process,
            // which root of a container may not touch: it raises what it may
            // itself, and says what it may not.
            Err(rustix::io::Errno::PERM) if self.ready => {}
            other => other.map_err(ProxyError::Limits)?,
        }
        self.process
            .channel
            .send(message, descriptors)
            .map_err(ProxyError::Channel)
    }

    /// Says something without descriptors; whether that can arrive. Mostly who
    /// cannot be told is about to be seen as ended.
    pub fn say(&mut self, message: &Message) -> bool {
        self.process.say(message, &[])
    }

    /// Tells it to end. One that hears nothing any more still has signals.
    pub fn stop(&mut self, stop: &Stop) {
        let message = match stop.is_soft() {
            true => Message::StopSoftly,
            false => Message::StopNow {
                signal: stop.signal as u32,
            },
        };
        if !self.say(&message) {
            self.process.signal(match stop.signal {
                nix::sys::signal::Signal::SIGUSR1 => Signal::USR1,
                nix::sys::signal::Signal::SIGINT => Signal::INT,
                _ => Signal::TERM,
            });
        }
    }

    /// When it is taken for one that never serves.
    pub fn deadline(&self) -> Option<Instant> {
        (!self.ready && !self.killed).then_some(self.born + READY_LIMIT)
    }
}
