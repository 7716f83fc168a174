//! Handles the messages of the supervisor to the serving proxy role: changes, candidates and
//! rollbacks, pauses and stops, requests for state and reports, and the loss and adoption by
//! supervisors.

use super::change::{PendingReload, ReloadedVersion};
use super::telling::{self, Telling};
use super::trial::Trial;
use super::version::SupervisorInput;
use crate::process::{self, OrderSource, ServingOrder, ServingProcess, SideThreadHandle};
use model::config::StatsLevel;
use nix::sys::signal::Signal;
use part::channel::{Channel, ChannelError, Received};
use part::guard::Guard;
use part::mapped;
use part::memory::{self, MemoryError};
use part::role::{Level, Manner, PartMessage, SupervisorMessage};
use part::voice::MessagePrinter;
use protocol::vitals::WORDS;
use proxy::message::ProxyMessage as OfProxy;
use rustix::event::{PollFd, PollFlags};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

const REST_LIMIT: Duration = Duration::from_millis(500);

const OBEYS_LIMIT: Duration = Duration::from_millis(100);

const PROGRAMS_EVERY: Duration = Duration::from_millis(500);

/// Source of the supervisor's orders for a serving role, with all state of that connection.
pub struct Supervised {
    channel: Option<Channel>,
    /// The newest version; None once the role no longer accepts connections.
    given: Option<SupervisorInput>,
    side: Arc<SideThreadHandle>,
    change: Option<PendingReload>,
    trial: Option<Trial>,
    /// Socket at which another supervisor can adopt the role; None if the role ends with its
    /// supervisor.
    guard: Option<Guard>,
    is_loss_handled: bool,
    paused: bool,
    telling: Telling,
    vitals: Option<&'static [AtomicU64]>,
    wanted_programs: Option<Instant>,
}

impl Supervised {
    pub fn new(
        channel: Channel,
        given: SupervisorInput,
        guard: Option<Guard>,
        side: Arc<SideThreadHandle>,
    ) -> Self {
        Supervised {
            channel: Some(channel),
            given: Some(given),
            side,
            change: None,
            trial: None,
            guard,
            is_loss_handled: false,
            paused: false,
            telling: Telling::new(Instant::now()),
            vitals: None,
            wanted_programs: None,
        }
    }

    /// Writes heartbeats into this memory from now on. Without heartbeats the proxy counts as out
    /// of service, which the address role reports.
    fn share_vitals(&mut self, descriptors: Vec<OwnedFd>, serving: &ServingProcess) {
        let Some(file) = descriptors.into_iter().next() else {
            return;
        };
        let words = match self.vitals {
            // Maps the memory of another supervisor in place of the current one.
            Some(words) => mapped::replace(words, &file).then_some(words),
            None => mapped::map(&file, WORDS),
        };
        if let Some(words) = words {
            self.vitals = Some(words);
            // Writes no heartbeats into memory with another layout.
            let _ = proxy::vitals::share(serving.running.runtime, words);
        }
    }

    /// Waits for a pending change, and sends the final counters to the successor.
    pub fn end(mut self, serving: &ServingProcess) {
        if let Some(change) = self.change.take() {
            // Ignores the result, which was reported or has no receiver.
            let _ = change.outcome();
        }
        drop(self.trial.take());
        self.side.sockets().send_counts_to_successors();
        if let Some(rest) = self.telling.rest(serving) {
            let message = SupervisorMessage::State {
                rest: true,
                asked: false,
            };
            self.answer(&message, &[Arc::new(rest)]);
            if let Some(channel) = &mut self.channel {
                // Limits the time, so that a supervisor that does not read delays the end only
                // briefly.
                let _ = channel.finish(REST_LIMIT);
            }
        }
    }

    fn ask_for_programs(&mut self) {
        let now = Instant::now();
        let again = self.wanted_programs.map(|at| at + PROGRAMS_EVERY);
        if proxy::health::needs_runner() && again.is_none_or(|again| again <= now) {
            self.wanted_programs = Some(now);
            self.answer(&SupervisorMessage::WantsHelper, &[]);
        }
    }

    /// Sends the state to the supervisor without a request if it is due, so that the next role gets
    /// it after a crash of this one.
    fn send_unsolicited_state(&mut self, serving: &ServingProcess) {
        let idle = self.channel.as_ref().is_some_and(|one| !one.waits());
        if idle
            && self.telling.poll_state(Instant::now())
            && let Ok(fd) = Telling::state(serving)
        {
            let message = SupervisorMessage::State {
                rest: false,
                asked: false,
            };
            self.answer(&message, &[Arc::new(fd)]);
        }
    }

