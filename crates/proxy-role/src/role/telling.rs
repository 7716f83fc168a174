//! Exports the counters and server states of a role, so that another process can continue with
//! them: on request, periodically for the case that the role is killed, and as a final delta at its
//! end. Also exports the live state and health for reports.

use crate::process::ServingProcess;
use model::state::revision;
use part::health::{FrontendHealth, Health};
use part::memory;
use proxy::carry::{self, Mark};
use proxy::message::AskedKey;
use proxy::operations;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(250);
const CHANGES_EVERY: Duration = Duration::from_secs(1);
const COUNTERS_EVERY: Duration = Duration::from_secs(10);

/// Times of the last exports, and the baseline for the final delta.
#[derive(Debug)]
pub struct Telling {
    /// Counters at the last requested export, with which another process continues.
    mark: Option<Mark>,
    revision: u64,
    orders: u64,
    told: Instant,
    polled_at: Instant,
}

impl Telling {
    pub fn new(now: Instant) -> Telling {
        Telling {
            mark: None,
            revision: 0,
            orders: 0,
            told: now,
            polled_at: now,
        }
    }

    pub fn due(&self) -> Instant {
        self.polled_at + LOOK_EVERY
    }

    /// Returns whether the state is due to be sent: after an operator's order, after a change with
    /// a pause, or after a longer interval.
    pub fn poll_state(&mut self, now: Instant) -> bool {
        if now < self.due() {
            return false;
        }
        self.polled_at = now;
        let since = now.saturating_duration_since(self.told);
        let revision = revision::read();
        let changed = revision != self.revision;
        // Sends an operator's order at once, since it must survive a kill of this process.
        let orders = operations::orders();
        let ordered = orders != self.orders;
        if since >= COUNTERS_EVERY || ordered || (changed && since >= CHANGES_EVERY) {
            (self.revision, self.orders) = (revision, orders);
            self.told = now;
            return true;
        }
        false
    }

    pub fn state(serving: &ServingProcess) -> io::Result<OwnedFd> {
        let kept = carry::export_kept(&serving.config(), Some(serving.running.runtime));
        memory::create("evenkeel state", &kept)
    }

    /// Exports the state for a process that continues with it, and sets the baseline for the final
    /// delta.
    pub fn export_state(&mut self, serving: &ServingProcess) -> io::Result<OwnedFd> {
        let (config, runtime) = (serving.config(), serving.running.runtime);
        let exported = carry::export_to_supervisor(&config, Some(runtime));
        self.mark = Some(exported.mark);
        memory::create("evenkeel state", &exported.bytes)
    }

    pub fn rest(&mut self, serving: &ServingProcess) -> Option<OwnedFd> {
        let rest = self.mark.take()?.rest(Some(serving.running.runtime));
        memory::create("evenkeel rest", &rest).ok()
    }
}

/// Returns the current state in a memory file, with the table entries of `keys`. No counter or
/// baseline changes.
pub fn live(serving: &ServingProcess, keys: &[AskedKey]) -> io::Result<OwnedFd> {
    let live = carry::export_live(&serving.config(), Some(serving.running.runtime), keys);
    memory::create("evenkeel live state", &live)
}

pub fn health(serving: &ServingProcess) -> io::Result<OwnedFd> {
    let summary = proxy::vitals::summary(serving.running.runtime);
    let frontends = summary.frontends.into_iter().map(|one| FrontendHealth {
        name: one.name,
        listens: one.listens.iter().map(ToString::to_string).collect(),
        http: one.http,
        usable: one.usable,
    });
    let health = Health {
        requests: summary.requests,
        errors: summary.errors,
        servers_up: summary.servers_up,
        servers: summary.servers,
        frontends: frontends.collect(),
        addresses_owned: summary.addresses_owned,
        addresses: summary.addresses,
    };
    memory::create("evenkeel health", &serde_json::to_vec(&health)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_sent_at_intervals() {
        let began = Instant::now();
        let mut telling = Telling::new(began);
        telling.revision = revision::read();
        let told =
            (1..=1000).filter(|n| telling.poll_state(began + Duration::from_millis(100 * n)));
        let told = told.count();
        // Accepts a range, because parallel tests may change states.
        assert!((9..=100).contains(&told), "{told}");
    }
}
