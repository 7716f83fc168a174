//! Tests disks that are slow or full, and logs of newer releases of evenkeel.

use super::bed::{Hub, event, found, member, memory, told, until};
use crate::command::{ClusterCommand, CommandBody, CommandResult, FORMAT};
use crate::log::{Proposed, Signer, Ticket};
use crate::member::{MemberId, MemberKind};
use crate::raft::{Engine, EngineError, Settings, test_keys};
use crate::store::Store;
use crate::store::held::TestDisk;
use openraft_rt_tokio::TokioRuntime;
use std::time::Duration;

#[tokio::test]
async fn a_majority_of_disks_is_enough_and_the_leaders_need_not_be_among_them() {
    let hub = Hub::default();
    let slow = TestDisk::new();
    let store = Store::with_slow_backend(slow.clone()).unwrap();
    let a = hub.start(1, MemberKind::Node, store).await;
    let b = hub.start(2, MemberKind::Node, memory()).await;
    let c = hub.start(3, MemberKind::Arbiter, memory()).await;
    found(&[
        (1, MemberKind::Node, a.clone()),
        (2, MemberKind::Node, b),
        (3, MemberKind::Arbiter, c),
    ])
    .await;
    slow.hold(true);
    // Followers receive entries while the leader's own write is not complete.
    let answer = a.propose(event("on two of three disks")).await.unwrap();
    assert_eq!(answer, CommandResult::Done);
    assert_eq!(told(&a, "on two of three disks"), 1);
    slow.hold(false);
}

/// A vote is granted only when it is on disk, and a candidate waits 200 ms for it.
#[tokio::test]
async fn disks_slower_than_an_election_have_a_leader_all_the_same() {
    let hub = Hub::default();
    let disks = [1, 2, 3].map(|_| TestDisk::new());
    let stores = disks
        .each_ref()
        .map(|disk| Store::with_slow_backend(disk.clone()).unwrap());
    let [of_a, of_b, of_c] = stores;
    let a = hub.start(1, MemberKind::Node, of_a).await;
    let b = hub.start(2, MemberKind::Node, of_b).await;
    let c = hub.start(3, MemberKind::Arbiter, of_c).await;
    found(&[
        (1, MemberKind::Node, a.clone()),
        (2, MemberKind::Node, b.clone()),
        (3, MemberKind::Arbiter, c),
    ])
    .await;
    for disk in &disks {
        disk.slow_down(Duration::from_millis(400));
    }
    hub.kill(1).await;
    until("B leads", || b.raft_status().leading).await;
    b.propose(event("slow but sure")).await.unwrap();
    assert_eq!(told(&b, "slow but sure"), 1);
}

/// Starts A, which is the leader and whose disk is returned, B, and an arbiter.
async fn three(hub: &Hub) -> (TestDisk, [Engine<TokioRuntime>; 3]) {
    let disk = TestDisk::new();
    let store = Store::with_slow_backend(disk.clone()).unwrap();
    let a = hub.start(1, MemberKind::Node, store).await;
    let b = hub.start(2, MemberKind::Node, memory()).await;
    let c = hub.start(3, MemberKind::Arbiter, memory()).await;
    found(&[
        (1, MemberKind::Node, a.clone()),
        (2, MemberKind::Node, b.clone()),
        (3, MemberKind::Arbiter, c.clone()),
    ])
    .await;
    (disk, [a, b, c])
}

#[tokio::test]
async fn a_member_with_a_full_disk_counts_for_nothing_and_goes_on_when_there_is_room() {
    let hub = Hub::default();
    let (disk, [a, b, _]) = three(&hub).await;
    disk.fill(true);
    a.propose(event("on two of three disks")).await.unwrap();
    until("A is refused", || a.raft_status().refused.is_some()).await;
    let standing = a.raft_status();
    assert!(standing.halted.is_none(), "{:?}", standing.halted);
    let words = standing.refused.unwrap().to_string();
    assert!(words.contains("no space left on the disk"), "{words}");
    assert!(words.contains("free some space"), "{words}");
    // B confirms its leadership, so leases are renewed, and B alone stores nothing.
    hub.kill(3).await;
    let before = a.raft_status().log.last;
    let asking = a.clone();
    let alone = tokio::spawn(async move { asking.propose(event("on one disk of three")).await });
    until("it is proposed", || a.raft_status().log.last > before).await;
    for _ in 0..3 {
        let agreed = a.confirm().await.unwrap();
        assert!(Some(agreed) <= before, "{agreed} {before:?}");
    }
    assert_eq!(told(&b, "on one disk of three"), 0);
    disk.fill(false);
    assert_eq!(alone.await.unwrap().unwrap(), CommandResult::Done);
    assert!(a.raft_status().refused.is_none());
    a.propose(event("with room")).await.unwrap();
}