    fn add_state(&self, descriptors: Vec<OwnedFd>, serving: &ServingProcess) {
        let Some(fd) = descriptors.into_iter().next() else {
            return;
        };
        let runtime = serving.running.runtime;
        match memory::state(&fd) {
            Ok(bytes) => process::add(&bytes, runtime),
            // Ignores a state above the size limit, which is invalid.
            Err(MemoryError::TooLarge(_)) => {}
            // Waits for the final counters if the descriptor is a connection and no memory file. If
            // no thread can be started, only these counters are lost.
            Err(_) => drop(process::add_rest(fd, runtime)),
        }
    }

    fn answer(&mut self, message: &SupervisorMessage, descriptors: &[Arc<OwnedFd>]) {
        self.answer_question(0, message, descriptors);
    }

    fn answer_question(
        &mut self,
        ask: u64,
        message: &SupervisorMessage,
        descriptors: &[Arc<OwnedFd>],
    ) {
        if let Some(channel) = &mut self.channel
            && (channel.send_numbered(ask, message, descriptors)).is_err()
        {
            self.channel = None;
        }
    }

    fn message_to_part(
        &mut self,
        ask: u64,
        message: &PartMessage,
        descriptors: Vec<OwnedFd>,
        serving: &ServingProcess,
    ) {
        match message.read() {
            Some(OfProxy::Operate { level }) => {
                if let Some(connection) = descriptors.into_iter().next() {
                    // Closes the connection if there are too many.
                    let _ = self
                        .side
                        .sockets()
                        .adopt(UnixStream::from(connection), rights(level));
                }
                if ask != 0 {
                    let bytes = Vec::new();
                    self.answer_question(ask, &SupervisorMessage::Answer { bytes }, &[]);
                }
            }
            Some(OfProxy::TellHealth) => {
                let health: Vec<_> = telling::health(serving).map(Arc::new).into_iter().collect();
                let bytes = Vec::new();
                self.answer_question(ask, &SupervisorMessage::Answer { bytes }, &health);
            }
            Some(OfProxy::TellLive { keys }) => {
                let live: Vec<_> = telling::live(serving, &keys)
                    .map(Arc::new)
                    .into_iter()
                    .collect();
                let bytes = Vec::new();
                self.answer_question(ask, &SupervisorMessage::Answer { bytes }, &live);
            }
            // Reports a message that only a later release knows as unknown.
            None => self.answer_question(ask, &SupervisorMessage::unknown_message("proxy"), &[]),
        }
    }

    fn message(&mut self, received: Received, serving: &ServingProcess) -> Option<ServingOrder> {
        match received.message {
            SupervisorMessage::Take(take) => {
                match SupervisorInput::new(*take, received.descriptors) {
                    Some(given) => self.take(given, None, serving),
                    None => self.answer(
                        &refused(0, "its descriptors are not those of the plan"),
                        &[],
                    ),
                }
            }
            SupervisorMessage::TakeTrial(trial) => {
                match SupervisorInput::pair(*trial, received.descriptors) {
                    Some((given, former)) => self.take(given, Some(former), serving),
                    None => self.answer(
                        &refused(0, "its descriptors are not those of the plans"),
                        &[],
                    ),
                }
            }
            SupervisorMessage::Accept => self.end_trial(),
            SupervisorMessage::Revert => self.revert(serving),
            SupervisorMessage::Part(message) => {
                self.message_to_part(received.ask, &message, received.descriptors, serving);
            }
            SupervisorMessage::Stop(Manner::Soft | Manner::Leave) => {
                return Some(ServingOrder::StopSoftly);
            }
            SupervisorMessage::Stop(Manner::Now { signal }) => stop_now(signal),
            SupervisorMessage::Pause => return Some(self.pause(true)),
            SupervisorMessage::Resume => return Some(self.pause(false)),
            SupervisorMessage::Guard { uid } if self.given.is_some() => {
                self.guard = Some(Guard::new(uid, received.descriptors));
            }
            // Ignores the guard of a role that is stopping.
            SupervisorMessage::Guard { .. } => {}
            SupervisorMessage::TellState => self.tell_state(serving),
            SupervisorMessage::AddState => self.add_state(received.descriptors, serving),
            SupervisorMessage::TellPulse => self.answer(&SupervisorMessage::Pulse, &[]),
            SupervisorMessage::GiveVersion => {
                if let Some(given) = self.given.clone() {
                    let descriptors = given.all_descriptors();
                    self.answer(
                        &SupervisorMessage::Version(Box::new(given.take)),
                        &descriptors,
                    );
                }
            }
            SupervisorMessage::Helper => {
                if let Some(connection) = received.descriptors.into_iter().next() {
                    proxy::health::set_runner_connection(connection);
                }
            }
            SupervisorMessage::Shared => self.share_vitals(received.descriptors, serving),
            // Ignores the response to a message that the other process did not know.
            SupervisorMessage::Unknown { .. } => {}
            other => {
                let kind = other.kind();
                self.answer(&SupervisorMessage::Unknown { kind }, &[]);
            }
        }
        None
    }

