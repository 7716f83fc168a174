//! Tests engines on Tokio, in one process: committed entries, leaders after a loss, and catching up
//! of absent members.

mod away;
mod bed;
mod disks;
mod hostile;

use crate::command::CommandResult;
use crate::log::{Entry, LeaderId, LogId, Membership, SnapshotMeta};
use crate::member::{MemberId, MemberKind};
use crate::raft::message::Failure;
use crate::raft::replica::Image;
use crate::raft::{EngineError, ProposeError, Settings, test_keys};
use crate::state::ClusterState;
use bed::{Hub, admit, event, found, memory, pair, told, until};
use openraft::entry::RaftEntry;
use openraft::vote::RaftLeaderIdExt;
use openraft::{ChangeMembers, EmptyNode, EntryPayload};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

#[tokio::test]
async fn three_members_agree_and_each_has_the_state() {
    let hub = Hub::default();
    let engines = pair(&hub).await;
    for (number, engine) in engines.iter().take(2).enumerate() {
        let words = format!("said by {number}");
        assert_eq!(
            engine.propose(event(&words)).await.unwrap(),
            CommandResult::Done
        );
    }
    for engine in &engines {
        engine.confirm().await.unwrap();
        assert_eq!(told(engine, "said by 0"), 1);
        assert_eq!(told(engine, "said by 1"), 1);
        assert_eq!(engine.state().members.len(), 3);
        assert_eq!(engine.raft_status().voters.len(), 3);
    }
    assert!(hub.largest.load(std::sync::atomic::Ordering::Relaxed) < (1 << 20));
}

#[tokio::test]
async fn failure_of_the_leader_is_not_reported_as_local() {
    let hub = Hub::default();
    let [_a, b, _c] = pair(&hub).await;
    let leader = Some(MemberId(1));
    assert!(matches!(
        b.change_failure(leader, Failure::Stopped),
        EngineError::LeaderStopped(MemberId(1))
    ));
    assert!(matches!(
        b.change_failure(leader, Failure::Malformed),
        EngineError::RefusedByLeader(MemberId(1))
    ));
    assert!(matches!(
        b.change_failure(Some(MemberId(2)), Failure::Stopped),
        EngineError::Stopped
    ));
}

#[test]
fn reason_of_a_proposal_without_result_is_kept() {
    let reason = |error: ProposeError| EngineError::from(error);
    assert!(matches!(reason(ProposeError::Busy), EngineError::Busy));
    assert!(matches!(
        reason(ProposeError::NoLeader),
        EngineError::NoLeader
    ));
    assert!(matches!(
        reason(ProposeError::Unknown),
        EngineError::NoMajority
    ));
}

#[tokio::test]
async fn a_lost_leader_is_replaced_without_waiting_for_its_lease() {
    let mut times = Vec::new();
    for _ in 0..5 {
        let hub = Hub::default();
        let [_a, b, _c] = pair(&hub).await;
        b.propose(event("before")).await.unwrap();
        let began = Instant::now();
        hub.kill(1).await;
        until("another leader", || b.raft_status().leading).await;
        times.push(began.elapsed());
        b.propose(event("after")).await.unwrap();
        assert_eq!((told(&b, "before"), told(&b, "after")), (1, 1));
    }
    times.sort();
    println!("new leader after {times:?}");
}

