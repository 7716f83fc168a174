//! Messages between engines.

use crate::command::CommandResult;
use crate::log::Proposed;
use crate::log::{LogId, SnapshotMeta, Types, Vote};
use crate::member::{Digest, MemberId};
use openraft::AsyncRuntime;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) enum Request<R: AsyncRuntime> {
    /// AppendEntries: entries, or a heartbeat.
    Append(AppendEntriesRequest<Types<R>>),
    Vote {
        request: VoteRequest<Types<R>>,
        /// Leader whose connection died; the candidate stands because of that.
        lost: Option<MemberId>,
    },
    /// Asks whether the receiver would grant its vote.
    PreVote(VoteRequest<Types<R>>),
    /// Asks whether the receiver would grant its vote, because this leader is lost.
    Lost(Lost),
    /// Request to take over leadership from the sender.
    Transfer(TransferLeaderRequest<Types<R>>),
    /// A part of a snapshot.
    Snapshot(SnapshotPart),
    /// A proposal, to the leader.
    Propose(Box<Proposed>),
    /// Requests the index up to which a linearizable read must have read, from the
    /// leader.
    Confirm,
    /// A change of the members, to the leader.
    Change(MembershipChange),
    /// Requests a chunk of the last snapshot that a node has and signed.
    Fetch {
        /// Digest of the snapshot whose first chunks the sender has already.
        of: Option<Digest>,
        offset: u64,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) enum RaftReply<R: AsyncRuntime> {
    Append(AppendEntriesResponse<Types<R>>),
    Vote(VoteResponse<Types<R>>),
    /// The sender would grant its vote, because the leader is lost.
    Lost(bool),
    Transfer(TransferLeaderResponse<Types<R>>),
    /// The snapshot is taken in.
    Installed(SnapshotResponse<Types<R>>),
    /// The next part of the snapshot, please.
    Next,
    Missing(Vec<Digest>),
    /// Unexpected snapshot chunk: the transfer restarts.
    Begin,
    /// The result of the proposal.
    Answer(CommandResult),
    /// A piece of a snapshot's image.
    Piece(Box<ImagePiece>),
    /// Reads are linearizable once this index is applied.
    Confirmed(u64),
    Changed,
    /// The sender is not the leader; the leader that it knows, if any.
    NotLeader(Option<MemberId>),
    /// The change was not made, and will not be.
    Failed(Failure),
}

impl<R: AsyncRuntime> RaftReply<R> {
    /// Returns the other member's vote, if the reply contains it.
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
    /// The bytes are not a request, or not one that the sender may make.
    Malformed,
    /// The engine of that member has stopped.
    Stopped,
    /// A newer vote for the sender itself contradicts its request.
    Outdated,
    /// No majority responded in time.
    NoMajority,
    /// Another change of the members is in progress.
    Changing,
    /// The member cannot make the change.
    Unfit(MemberId),
}

/// A candidate whose leader's connection died.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Lost {
    pub(super) leader: MemberId,
    pub(super) term: u64,
    /// The last log entry of the candidate.
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
    /// Digest of the whole image.
    pub(super) of: Digest,
    /// Bytes of the whole image.
    pub(super) size: u64,
    #[serde(with = "serde_bytes")]
    pub(super) bytes: Vec<u8>,
}

/// A change of the members.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum MembershipChange {
    Add(MemberId),
    Drop(MemberId),
    HandOver(Option<MemberId>),
}
