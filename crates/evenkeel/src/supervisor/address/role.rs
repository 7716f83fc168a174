//! An address role, as the supervisor sees it.

use super::super::Command;
use super::Run;
use crate::roles::Shared;
use crate::roles::channel::{ChannelError, Received};
use crate::roles::spawn::{self, Started};
use crate::voice::Voice;
use protocol::role::{Message, TakeAddresses};
use rustix::event::PollFd;
use rustix::process::Signal;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a role may take until it runs.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// An address role.
pub struct AddressRole {
    /// The process.
    pub process: Started,
    /// When it was started.
    pub born: Instant,
    /// It runs.
    pub ready: bool,
    /// It did not run in time, and is about to end.
    pub killed: bool,
    /// It was told to leave; when it is ended by force.
    pub leaves_until: Option<Instant>,
}

/// Why a role could not be started or told.
#[derive(Debug)]
pub enum AddressRoleError {
    /// The process.
    Start(io::Error),
    /// The channel.
    Channel(ChannelError),
}

impl fmt::Display for AddressRoleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressRoleError::Start(error) => {
                write!(f, "the address role could not be started: {error}")
            }
            AddressRoleError::Channel(error) => write!(f, "the address role: {error}"),
        }
    }
}

impl std::error::Error for AddressRoleError {}

/// Where another supervisor comes, the file of the state, the heartbeats.
type Beside<'s> = (Option<&'s Shared>, Option<&'s Shared>, Option<&'s Shared>);

impl AddressRole {
    /// Starts one.
    pub fn start(
        program: &Path,
        run: &Run,
        command: &Command,
        (guard, keep, vitals): Beside<'_>,
    ) -> Result<AddressRole, AddressRoleError> {
        let process = spawn::start(program, spawn::ADDRESS_ENTRY, command.personality, &[])
            .map_err(AddressRoleError::Start)?;
        let mut role = AddressRole::running(process);
        role.ready = false;
        let told = match guard {
            Some(guard) => role.guard(guard),
            None => Ok(()),
        };
        match told.and_then(|()| role.give(run, command, keep, vitals)) {
            Ok(()) => Ok(role),
            Err(error) => {
                role.process.end_now();
                Err(error)
            }
        }
    }

    /// One that runs already.
    pub fn running(process: Started) -> AddressRole {
        AddressRole {
            process,
            born: Instant::now(),
            ready: true,
            killed: false,
            leaves_until: None,
        }
    }

    /// Tells it that it is to serve on when this process goes, and where another
    /// one comes then.
    pub fn guard(&mut self, listener: &Shared) -> Result<(), AddressRoleError> {
        let uid = rustix::process::geteuid().as_raw();
        let message = Message::Guard { uid };
        let sent = self
            .process
            .channel
            .send(&message, std::slice::from_ref(listener));
        sent.map_err(AddressRoleError::Channel)
    }

    /// Gives it what it is to run.
    pub fn give(
        &mut self,
        run: &Run,
        command: &Command,
        keep: Option<&Shared>,
        vitals: Option<&Shared>,
    ) -> Result<(), AddressRoleError> {
        let take = TakeAddresses {
            version: run.version,
            personality: command.personality,
            plan: run.plan.clone(),
            log: command.log.clone(),
            keep: keep.is_some(),
            vitals: vitals.is_some(),
            dump_directory: command.dumps.as_os_str().as_bytes().to_vec(),
        };
        let mut descriptors = vec![run.config.clone()];
        descriptors.extend(keep.cloned());
        descriptors.extend(vitals.cloned());
        let message = Message::TakeAddresses(Box::new(take));
        let sent = self.process.channel.send(&message, &descriptors);
        sent.map_err(AddressRoleError::Channel)
    }

    /// What is to be watched.
    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.process.watched()
    }

    /// What it says next. One whose words cannot be understood is ended.
    pub fn hear(&mut self, voice: &mut Voice) -> Option<Received> {
        self.process.hear().unwrap_or_else(|error| {
            voice.alert(format_args!("the address role: {error}"));
            None
        })
    }

    /// Says something; whether that can arrive.
    pub fn say(&mut self, message: &Message) -> bool {
        self.process.say(message, &[])
    }

    /// Tells it to end, with its addresses given up or left to another one.
    pub fn stop(&mut self, release: bool) {
        if !self.say(&Message::StopAddresses { release }) {
            self.process.signal(Signal::TERM);
        }
    }

    /// Tells it to leave everything to the one that followed it.
    pub fn leave(&mut self, until: Instant) {
        if self.leaves_until.is_none() {
            self.stop(false);
            self.leaves_until = Some(until);
        }
    }

    /// When it is taken for one that never runs.
    pub fn deadline(&self) -> Option<Instant> {
        (!self.ready && !self.killed).then_some(self.born + READY_LIMIT)
    }
}
