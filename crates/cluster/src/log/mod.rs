//! What stands in the log that members agree on: entries with their places, and the
//! command and ticket that an entry holds.

mod proposal;
mod types;

pub use proposal::{Proposed, Seen, Sessions, Ticket, WAITING_MAX};
pub use types::{Entry, LeaderId, LogId, Membership, SnapshotMeta, Types, Vote};
