//! The proxy role, as the supervisor sees it.

use super::limits;
use super::stop::Stop;
use super::version::Version;
use crate::roles::Shared;
use crate::roles::channel::ChannelError;
use crate::roles::spawn::{self, Started};
use protocol::role::{Message, Personality};
use rustix::process::Signal;
use std::fmt;
use std::io;
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
    /// Starts a role with a version, and with what the one before it knew.
    pub fn start(
        version: &Version,
        personality: Personality,
        state: Option<&Shared>,
    ) -> Result<Proxy, ProxyError> {
        let process =
            spawn::start(spawn::PROXY_ENTRY, personality, &[]).map_err(ProxyError::Start)?;
        let mut proxy = Proxy {
            process,
            born: Instant::now(),
            ready: false,
        };
        match proxy.give_with(version, state) {
            Ok(()) => Ok(proxy),
            Err(error) => {
                proxy.kill();
                Err(error)
            }
        }
    }

    /// Hands a further version over.
    pub fn give(&mut self, version: &Version) -> Result<(), ProxyError> {
        self.give_with(version, None)
    }

    fn give_with(&mut self, version: &Version, state: Option<&Shared>) -> Result<(), ProxyError> {
        match limits::give(self.process.pid(), version.plan()) {
            // A role that has given up its rights is another user's process,
            // which root of a container may not touch: it raises what it may
            // itself, and says what it may not.
            Err(rustix::io::Errno::PERM) if self.ready => {}
            other => other.map_err(ProxyError::Limits)?,
        }
        let mut descriptors = version.all_descriptors();
        descriptors.extend(state.cloned());
        self.process
            .channel
            .send(&version.message(state.is_some()), &descriptors)
            .map_err(ProxyError::Channel)
    }

    /// Says something without descriptors; whether that can arrive. Mostly who
    /// cannot be told is about to be seen as ended.
    pub fn say(&mut self, message: &Message) -> bool {
        !self.process.silent && self.process.channel.send(message, &[]).is_ok()
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

    /// Ends it and waits for that.
    pub fn kill(&mut self) {
        self.process.signal(Signal::KILL);
        while self.process.ended().is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// When it is taken for one that never serves.
    pub fn deadline(&self) -> Option<Instant> {
        (!self.ready).then_some(self.born + READY_LIMIT)
    }

    /// Its process id, for messages.
    pub fn pid(&self) -> i32 {
        self.process.pid().as_raw_nonzero().get()
    }
}
