//! Leases with epochs: a holder that stops before others may begin.
//!
//! Who holds a lease stands in the log ([`crate::command::LeaseCommand`]), with an
//! epoch that grows with every grant. For how long is between the [`Holder`] and the
//! [`Grantor`] of the member that leads; renewals do not go through the log.
//!
//! What always holds:
//! - A grant gives the right to renew, nothing else. The holder holds from the answer
//!   to a renewal until [`usable_ns`] after it **sent** that renewal. It looks at the
//!   time at every use: after a pause it finds itself expired.
//! - A renewal is answered only when leadership was confirmed after it came in. So a
//!   later leader took office after each renewal that an earlier one answered was sent.
//! - A leader gives a lease to another only [`quarantine_ns`] after it answered the last
//!   renewal, and after it took office, and while it does, it answers none.
//! - Such a grant enters the log in the term in which it was decided, or not at all,
//!   and takes effect only on the epoch that it was decided on.
//! - Who began anew uses no epoch of its former life: an old release of that life may
//!   still be under way. A released lease is free at once.
//! - A holder says that it releases a lease to the leader, who gives it in the same entry
//!   of the log to the one that waits for it. That entry is an answer to the request:
//!   it was proposed after that came in. So the next holder holds until [`usable_ns`]
//!   after it sent the request, as if that had been a renewal; every later leader took
//!   office after the entry was proposed, and this one counts from the proposal.
//!
//! Among several that want one, the highest rank is to have it: the leader remembers for
//! a moment who asked in vain ([`Grantor::better_waits`]) and tells the holder with its
//! next renewal, who releases it when it is ready. That is a wish and no right: what
//! always holds does not depend on it.
//!
//! The clock is CLOCK_BOOTTIME, which goes on while a machine sleeps. Two of them
//! are never compared. What is asked of them: that none goes faster or slower than
//! real time by more than one part in [`DRIFT_DIVISOR`]. (Linux lets nobody slew a
//! clock by more than 10.05 %; chrony's own bound is 8.3 %.) A machine whose time
//! stands still while the world's goes on without its kernel's knowledge (a guest that
//! is paused from outside) breaks this; there the epoch, which storage checks at each
//! write, is what protects.

mod boottime;
pub(crate) mod defect;
mod grantor;
mod holder;
#[cfg(test)]
mod simulation;

pub use boottime::Boottime;
pub use grantor::{Confirmed, GRANTING_MAX, Grantor, NotGranted, NotRenewed, Received};
pub use holder::{Ask, Holder};

pub use crate::state::Lease;

use crate::command::Epoch;
use serde::{Deserialize, Serialize};

/// No clock is off by more than one part in so many.
pub const DRIFT_DIVISOR: u64 = 8;
/// Shortest validity of a renewal, milliseconds.
pub const VALID_MS_MIN: u64 = 500;
/// Longest validity of a renewal, milliseconds.
pub const VALID_MS_MAX: u64 = 3_600_000;

/// A request for a lease, sent to the leader.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeaseRequest {
    /// The lease.
    pub name: String,
    /// Validity of renewals, milliseconds.
    pub valid_ms: u64,
    /// No epoch up to this one will be used by who asks.
    pub seen: Epoch,
    /// Rank of the node as a user of the resource: a holder with a lower rank hands the
    /// lease over.
    #[serde(default)]
    pub rank: u32,
    /// Send time of the request, nanoseconds of the sender's clock. It identifies the
    /// request, and only the sender interprets it.
    #[serde(default)]
    pub sent_ns: u64,
}

/// A holder's renewal, to the leader.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Renewal {
    /// The lease.
    pub name: String,
    /// The holder's epoch.
    pub epoch: Epoch,
    /// Sequence number of the renewal within its epoch; the response repeats it.
    pub sequence: u64,
    /// Rank of the holder as a user of the resource.
    #[serde(default)]
    pub rank: u32,
}

/// For how long its holder uses a renewal, counted by its own clock from sending it.
pub fn usable_ns(valid_ms: u64) -> u64 {
    let valid_ns = valid_ms.saturating_mul(1_000_000);
    valid_ns - valid_ns / DRIFT_DIVISOR
}

/// For how long a leader gives a lease to nobody else after a renewal, by its own
/// clock.
pub fn quarantine_ns(valid_ms: u64) -> u64 {
    let valid_ns = valid_ms.saturating_mul(1_000_000);
    valid_ns.saturating_add(valid_ns / DRIFT_DIVISOR + 1)
}
