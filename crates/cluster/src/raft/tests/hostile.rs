//! Tests an attacker with the arbiter's keys who follows no rule of the protocol.

use super::bed::{Hub, Tested, event, pair, told, until};
use crate::command::{CommandBody, CommandResult};
use crate::log::{Proposed, Signer, Types};
use crate::member::MemberId;
use crate::raft::forgery::{self, THIEF, TOKEN};
use crate::raft::message::{Failure, MembershipChange, RaftReply, Request, SnapshotPart};
use crate::raft::test_keys;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest};
use openraft::{EmptyNode, EntryPayload};
use openraft_rt_tokio::TokioRuntime;
use part::codec;

type HostileRequest = Request<TokioRuntime>;
type Append = AppendEntriesRequest<Types<TokioRuntime>>;
type Payload = EntryPayload<Proposed, MemberId, EmptyNode>;

async fn say(to: &Tested, request: HostileRequest) -> RaftReply<TokioRuntime> {
    let bytes = to.handle(THIEF, codec::encode(&request)).await;
    codec::decode(&bytes).unwrap()
}

fn is_granted(reply: &RaftReply<TokioRuntime>) -> bool {
    matches!(reply, RaftReply::Vote(response) if response.vote_granted)
}

fn is_appended(reply: &RaftReply<TokioRuntime>) -> bool {
    matches!(reply, RaftReply::Append(AppendEntriesResponse::Success))
}

async fn signed_pair(hub: &Hub) -> [Tested; 3] {
    let engines = pair(hub).await;
    for engine in &engines {
        until("signatures are required", || {
            engine.state().requires_signatures()
        })
        .await;
    }
    engines
}

