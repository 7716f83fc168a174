//! The proxy role, as the supervisor sees it.

use super::limits;
use super::stop::Stop;
use super::version::Version;
use crate::roles::Shared;
use crate::roles::spawn::{self, StartFailure, Started};
use part::role::{Manner, Message, Plan};
use rustix::event::PollFd;
use rustix::process::Signal;
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

impl Proxy {
    /// Starts a role of a program with a version, and what the role before knew. With a
    /// guard (and the socket of that, where there is one) it serves on without a supervisor.
    pub fn start(
        program: &Path,
        version: &Version,
        state: Option<&Shared>,
        guard: Option<Option<&Shared>>,
    ) -> Result<Proxy, StartFailure> {
        let personality = version.take.personality;
        let first = |process: &mut Started| {
            guard.map_or(Ok(()), |listener| process.guard(listener))?;
            limits::give(process, version.plan(), false)?;
            process.send(&version.message(state), &version.all_descriptors(state))
        };
        let process = spawn::start(program, spawn::PROXY_ENTRY, personality, &[], first)?;
        Ok(Proxy {
            ready: false,
            adopted: false,
            ..Proxy::adopted(process)
        })
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

    /// Hands a version over.
    pub fn give(&mut self, version: &Version) -> Result<(), StartFailure> {
        let all = version.all_descriptors(None);
        self.give_as(version.plan(), &version.message(None), &all)
    }

    /// Hands a version of this plan over in a message.
    pub fn give_as(
        &mut self,
        plan: &Plan,
        message: &Message,
        descriptors: &[Shared],
    ) -> Result<(), StartFailure> {
        limits::give(&self.process, plan, self.ready)?;
        self.process.send(message, descriptors)
    }

    /// Says something without descriptors; whether that can arrive. Mostly who
    /// cannot be told is about to be seen as ended.
    pub fn say(&mut self, message: &Message) -> bool {
        self.process.say(message, &[])
    }

    /// Tells it to end. One that hears nothing any more still has signals.
    pub fn stop(&mut self, stop: &Stop) {
        let manner = match stop.is_soft() {
            true => Manner::Soft,
            false => Manner::Now {
                signal: stop.signal as u32,
            },
        };
        let signal = match stop.signal {
            nix::sys::signal::Signal::SIGUSR1 => Signal::USR1,
            nix::sys::signal::Signal::SIGINT => Signal::INT,
            _ => Signal::TERM,
        };
        self.process.stop(manner, signal);
    }

    /// When it is taken for one that never serves.
    pub fn deadline(&self) -> Option<Instant> {
        (!self.ready && !self.killed).then_some(self.born + READY_LIMIT)
    }
}
