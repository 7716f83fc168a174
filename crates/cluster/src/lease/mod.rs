//! Implements leases with epochs: the right of one member to use a resource for a time. A holder
//! stops before the next one may begin.
//!
//! The log records the holder of a lease ([`crate::command::LeaseCommand`]), with an
//! epoch that grows with every grant. The duration is agreed between the [`Holder`] and
//! the leader's [`Grantor`]; renewals do not go through the log.
//!
//! Invariants:
//! - A grant only permits renewals. The holder has the lease from the acknowledgement of
//!   a renewal until [`usable_ns`] after it **sent** that renewal. It checks the time at
//!   every use, so that it notices the expiry after a pause.
//! - The leader acknowledges a renewal only if its leadership was confirmed after the
//!   renewal arrived. So a later leader took office after each renewal was sent that an
//!   earlier leader acknowledged.
//! - A leader grants a lease to another member only [`quarantine_ns`] after it
//!   acknowledged the last renewal, and after it took office. Meanwhile it acknowledges none.
//! - Such a grant enters the log in the term in which it was decided, or not at all,
//!   and takes effect only on the epoch for which it was decided.
//! - A restarted holder uses no epoch of its previous process, whose release may still be
//!   outstanding. A released lease is free at once.
//! - A holder sends its release to the leader. The same log entry grants the lease to the
//!   member that waits for it. That entry responds to the member's request, because it was
//!   proposed after the request arrived. So the next holder has the lease until
//!   [`usable_ns`] after it sent the request, as if that had been a renewal. Every later
//!   leader took office after the proposal, and this one counts from the proposal.
//!
//! Among several candidates the highest rank should have the lease. The leader remembers
//! refused requests for a moment ([`Grantor::better_waits`]) and notifies the holder with
//! its next renewal. The holder releases the lease when it is ready. This is a preference, not
//! a right: the invariants do not depend on it.
//!
//! The clock is CLOCK_BOOTTIME, which continues while a machine sleeps. Clocks of two
//! machines are never compared. Each must run no faster or slower than real time by
//! more than one part in [`DRIFT_DIVISOR`]. (Linux limits the slew of a clock to
//! 10.05 %; chrony's own bound is 8.3 %.) A machine whose clock stops without its
//! kernel's knowledge (a guest that is paused from outside) violates this. The epoch,
//! which storage checks at each write, protects in that case.

mod boottime;
pub(crate) mod defect;
mod grantor;
mod holder;
#[cfg(test)]
mod simulation;

pub use boottime::Boottime;
pub use grantor::{Confirmed, GRANTING_MAX, Grantor, NotGranted, NotRenewed, Received};
pub use holder::{Holder, HolderRequest};

pub use crate::state::Lease;

use crate::command::Epoch;
use serde::{Deserialize, Serialize};

/// Largest clock drift: one part in this many.
pub const DRIFT_DIVISOR: u64 = 8;
pub const VALID_MS_MIN: u64 = 500;
pub const VALID_MS_MAX: u64 = 3_600_000;

/// A request for a lease, sent to the leader.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeaseRequest {
    pub name: String,
    pub valid_ms: u64,
    /// Highest epoch that the requester has seen: it uses no epoch up to this one.
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
    pub name: String,
    pub epoch: Epoch,
    /// Sequence number of the renewal within its epoch; the response repeats it.
    pub sequence: u64,
    #[serde(default)]
    pub rank: u32,
}

/// Returns how long the holder may use a lease after it sent a renewal, by its own clock, in
/// nanoseconds.
pub fn usable_ns(valid_ms: u64) -> u64 {
    let valid_ns = valid_ms.saturating_mul(1_000_000);
    valid_ns - valid_ns / DRIFT_DIVISOR
}

/// Returns how long after a renewal a leader grants the lease to no other member, by
/// its own clock, in nanoseconds.
pub fn quarantine_ns(valid_ms: u64) -> u64 {
    let valid_ns = valid_ms.saturating_mul(1_000_000);
    valid_ns.saturating_add(valid_ns / DRIFT_DIVISOR + 1)
}