#[tokio::test]
async fn one_that_lost_a_leader_whom_the_others_hear_does_not_disturb() {
    let hub = Hub::default();
    let [a, b, c] = pair(&hub).await;
    let term = a.raft_status().term;
    for _ in 0..20 {
        b.lost(MemberId(1));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(a.raft_status().leading);
    for engine in [a, b, c] {
        assert_eq!(engine.raft_status().term, term);
    }
}

#[tokio::test]
async fn an_arbiter_with_what_a_dead_node_agreed_on_brings_the_other_node_up_to_it() {
    let hub = Hub::default();
    let [a, b, c] = pair(&hub).await;
    // B receives nothing; A commits with the arbiter.
    hub.cut(1, 2);
    hub.cut(2, 3);
    a.propose(event("with the arbiter alone")).await.unwrap();
    assert_eq!(told(&b, "with the arbiter alone"), 0);
    hub.kill(1).await;
    hub.mend();
    // B must not become leader without that entry, and the arbiter only for a short time.
    until("B leads", || b.raft_status().leading).await;
    assert_eq!(told(&b, "with the arbiter alone"), 1);
    b.propose(event("after")).await.unwrap();
    until("the arbiter follows", || {
        !c.raft_status().leading && told(&c, "after") == 1
    })
    .await;
    assert!(matches!(b.raft_status().leader, Some(MemberId(2))));
}

#[tokio::test]
async fn a_proposal_whose_answers_are_lost_happens_once() {
    let hub = Hub::default();
    let [a, b, _c] = pair(&hub).await;
    for round in 0..10 {
        hub.lose_answers(2, 3);
        let words = format!("round {round}");
        assert_eq!(b.propose(event(&words)).await.unwrap(), CommandResult::Done);
        assert_eq!(told(&a, &words), 1);
    }
    b.confirm().await.unwrap();
    a.confirm().await.unwrap();
    for round in 0..10 {
        assert_eq!(told(&b, &format!("round {round}")), 1);
    }
}

#[tokio::test]
async fn without_a_majority_nothing_is_agreed_on_and_it_says_so() {
    let hub = Hub::default();
    let a = hub
        .start_with(1, MemberKind::Node, memory(), impatient())
        .await;
    let b = hub.start(2, MemberKind::Node, memory()).await;
    found(&[(1, MemberKind::Node, a.clone()), (2, MemberKind::Node, b)]).await;
    hub.cut(1, 2);
    let result = a.propose(event("alone")).await;
    assert!(
        matches!(result, Err(ProposeError::Unknown | ProposeError::NoLeader)),
        "{result:?}"
    );
    assert_eq!(told(&a, "alone"), 0);
    assert!(a.confirm().await.is_err());
}

#[tokio::test]
async fn who_votes_only_once_the_others_agree_is_no_voter_before() {
    let hub = Hub::default();
    let a = hub.start(1, MemberKind::Node, memory()).await;
    let b = hub.start(2, MemberKind::Node, memory()).await;
    let _c = hub.start(3, MemberKind::Arbiter, memory()).await;
    found(&[
        (1, MemberKind::Node, a.clone()),
        (2, MemberKind::Node, b.clone()),
    ])
    .await;
    admit(&a, 3, MemberKind::Arbiter).await;
    let listens = a.inner.raft.add_learner(MemberId(3), EmptyNode {}, true);
    listens.await.unwrap();
    hub.cut(1, 2);
    hub.cut(2, 3);
    let adding = tokio::spawn({
        let a = a.clone();
        let votes = ChangeMembers::AddVoterIds(BTreeSet::from([MemberId(3)]));
        async move { a.inner.raft.change_membership(votes, false).await }
    });
    until("the change begins", || a.raft_status().voters.len() == 3).await;
    assert_eq!(a.agreed_voters(), [MemberId(1), MemberId(2)]);
    hub.mend();
    adding.await.unwrap().unwrap();
    until("A knows", || a.agreed_voters().len() == 3).await;
    until("B knows", || b.agreed_voters().len() == 3).await;
}

#[tokio::test]
async fn leadership_is_handed_over_and_a_member_taken_out() {
    let hub = Hub::default();
    let [a, b, c] = pair(&hub).await;
    assert!(
        c.hand_over(None).await.is_err(),
        "an arbiter decides nothing"
    );
    b.hand_over(None).await.unwrap();
    until("B leads", || b.raft_status().leading).await;
    assert!(
        a.hand_over(Some(MemberId(3))).await.is_err(),
        "an arbiter is no leader"
    );
    a.hand_over(Some(MemberId(1))).await.unwrap();
    until("A leads", || a.raft_status().leading).await;
    b.drop(MemberId(2)).await.unwrap();
    a.propose(event("without B")).await.unwrap();
    assert_eq!(a.raft_status().voters, [MemberId(1), MemberId(3)]);
    assert_eq!(told(&b, "without B"), 0);
}

#[tokio::test]
async fn all_that_was_agreed_on_is_there_after_a_restart_of_all() {
    let hub = Hub::default();
    let directory = tempdir();
    let open = |id: u64| crate::store::Store::open(&directory.join(format!("{id}"))).unwrap();
    {
        let a = hub.start(1, MemberKind::Node, open(1)).await;
        let b = hub.start(2, MemberKind::Node, open(2)).await;
        found(&[
            (1, MemberKind::Node, a.clone()),
            (2, MemberKind::Node, b.clone()),
        ])
        .await;
        for number in 0..20 {
            a.propose(event(format!("number {number}"))).await.unwrap();
        }
        hub.kill(1).await;
        hub.kill(2).await;
    }
    let reopen = async |id: u64| {
        // The old engine's tasks end a little after it was stopped.
        loop {
            match crate::store::Store::open(&directory.join(format!("{id}"))) {
                Ok(store) => return hub.start(id, MemberKind::Node, store).await,
                Err(crate::store::StoreError::InUse { .. }) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(other) => panic!("{other}"),
            }
        }
    };
    let a = reopen(1).await;
    let b = reopen(2).await;
    for engine in [&a, &b] {
        engine.confirm().await.unwrap();
        for number in 0..20 {
            assert_eq!(told(engine, &format!("number {number}")), 1);
        }
    }
    b.propose(event("again")).await.unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
}

#[tokio::test]
async fn a_restarted_leader_is_not_settled_before_its_state_has_all_of_earlier_terms() {
    let hub = Hub::default();
    let stores = [memory(), memory()];
    let a = hub.start(1, MemberKind::Node, stores[0].clone()).await;
    let b = hub.start(2, MemberKind::Node, stores[1].clone()).await;
    found(&[(1, MemberKind::Node, a.clone()), (2, MemberKind::Node, b)]).await;
    a.propose(event("last")).await.unwrap();
    until("the founder is settled", || a.raft_status().is_settled).await;
    hub.kill(1).await;
    hub.kill(2).await;
    let a = hub.start(1, MemberKind::Node, stores[0].clone()).await;
    until("it has read its log", || a.raft_status().voters.len() == 2).await;
    // No member has confirmed yet how much of the log is committed.
    assert!(!a.raft_status().is_settled);
    let b = hub.start(2, MemberKind::Node, stores[1].clone()).await;
    until("one of them is settled", || {
        [&a, &b].into_iter().any(|engine| {
            let settled = engine.raft_status().is_settled;
            assert!(!settled || told(engine, "last") == 1);
            settled
        })
    })
    .await;
}

#[tokio::test]
async fn who_has_lost_all_others_goes_on_alone_when_told_to() {
    let hub = Hub::default();
    let store = memory();
    let a = hub.start(1, MemberKind::Node, store.clone()).await;
    let b = hub.start(2, MemberKind::Node, memory()).await;
    found(&[(1, MemberKind::Node, a.clone()), (2, MemberKind::Node, b)]).await;
    a.propose(event("by both")).await.unwrap();
    hub.kill(2).await;
    hub.kill(1).await;
    drop(a);
    let recovered = store.rewrite_membership(MemberId(1)).unwrap();
    assert!(recovered.agreed.is_some());
    let alone = hub.start(1, MemberKind::Node, store).await;
    until("it leads alone", || alone.raft_status().leading).await;
    alone.propose(event("alone")).await.unwrap();
    assert_eq!(told(&alone, "by both"), 1);
    assert_eq!(alone.raft_status().voters, [MemberId(1)]);
}

#[tokio::test]
async fn interrupted_installation_of_a_snapshot_is_completed() {
    let hub = Hub::default();
    let store = memory();
    let id = |term, index| LogId::new(LeaderId::new_committed(term, MemberId(2)), index);
    let blank = |index| Entry::new(id(5, index), EntryPayload::Blank);
    let entries: Vec<Entry> = (0..9).map(blank).collect();
    let (tell, told) = std::sync::mpsc::channel();
    store.append(entries, Box::new(move |result| tell.send(result).unwrap()));
    told.recv().unwrap().unwrap();
    // The snapshot replaces entries that were never committed. The power was cut before the purge.
    let meta = SnapshotMeta {
        last_log_id: Some(id(4, 10)),
        last_membership: Membership::default(),
    };
    let signer = test_keys::signer(MemberId(2));
    let state = ClusterState::default();
    let image = Image::forged(&state, &meta, MemberId(2), &*signer);
    store.save_snapshot(
        meta,
        image,
        BTreeSet::new(),
        Box::new(|result| result.unwrap()),
    );
    let a = hub.start(1, MemberKind::Node, store.clone()).await;
    until("the log ends with the snapshot", || {
        let log = a.raft_status().log;
        (log.last, log.applied) == (Some(10), Some(10))
    })
    .await;
    assert_eq!(store.ends(), (Some(id(4, 10)), Some(id(4, 10))));
}

fn impatient() -> Settings {
    Settings {
        propose_limit: Duration::from_secs(1),
        ..Settings::default()
    }
}

pub fn tempdir() -> std::path::PathBuf {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("evenkeel-raft-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}
