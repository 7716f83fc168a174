//! Configures openraft for this crate: types of nodes, entries, votes and results. The asynchronous
//! runtime is a parameter: Tokio's in the role, the simulated one in seeded simulations.

use crate::command::CommandResult;
use crate::log::Proposed;
use crate::member::MemberId;
use openraft::impls::{BoxedErrorSource, EmptyNode, InlineBatch, ProgressResponder, leader_id_std};
use openraft::vote::RaftLeaderId;
use openraft::{AsyncRuntime, EntryPayload, OptionalSend, RaftTypeConfig};
use std::cmp::Ordering;
use std::fmt;
use std::marker::PhantomData;

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

#[cfg(test)]
mod tests {
    use super::*;
    use openraft::raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
        VoteRequest, VoteResponse,
    };
    use openraft_rt_tokio::TokioRuntime;
    use serde::Serialize;
    use std::collections::BTreeSet;

    type Tested = Types<TokioRuntime>;

    fn json(value: &impl Serialize) -> String {
        serde_json::to_string(value).unwrap()
    }

    /// Tests the encoding of types that are on disk and in messages to members with other releases:
    /// an update of openraft must not change their fields.
    #[test]
    fn types_of_openraft_encode_as_before() {
        let vote = Vote::new_committed(5, MemberId(2));
        let id = LogId::new(LeaderId::new(5, MemberId(2)).to_committed(), 7);
        let voters = BTreeSet::from([MemberId(1), MemberId(2)]);
        let learners = BTreeSet::from([MemberId(3)]);
        let membership = openraft::Membership::new_with_defaults(vec![voters], learners);
        let meta = SnapshotMeta {
            last_log_id: Some(id),
            last_membership: Membership::new(Some(id), membership.clone()),
        };
        let entry = |payload| Entry {
            log_id: id,
            payload,
        };
        let append = AppendEntriesRequest::<Tested> {
            vote,
            prev_log_id: None,
            entries: vec![
                entry(EntryPayload::Blank),
                entry(EntryPayload::Membership(membership)),
            ],
            leader_commit: Some(id),
        };
        let responses = [
            AppendEntriesResponse::<Tested>::Success,
            AppendEntriesResponse::PartialSuccess(Some(id)),
            AppendEntriesResponse::Conflict,
            AppendEntriesResponse::HigherVote(vote),
        ];
        let encoded = [
            json(&meta),
            json(&append),
            json(&responses),
            json(&VoteRequest::<Tested>::new(vote, Some(id))),
            json(&VoteResponse::<Tested>::new(vote, Some(id), true)),
            json(&TransferLeaderRequest::<Tested>::new(
                vote,
                MemberId(1),
                Some(id),
            )),
            json(&SnapshotResponse::<Tested>::new(vote)),
        ];
        let expected = [
            r#"{"last_log_id":{"leader_id":5,"index":7},"last_membership":{"log_id":{"leader_id":5,"index":7},"membership":{"configs":[[1,2]],"nodes":{"1":{},"2":{},"3":{}}}},"snapshot_id":""}"#,
            r#"{"vote":{"leader_id":{"term":5,"voted_for":2},"committed":true},"prev_log_id":null,"entries":[{"log_id":{"leader_id":5,"index":7},"payload":"Blank"},{"log_id":{"leader_id":5,"index":7},"payload":{"Membership":{"configs":[[1,2]],"nodes":{"1":{},"2":{},"3":{}}}}}],"leader_commit":{"leader_id":5,"index":7}}"#,
            r#"["Success",{"PartialSuccess":{"leader_id":5,"index":7}},"Conflict",{"HigherVote":{"leader_id":{"term":5,"voted_for":2},"committed":true}}]"#,
            r#"{"vote":{"leader_id":{"term":5,"voted_for":2},"committed":true},"last_log_id":{"leader_id":5,"index":7},"leadership_transfer":false}"#,
            r#"{"vote":{"leader_id":{"term":5,"voted_for":2},"committed":true},"vote_granted":true,"last_log_id":{"leader_id":5,"index":7}}"#,
            r#"{"from_leader":{"leader_id":{"term":5,"voted_for":2},"committed":true},"to_node_id":1,"last_log_id":{"leader_id":5,"index":7}}"#,
            r#"{"vote":{"leader_id":{"term":5,"voted_for":2},"committed":true}}"#,
        ];
        assert_eq!(encoded, expected);
    }
}
