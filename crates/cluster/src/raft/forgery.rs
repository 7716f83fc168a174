//! Forges messages for tests: those of an attacker who has the arbiter's keys, and follows no rule
//! of the protocol.

use crate::command::{ClusterCommand, CommandBody, Epoch, Invitation, LeaseCommand};
use crate::log::{Entry, LeaderId, LogId, Membership, Proposed, SnapshotMeta, Ticket, Vote};
use crate::log::{Signer, Types};
use crate::member::{Digest, MemberId, MemberKind, digest};
use crate::raft::message::{MembershipChange, Request, SnapshotPart};
use crate::raft::replica::Image;
use crate::raft::test_keys;
use crate::state::ClusterState;
use lab::Random;
use openraft::entry::RaftEntry;
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};
use openraft::vote::RaftLeaderId;
use openraft::{AsyncRuntime, EmptyNode, EntryPayload};
use std::collections::{BTreeMap, BTreeSet};

/// The member whose keys were stolen.
pub(super) const THIEF: MemberId = MemberId(3);
pub(super) const TOKEN: Digest = Digest([66; 32]);

#[derive(Clone, Debug, Default)]
pub(super) struct Knowledge {
    pub(super) term: u64,
    pub(super) last: u64,
    pub(super) end: Option<LogId>,
    pub(super) proposals: Vec<Proposed>,
}

pub(super) fn id(term: u64, index: u64) -> LogId {
    LogId::new(LeaderId::new(term, THIEF).to_committed(), index)
}

pub(super) fn vote<R: AsyncRuntime>(term: u64, leadership_transfer: bool) -> Request<R> {
    let mut request = VoteRequest::new(Vote::new(term, THIEF), Some(id(term - 1, 1_000_000)));
    request.leadership_transfer = leadership_transfer;
    Request::Vote {
        request,
        lost: Some(MemberId(1)),
    }
}

pub(super) fn append<R: AsyncRuntime>(
    term: u64,
    prev: Option<LogId>,
    payloads: Vec<EntryPayload<Proposed, MemberId, EmptyNode>>,
) -> Request<R> {
    let first = prev.map_or(0, |id| id.index + 1);
    let entries: Vec<Entry> = (first..)
        .zip(payloads)
        .map(|(index, payload)| Entry::new(id(term, index), payload))
        .collect();
    Request::Append(AppendEntriesRequest::<Types<R>> {
        vote: Vote::new_committed(term, THIEF),
        prev_log_id: prev,
        leader_commit: entries.last().map(|entry| entry.log_id),
        entries,
    })
}

fn ticket(member: MemberId, number: u64) -> Ticket {
    Ticket {
        member,
        start: 1 << 40,
        number,
        settled: 0,
    }
}

pub(super) fn invitation() -> CommandBody {
    CommandBody::Invite(Invitation {
        token: TOKEN,
        kind: MemberKind::Node,
        valid_ms: 900_000,
    })
}

/// Returns a command in four forms: in a node's name without a signature, the same with the thief's
/// signature, the same with the thief's ticket, and in the thief's own name with a valid signature.
pub(super) fn forged(cluster: &str, body: CommandBody, number: u64) -> Vec<Proposed> {
    let node = MemberId(1);
    let command = ClusterCommand::new(node, 0, body.clone());
    let own = ClusterCommand::new(THIEF, 0, body);
    let signer = test_keys::signer(THIEF);
    let signed = |ticket, command| {
        Proposed::signed(cluster, ticket, command, |message| signer.sign(message))
            .expect("the key signs")
    };
    vec![
        Proposed::unsigned(ticket(node, number), command.clone()),
        signed(ticket(node, number), command.clone()),
        signed(ticket(THIEF, number), command),
        signed(ticket(THIEF, number), own),
    ]
}

pub(super) fn voters(members: &[u64]) -> EntryPayload<Proposed, MemberId, EmptyNode> {
    let voters: BTreeSet<MemberId> = members.iter().copied().map(MemberId).collect();
    let nodes: BTreeMap<_, _> = voters.iter().map(|id| (*id, EmptyNode {})).collect();
    let membership = openraft::Membership::new(vec![voters], nodes);
    EntryPayload::Membership(membership.expect("the voters are nodes"))
}

