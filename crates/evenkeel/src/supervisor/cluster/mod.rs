//! A machine that belongs to a cluster: beside proxy and addresses there is a control
//! role, which says which version is to be served. Here its wishes are done one after
//! the other, by loaders and roles as any other change, and it is told how they went.
//!
//! While a candidate is served, the version accepted last stays the last good one: restarts
//! and rollbacks use it. Virtual addresses follow a version when it is accepted, so that
//! they are never half changed.
//!
//! Nothing that is served waits for the control role, and its end changes nothing.

mod asks;
mod begin;
mod first;
mod role;
mod trial;

pub use begin::Start;

use super::loading::Loading;
use super::route::CLUSTER;
use super::run::Supervisor;
use super::slot::Running;
use crate::roles::spawn::Ending;
use crate::supervisor::version::Version;
use crate::voice::Form;
use asks::{Ask, Serving};
use first::First;
use part::Shared;
use part::channel::{Channel, Received};
use part::role::{Manner, Message};
use rustix::event::PollFd;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use trial::Trial;

/// How long the role may take to end.
const END_LIMIT: Duration = Duration::from_secs(3);

/// What belongs to a machine of a cluster; all of it is empty for another one.
#[derive(Default)]
pub struct Cluster {
    start: Option<Start>,
    /// Requests that wait for the change in progress.
    asks: VecDeque<Ask>,
    /// The version that a change brings.
    serving: Option<Serving>,
    /// Who asked for that has died: what comes of it is settled without it.
    orphaned: bool,
    /// A loader that only checks, and who asked for that.
    checking: Option<Loading>,
    check_ask: u64,
    /// The files of the last accepted version.
    accepted: Option<Shared>,
    trial: Option<Trial>,
    /// The served version is a candidate and the first one.
    first: Option<First>,
    /// When loading the accepted version is tried again, after it failed at the start.
    load_at: Option<Instant>,
}

impl Cluster {
    /// Returns the candidate version.
    pub fn trial_version(&self) -> Option<&Version> {
        self.trial.as_ref().map(|trial| &trial.version)
    }

    /// Of a machine that belongs to one, or to none.
    pub fn new(start: Option<Start>) -> Cluster {
        Cluster {
            start,
            ..Cluster::default()
        }
    }

    /// Whether the machine belongs to a cluster.
    pub fn is_member(&self) -> bool {
        self.start.is_some()
    }

    /// What is to be watched.
    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        let checking = self.checking.iter();
        checking.flat_map(|one| one.process.watched())
    }

    /// The channels to those that listen.
    pub fn channels(&self) -> impl Iterator<Item = &Channel> {
        let checking = self.checking.iter().map(|one| &one.process);
        checking
            .filter(|process| !process.silent)
            .map(|process| &process.channel)
    }

    /// When something is due by itself.
    pub fn deadline(&self) -> Option<Instant> {
        let checking = self.checking.as_ref().map(|one| one.until);
        let trial = self.trial.as_ref().and_then(trial::Trial::until);
        [self.load_at, checking, trial].into_iter().flatten().min()
    }
}

impl Supervisor {
    /// Whether the machine belongs to a cluster.
    pub(super) fn is_member(&self) -> bool {
        self.cluster.is_member()
    }

    /// Does what is due for the cluster.
    pub(super) fn look_at_cluster(&mut self) {
        if !self.is_member() {
            return;
        }
        self.look_at_check();
        self.look_at_cluster_clock();
        self.go_on_with_asks();
    }

    fn look_at_cluster_clock(&mut self) {
        let now = Instant::now();
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.cluster.load_at) {
            self.cluster.load_at = None;
            self.load_accepted();
        }
        self.look_at_going_back(now);
    }

    /// Obeys what only a control role says.
    pub(super) fn hear_control(&mut self, received: Received) {
        let ask = received.ask;
        match received.message {
            Message::Check => self.ask_with(received, |set| Ask::Check { ask, set }),
            Message::Serve { trial } => {
                self.ask_with(received, |set| Ask::Serve { ask, set, trial });
            }
            Message::Accept => self.ask(Ask::Accept { ask }),
            Message::Revert => self.ask(Ask::Revert { ask }),
            Message::Ended { words } => {
                self.voice.alert(format_args!("the control role: {words}"));
            }
            other => self.not_understood(CLUSTER, &other),
        }
    }

    fn ask_with(&mut self, received: Received, ask: impl FnOnce(Shared) -> Ask) {
        match received.descriptors.into_iter().next() {
            Some(set) => self.ask(ask(Arc::new(set))),
            None => self.answer_set(received.ask, false, "no version was given"),
        }
    }

    fn say_to_control(&mut self, message: &Message) {
        if let Some(role) = self.slots[CLUSTER].process() {
            // If this fails, the role has ended; the main loop notices that.
            role.say(message, &[]);
        }
    }

    pub(super) fn control_ended(&mut self, role: &Running, ending: Ending) {
        self.obey_signals();
        self.drop_asks();
        self.slots[CLUSTER].stop_until = None;
        if self.exit.is_some() || self.stop.is_some() {
            return;
        }
        let wait = self.slots[CLUSTER]
            .backoff
            .died(role.born, Instant::now(), false);
        if self.voice.form() == Form::Own {
            self.voice.warning(format_args!(
                "the control role {} {}; traffic is not affected, restarting it in {} s",
                role.process.number(),
                role::ended_words(ending),
                wait.as_secs_f32()
            ));
        }
        self.slots[CLUSTER].restart_at = Some(Instant::now() + wait);
        let serving = self.cluster.serving.as_ref();
        self.cluster.orphaned |= serving.is_some_and(|serving| serving.trial);
        self.settle_trial();
    }

    /// Nothing is begun for the control role any more, which still agrees and holds leases.
    pub(super) fn quiet_control(&mut self) {
        self.slots[CLUSTER].restart_at = None;
        self.cluster.load_at = None;
        self.drop_asks();
        self.drop_check();
    }

    /// The control role is to end: the supervisor does, or executes another program.
    pub(super) fn stop_control(&mut self) {
        self.quiet_control();
        if let Some(role) = &mut self.slots[CLUSTER].running {
            role.process
                .stop(Manner::Soft, rustix::process::Signal::TERM);
            let until = Instant::now() + END_LIMIT;
            self.slots[CLUSTER].stop_until = self.slots[CLUSTER].stop_until.or(Some(until));
        }
    }

    /// The last of it: it has ended when this is done.
    pub(super) fn end_control(&mut self) {
        self.stop_control();
        self.slots[CLUSTER].end();
    }
}
