//! Defines the entries of the replicated log and their positions, and the proposal in an entry: a
//! command with its ticket and its author's signature.

mod proposal;
mod types;

pub use proposal::{
    MemberSignature, Proposed, Sessions, Signer, SigningError, Ticket, TicketState, WAITING_MAX,
};
pub use types::{Entry, LeaderId, LogId, Membership, SnapshotMeta, Types, Vote};