#[tokio::test]
async fn a_member_with_a_full_disk_follows_every_leader_and_elects_none() {
    let hub = Hub::default();
    let (disk, [a, b, c]) = three(&hub).await;
    disk.fill(true);
    a.propose(event("more than there is room for"))
        .await
        .unwrap();
    until("A is refused", || a.raft_status().refused.is_some()).await;
    b.hand_over(Some(MemberId(2))).await.unwrap();
    b.propose(event("of another leader")).await.unwrap();
    // A sends requests to the leader, even for entries that A cannot store.
    until("A knows the leader", || a.leader() == Some(MemberId(2))).await;
    a.propose(event("by A")).await.unwrap();
    let own = b.raft_status().matched.get(&MemberId(1)).copied().flatten();
    assert!(own < b.raft_status().log.last, "{own:?}");
    // Without B, a majority needs the vote of A.
    hub.kill(2).await;
    // Waits for longer than several elections take.
    tokio::time::sleep(Settings::default().election_max * 6).await;
    assert!(!a.raft_status().leading && !c.raft_status().leading);
    disk.fill(false);
    until("A leads", || a.raft_status().leading).await;
    a.propose(event("with room")).await.unwrap();
    assert_eq!(told(&a, "by A"), 1);
    assert_eq!(told(&a, "of another leader"), 1);
}

/// A leader that learns of a candidate from a response must still hear who is elected.
#[tokio::test]
async fn a_leader_with_a_full_disk_that_hears_of_a_candidate_follows_whom_the_others_elect() {
    let hub = Hub::default();
    let (disk, [a, b, c]) = three(&hub).await;
    disk.fill(true);
    a.propose(event("more than there is room for"))
        .await
        .unwrap();
    until("A is refused", || a.raft_status().refused.is_some()).await;
    hub.cut(1, 2);
    // C votes for B, and B does not learn of it.
    hub.lose_answers(2, u64::MAX);
    let before = c.raft_status().term;
    while c.raft_status().term == before {
        let _ = a.inner.raft.trigger().transfer_leader(MemberId(2)).await;
        let _ = b.inner.raft.trigger().elect(false).await;
        tokio::time::sleep(Settings::default().election_max).await;
    }
    until("A hears of a candidate", || !a.raft_status().leading).await;
    hub.lose_answers(2, 0);
    hub.mend();
    until("B leads", || b.raft_status().leading).await;
    until("A knows the leader", || a.leader() == Some(MemberId(2))).await;
    a.propose(event("by A")).await.unwrap();
    assert_eq!(told(&b, "by A"), 1);
}

/// An election may begin before a member knows that its disk is full.
#[tokio::test]
async fn a_member_with_a_full_disk_that_stood_for_election_hears_the_leader_all_the_same() {
    let hub = Hub::default();
    let (disk, [a, b, c]) = three(&hub).await;
    disk.fill(true);
    a.propose(event("more than there is room for"))
        .await
        .unwrap();
    until("A is refused", || a.raft_status().refused.is_some()).await;
    b.hand_over(Some(MemberId(2))).await.unwrap();
    until("A knows the leader", || a.leader() == Some(MemberId(2))).await;
    let before = c.raft_status().term;
    let elect = a.inner.raft.trigger().elect(false).await;
    assert!(elect.is_ok(), "{elect:?}");
    // The leader learns of the later term and is elected again.
    until("there is a later term", || c.raft_status().term > before).await;
    until("A knows the leader", || {
        a.raft_status().term > before && a.leader().is_some_and(|leader| leader != MemberId(1))
    })
    .await;
    a.propose(event("by A")).await.unwrap();
    assert_eq!(told(&c, "by A"), 1);
    disk.fill(false);
    until("A stores it", || told(&a, "by A") == 1).await;
}

