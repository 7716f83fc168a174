//! The replicated log: entries with their positions, and the command and ticket of an
//! entry.

mod proposal;
mod types;

pub use proposal::{
    MemberSignature, Proposed, Sessions, Signer, SigningError, Ticket, TicketState, WAITING_MAX,
};
pub use types::{Entry, LeaderId, LogId, Membership, SnapshotMeta, Types, Vote};
