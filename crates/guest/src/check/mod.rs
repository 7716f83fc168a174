//! Checks whether a running guest is healthy (line `check`).
//!
//! [`health`] counts results and [`attempt`] makes attempts. [`echo`] and [`agent`] encode and
//! decode ICMP and the guest agent's protocol without I/O. A [`Checker`] joins them on the role's
//! only thread.

pub mod agent;
pub mod attempt;
pub mod echo;
pub mod health;
#[cfg(test)]
mod tests;

use crate::config::{Check, Probe};
use attempt::{Attempt, CheckTarget};
use health::{CheckTiming, Health, HealthState};
use rustix::event::epoll::EventFlags;
use std::os::fd::BorrowedFd;

/// Health check of a guest on this node: one attempt at a time, and the count of results.
/// [`Checker::turn`] is called when the watched descriptor has an event, and at
/// [`Checker::deadline`]. Nothing here blocks.
#[derive(Debug)]
pub struct Checker {
    check: Check,
    health: Health,
    attempt: Option<Attempt>,
    /// Process ID of the QEMU process that is checked; zero: none was seen.
    process: i32,
    number: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CheckResult {
    Nothing,
    Up,
    Down(String),
}

impl Checker {
    /// Creates the check of a guest whose state is unknown. `now`: milliseconds, which are also the
    /// first number of an attempt.
    pub fn new(check: &Check, now: u64) -> Checker {
        Checker {
            check: check.clone(),
            health: Health::new(CheckTiming::of(check), now),
            attempt: None,
            process: 0,
            number: now,
        }
    }

    /// Applies a changed line `check`. If the method has changed, the check restarts.
    pub fn set(&mut self, check: &Check, now: u64) {
        if self.check.probe != check.probe {
            *self = Checker {
                process: self.process,
                number: self.number,
                ..Checker::new(check, now)
            };
        } else if self.check != *check {
            self.check = check.clone();
            self.health.set_pace(CheckTiming::of(check));
        }
    }

    /// Restarts the check, including the grace period, because the guest was started.
    pub fn restart(&mut self, now: u64) {
        self.attempt = None;
        self.health = Health::new(CheckTiming::of(&self.check), now);
    }

    pub fn is_up(&self) -> bool {
        self.health.state() == HealthState::Up
    }

    pub fn health(&self) -> &Health {
        &self.health
    }

    pub fn words(&self) -> String {
        words(&self.check.probe)
    }

    pub fn wants_restart(&self) -> bool {
        self.check.restarts && self.health.state() == HealthState::Down
    }

    /// Starts or polls an attempt. `process`: process ID of QEMU while the guest runs; None: the
    /// guest does not run.
    pub fn turn(&mut self, process: Option<i32>, target: CheckTarget<'_>, now: u64) -> CheckResult {
        let Some(process) = process else {
            self.attempt = None;
            self.health.abandon_check();
            return CheckResult::Nothing;
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
        let result = result
            .or_else(|| self.attempt.as_mut()?.poll_result())
            .or_else(|| self.health.is_late(now).then(|| Err(self.late())));
        let Some(result) = result else {
            return CheckResult::Nothing;
        };
        self.attempt = None;
        match (self.health.apply_result(result, now), self.health.state()) {
            (true, HealthState::Up) => CheckResult::Up,
            (true, HealthState::Down) => CheckResult::Down(self.health.why().to_owned()),
            _ => CheckResult::Nothing,
        }
    }

    fn late(&self) -> String {
        format!("no response within {} ms", self.check.timeout_ms)
    }

    /// Returns the next time at which [`Checker::turn`] has something to do while the guest runs,
    /// milliseconds.
    pub fn deadline(&self) -> u64 {
        self.health.deadline()
    }

    pub fn watched(&self) -> Option<(BorrowedFd<'_>, EventFlags)> {
        self.attempt.as_ref().map(Attempt::watched)
    }
}

fn words(probe: &Probe) -> String {
    match probe {
        Probe::Tcp { at, port } => format!("tcp {}", std::net::SocketAddr::new(*at, *port)),
        Probe::Ping(at) => format!("ping {at}"),
        Probe::Agent => "agent".to_owned(),
    }
}
