//! Fails all waiting client requests (`without-majority error`) once the volume has been unowned
//! for `LEASE_MAX` + `AFTER_LEASE` as far as this node knows, or once the replica fails its own
//! requests: `AFTER_LEASE` after the end of its lease.

use super::Mirror;
use crate::config::WithoutMajority;
use rustix::io::Errno;
use std::time::{Duration, Instant};

/// Time from the end of the lease until requests fail. A member that restarts is back by then.
const AFTER_LEASE: Duration = Duration::from_secs(10);
/// Maximum remaining time of a lease of which this node has no report.
const LEASE_MAX: Duration = Duration::from_secs(5);

/// Returns the time from the end of the lease until requests fail, nanoseconds; None if they never
/// fail.
pub(super) fn fail_ns(policy: WithoutMajority) -> Option<u64> {
    match policy {
        WithoutMajority::Freeze => None,
        WithoutMajority::Error => u64::try_from(AFTER_LEASE.as_nanos()).ok(),
    }
}

impl Mirror {
    pub(super) fn set_without_majority(&mut self, policy: WithoutMajority) {
        self.settings.bounds.fail_ns = fail_ns(policy);
        self.replica.set_fail_ns(self.settings.bounds.fail_ns);
        self.shown.is_due = true;
    }

    fn fails_at(&self) -> Option<Instant> {
        self.settings.bounds.fail_ns?;
        Some(self.clients.unowned_since? + LEASE_MAX + AFTER_LEASE)
    }

    pub(super) fn fails(&self, now: Instant) -> bool {
        let unseen = self.fails_at().is_some_and(|at| now >= at);
        unseen || self.replica.fails_requests(super::boottime())
    }

    pub(super) fn failing_deadline(&self) -> Option<Instant> {
        let waits = self.clients.has_waiting();
        self.fails_at().filter(|_| waits)
    }

    /// Fails all waiting requests once the volume has been unowned for too long.
    pub(super) fn watch_owner(&mut self, now: Instant) {
        let is_owned = self.replica.serves().is_some() || self.peer.serves();
        let since = self.clients.unowned_since.filter(|_| !is_owned);
        self.clients.unowned_since = since.or((!is_owned).then_some(now));
        if self.clients.has_waiting() && self.fails(now) {
            for id in self.clients.take_waiting() {
                self.end(id, Err(Errno::IO));
            }
        }
    }
}