/// Returns the parts of a forged snapshot, in order. The state in it has an additional invitation.
pub(super) fn snapshot<R: AsyncRuntime>(
    term: u64,
    last: u64,
    state: &ClusterState,
) -> Vec<Request<R>> {
    let mut state = state.clone();
    state.invitations.insert(
        TOKEN,
        Invitation {
            token: TOKEN,
            kind: MemberKind::Node,
            valid_ms: 900_000,
        },
    );
    let meta = SnapshotMeta {
        last_log_id: Some(id(term, last)),
        last_membership: Membership::default(),
    };
    let image = Image::forged(&state, &meta, THIEF, &*test_keys::signer(THIEF));
    let of = digest(&image);
    let bytes = image.len() as u64;
    let parts = [
        SnapshotPart::Begin {
            vote: Vote::new_committed(term, THIEF),
            meta: Box::new(meta),
            bytes,
            digest: of,
        },
        SnapshotPart::Image {
            of,
            offset: 0,
            bytes: image,
        },
        SnapshotPart::End { of },
    ];
    parts.into_iter().map(Request::Snapshot).collect()
}

pub(super) fn draw<R: AsyncRuntime>(
    random: &mut Random,
    known: &Knowledge,
    state: &ClusterState,
) -> Vec<Request<R>> {
    let step = random.pick(&[0, 1, 1, 2, 1 << 20, u64::MAX / 2]);
    let term = known.term.saturating_add(step).max(1);
    let back = random.below(4).min(known.last);
    let prev = match random.below(3) {
        0 => known.end,
        1 => Some(id(known.term, known.last - back)),
        _ => None,
    };
    let number = random.below(1 << 30);
    match random.below(9) {
        0 => vec![vote(term, random.percent(50))],
        1 => vec![append(term, prev, vec![EntryPayload::Blank])],
        2 => {
            let body = match random.below(3) {
                0 => invitation(),
                1 => CommandBody::Remove {
                    member: MemberId(2),
                },
                _ => CommandBody::Lease(LeaseCommand::Grant {
                    name: "lease/0".to_owned(),
                    holder: MemberId(2),
                    valid_ms: 1_000,
                    after: Epoch(random.below(3)),
                }),
            };
            let forged = forged(&state.cluster, body, number).into_iter();
            let forged = forged.filter(|proposed| proposed.ticket.member != THIEF);
            let payloads = forged.map(EntryPayload::Normal).collect();
            vec![append(term, prev, payloads)]
        }
        3 => {
            let members = random.pick(&[&[3][..], &[2, 3], &[1, 3], &[1, 2, 3, 7], &[7, 8, 9]]);
            vec![append(term, prev, vec![voters(members)])]
        }
        4 => snapshot(term, known.last.saturating_add(number), state),
        5 => {
            let vote = Vote::new_committed(term, THIEF);
            let transfer = TransferLeaderRequest::new(vote, MemberId(2), known.end);
            vec![Request::Transfer(transfer)]
        }
        6 => {
            let change = random.pick(&[
                MembershipChange::Drop(MemberId(1)),
                MembershipChange::Drop(MemberId(2)),
                MembershipChange::Add(MemberId(9)),
                MembershipChange::HandOver(None),
            ]);
            vec![Request::Change(change)]
        }
        // Omits proposals with the arbiter's own ticket: they only make the arbiter regard itself
        // as an older copy.
        7 => forged(&state.cluster, invitation(), number)
            .into_iter()
            .filter(|proposed| proposed.ticket.member != THIEF)
            .map(|proposed| Request::Propose(Box::new(proposed)))
            .collect(),
        _ => {
            let replayed = known.proposals.iter().cloned();
            let payloads = replayed.map(EntryPayload::Normal).collect();
            vec![append(term, prev, payloads)]
        }
    }
}