    fn pause(&mut self, paused: bool) -> ServingOrder {
        self.paused = paused;
        if paused {
            ServingOrder::Pause
        } else {
            ServingOrder::Resume
        }
    }

    /// Handles the loss of the supervisor, once: continues to serve, or stops softly without a
    /// guard.
    fn handle_supervisor_loss(&mut self, voice: &mut MessagePrinter) -> Option<ServingOrder> {
        if std::mem::replace(&mut self.is_loss_handled, true) || self.given.is_none() {
            return None;
        }
        match &self.guard {
            Some(guard) => {
                let how = if guard.can_be_found() {
                    "the same command, started again, adopts it"
                } else {
                    "stop it with TERM or USR1"
                };
                voice.warning(format_args!(
                    "the supervisor has ended; the proxy continues to serve; {how}"
                ));
                // Resumes accepting, which no supervisor could do now.
                self.paused.then(|| self.pause(false))
            }
            None => {
                voice.warning(
                    "the supervisor ended while this proxy was a candidate: this proxy ends, too",
                );
                Some(ServingOrder::StopSoftly)
            }
        }
    }

    fn adopted(&mut self, voice: &mut MessagePrinter) -> bool {
        let (Some(guard), Some(given)) = (&self.guard, &self.given) else {
            return false;
        };
        self.channel = guard.accept_supervisor(given.take.version);
        if self.channel.is_none() {
            return false;
        }
        self.is_loss_handled = false;
        voice.notice("another supervisor has adopted it");
        true
    }

    fn revert(&mut self, serving: &ServingProcess) {
        let Some(trial) = &self.trial else {
            let version = self.given.as_ref().map_or(0, |given| given.take.version);
            let words = "no candidate version is being tried".to_owned();
            return self.answer(&SupervisorMessage::Taken { version, words }, &[]);
        };
        // Leaves a rollback that the address role has begun: its result is reported when it is
        // done.
        let Some(back) = trial.roll_back(&serving.running, &self.side) else {
            return;
        };
        drop(self.trial.take());
        match back {
            Ok((given, words)) => {
                let version = given.take.version;
                self.given = self.given.as_ref().map(|_| given);
                self.answer(&SupervisorMessage::Taken { version, words }, &[]);
            }
            Err(error) => self.answer(&refused(0, &error.to_string()), &[]),
        }
    }

    /// Accepts the candidate and frees the previous version. During a rollback this does nothing,
    /// and the rollback is reported instead.
    fn end_trial(&mut self) {
        if self.trial.as_ref().is_none_or(Trial::end) {
            drop(self.trial.take());
            self.answer(&SupervisorMessage::TrialEnded, &[]);
        }
    }

    /// Handles a rollback that the address role triggered.
    fn look_at_trial(&mut self, voice: &mut MessagePrinter) {
        let Some(back) = self.trial.as_ref().and_then(Trial::rollback_result) else {
            return;
        };
        drop(self.trial.take());
        match back {
            Ok((given, _)) => {
                self.given = self.given.as_ref().map(|_| given);
                let words = "a virtual address had to be taken over".to_owned();
                voice.notice(format_args!(
                    "{words}: the candidate version is rolled back, the previous one is served again"
                ));
                self.answer(&SupervisorMessage::WentBack { words }, &[]);
            }
            Err(error) => {
                voice.alert(format_args!(
                    "cannot serve the version before the candidate again: {error}"
                ));
                // Ends the process, so that the supervisor starts another one.
                process::end_by(Signal::SIGABRT);
            }
        }
    }

    fn take(
        &mut self,
        given: SupervisorInput,
        former: Option<SupervisorInput>,
        serving: &ServingProcess,
    ) {
        let version = given.take.version;
        tracing::info!(
            target: "proxy",
            op = given.take.operation,
            version,
            trial = former.is_some(),
            "version received"
        );
        if self.change.is_some() {
            return self.answer(&refused(version, "another reload is in progress"), &[]);
        }
        if self.given.is_none() {
            return self.answer(&refused(version, "the proxy is stopping"), &[]);
        }
        // Accepts the current candidate: a later rollback must not restore the version before it.
        drop(self.trial.take());
        match PendingReload::begin(given, former, serving, &self.side) {
            Ok(change) => self.change = Some(change),
            Err(error) => self.answer(&refused(version, &error.to_string()), &[]),
        }
    }

