//! What the supervisor asks of a role that serves.

use super::change::{Change, Taken};
use super::telling::Telling;
use super::version::Given;
use crate::process::{self, Order, Orders, Serving, Side};
use crate::roles::channel::{Channel, Received};
use crate::roles::memory;
use crate::voice::Voice;
use nix::sys::signal::{Signal, raise};
use protocol::role::Message;
use proxy::config::StatsLevel;
use rustix::event::{PollFd, PollFlags};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the supervisor may take to hear the rest.
const REST_LIMIT: Duration = Duration::from_millis(500);

/// A role under its supervisor.
pub struct Supervised {
    /// None when the supervisor has gone.
    channel: Option<Channel>,
    /// The newest version; None once nothing is accepted any more.
    given: Option<Given>,
    side: Arc<Side>,
    change: Option<Change>,
    telling: Telling,
}

impl Supervised {
    /// One that serves its first version.
    pub fn new(channel: Channel, given: Given, side: Arc<Side>) -> Self {
        Supervised {
            channel: Some(channel),
            given: Some(given),
            side,
            change: None,
            telling: Telling::new(Instant::now()),
        }
    }

    /// Waits for what still works on a change, and tells those who go on with
    /// what this process counted.
    pub fn end(mut self, serving: &Serving) {
        if let Some(change) = self.change.take() {
            // It was told, or there is nobody to be told.
            let _ = change.outcome();
        }
        self.side.sockets().tell_heirs();
        if let Some(rest) = self.telling.rest(serving) {
            self.answer(&Message::State { rest: true }, &[Arc::new(rest)]);
            if let Some(channel) = &mut self.channel {
                // A supervisor that does not listen holds up nobody.
                let _ = channel.finish(REST_LIMIT);
            }
        }
    }

    /// Tells the supervisor by itself what a next role would go on with.
    fn tell_unasked(&mut self, serving: &Serving) {
        let idle = self.channel.as_ref().is_some_and(|one| !one.waits());
        if idle
            && self.telling.look(Instant::now())
            && let Ok(fd) = Telling::state(serving)
        {
            self.answer(&Message::State { rest: false }, &[Arc::new(fd)]);
        }
    }

    /// What the process before has counted at last.
    fn add_state(&self, descriptors: Vec<OwnedFd>, serving: &Serving) {
        let Some(fd) = descriptors.into_iter().next() else {
            return;
        };
        let runtime = serving.running.runtime;
        match memory::read(&fd) {
            Ok(bytes) => process::add(&bytes, runtime),
            // A connection: it comes later. Without a thread it is lost, which
            // only the counters of the other process show.
            Err(_) => drop(process::add_rest(fd, runtime)),
        }
    }

    fn answer(&mut self, message: &Message, descriptors: &[Arc<OwnedFd>]) {
        if let Some(channel) = &mut self.channel
            && channel.send(message, descriptors).is_err()
        {
            self.channel = None;
        }
    }

    fn message(&mut self, received: Received, serving: &Serving) -> Option<Order> {
        match received.message {
            Message::Take(take) => match Given::new(*take, received.descriptors) {
                Some(given) => self.take(given, serving),
                None => self.answer(
                    &refused(0, "its descriptors are not those of the plan"),
                    &[],
                ),
            },
            Message::StopSoftly => return Some(Order::StopSoftly),
            Message::StopNow { signal } => stop_now(signal),
            Message::Pause => return Some(Order::Pause),
            Message::Resume => return Some(Order::Resume),
            Message::TellState => self.tell_state(serving),
            Message::AddState => self.add_state(received.descriptors, serving),
            Message::GiveVersion => {
                if let Some(given) = self.given.clone() {
                    let descriptors = given.all_descriptors();
                    self.answer(&Message::Version(Box::new(given.take)), &descriptors);
                }
            }
            Message::Operate => {
                if let Some(connection) = received.descriptors.into_iter().next() {
                    // Too many of them: it is closed, which its user sees.
                    let _ = self
                        .side
                        .sockets()
                        .adopt(UnixStream::from(connection), StatsLevel::Admin);
                }
            }
            // An answer to something that only a later version says.
            Message::Unknown { .. } => {}
            other => {
                let kind = other.kind();
                self.answer(&Message::Unknown { kind }, &[]);
            }
        }
        None
    }

    fn take(&mut self, given: Given, serving: &Serving) {
        let version = given.take.version;
        if self.change.is_some() {
            return self.answer(&refused(version, "another change is being taken"), &[]);
        }
        if self.given.is_none() {
            return self.answer(&refused(version, "the proxy is stopping"), &[]);
        }
        match Change::begin(given, serving, &self.side) {
            Ok(change) => self.change = Some(change),
            Err(error) => self.answer(&refused(version, &error.to_string()), &[]),
        }
    }

    fn finish_change(&mut self) {
        let Some(change) = self.change.take_if(|change| change.done()) else {
            return;
        };
        let version = change.version();
        match change.outcome() {
            Ok(Taken { given, words }) => {
                // The descriptors of the version before are closed here.
                if self.given.is_some() {
                    self.given = Some(given);
                }
                self.answer(&Message::Taken { version, words }, &[]);
            }
            Err(error) => self.answer(&refused(version, &error.to_string()), &[]),
        }
    }

    fn tell_state(&mut self, serving: &Serving) {
        match self.telling.asked(serving) {
            Ok(fd) => self.answer(&Message::State { rest: false }, &[Arc::new(fd)]),
            Err(_) => {
                let kind = Message::TellState.kind();
                self.answer(&Message::Unknown { kind }, &[]);
            }
        }
    }
}

fn refused(version: u64, why: &str) -> Message {
    Message::Refused {
        version,
        words: why.to_owned(),
    }
}

/// Ends the process by a signal, as if it had come from outside.
fn stop_now(signal: u32) {
    let signal = i32::try_from(signal)
        .ok()
        .and_then(|number| Signal::try_from(number).ok())
        .filter(|signal| matches!(signal, Signal::SIGINT | Signal::SIGTERM));
    // Neither is blocked or handled, so this is the end.
    let _ = raise(signal.unwrap_or(Signal::SIGTERM));
}

impl Orders for Supervised {
    fn stopping(&mut self) {
        // The listeners are to be closed with those of the data plane, here and
        // in the supervisor.
        self.side.leave_sockets();
        if self.given.take().is_some() {
            self.answer(&Message::Stopping, &[]);
        }
    }

    fn due(&self) -> Option<Instant> {
        self.channel.is_some().then(|| self.telling.due())
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
        watched
    }

    fn next(&mut self, serving: &Serving, voice: &mut Voice) -> Option<Order> {
        self.finish_change();
        self.tell_unasked(serving);
        loop {
            let channel = self.channel.as_mut()?;
            let received = match channel.flush().and_then(|()| channel.receive()) {
                Ok(Some(received)) => received,
                Ok(None) => return None,
                Err(error) => {
                    voice.warning(format_args!(
                        "the supervisor has gone ({error}); the proxy serves on."
                    ));
                    self.channel = None;
                    return None;
                }
            };
            if let Some(order) = self.message(received, serving) {
                return Some(order);
            }
        }
    }
}
