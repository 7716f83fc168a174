//! Lists deliberate defects, each of which the simulation must find. They act around the engine: on
//! its disk, on its wire or in its clients. The engine's code knows nothing of them.

use super::runtime::Members;
use crate::raft::message::{Failure, RaftReply, Request};
use openraft::raft::{AppendEntriesResponse, VoteResponse};
use part::codec;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RaftDefect {
    /// A sync is acknowledged without effect: votes and entries are acknowledged before
    /// they are on disk.
    SyncsNothing,
    /// The last sync before a loss of power was acknowledged too early.
    AnswersBeforeTheSync,
    /// A killed member returns under its number, without its disk.
    ComesBackEmpty,
    /// An older copy of a store is used as if it were complete.
    IgnoresPromises,
    /// A voter grants its vote to every candidate.
    GrantsEveryVote,
    /// A follower applies received entries as if they were committed.
    AppliesBeforeCommit,
    /// A follower acknowledges entries that it does not have.
    AcknowledgesGaps,
    /// A member whose disk refuses entries acknowledges them.
    AcknowledgesUnstored,
    /// A forwarded proposal is retried without its ticket.
    RetriesWithoutTicket,
    /// A member that takes itself for the leader confirms reads without a request to the others.
    ConfirmsAlone,
    /// Reads return the local state without confirmation.
    ReadsUnconfirmed,
    /// A new leader grants leases as if there had been no earlier leader.
    LeasesAreNotWaitedFor,
}

/// Returns the messages that arrive in place of a request.
pub fn request(defect: Option<RaftDefect>, bytes: Vec<u8>) -> Vec<Vec<u8>> {
    let Some(defect) = defect else {
        return vec![bytes];
    };
    let Ok(request) = codec::decode::<Request<Members>>(&bytes) else {
        return vec![bytes];
    };
    match (defect, request) {
        (RaftDefect::AppliesBeforeCommit, Request::Append(mut append)) => {
            let last = append.entries.last().map(|entry| entry.log_id);
            append.leader_commit = last.max(append.leader_commit);
            vec![codec::encode(&Request::<Members>::Append(append))]
        }
        (RaftDefect::RetriesWithoutTicket, Request::Propose(proposed)) => {
            let mut again = proposed.clone();
            // A number that nobody draws.
            again.ticket.number += 1 << 40;
            let again = codec::encode(&Request::<Members>::Propose(again));
            vec![bytes, again]
        }
        _ => vec![bytes],
    }
}

/// Returns the response that arrives in place of the real one.
pub fn reply(defect: Option<RaftDefect>, asked: &[u8], said: Vec<u8>) -> Vec<u8> {
    let Some(defect) = defect else {
        return said;
    };
    let (Ok(request), Ok(reply)) = (
        codec::decode::<Request<Members>>(asked),
        codec::decode::<RaftReply<Members>>(&said),
    ) else {
        return said;
    };
    match (defect, request, reply) {
        (
            RaftDefect::GrantsEveryVote,
            Request::Vote { request, .. } | Request::PreVote(request),
            RaftReply::Vote(_),
        ) => {
            let granted = VoteResponse::new(request.vote, request.last_log_id, true);
            codec::encode(&RaftReply::<Members>::Vote(granted))
        }
        (
            RaftDefect::AcknowledgesGaps,
            Request::Append(_),
            RaftReply::Append(AppendEntriesResponse::Conflict),
        )
        | (
            RaftDefect::AcknowledgesUnstored,
            Request::Append(_),
            RaftReply::Failed(Failure::Stopped),
        ) => codec::encode(&RaftReply::<Members>::Append(
            AppendEntriesResponse::Success,
        )),
        _ => said,
    }
}