    fn finish_change(&mut self, serving: &ServingProcess) {
        let Some(change) = self.change.take_if(|change| change.done()) else {
            return;
        };
        let version = change.version();
        match change.outcome() {
            Ok(ReloadedVersion {
                given,
                words,
                former,
            }) => {
                self.trial = former.map(|former| Trial::begin(former, serving, &self.side));
                // Replaces the stored version, which closes the descriptors of the previous one.
                if self.given.is_some() {
                    self.given = Some(given);
                }
                self.answer(&SupervisorMessage::Taken { version, words }, &[]);
            }
            Err(error) => self.answer(&refused(version, &error.to_string()), &[]),
        }
    }

    fn tell_state(&mut self, serving: &ServingProcess) {
        match self.telling.export_state(serving) {
            Ok(fd) => {
                let message = SupervisorMessage::State {
                    rest: false,
                    asked: true,
                };
                self.answer(&message, &[Arc::new(fd)]);
            }
            Err(_) => {
                let kind = SupervisorMessage::TellState.kind();
                self.answer(&SupervisorMessage::Unknown { kind }, &[]);
            }
        }
    }
}

fn rights(level: Level) -> StatsLevel {
    match level {
        Level::User => StatsLevel::User,
        Level::Operator => StatsLevel::Operator,
        Level::Admin => StatsLevel::Admin,
    }
}

fn refused(version: u64, why: &str) -> SupervisorMessage {
    SupervisorMessage::Refused {
        version,
        words: why.to_owned(),
    }
}

/// Ends the process by the signal with this number, or by TERM unless it is INT or TERM.
fn stop_now(signal: u32) {
    let signal = i32::try_from(signal)
        .ok()
        .and_then(|number| Signal::try_from(number).ok())
        .filter(|signal| matches!(signal, Signal::SIGINT | Signal::SIGTERM));
    process::end_by(signal.unwrap_or(Signal::SIGTERM));
}

impl OrderSource for Supervised {
    fn ending(&mut self, signal: Signal) {
        let signal = signal as u32;
        self.answer(&SupervisorMessage::Obeys { signal }, &[]);
        if let Some(channel) = &mut self.channel {
            // Limits the time for a supervisor that does not read.
            let _ = channel.finish(OBEYS_LIMIT);
        }
    }

    fn stopping(&mut self) {
        // Closes the socket for adoption: no supervisor may adopt a role that ends.
        self.guard = None;
        // Closes the other sockets, too: those of the side thread, and the supervisor's copies.
        self.side.leave_sockets();
        if self.given.take().is_some() {
            self.answer(&SupervisorMessage::Stopping, &[]);
        }
    }

    fn due(&self) -> Option<Instant> {
        let channel = self.channel.as_ref()?;
        let rests = channel.next_send_attempt();
        rests.into_iter().chain([self.telling.due()]).min()
    }

    fn watched(&self) -> Vec<PollFd<'_>> {
        let channel = self.channel.iter();
        let mut watched: Vec<PollFd<'_>> = channel
            .map(|channel| PollFd::new(channel, channel.interest()))
            .collect();
        watched.extend(
            self.change
                .iter()
                .map(|change| PollFd::from_borrowed_fd(change.event(), PollFlags::IN)),
        );
        watched.extend(
            self.trial
                .iter()
                .filter_map(Trial::event)
                .map(|event| PollFd::from_borrowed_fd(event, PollFlags::IN)),
        );
        watched.extend(self.guard.iter().filter_map(Guard::watched));
        watched
    }

    fn next(
        &mut self,
        serving: &ServingProcess,
        voice: &mut MessagePrinter,
    ) -> Option<ServingOrder> {
        self.finish_change(serving);
        self.look_at_trial(voice);
        self.send_unsolicited_state(serving);
        self.ask_for_programs();
        loop {
            let Some(channel) = &mut self.channel else {
                if let Some(order) = self.handle_supervisor_loss(voice) {
                    return Some(order);
                }
                if self.adopted(voice) {
                    continue;
                }
                return None;
            };
            let received = match channel.flush().and_then(|()| channel.receive()) {
                Ok(Some(received)) => received,
                Ok(None) => {
                    if let Some(guard) = &self.guard {
                        guard.close_waiting();
                    }
                    return None;
                }
                Err(ChannelError::Closed) => {
                    self.channel = None;
                    continue;
                }
                Err(error) => {
                    voice.warning(format_args!("the supervisor: {error}"));
                    self.channel = None;
                    continue;
                }
            };
            if let Some(order) = self.message(received, serving) {
                return Some(order);
            }
        }
    }
}