/// Acts as the thief of an arbiter: alpha is gone, and beta votes for the log that it
/// was promised.
async fn elected(hub: &Hub, b: &Tested) -> u64 {
    hub.kill(1).await;
    hub.kill(3).await;
    let term = b.raft_status().term + 1;
    until("B hears no leader", || {
        b.inner.election.silent_for() > b.inner.settings.election_max * 2
    })
    .await;
    let mut term = term.max(b.raft_status().term + 1);
    // The member's own candidacy may have come between.
    while !is_granted(&say(b, forgery::vote(term, false)).await) {
        term = term.max(b.raft_status().term) + 1;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    term
}

#[tokio::test]
async fn arbiter_cannot_depose_a_leader_that_is_heard() {
    let hub = Hub::default();
    let [a, b, _c] = signed_pair(&hub).await;
    let term = a.raft_status().term;
    for node in [&a, &b] {
        for transfer in [false, true] {
            assert!(!is_granted(
                &say(node, forgery::vote(term + 1, transfer)).await
            ));
        }
        let blank = vec![EntryPayload::Blank];
        let reply = say(node, forgery::append(term + 1, None, blank)).await;
        assert!(matches!(reply, RaftReply::Failed(_)));
        for change in [
            MembershipChange::Drop(MemberId(1)),
            MembershipChange::Add(MemberId(9)),
            MembershipChange::HandOver(Some(MemberId(2))),
        ] {
            let reply = say(node, Request::Change(change)).await;
            assert!(matches!(reply, RaftReply::Failed(_)));
        }
    }
    assert_eq!(
        a.propose(event("still led")).await.unwrap(),
        CommandResult::Done
    );
    assert_eq!(a.raft_status().term, term);
}

#[tokio::test]
async fn no_message_uses_up_the_terms() {
    let hub = Hub::default();
    let [_a, b, _c] = signed_pair(&hub).await;
    let term = elected(&hub, &b).await;
    for huge in [u64::MAX, u64::MAX - 1, 1 << 60] {
        assert!(!is_granted(&say(&b, forgery::vote(huge, false)).await));
        let blank = vec![EntryPayload::Blank];
        let reply = say(&b, forgery::append(huge, None, blank)).await;
        assert!(matches!(reply, RaftReply::Failed(_)));
    }
    assert!(b.raft_status().term <= term + 100);
}

#[tokio::test]
async fn elected_arbiter_commits_only_what_nodes_signed() {
    let hub = Hub::default();
    let [a, b, _c] = signed_pair(&hub).await;
    // A signed proposal that the thief recorded.
    let ticket = crate::log::Ticket {
        member: MemberId(1),
        start: 1 << 30,
        number: 0,
        settled: 0,
    };
    let command = crate::command::ClusterCommand::new(MemberId(1), 0, event("of A"));
    let signer = test_keys::signer(MemberId(1));
    let signed = |cluster: &str| {
        let command = command.clone();
        Proposed::signed(cluster, ticket, command, |message| signer.sign(message)).unwrap()
    };
    assert_eq!(a.propose(event("last")).await.unwrap(), CommandResult::Done);
    until("B has it", || told(&b, "last") == 1).await;
    let term = elected(&hub, &b).await;
    let end = b.inner.store.ends().1;
    let mut payloads = vec![EntryPayload::Blank];
    let bodies = [
        forgery::invitation(),
        CommandBody::Remove {
            member: MemberId(2),
        },
        CommandBody::Keep(crate::command::Limits::default()),
    ];
    for (number, body) in (0..).zip(bodies) {
        let forged = forgery::forged("test", body, number);
        payloads.extend(forged.into_iter().map(EntryPayload::Normal));
    }
    // A proposal of another cluster, one of this cluster, and its repetition.
    let replayed = [signed("other"), signed("test"), signed("test")];
    payloads.extend(replayed.map(EntryPayload::Normal));
    let last = end.unwrap().index + payloads.len() as u64;
    let before = b.state();
    let reply = say(&b, forgery::append(term, end, payloads)).await;
    assert!(is_appended(&reply));
    until("B applied it", || b.raft_status().log.applied == Some(last)).await;
    let after = b.state();
    assert!(!after.invitations.contains_key(&TOKEN));
    assert_eq!(after.members, before.members);
    assert_eq!(after.limits, before.limits);
    assert_eq!(told(&b, "of A"), 1, "signed, and applied once");
    let forgeries = || b.raft_status().forged.unwrap();
    // So soon after signatures became necessary, members may have proposed without one.
    assert_eq!(forgeries(), (3 * 2 + 1, MemberId(1)));
    let end = b.inner.store.ends().1;
    let mut payloads = vec![EntryPayload::Blank; 64];
    let unsigned = forgery::forged("test", forgery::invitation(), 7).swap_remove(0);
    payloads.push(EntryPayload::Normal(unsigned));
    let last = end.unwrap().index + payloads.len() as u64;
    let reply = say(&b, forgery::append(term, end, payloads)).await;
    assert!(is_appended(&reply));
    until("B applied it", || b.raft_status().log.applied == Some(last)).await;
    assert_eq!(forgeries(), (3 * 2 + 2, MemberId(1)));
}

#[tokio::test]
async fn elected_arbiter_leads_for_a_limited_time() {
    let hub = Hub::default();
    let [_a, b, _c] = signed_pair(&hub).await;
    let term = elected(&hub, &b).await;
    let end = b.inner.store.ends().1;
    let blank = || forgery::append(term, end, vec![EntryPayload::Blank]);
    assert!(is_appended(&say(&b, blank()).await));
    // As if its time were over.
    b.inner.election.expire_arbiters_time();
    assert!(matches!(say(&b, blank()).await, RaftReply::Failed(_)));
    let reply = say(&b, forgery::vote(term + 1, true)).await;
    assert!(matches!(reply, RaftReply::Failed(_)));
    // Beta asks for votes itself. Nobody responds, so the arbiter may lead again.
    until("B stood", || b.inner.election.may_elect_arbiter()).await;
    assert!(elected(&hub, &b).await > term);
}

#[tokio::test]
async fn elected_arbiter_makes_no_voters_and_no_state() {
    let hub = Hub::default();
    let [_a, b, _c] = signed_pair(&hub).await;
    let term = elected(&hub, &b).await;
    let end = b.inner.store.ends().1;
    let (before, standing) = (b.state(), b.raft_status());
    // Without alpha, beta would be a majority alone or with the arbiter, and alpha another one.
    for voters in [
        &[3][..],
        &[2],
        &[2, 3],
        &[1, 2],
        &[1, 3],
        &[2, 3, 7],
        &[7, 8],
    ] {
        let reply = say(
            &b,
            forgery::append(term, end, vec![forgery::voters(voters)]),
        )
        .await;
        assert!(matches!(reply, RaftReply::Failed(_)), "{voters:?}");
    }
    // Memberships without voters, with an empty set of voters, with too many sets, and with a voter
    // that is no node.
    let nodes = r#"{"1":{},"2":{},"3":{}}"#;
    for (configs, nodes) in [
        ("[]", nodes),
        ("[[1,2,3],[]]", nodes),
        ("[[1,2,3],[1,2,3],[1,2,3]]", nodes),
        ("[[1,2,3]]", r#"{"1":{},"2":{}}"#),
    ] {
        let json = format!(r#"{{"configs":{configs},"nodes":{nodes}}}"#);
        let request = forgery::append(term, end, vec![malformed_membership(&json)]);
        assert!(
            matches!(say(&b, request).await, RaftReply::Failed(_)),
            "{json}"
        );
    }
    // An admission without a signature makes no member known.
    let stranger = super::bed::member(7, crate::member::MemberKind::Node);
    let admit = CommandBody::Admit {
        token: TOKEN,
        member: stranger,
    };
    let mut payloads: Vec<_> = forgery::forged("test", admit, 0)
        .into_iter()
        .map(EntryPayload::Normal)
        .collect();
    payloads.push(forgery::voters(&[2, 3, 7]));
    let reply = say(&b, forgery::append(term, end, payloads)).await;
    assert!(matches!(reply, RaftReply::Failed(_)));
    // A committed entry is not replaced.
    let first = forgery::id(term, 2);
    let reply = say(
        &b,
        forgery::append(term, Some(first), vec![EntryPayload::Blank]),
    )
    .await;
    assert!(matches!(reply, RaftReply::Failed(_)));
    let mut replies = Vec::new();
    for part in forgery::snapshot(term, 10_000, &before) {
        replies.push(say(&b, part).await);
    }
    assert!(matches!(replies.last(), Some(RaftReply::Failed(_))));
    assert_eq!(b.raft_status().voters, standing.voters);
    assert_eq!(*b.state(), *before);
}

#[tokio::test]
async fn snapshot_from_a_later_term_is_refused() {
    let hub = Hub::default();
    let [_a, b, _c] = signed_pair(&hub).await;
    let term = elected(&hub, &b).await;
    let begin = |later: u64| {
        let mut parts = forgery::snapshot(term, 10_000, &b.state());
        if let Request::Snapshot(SnapshotPart::Begin { meta, .. }) = &mut parts[0] {
            meta.last_log_id = Some(forgery::id(term + later, 10_000));
        }
        parts.swap_remove(0)
    };
    assert!(matches!(say(&b, begin(0)).await, RaftReply::Next));
    let reply = say(&b, begin(1)).await;
    assert!(matches!(reply, RaftReply::Failed(Failure::Malformed)));
    assert!(b.raft_status().halted.is_none());
}

#[test]
fn reply_with_an_impossible_term_is_no_reply() {
    let hub = Hub::default();
    let store = super::bed::memory();
    let calls = crate::raft::transport::Calls::of(hub.way(1), store);
    for (term, expected) in [
        (1, true),
        (1 << 20, true),
        (1 << 60, false),
        (u64::MAX, false),
    ] {
        let vote = crate::log::Vote::new(term, THIEF);
        let reply = RaftReply::<TokioRuntime>::Append(AppendEntriesResponse::HigherVote(vote));
        let bytes = codec::encode(&reply);
        let decoded = crate::raft::network::decode::<TokioRuntime>(&calls, &bytes);
        assert_eq!(decoded.is_ok(), expected, "{term}");
    }
}

#[tokio::test]
async fn what_was_written_before_signatures_stays_valid_and_cannot_come_back() {
    let hub = Hub::default();
    let [a, b, c] = pair(&hub).await;
    a.propose(event("early")).await.unwrap();
    for engine in [&a, &b, &c] {
        until("signatures are required", || {
            engine.state().requires_signatures()
        })
        .await;
        until("it has all", || told(engine, "early") == 1).await;
        assert_eq!(engine.state().members.len(), 3);
    }
    assert!(b.raft_status().forged.is_none());
    a.propose(event("late")).await.unwrap();
    // A member announces that its release of evenkeel no longer supports signatures.
    let old = crate::member::ClusterMember {
        format: 5,
        ..super::bed::member(3, crate::member::MemberKind::Arbiter)
    };
    let answer = c.propose(CommandBody::Announce(old)).await.unwrap();
    assert!(matches!(answer, CommandResult::Refused(_)), "{answer:?}");
    assert!(a.state().requires_signatures());
    assert_eq!(
        b.propose(event("later")).await.unwrap(),
        CommandResult::Done
    );
}

fn is_malformed(reply: &RaftReply<TokioRuntime>) -> bool {
    matches!(reply, RaftReply::Failed(Failure::Malformed))
}

/// Returns a membership that openraft would not make.
fn malformed_membership(json: &str) -> Payload {
    EntryPayload::Membership(serde_json::from_str(json).unwrap())
}

#[tokio::test]
async fn entries_with_impossible_log_ids_are_refused() {
    let hub = Hub::default();
    let [_a, b, _c] = signed_pair(&hub).await;
    let term = elected(&hub, &b).await;
    let end = b.inner.store.ends().1.unwrap();
    let blanks = || vec![EntryPayload::Blank; 3];
    type Case<'a> = (&'a str, &'a dyn Fn(&mut Append));
    let cases: [Case<'_>; 8] = [
        ("uncommitted vote", &|append| append.vote.committed = false),
        ("gap", &|append| append.entries[0].log_id.index += 5),
        ("gap between entries", &|append| {
            append.entries.remove(1);
        }),
        ("repeated index", &|append| {
            append.entries[1].log_id.index -= 1;
        }),
        ("first entry is not 0", &|append| append.prev_log_id = None),
        ("later term than the leader's", &|append| {
            append.entries[2].log_id = forgery::id(1 << 40, end.index + 3);
        }),
        ("terms decrease", &|append| {
            append.entries[1].log_id = forgery::id(1, end.index + 2);
        }),
        ("commit index contradicts the log", &|append| {
            append.leader_commit = Some(forgery::id(1, end.index + 1_000));
        }),
    ];
    for (name, change) in cases {
        let Request::Append(mut append) = forgery::append(term, Some(end), blanks()) else {
            panic!("an append");
        };
        change(&mut append);
        let reply = say(&b, Request::Append(append)).await;
        assert!(is_malformed(&reply), "{name}");
        assert_eq!(b.inner.store.ends().1, Some(end), "{name}");
    }
    // A message about earlier entries commits nothing behind them.
    let Request::Append(mut append) = forgery::append(term, Some(end), Vec::new()) else {
        panic!("an append");
    };
    append.leader_commit = Some(forgery::id(term, end.index + 1_000));
    assert!(is_appended(&say(&b, Request::Append(append)).await));
    let blank = forgery::append(term, Some(end), vec![EntryPayload::Blank]);
    assert!(is_appended(&say(&b, blank).await));
    until("B applied it", || {
        b.raft_status().log.applied == Some(end.index + 1)
    })
    .await;
    assert!(b.raft_status().halted.is_none());
}

#[tokio::test]
async fn votes_of_the_wrong_kind_are_refused() {
    let hub = Hub::default();
    let [_a, b, _c] = signed_pair(&hub).await;
    let term = b.raft_status().term + 1;
    let Request::Vote { mut request, lost } = forgery::vote(term, false) else {
        panic!("a vote");
    };
    request.vote.committed = true;
    let reply = say(&b, Request::PreVote(request.clone())).await;
    assert!(is_malformed(&reply));
    let reply = say(&b, Request::Vote { request, lost }).await;
    assert!(is_malformed(&reply));
    let mut parts = forgery::snapshot(term, 10_000, &b.state());
    if let Request::Snapshot(SnapshotPart::Begin { vote, .. }) = &mut parts[0] {
        vote.committed = false;
    }
    assert!(is_malformed(&say(&b, parts.swap_remove(0)).await));
    let vote = crate::log::Vote::new(term, THIEF);
    let transfer = TransferLeaderRequest::new(vote, MemberId(2), b.inner.store.ends().1);
    assert!(is_malformed(&say(&b, Request::Transfer(transfer)).await));
}

#[tokio::test]
async fn snapshot_that_contradicts_committed_entries_is_refused() {
    let hub = Hub::default();
    let [_a, b, _c] = signed_pair(&hub).await;
    let term = elected(&hub, &b).await;
    // B has committed another entry at this index.
    let begin = forgery::snapshot(term, 2, &b.state()).swap_remove(0);
    assert!(is_malformed(&say(&b, begin).await));
    assert!(b.raft_status().halted.is_none());
}
