//! Defines the requests and replies between engines, and checks that a request follows the rules of
//! Raft.

use crate::command::CommandResult;
use crate::log::Proposed;
use crate::log::{Entry, LogId, SnapshotMeta, Types, Vote};
use crate::member::{Digest, MemberId};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{AsyncRuntime, EntryPayload};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) enum Request<R: AsyncRuntime> {
    Append(AppendEntriesRequest<Types<R>>),
    Vote {
        request: VoteRequest<Types<R>>,
        /// Leader whose connection died; the candidate stands because of that.
        lost: Option<MemberId>,
    },
    PreVote(VoteRequest<Types<R>>),
    /// Asks whether the receiver would grant its vote, because this leader is lost.
    Lost(Lost),
    Transfer(TransferLeaderRequest<Types<R>>),
    Snapshot(SnapshotPart),
    Propose(Box<Proposed>),
    /// Requests the index up to which a linearizable read must have read, from the
    /// leader.
    Confirm,
    Change(MembershipChange),
    /// Requests a chunk of the last snapshot that a node has and signed.
    Fetch {
        /// Digest of the snapshot whose first chunks the sender has already.
        of: Option<Digest>,
        offset: u64,
    },
}

impl<R: AsyncRuntime> Request<R> {
    /// Returns whether a member that follows the protocol could send this. openraft checks these
    /// rules only with debug assertions.
    pub(super) fn is_well_formed(&self) -> bool {
        match self {
            Request::Append(request) => request.vote.committed && are_log_ids_valid(request),
            Request::Vote { request, .. } | Request::PreVote(request) => !request.vote.committed,
            Request::Transfer(request) => request.from_leader().committed,
            Request::Snapshot(SnapshotPart::Begin { vote, .. }) => vote.committed,
            Request::Snapshot(_)
            | Request::Lost(_)
            | Request::Propose(_)
            | Request::Confirm
            | Request::Change(_)
            | Request::Fetch { .. } => true,
        }
    }
}

/// Returns whether the entries follow the previous one without a gap and have valid memberships,
/// whether terms neither decrease nor exceed the leader's, and whether the commit index fits the
/// last entry.
fn are_log_ids_valid<R: AsyncRuntime>(request: &AppendEntriesRequest<Types<R>>) -> bool {
    let mut last = request.prev_log_id;
    for entry in &request.entries {
        let next = last.map_or(Some(0), |id| id.index.checked_add(1));
        let term = last.map_or(0, |id| id.leader_id.term);
        if next != Some(entry.log_id.index)
            || entry.log_id.leader_id.term < term
            || !is_membership_valid(entry)
        {
            return false;
        }
        last = Some(entry.log_id);
    }
    let commit = request.leader_commit;
    let is_commit_in_order = match (commit, last) {
        (Some(commit), Some(last)) => commit.index.cmp(&last.index) == commit.cmp(&last),
        _ => true,
    };
    let is_of_the_term =
        |id: Option<LogId>| id.is_none_or(|id| id.leader_id.term <= request.vote.leader_id.term);
    is_commit_in_order && is_of_the_term(last) && is_of_the_term(commit)
}

/// Returns whether the membership of an entry, if any, has voters in one or two parts, none of
/// them empty, and a node entry for each voter.
fn is_membership_valid(entry: &Entry) -> bool {
    let EntryPayload::Membership(membership) = &entry.payload else {
        return true;
    };
    let parts = membership.get_joint_config();
    let is_node = |voter: &MemberId| membership.get_node(voter).is_some();
    (1..=2).contains(&parts.len())
        && parts
            .iter()
            .all(|part| !part.is_empty() && part.iter().all(is_node))
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) enum RaftReply<R: AsyncRuntime> {
    Append(AppendEntriesResponse<Types<R>>),
    Vote(VoteResponse<Types<R>>),
    Lost(bool),
    Transfer(TransferLeaderResponse<Types<R>>),
    Installed(SnapshotResponse<Types<R>>),
    /// Asks for the next part of the snapshot.
    Next,
    Missing(Vec<Digest>),
    Begin,
    Answer(CommandResult),
    Piece(Box<ImagePiece>),
    /// Reads are linearizable once this index is applied.
    Confirmed(u64),
    Changed,
    /// The sender is not the leader; the leader that it knows, if any.
    NotLeader(Option<MemberId>),
    /// The request was refused or has no result. With [`Failure::Stopped`] and
    /// [`Failure::NoMajority`], a change may still be made.
    Failed(Failure),
}

impl<R: AsyncRuntime> RaftReply<R> {
    pub(super) fn vote(&self) -> Option<&Vote> {
        match self {
            RaftReply::Append(AppendEntriesResponse::HigherVote(vote)) => Some(vote),
            RaftReply::Vote(response) => Some(&response.vote),
            RaftReply::Installed(response) => Some(&response.vote),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Failure {
    Malformed,
    Stopped,
    /// A newer vote for the sender itself contradicts its request.
    Outdated,
    NoMajority,
    Changing,
    Unfit(MemberId),
}

/// Request of a candidate that saw its connection to the leader die: the lost leader, and the
/// candidate's term and last log entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Lost {
    pub(super) leader: MemberId,
    pub(super) term: u64,
    pub(super) last: Option<LogId>,
}

/// Part of a snapshot transfer: the beginning, pieces of the image in order, the end.
/// Missing chunks of contents follow, and another end.
#[derive(Serialize, Deserialize)]
pub(super) enum SnapshotPart {
    Begin {
        vote: Vote,
        meta: Box<SnapshotMeta>,
        bytes: u64,
        digest: Digest,
    },
    Image {
        of: Digest,
        offset: u64,
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    Chunk {
        of: Digest,
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    End {
        of: Digest,
    },
}

/// A piece of the image of a snapshot.
#[derive(Serialize, Deserialize)]
pub(super) struct ImagePiece {
    pub(super) meta: SnapshotMeta,
    pub(super) of: Digest,
    pub(super) size: u64,
    #[serde(with = "serde_bytes")]
    pub(super) bytes: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum MembershipChange {
    Add(MemberId),
    Drop(MemberId),
    HandOver(Option<MemberId>),
}