#[tokio::test]
async fn a_follower_with_a_full_disk_knows_what_the_others_agree_on() {
    let hub = Hub::default();
    let (disk, [a, b, _]) = three(&hub).await;
    a.hand_over(Some(MemberId(2))).await.unwrap();
    until("A follows B", || a.leader() == Some(MemberId(2))).await;
    // A leader sends nothing to a follower whose log position it does not know.
    let stored = || b.raft_status().matched.get(&MemberId(1)).copied().flatten();
    until("B knows A", || stored() == b.raft_status().log.last).await;
    disk.fill(true);
    b.propose(event("more than there is room for"))
        .await
        .unwrap();
    until("A is refused", || a.raft_status().refused.is_some()).await;
    for number in 0..10 {
        let words = format!("news {number}");
        b.propose(event(&words)).await.unwrap();
        until("A knows it", || told(&a, &words) == 1).await;
    }
    a.confirm().await.unwrap();
    let stored = b.raft_status().matched.get(&MemberId(1)).copied().flatten();
    assert!(stored < b.raft_status().log.last, "{stored:?}");
    disk.fill(false);
    let stored = || b.raft_status().matched.get(&MemberId(1)).copied().flatten();
    until("A stores it", || stored() == b.raft_status().log.last).await;
}

#[tokio::test]
async fn at_a_start_a_full_disk_is_an_error_and_at_the_end_nobody_waits_for_it() {
    let hub = Hub::default();
    let disk = TestDisk::new();
    let store = Store::with_slow_backend(disk.clone()).unwrap();
    disk.fill(true);
    let opened = Engine::<TokioRuntime>::open(
        MemberId(1),
        MemberKind::Node,
        Settings::default(),
        store,
        test_keys::signer(MemberId(1)),
        hub.way(1),
    );
    let why = opened.await.err().unwrap();
    assert!(why.is_of_the_disk(), "{why}");
    let (disk, [a, ..]) = three(&hub).await;
    disk.fill(true);
    a.propose(event("too much")).await.unwrap();
    until("A is refused", || a.raft_status().refused.is_some()).await;
    a.stop().await;
}

#[tokio::test]
async fn a_command_of_a_newer_program_stops_a_member_rather_than_lead_it_astray() {
    let hub = Hub::default();
    let store = memory();
    let a = hub.start(1, MemberKind::Node, store.clone()).await;
    found(&[(1, MemberKind::Node, a.clone())]).await;
    // A newer release of evenkeel ran here and announced its format; then the older one was
    // restored.
    let mut newer = member(1, MemberKind::Node);
    newer.format = FORMAT + 1;
    a.propose(CommandBody::Announce(newer)).await.unwrap();
    let command = ClusterCommand {
        format: FORMAT + 1,
        ..ClusterCommand::new(MemberId(1), 0, event("news"))
    };
    let ticket = Ticket {
        member: MemberId(1),
        start: 1000,
        number: 0,
        settled: 0,
    };
    let signer = test_keys::signer(MemberId(1));
    let proposed = Proposed::signed("test", ticket, command, |message| signer.sign(message));
    let written = a.inner.raft.client_write(proposed.unwrap()).await;
    assert!(written.is_err());
    let halted = a.raft_status().halted.unwrap();
    assert!(matches!(halted, EngineError::Newer { format } if format == FORMAT + 1));
    assert!(halted.to_string().contains("start a newer evenkeel"));
    hub.kill(1).await;
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_its_sender_named() {
    let hub = Hub::default();
    let a = hub.start(1, MemberKind::Node, memory()).await;
    for bytes in [Vec::new(), vec![0xc1; 100], b"GET / HTTP/1.1".to_vec()] {
        a.handle(MemberId(9), bytes).await;
    }
    assert_eq!(a.raft_status().misunderstood, Some(MemberId(9)));
}
