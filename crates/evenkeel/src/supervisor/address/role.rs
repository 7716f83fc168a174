//! An address role, as the supervisor sees it.

use super::super::Command;
use super::Run;
use crate::roles::Shared;
use crate::roles::spawn::{self, StartFailure, Started};
use address::message::Options;
use part::codec;
use part::role::{Manner, Message, Take};
use rustix::event::PollFd;
use rustix::process::Signal;
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

/// Where another supervisor comes, the file of the state, the heartbeats.
type Beside<'s> = (Option<&'s Shared>, Option<&'s Shared>, Option<&'s Shared>);

impl AddressRole {
    /// Starts one.
    pub fn start(
        program: &Path,
        run: &Run,
        command: &Command,
        (guard, keep, vitals): Beside<'_>,
    ) -> Result<AddressRole, StartFailure> {
        let message = take(run, command, keep, vitals);
        let first = |process: &mut Started| {
            guard.map_or(Ok(()), |listener| process.guard(Some(listener)))?;
            process.send(&message.0, &message.1)
        };
        let entry = spawn::ADDRESS_ENTRY;
        let process = spawn::start(program, entry, command.personality, &[], first)?;
        Ok(AddressRole {
            ready: false,
            ..AddressRole::running(process)
        })
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

    /// Gives it what it is to run from now on.
    pub fn give(&mut self, run: &Run, command: &Command) -> Result<(), StartFailure> {
        let (message, descriptors) = take(run, command, None, None);
        self.process.send(&message, &descriptors)
    }

    /// What is to be watched.
    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.process.watched()
    }

    /// Says something; whether that can arrive.
    pub fn say(&mut self, message: &Message) -> bool {
        self.process.say(message, &[])
    }

    /// Tells it to end, with its addresses given up or left to another one.
    pub fn stop(&mut self, release: bool) {
        let manner = match release {
            true => Manner::Soft,
            false => Manner::Leave,
        };
        self.process.stop(manner, Signal::TERM);
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

/// The message that says what a role is to run, with its descriptors.
fn take(
    run: &Run,
    command: &Command,
    keep: Option<&Shared>,
    vitals: Option<&Shared>,
) -> (Message, Vec<Shared>) {
    let options = Options {
        plan: run.plan.clone(),
        log: command.log.clone(),
        dump_directory: command.dumps.as_os_str().as_bytes().to_vec(),
    };
    let take = Take {
        version: run.version,
        personality: command.personality,
        options: codec::encode(&options),
        keep: keep.is_some(),
        shared: vitals.is_some(),
        ..Take::default()
    };
    let beside = keep.into_iter().chain(vitals);
    let descriptors = std::iter::once(&run.config).chain(beside).cloned();
    (Message::Take(Box::new(take)), descriptors.collect())
}
