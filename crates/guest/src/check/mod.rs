//! The check of a guest (line `check`): whether what runs works.
//!
//! [`health`] counts, [`attempt`] tries; [`echo`] and [`agent`] are the bytes of ICMP and of QEMU's
//! guest agent as values. A [`Checker`] joins them, on the role's one thread.

pub mod agent;
pub mod attempt;
pub mod echo;
pub mod health;
#[cfg(test)]
mod tests;

use crate::config::{Check, Probe};
use attempt::{Attempt, Target};
use health::{Health, Pace, State};
use rustix::event::epoll::EventFlags;
use std::os::fd::BorrowedFd;

/// The checks of a guest on this node.
#[derive(Debug)]
pub struct Checker {
    check: Check,
    health: Health,
    attempt: Option<Attempt>,
    /// The process that is checked; zero: none was seen.
    process: i32,
    /// The number of the last attempt.
    number: u64,
}

/// What a turn came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Turn {
    /// Nothing.
    Nothing,
    /// The guest works now.
    Up,
    /// It does not any more, and why.
    Down(String),
}

impl Checker {
    /// Of a guest of which nothing is known. `now`: milliseconds, also the seed of the numbers of
    /// attempts.
    pub fn new(check: &Check, now: u64) -> Checker {
        Checker {
            check: check.clone(),
            health: Health::new(Pace::of(check), now),
            attempt: None,
            process: 0,
            number: now,
        }
    }

    /// The line is another one. Another probe restarts the check.
    pub fn set(&mut self, check: &Check, now: u64) {
        if self.check.probe != check.probe {
            *self = Checker {
                process: self.process,
                number: self.number,
                ..Checker::new(check, now)
            };
        } else if self.check != *check {
            self.check = check.clone();
            self.health.set_pace(Pace::of(check));
        }
    }

    /// The guest has been started: its time to start begins.
    pub fn restart(&mut self, now: u64) {
        self.attempt = None;
        self.health = Health::new(Pace::of(&self.check), now);
    }

    /// Whether the guest works.
    pub fn is_up(&self) -> bool {
        self.health.state() == State::Up
    }

    /// How the guest is, and what the last check found wrong.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// What is tried, for people.
    pub fn words(&self) -> String {
        words(&self.check.probe)
    }

    /// Whether the guest is to be restarted.
    pub fn wants_restart(&self) -> bool {
        self.check.restarts && self.health.state() == State::Down
    }

    /// Does what is due. `process`: that of QEMU, where the guest runs; None: it does not.
    pub fn turn(&mut self, process: Option<i32>, target: Target<'_>, now: u64) -> Turn {
        let Some(process) = process else {
            self.attempt = None;
            self.health.give_up();
            return Turn::Nothing;
        };
        if std::mem::replace(&mut self.process, process) != process {
            self.restart(now);
        }
        let mut result = None;
        if self.health.begins(now) {
            self.number = self.number.wrapping_add(1);
            match Attempt::begin(&self.check.probe, target, self.number) {
                Ok(attempt) => self.attempt = Some(attempt),
                Err(words) => result = Some(Err(words)),
            }
        }
        let result = { result }
            .or_else(|| self.attempt.as_mut()?.look())
            .or_else(|| self.health.is_late(now).then(|| Err(self.late())));
        let Some(result) = result else {
            return Turn::Nothing;
        };
        self.attempt = None;
        match (self.health.hear(result, now), self.health.state()) {
            (true, State::Up) => Turn::Up,
            (true, State::Down) => Turn::Down(self.health.why().to_owned()),
            _ => Turn::Nothing,
        }
    }

    fn late(&self) -> String {
        format!("no response within {} ms", self.check.timeout_ms)
    }

    /// When [`Checker::turn`] has something to do by itself while the guest runs, milliseconds.
    pub fn deadline(&self) -> u64 {
        self.health.deadline()
    }

    /// What wakes the role.
    pub fn watched(&self) -> Option<(BorrowedFd<'_>, EventFlags)> {
        self.attempt.as_ref().map(Attempt::watched)
    }
}

/// What a check tries, for people.
fn words(probe: &Probe) -> String {
    match probe {
        Probe::Tcp { at, port } => format!("tcp {}", std::net::SocketAddr::new(*at, *port)),
        Probe::Ping(at) => format!("ping {at}"),
        Probe::Agent => "agent".to_owned(),
    }
}
