//! Our types for openraft. The runtime is a parameter: Tokio's in the role, the simulated
//! one in seeded simulations.

use crate::command::CommandResult;
use crate::log::Proposed;
use crate::member::MemberId;
use openraft::impls::{BoxedErrorSource, EmptyNode, InlineBatch, ProgressResponder, leader_id_std};
use openraft::vote::RaftLeaderId;
use openraft::{AsyncRuntime, EntryPayload, OptionalSend, RaftTypeConfig};
use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;

/// Our types, on a runtime.
pub struct Types<R>(PhantomData<fn() -> R>);

/// Leader of a term: openraft's standard type, with one leader for each term.
pub type LeaderId = leader_id_std::LeaderId<u64, MemberId>;
/// A vote: a term, its candidate, and whether a majority granted it.
pub type Vote = openraft::impls::Vote<LeaderId>;
/// Position in the log: the leader's term and the index.
pub type LogId = openraft::LogId<<LeaderId as RaftLeaderId>::Committed>;
/// Voters and learners, and the log position of that membership.
pub type Membership =
    openraft::StoredMembership<<LeaderId as RaftLeaderId>::Committed, MemberId, EmptyNode>;
/// Metadata of a snapshot: its last entry, and the membership there.
pub type SnapshotMeta =
    openraft::SnapshotMeta<<LeaderId as RaftLeaderId>::Committed, MemberId, EmptyNode>;
/// An entry of the log: its position and its payload.
pub type Entry = openraft::impls::Entry<
    <LeaderId as RaftLeaderId>::Committed,
    EntryPayload<Proposed, MemberId, EmptyNode>,
>;

impl<R: AsyncRuntime> RaftTypeConfig for Types<R> {
    type D = Proposed;
    type R = CommandResult;
    type NodeId = MemberId;
    type Node = EmptyNode;
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = Vote;
    type Payload = EntryPayload<Proposed, MemberId, EmptyNode>;
    type Entry = Entry;
    type AsyncRuntime = R;
    type Responder<T>
        = ProgressResponder<Self, T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

// Derived implementations would require the same traits of the runtime.
impl<R> fmt::Debug for Types<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Types")
    }
}
impl<R> Clone for Types<R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<R> Copy for Types<R> {}
impl<R> Default for Types<R> {
    fn default() -> Self {
        Types(PhantomData)
    }
}
impl<R> PartialEq for Types<R> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl<R> Eq for Types<R> {}
impl<R> PartialOrd for Types<R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<R> Ord for Types<R> {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}
