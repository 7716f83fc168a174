//! Keeps keyed records that every node of a group holds completely: hosts of users, owners of
//! addresses. The contract is in `docs/records.md`. Everything here is a value: events and times
//! are arguments, and the caller sends the messages, writes the bytes and knows the clock.
//!
//! - [`Table`] holds the records of one node, each with a [`Version`] and an expiry time.
//! - [`Directory`] is a table with the rules of its application: which value a key gets, and until
//!   when it stays valid. The merge of two histories is here, and equal for all applications.
//! - [`Replica`] is a directory that agrees with those of other nodes. A known key is answered at
//!   once. For an unknown key, the node proposes a value to all synchronised nodes (a claim), and
//!   uses it when each has confirmed. A node without reachable nodes decides alone.
//! - [`OwnedParts`] and [`OwnedCopies`] are for keys about which one node decides: the others
//!   confirm that they have stored each decision.
//! - [`Journal`] is the format of records on disk.

mod defect;
mod directory;
mod journal;
mod message;
mod owned;
mod record;
mod replica;
#[cfg(test)]
mod simulation;
mod table;
mod version;

pub use defect::Defect;
pub use directory::{
    Directory, EntryOf, GroupOf, MessageOf, PlaceOf, Proposal, RecordOf, StoreRefusal, TableOf,
};
pub use journal::{
    JOURNAL_BYTES_MAX, Journal, JournalContents, JournalDamage, JournalEntry, JournalWrite,
};
pub use message::{Message, RECORDS_MAX};
pub use owned::{
    CHANGES_MAX, Confirmation, ConfirmationDecision, CopyEffect, OwnedChange, OwnedContent,
    OwnedCopies, OwnedCopy, OwnedCopyError, OwnedMessage, OwnedParts, PARTS_MAX,
};
pub use record::{CLOCK_MAX, InvalidMessage, Key, Record, Value};
pub use replica::{
    BROKEN_MS, CLAIM_MS, OPENING_KEPT_MS, Outcome, PeerState, PeerStatus, Replica, START_MS,
    SYNC_MS,
};
pub use table::{Bounds, Entry, Presence, Retention, Table};
pub use version::{Origin, Version};
