//! What the supervisor asks of a role that serves.

use super::change::{Change, Taken};
use super::version::Given;
use crate::process::{Order, Orders, Serving, Side};
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

/// A role under its supervisor.
pub struct Supervised {
    /// None when the supervisor has gone.
    channel: Option<Channel>,
    /// The newest version; None once nothing is accepted any more.
    given: Option<Given>,
    side: Arc<Side>,
    change: Option<Change>,
}

impl Supervised {
    /// One that serves its first version.
    pub fn new(channel: Channel, given: Given, side: Arc<Side>) -> Self {
        Supervised {
            channel: Some(channel),
            given: Some(given),
            side,
            change: None,
        }
    }

    /// Waits for what still works on a change.
    pub fn end(self) {
        if let Some(change) = self.change {
            // It was told, or there is nobody to be told.
            let _ = change.outcome();
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
        match memory::create("evenkeel state", &state_of(serving)) {
            Ok(fd) => self.answer(&Message::State { rest: false }, &[Arc::new(fd)]),
            Err(_) => {
                let kind = Message::TellState.kind();
                self.answer(&Message::Unknown { kind }, &[]);
            }
        }
    }
}

/// The versions that are alive, a line each, for people and for programs.
fn state_of(serving: &Serving) -> Vec<u8> {
    let mut text = String::new();
    for version in serving.running.versions() {
        let newest = if version.newest { " newest" } else { "" };
        text += &format!(
            "version {} connections {}{newest}\n",
            version.number, version.connections
        );
    }
    text.into_bytes()
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
        if self.given.take().is_some() {
            self.answer(&Message::Stopping, &[]);
        }
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
